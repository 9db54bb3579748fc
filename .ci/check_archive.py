"""Checks the archive of a release by what gradamp-cli/Cargo.toml tells cargo-binstall.

    python check_archive.py ARCHIVE TARGET

Its name, the program's place in it, its checksum, and whether pages and completions are there.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[1]
CONTENTS = [
    *("LICENSE", "README.md", "CHANGELOG.md", "man/gradamp.1", "man/gradamp-train.1"),
    *(f"completions/{name}" for name in ("gradamp.bash", "gradamp.elv", "gradamp.fish", "_gradamp", "_gradamp.ps1")),
]


def main(archive: Path, target: str) -> None:
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    package = tomllib.loads((ROOT / "gradamp-cli/Cargo.toml").read_text())["package"]
    binstall = package["metadata"]["binstall"]
    values = {"name": package["name"], "version": version, "target": target, "bin": "gradamp", "binary-ext": ""}
    values |= {"repo": "REPOSITORY", "archive-suffix": ".tar.gz"}

    def filled(template: str) -> str:
        for key, value in values.items():
            template = template.replace(f"{{ {key} }}", value)
        assert "{" not in template, f"{template}: a placeholder that this check does not know"
        return template

    expected = f"REPOSITORY/releases/download/v{version}/{archive.name}"
    assert filled(binstall["pkg-url"]) == expected, f"pkg-url: expected {expected}, found {filled(binstall['pkg-url'])}"
    digest = f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n"
    assert archive.with_name(f"{archive.name}.sha256").read_text() == digest, "the checksum beside the archive is another one"
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(archive, folder)
        program = Path(folder, filled(binstall["bin-dir"]))
        for name in CONTENTS:
            assert (program.parent / name).stat().st_size, f"{name}: is empty"
        printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        assert printed.startswith(f"gradamp {version}"), printed
        assert f"gradamp {version}" in (program.parent / "man/gradamp.1").read_text(), "the manual page names another version"
    print(f"{archive.name}: as cargo-binstall expects it")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
