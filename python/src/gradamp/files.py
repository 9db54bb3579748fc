"""Reads the files of run folders, with errors that name the file and the line."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Convert = Callable[[Any], Any]
Row = dict[str, Any]


class RunError(ValueError):
    """A run folder that is missing, damaged or of another version. The message begins with the path of the file."""


def number(value: Any) -> float:
    """A number of a log. JSON has no NaN: `null` stands for a number that is not finite, as words did in earlier versions."""
    if value is None or value in ("NaN", "inf", "-inf"):
        return math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"expected a number or null, found {value!r}")


def whole(value: Any) -> int:
    """A whole number from 0."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"expected a whole number, found {value!r}")


def flag(value: Any) -> bool:
    """`true` or `false`."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"expected true or false, found {value!r}")


def text(value: Any) -> str:
    """A string."""
    if isinstance(value, str):
        return value
    raise ValueError(f"expected a string, found {value!r}")


def list_of(convert: Convert) -> Convert:
    """A list, each of whose items `convert` converts."""

    def items(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError(f"expected a list, found {value!r}")
        return [convert(item) for item in value]

    return items


def hits(value: Any) -> list[int]:
    """A list of 0 and 1. Earlier versions wrote a string of these digits."""
    digits = list(value) if isinstance(value, str) else value
    if not isinstance(digits, list) or not all(digit in (0, 1, "0", "1") for digit in digits):
        raise ValueError("expected a list of 0 and 1")
    return [int(digit) for digit in digits]


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Errors: `RunError` if the file is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path}: is missing") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error


def check_seal(path: Path, content: bytes, seal: Mapping[str, Any] | None) -> None:
    """Checks the content of a file against its seal: the length in bytes and the SHA-256.

    Errors: `RunError` if the content is not what was sealed. Without a seal nothing is checked.
    """
    if seal is None:
        return
    if len(content) != seal.get("bytes"):
        expected = f"expected {seal.get('bytes')} bytes, found {len(content)}"
        raise RunError(f"{path}: is truncated or changed: {expected}")
    found = hashlib.sha256(content).hexdigest()
    if found != seal.get("sha256"):
        raise RunError(f"{path}: is changed: expected SHA-256 {seal.get('sha256')}, found {found}")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. If its last key is a seal (`sha256`), the text before that key is checked against it.

    Errors: `RunError` if the file is missing, is no JSON object, or was changed after it was sealed.
    """
    content = read_bytes(path)
    sealed = re.fullmatch(rb'(.*),\n  "sha256": "([0-9a-f]{64})"\n}\n', content, re.DOTALL)
    if sealed:
        found = hashlib.sha256(sealed[1] + b"\n}\n").hexdigest()
        if found.encode() != sealed[2]:
            message = f"expected SHA-256 {sealed[2].decode()} of what precedes it, found {found}"
            raise RunError(f"{path}: is changed: {message}")
    return _object(content, str(path))


def read_toml(path: Path, seal: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The table of a TOML file that `seal` describes.

    Errors: `RunError` if the file is missing, is not TOML, or is not what was sealed.
    """
    content = read_bytes(path)
    check_seal(path, content, seal)
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:
        raise RunError(f"{path}: is damaged: {error}") from error


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a log, each a JSON object, with its place for errors: the file and the number of the line, from 1.

    A last line without its line end is left out: gradamp is still writing it.

    Errors: `RunError` names the place of a line that is damaged.
    """
    *lines, _ = read_bytes(path).split(b"\n")
    for i, line in enumerate(lines, 1):
        place = f"{path}: line {i}"
        yield place, _object(line, place)


def convert(place: str, found: Mapping[str, Any], needed: Mapping[str, Convert], optional: Mapping[str, Convert]) -> Row:
    """The values of a line's keys, which must include `needed` and may include `optional` ones.

    Other keys are kept if they hold a number, a string, a flag or `null`, since later versions of gradamp may write more.

    Errors: `RunError` names the place and the key of a value that is missing or of another type.
    """
    row = {}
    for key, of in {**needed, **optional}.items():
        if key not in found and key in optional:
            continue
        if key not in found:
            raise RunError(f"{place}: is damaged or of another version: the key {key!r} is missing")
        try:
            row[key] = of(found[key])
        except ValueError as error:
            raise RunError(f"{place}: is damaged or of another version: {key}: {error}") from None
    return {**row, **{k: v for k, v in found.items() if k not in row and not isinstance(v, (list, dict))}}


def _object(content: bytes, place: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:  # a text that is no JSON, or no UTF-8
        raise RunError(f"{place}: is damaged or of another version: {error}") from None
    if not isinstance(found, dict):
        raise RunError(f"{place}: is damaged or of another version: expected an object, found {type(found).__name__}")
    return found
