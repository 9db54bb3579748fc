"""What the tests share: the program, PyTorch's fixtures, and images in the form of CIFAR-10."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 10_000
#: Where further fixtures are, if they are there; see tests/tests/pytorch_parity.
FIXTURES = ROOT / os.environ.get("GRADAMP_FIXTURES", "../shared/fixtures")


def program() -> Path:
    """The program gradamp: `$GRADAMP`, the newest that cargo built, or the one on the path."""
    if "GRADAMP" in os.environ:
        return Path(os.environ["GRADAMP"])
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [target / profile / "gradamp" for profile in ("release", "debug")]
    there = sorted((path for path in built if path.is_file()), key=lambda path: path.stat().st_mtime)
    found = there[-1] if there else shutil.which("gradamp")
    assert found, "expected the program gradamp: build it (cargo build --release), or name it in $GRADAMP"
    return Path(found)


def gradamp(*arguments: str | Path, folder: Path) -> str:
    """What the program prints to stdout. Fails with its messages if it fails."""
    command = [str(argument) for argument in (program(), *arguments)]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stderr}"
    return ended.stdout


def settings(**values: str | float) -> list[str]:
    """`--set` for each value; a double underscore stands for a dot."""
    return [word for key, value in values.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


def fixtures() -> list[Path]:
    """PyTorch's fixtures: the project's own ones, and further ones where they are."""
    own = sorted((ROOT / "tests/tests/fixtures").glob("*.safetensors"))
    assert own
    return [*own, *sorted(FIXTURES.glob("*.safetensors")), *sorted(FIXTURES.glob("plain/*.safetensors"))]


def read_fixture(path: Path) -> tuple[dict, dict]:
    """The case of a fixture and its tensors."""
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(path, "pt") as file:
        case = json.loads(file.metadata()["case"])
        return case, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a file is no mapping


def write_cifar(folder: Path) -> None:
    """Writes images of ten classes in the form of CIFAR-10: 50,000 for training and 10,000 for testing."""
    random = np.random.default_rng(1)
    patterns = random.integers(40, 215, (10, 3 * 32 * 32))
    folder.mkdir()
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        labels = random.integers(0, 10, RECORDS)
        images = patterns[labels] + random.integers(-40, 40, (RECORDS, 3 * 32 * 32), dtype=np.int16)
        records = np.concatenate([labels[:, None], images], axis=1).astype(np.uint8)
        records.tofile(folder / name)
