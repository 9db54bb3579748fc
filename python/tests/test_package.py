"""The wheel's metadata are those of the workspace."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

# maturin is in the folder of the interpreter whose packages it was installed with.
MATURIN = shutil.which("maturin", path=Path(sys.executable).parent)


@pytest.mark.skipif(not (MATURIN and shutil.which("cargo")), reason="maturin or cargo is not installed")
def test_the_metadata_of_the_wheel(tmp_path: Path) -> None:
    arguments = ["pep517", "write-dist-info", "--metadata-directory", str(tmp_path), "--interpreter", sys.executable]
    subprocess.run([str(MATURIN), *arguments], cwd=ROOT / "python", check=True, timeout=120)
    (metadata,) = tmp_path.glob("*.dist-info/METADATA")
    found = email.message_from_string(metadata.read_text())
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert version
    assert (found["Name"], found["Version"]) == ("gradamp", version[1])
    assert found["License-Expression"] == "MIT"
    assert found["Requires-Python"] == ">=3.9"
    assert {"pandas", "torch"} <= set(found.get_all("Provides-Extra"))
    assert "gradamp.load_torch" in found.get_payload()


def test_the_licence_is_that_of_the_workspace() -> None:
    assert (ROOT / "python/LICENSE").read_text() == (ROOT / "LICENSE").read_text()
