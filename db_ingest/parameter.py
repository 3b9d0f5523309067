"""One parameter of a function: what its :class:`Setting` says, and its values as words and within bounds."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from db_ingest.errors import InputError

REQUIRED = inspect.Parameter.empty
_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_PLACEHOLDERS = {"bp": "BP", "GB": "GB", "seconds": "SECONDS"}
_LISTS = {list, tuple, Sequence}


@dataclass(frozen=True)
class Setting:
    """What a parameter means; stands in its annotation, ``Annotated[int, Setting("half the window", unit="bp")]``.

    Args:
        help: a noun phrase or a sentence without its full stop.
        unit: of a number, e.g. ``bp``, ``seconds``, ``GB``, ``epochs``; empty for a number without dimension.
        choices: the words allowed, if not any.
        group: heading it stands under in ``--help`` and in tables.
        metavar: placeholder of its value in ``--help``.
        parse: converter of one word, where the type does not say it.
        also: other spellings of the flag, e.g. ``-c``.
        least, most: bounds of a number, themselves allowed.
        above: bound of a number, itself not allowed.
        path: names a file or folder that is read; run records hold it as an absolute path.
        positional: of a dataclass' field: a call may give it by position.
        may_change: need not be as it was when an interrupted run is resumed.
    """

    help: str
    _: KW_ONLY
    unit: str | None = None
    choices: tuple[str, ...] | None = None
    group: str = "options"
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    also: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    path: bool = False
    positional: bool = False
    may_change: bool = False


@dataclass(frozen=True)
class Parameter:
    """A setting of a function, as its flag, its YAML key and its keyword.

    Args:
        name: of all three.
        annotation: its type, without the :class:`Setting`.
        default: :data:`REQUIRED` where there is none.
        setting: what it means.
        kind: whether a call may give it by position.
    """

    name: str
    annotation: Any
    default: Any
    setting: Setting
    kind: Any = _KEYWORD

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED

    @property
    def many(self) -> bool:
        """Whether it takes a list of values."""
        return typing.get_origin(without_none(self.annotation)) in _LISTS

    @property
    def type(self) -> Any:
        """Type of one value, perhaps ``X | None``."""
        plain = without_none(self.annotation)
        return typing.get_args(plain)[0] if self.many else plain

    @property
    def switch(self) -> bool:
        """Whether it is true or false."""
        return self.type is bool

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return without_none(self.type) in (int, float)

    @property
    def parse(self) -> Callable[[str], Any]:
        """Converter of one word of the command line."""
        if self.setting.parse is not None:
            return self.setting.parse
        kind = without_none(self.type)
        convert = kind if kind in (int, float) else str
        return none_or(convert) if self.many and kind is not self.type else convert

    @property
    def placeholder(self) -> str | None:
        """What stands for its value in ``--help``; None for switches and choices."""
        if self.setting.metavar or self.switch or self.setting.choices:
            return self.setting.metavar
        number = {int: "N", float: "X"}.get(without_none(self.type), "VALUE")
        return _PLACEHOLDERS.get(self.setting.unit or "", number)

    @property
    def unit(self) -> str:
        """Its unit, where the help does not say it already."""
        unit = self.setting.unit or ""
        return "" if unit in self.setting.help.replace(",", " ").replace(";", " ").split() else unit

    @property
    def shown_default(self) -> str:
        """Its default in one word for people; empty where there is none."""
        if self.required or self.default is None or self.default == "":
            return ""
        return " ".join(map(str, self.default)) if isinstance(self.default, (list, tuple)) else str(self.default)

    def check(self, value: Any) -> None:
        """Raise :class:`InputError` for a value that is none of the choices or out of bounds."""
        for item in value if self.many and isinstance(value, (list, tuple)) else (value,):
            if item is not None:
                self._check_one(item)

    def _check_one(self, value: Any) -> None:
        setting = self.setting
        if setting.choices is not None:
            require_choice(self.name, value, setting.choices)
        if not self.is_number:
            return
        if value != value:
            raise InputError(f"--{self.name} nan: expected a number")
        if setting.most is not None and not (setting.least or 0) <= value <= setting.most:
            what = "a share" if setting.unit == "share" else "a number"
            raise InputError(
                f"--{self.name} {value:g}: expected {what} from {setting.least or 0:g} to {setting.most:g}"
            )
        if setting.least is not None:
            require_least(self.name, value, setting.least)
        if setting.above is not None and not value > setting.above:
            raise InputError(f"--{self.name} {value:g}: expected more than {setting.above:g}")


def none_or(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Turn a converter of words into one that also takes the word ``None``."""

    def convert(text: str) -> Any:
        return None if text == "None" else kind(text)

    convert.__name__ = getattr(kind, "__name__", "value")
    return convert


def require_least(name: str, value: float, least: float, unit: str = "") -> None:
    """Raise :class:`InputError` for a flag's value below ``least``."""
    if not value >= least:
        raise InputError(f"--{name} {value:g}: expected {least:g} or more{f' {unit}' if unit else ''}")


def require_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise :class:`InputError` for a flag's value that is none of the choices."""
    known = tuple(choices)
    if value not in known:
        raise InputError(f"--{name} {value}: expected one of {', '.join(known)}")


def require_new(path: str | Path, *, overwrite: bool, way: str = "--overwrite replaces it") -> None:
    """Raise :class:`InputError` for a file or folder that is there already and may not be replaced."""
    if not overwrite and Path(path).exists():
        raise InputError(f"{path}: exists; {way}")


def without_none(annotation: Any) -> Any:
    """``X`` of ``X | None``."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation
    left = [item for item in typing.get_args(annotation) if item is not type(None)]
    return functools.reduce(lambda a, b: a | b, left)
