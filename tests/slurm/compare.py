"""Compares the run folders and the results of two sweeps, byte for byte but for times, paths and the record of interruptions.

Usage: python3 compare.py SWEEP SWEEP
"""

import json
import re
import sys
import tomllib
from pathlib import Path

# What a clock measured.
TIMES = {"seconds", "total_seconds", "images_per_second", "evaluation_seconds", "saving_seconds"}
# The lengths and the seals of what contains times.
SEALS = {"logs", "log_sha256", "sha256"}
# run.json says when and how often the run was interrupted.
UNLIKE = {"run.json", ".lock"}


def without_times(value):
    if isinstance(value, dict):
        # The seals of a checkpoint's tensors stay.
        return {
            key: item if key == "files" else without_times(item)
            for key, item in value.items()
            if key not in TIMES | SEALS
        }
    return [without_times(item) for item in value] if isinstance(value, list) else value


def content(path: Path) -> bytes:
    if path.name == "config.toml":  # each value is followed by its origin, which is the path of a file
        return repr(tomllib.loads(path.read_text())).encode()
    if path.suffix not in {".jsonl", ".json", ".csv"}:
        return path.read_bytes()
    if path.suffix == ".csv":
        rows = [line.split(",") for line in path.read_text().splitlines()]
        column = rows[0].index("seconds")
        return repr([row[:column] + row[column + 1 :] for row in rows]).encode()
    if path.suffix == ".json":
        return repr(without_times(json.loads(re.sub(r"^#.*$", "", path.read_text(), flags=re.M)))).encode()
    return repr([without_times(json.loads(line)) for line in path.read_text().splitlines()]).encode()


def files(sweep: Path) -> dict[str, bytes]:
    found = [path for path in (sweep / "runs").rglob("*") if path.is_file() and path.name not in UNLIKE]
    found += [sweep / "results.csv", *(sweep / "configs").iterdir(), sweep / "plan.json"]
    return {str(path.relative_to(sweep)): content(path) for path in found}


def main() -> int:
    one, other = (files(Path(name)) for name in sys.argv[1:])
    differ = [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
    for name in differ:
        print("differs:", name)
    exact = sum(not name.endswith((".json", ".jsonl", ".csv")) for name in one)
    print(f"{len(one)} files compared, {exact} of them byte for byte and the others but for times")
    return 1 if differ or len(one) < 12 * 8 else 0


if __name__ == "__main__":
    sys.exit(main())
