"""Finds the folders of runs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Union

from .files import Row, RunError, read_json, read_toml

PathLike = Union[str, "os.PathLike[str]"]
CHECKPOINTS = ("best", "last")


@dataclass(frozen=True)
class Folder:
    """The folder of one run, and the run's place in its sweep."""

    path: Path
    name: str
    study: str | None = None
    cell: str | None = None
    role: str | None = None
    axes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def record(self) -> Row:
        """`run.json`

        Errors: `RunError` if the file is missing or damaged.
        """
        return read_json(self.path / "run.json")

    @cached_property
    def settings(self) -> Row:
        """`config.toml`, checked against its seal in `run.json`.

        Errors: `RunError` if the file is missing, damaged or changed.
        """
        return read_toml(self.path / "config.toml", self.record.get("config"))

    def has_begun(self) -> bool:
        """Whether the run has a record. A run that was killed before it wrote one has no logs either."""
        return (self.path / "run.json").exists() or any(log.stat().st_size for log in self.path.glob("*.jsonl"))


def find(*paths: PathLike) -> list[Folder]:
    """The folders of the runs that `paths` stand for, in the order of the paths.

    A path is a run's folder, a sweep's folder, a folder that contains runs, or a pattern with `*`, `?` or `[...]`. Runs of a sweep
    that have not begun are left out.

    Errors: `RunError` if a path is none of these, a pattern matches no folder, or a run is named twice.
    """
    folders: dict[Path, Folder] = {}
    for folder in (run for path in paths for root in _matches(os.fspath(path)) for run in _runs_in(root)):
        real = folder.path.resolve()
        if real in folders:
            raise RunError(f"{folder.path}: is named twice")
        folders[real] = folder
    return [folder for folder in folders.values() if folder.has_begun()]


def one(path: PathLike) -> Folder:
    """The folder of one run.

    Errors: `RunError` if `path` is not a run's folder.
    """
    root = Path(path)
    if not _is_run(root):
        raise RunError(f"{root}: expected the folder of a run, found {_what_is_at(root)}")
    own = root.resolve()
    sweep = own.parent.parent
    if own.parent.name == "runs" and (sweep / "plan.json").is_file():
        planned = [folder for folder in _planned(sweep) if folder.name == own.name]
        if planned:
            return replace(planned[0], path=root)
    return Folder(root, own.name)


def _is_run(path: Path) -> bool:
    return (path / "config.toml").is_file()


def _what_is_at(path: Path) -> str:
    if not path.is_dir():
        return "no such folder"
    return "a sweep" if (path / "plan.json").is_file() else "no config.toml in it"


def _matches(path: str) -> list[Path]:
    if Path(path).exists() or not glob.has_magic(path):
        return [Path(path)]
    found = sorted(Path(match) for match in glob.glob(path) if Path(match).is_dir())  # noqa: PTH207 - a pattern may be absolute
    if not found:
        raise RunError(f"{path}: no folder matches")
    return found


def _runs_in(root: Path) -> Iterator[Folder]:
    if (root / "plan.json").is_file():
        yield from (folder for folder in _planned(root) if _is_run(folder.path))
    elif _is_run(root):
        yield one(root)
    else:
        inner = sorted(child for child in root.iterdir() if _is_run(child)) if root.is_dir() else []
        if not inner:
            raise RunError(f"{root}: expected a run, a sweep or a folder of runs, found {_what_is_at(root)}")
        yield from (one(child) for child in inner)


@lru_cache(maxsize=8)
def _plan(path: Path, _changed: int) -> Row:
    return read_json(path)


def _planned(sweep: Path) -> list[Folder]:
    """The runs of a sweep, in the order of its plan."""
    path = sweep / "plan.json"
    plan = _plan(path, path.stat().st_mtime_ns)
    try:
        runs, study = plan["runs"], plan["name"]
        return [
            Folder(sweep / "runs" / run["name"], run["name"], study, run["cell"], run["role"], dict(run["axes"])) for run in runs
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: is damaged or of another version: {error!r}") from None
