"""Settings of a model as words of the command line: ``name=value``, or files of two columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from db_ingest.errors import InputError


def read_params(words: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Parameters as ``name=value`` words or files of two columns: name -> text and where it stands."""
    result = {}
    for word in words:
        if "=" in word:
            name, _, text = word.partition("=")
            result[name] = (text, f"--model_params {word}")
            continue
        path = Path(word)
        if not path.is_file():
            raise InputError(f"--model_params {word}: neither name=value nor a file of names and values")
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            parts = line.split()
            if not parts or line.startswith("#"):
                continue
            if len(parts) != 2:
                raise InputError(f"{path}:{number}: expected a name and a value, got {line.strip()[:60]!r}")
            result[parts[0]] = (parts[1], f"{path}:{number}")
    return result


def files(words: Sequence[str]) -> list[str]:
    """Those of the words of ``--model_params`` that name files."""
    return [word for word in words if "=" not in word]


def settings(params: Sequence[str] | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What ``--model_params`` says, each in the type of its default.

    Raises:
        InputError: a name without a default, or a value of another type.
    """
    chosen = {}
    for name, (text, place) in read_params(params or ()).items():
        if name not in defaults:
            raise InputError(f"{place}: unknown parameter {name!r}; known are {', '.join(defaults)}")
        chosen[name] = typed(place, name, text, defaults[name])
    return chosen


def typed(place: str, name: str, text: str, default: Any) -> Any:
    """A value as text, in the type of its default; ``place`` says where it stands, for messages."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise InputError(f"{place}: {name} is {text!r}; expected true or false")
        return text.lower() == "true"
    if isinstance(default, (int, float)):
        try:
            return type(default)(text)
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise InputError(f"{place}: {name} is {text!r}; expected {kind}") from None
    return text
