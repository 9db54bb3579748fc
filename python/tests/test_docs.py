"""The blocks of docs/interoperability.md and the notebook in examples/ run."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT, program

PAGE = ROOT / "docs/interoperability.md"
NOTEBOOK = ROOT / "examples/first-look.ipynb"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `gradamp`, `python` and `tensorboard` are the ones that are tested."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "gradamp").symlink_to(program().resolve())
    (tools / "python").symlink_to(sys.executable)
    # A link to an interpreter finds its packages by the path that it was called by.
    packages = os.pathsep.join([str(ROOT / "python/src"), *(path for path in sys.path if path.endswith("site-packages"))])
    # `tensorboard` is the one of this interpreter, also where its environment is not activated.
    path = os.pathsep.join([str(tools), sysconfig.get_path("scripts"), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1"}


def blocks(page: str) -> Iterator[tuple[str, str, int]]:
    """The language of each fenced block, its text, and the line on which it begins."""
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        yield found[1], found[2], page[: found.start()].count("\n") + 1


def test_the_blocks_of_the_page_run(tmp_path: Path, environment: dict[str, str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("tensorboard")
    pytest.importorskip("timm")
    # Python's blocks share their names; between them the shell's commands run.
    program = "import subprocess\n"
    for language, text, line in blocks(PAGE.read_text()):
        if language == "sh":
            program += f"print('line {line}', flush=True); subprocess.run({text!r}, shell=True, check=True)\n"
        else:
            assert language == "python", f"line {line}: {language}"
            program += f"print('line {line}', flush=True)\n{text}"
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "page.py").write_text(program)
    ended = subprocess.run(
        [sys.executable, "page.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-3000:]}"


def test_the_page_names_what_there_is() -> None:
    """Links lead to files, and the page has each kind of block."""
    text = PAGE.read_text()
    assert {language for language, _, _ in blocks(text)} == {"sh", "python"}
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (PAGE.parent / target).exists(), target
    for page in ("README.md", "docs/performance.md", "docs/results.md"):
        for module in re.findall(r"python -m (gradamp\.[\w.]+)", (ROOT / page).read_text()):
            assert (ROOT / "python/src" / module.replace(".", "/")).with_suffix(".py").exists(), f"{page}: {module}"


def test_the_notebook_runs(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in printed), "a figure"


def test_the_notebook_is_stored_without_outputs_and_its_code_is_python() -> None:
    import json

    notebook = json.loads(NOTEBOOK.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            ast.parse("".join(line for line in cell["source"] if not line.startswith("!")))
