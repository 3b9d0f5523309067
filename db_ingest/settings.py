"""Settings told once: a parameter's name, type, default, unit and help, for its flag, YAML key, keyword and docstring.

A setting is a parameter of a function, or a field of a small frozen dataclass, annotated with a :class:`Setting`.
:func:`takes_settings` gives a function that declares such dataclasses one flat list of keywords.

Example:
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Optimisation(Settings):
    ...     epochs: Annotated[int, Setting("largest number of epochs", unit="epochs", least=1)] = 40
    >>> @takes_settings
    ... def train(tdb_array: Annotated[str, Setting("path of the database")], *, optimisation: Optimisation) -> int:
    ...     "Train a model."
    ...     return optimisation.epochs
    >>> train("db", epochs=3), train("db", optimisation=Optimisation(epochs=3))
    (3, 3)
    >>> inspect.signature(train)
    <Signature (tdb_array: str, *, epochs: int = 40) -> 'int'>
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar, cast

from db_ingest.parameter import (
    REQUIRED,
    Parameter,
    Setting,
    none_or,
    require_choice,
    require_least,
    require_new,
    without_none,
)

__all__ = [
    "REQUIRED",
    "Changes",
    "DryRun",
    "NewTdbArray",
    "Overrides",
    "Parameter",
    "Setting",
    "Settings",
    "TdbArray",
    "Threads",
    "absolute_path",
    "none_or",
    "parameters",
    "require_choice",
    "require_least",
    "require_new",
    "takes_settings",
]

_POSITIONAL, _KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
_WIDTH = 100

Result = TypeVar("Result")
Group = TypeVar("Group", bound="Settings")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of the dataclasses of settings: each field has a :class:`Setting`, or is such a dataclass itself.

    Values are checked one by one when an instance is made; what several say together is checked where they are used.

    Attributes:
        flag_prefix: put before the fields' names to name their flags.
        flag_words: filled into the ``{fields}`` of the help texts.
    """

    flag_prefix: ClassVar[str] = ""
    flag_words: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        for node in _fields(type(self)):
            if isinstance(node, _Leaf):
                node.parameter.check(getattr(self, node.field))

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """Its settings by the names of their flags, those of dataclasses in it included."""
        return {leaf.parameter.name: leaf.parameter for leaf in _leaves(_fields(cls))}

    def flat(self) -> dict[str, Any]:
        """Values by the names of their flags, as plain data: tuples as lists, as JSON has them."""
        found: dict[str, Any] = {}
        for node in _fields(type(self)):
            value = getattr(self, node.field)
            if isinstance(node, _Leaf):
                found[node.parameter.name] = list(value) if isinstance(value, tuple) else value
            else:
                found |= value.flat()
        return found

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`flat`; what is missing has its default, what belongs to others is passed over."""
        return _build(cls, values)

    def absolute(self) -> Self:
        """The same with absolute paths in place of relative ones."""
        known = self.parameters()
        values = self.flat()
        changed = {name: absolute_path(values[name]) for name, p in known.items() if p.setting.path and values[name]}
        return Changes(changed).onto(self)

    def paths(self) -> list[str]:
        """The files and folders that are read."""
        values = self.flat()
        return [values[name] for name, p in self.parameters().items() if p.setting.path and values[name]]


@dataclass(frozen=True)
class Changes:
    """Settings given in place of others, by the names of their flags; made by a function's :class:`Overrides`.

    Args:
        given: those that were given.
    """

    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def onto(self, settings: Group) -> Group:
        """The settings with what was given in its place."""
        kept: dict[str, Any] = {}
        for node in _fields(type(settings)):
            value = getattr(settings, node.field)
            kept[node.field] = self._given(node, value) if isinstance(node, _Leaf) else self.onto(value)
        return type(settings)(**kept)

    def touches(self, kind: type[Settings]) -> bool:
        """Whether any setting of a dataclass was given."""
        return bool(set(kind.parameters()) & set(self.given))

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def _given(self, node: _Leaf, value: Any) -> Any:
        return self.given.get(node.parameter.name, value)


class Overrides:
    """Settings of dataclasses, each of which may be left out; stands in ``Annotated[Changes, Overrides(Regions)]``.

    Args:
        kinds: the dataclasses.
        only: names of flags, where it is not all of them.
        without: names of flags that are none of the function's.
        help: help texts by names of flags, where they mean something else to the function.
    """

    def __init__(
        self,
        *kinds: type[Settings],
        only: Iterable[str] = (),
        without: Iterable[str] = (),
        help: Mapping[str, str] | None = None,
    ) -> None:
        every = {name: found for kind in kinds for name, found in kind.parameters().items()}
        chosen = list(only) or [name for name in every if name not in set(without)]
        texts = {name: every[name].setting.help for name in chosen} | dict(help or {})
        self.parameters = [
            dataclasses.replace(
                every[name],
                default=None,
                annotation=without_none(every[name].annotation) | None,
                setting=dataclasses.replace(every[name].setting, help=texts[name]),
            )
            for name in chosen
        ]


def takes_settings(function: Callable[..., Result]) -> Callable[..., Result]:
    """Give a function one flat list of keywords in place of dataclasses of settings.

    Its parameters are settings, dataclasses of them, or :class:`Changes`. A call gives each setting by keyword, or a
    dataclass whole by its parameter's name. ``help()`` and ``inspect.signature`` show the settings one by one.

    Raises:
        InputError: a value is none of the choices or out of bounds.
        TypeError: a keyword is unknown or missing, or given twice.
    """
    nodes = _nodes(_parameters_of(function))
    leaves = list(_leaves(nodes))
    _refuse_same_names(function, nodes, leaves)

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Result:
        positional = [leaf.parameter.name for leaf in leaves if leaf.parameter.kind is _POSITIONAL]
        if len(args) > len(positional):
            raise TypeError(f"{function.__name__}() takes {len(positional)} arguments by position, {len(args)} given")
        for name, value in zip(positional, args, strict=False):
            if name in given:
                raise TypeError(f"{function.__name__}(): {name!r} is given twice")
            given[name] = value
        return function(**_arguments(function.__name__, nodes, given))

    every = [leaf.parameter for leaf in leaves]
    described = cast(Any, call)
    described.__signature__ = inspect.Signature(
        [
            inspect.Parameter(p.name, p.kind, default=p.default, annotation=p.annotation)
            for p in sorted(every, key=lambda p: p.kind)
        ],
        return_annotation=inspect.signature(function).return_annotation,
    )
    described.__doc__ = _docstring(inspect.getdoc(function) or "", every)
    described.__settings__ = {p.name: p for p in every}
    return call


def parameters(function: Callable[..., Any]) -> dict[str, Parameter]:
    """The settings of a function by name, in order."""
    return cast(dict[str, Parameter], cast(Any, function).__settings__)


def absolute_path(path: str) -> str:
    """An absolute path of a local file; a URI stays as it is."""
    return path if "://" in path else str(Path(path).resolve())


# The tree of what a function takes: settings, and dataclasses of settings


class _Leaf(NamedTuple):
    field: str
    parameter: Parameter


class _Branch(NamedTuple):
    field: str
    kind: type[Settings]
    nodes: Sequence[Any]


class _Optional(NamedTuple):
    field: str
    parameters: Sequence[Parameter]


_Node = _Leaf | _Branch | _Optional


class _Declared(NamedTuple):
    """A parameter or a field as it was written."""

    name: str
    hint: Any
    default: Any
    kind: Any


def _parameters_of(function: Callable[..., Any]) -> list[_Declared]:
    found = inspect.signature(function).parameters
    annotations = {name: each.annotation for name, each in found.items()}
    holder = types.SimpleNamespace(__annotations__=annotations)
    hints = typing.get_type_hints(holder, globalns=cast(Any, function).__globals__, include_extras=True)
    return [_Declared(name, hints.get(name), each.default, each.kind) for name, each in found.items()]


def _nodes(declared: Iterable[_Declared], prefix: str = "", words: Mapping[str, str] | None = None) -> list[_Node]:
    nodes: list[_Node] = []
    for name, hint, default, kind in declared:
        if isinstance(hint, type) and issubclass(hint, Settings):
            nodes.append(_Branch(name, hint, _fields(hint)))
            continue
        annotation, setting = _split(hint)
        if isinstance(setting, Overrides):
            nodes.append(_Optional(name, setting.parameters))
            continue
        if not isinstance(setting, Setting):
            raise TypeError(f"{name}: its annotation {hint!r} has no Setting")
        if words:
            setting = dataclasses.replace(setting, help=setting.help.format(**words))
        kind = _POSITIONAL if setting.positional else kind
        nodes.append(_Leaf(name, Parameter(f"{prefix}{name}", annotation, default, setting, kind)))
    return nodes


def _read_fields(kind: type[Settings]) -> tuple[_Node, ...]:
    hints = typing.get_type_hints(kind, include_extras=True)
    declared = []
    for field in dataclasses.fields(kind):
        has_default = field.default is not dataclasses.MISSING
        declared.append(_Declared(field.name, hints[field.name], field.default if has_default else REQUIRED, _KEYWORD))
    return tuple(_nodes(declared, kind.flag_prefix, kind.flag_words))


_fields = cast(Callable[[type[Settings]], tuple[_Node, ...]], functools.cache(_read_fields))


def _leaves(nodes: Iterable[_Node]) -> Iterable[_Leaf]:
    for node in nodes:
        if isinstance(node, _Leaf):
            yield node
        elif isinstance(node, _Branch):
            yield from _leaves(node.nodes)
        else:
            yield from (_Leaf(parameter.name, parameter) for parameter in node.parameters)


def _split(hint: Any) -> tuple[Any, Any]:
    """The type and the setting of ``Annotated[T, setting]`` or ``Annotated[T, setting] | None``."""
    if typing.get_origin(hint) is Annotated:
        annotation, setting, *_ = typing.get_args(hint)
        return annotation, setting
    for item in typing.get_args(hint):
        if typing.get_origin(item) is Annotated:
            annotation, setting = _split(item)
            return annotation | None, setting
    return hint, None


def _build(kind: type[Group], values: Mapping[str, Any]) -> Group:
    found: dict[str, Any] = {}
    for node in _fields(kind):
        if isinstance(node, _Branch):
            found[node.field] = _build(node.kind, values)
        elif isinstance(node, _Leaf) and node.parameter.name in values:
            found[node.field] = values[node.parameter.name]
    return kind(**found)


# Calls


def _arguments(called: str, nodes: Sequence[_Node], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the function that was decorated, from those of the call."""
    left = dict(given)
    missing: list[str] = []
    found = {node.field: _take(called, node, left, missing) for node in nodes}
    if left:
        name = next(iter(left))
        close = difflib.get_close_matches(name, [leaf.parameter.name for leaf in _leaves(nodes)], 1)
        known = f"; did you mean {close[0]!r}?" if close else ""
        raise TypeError(f"{called}(): {name!r} is not a parameter, or given twice{known}")
    if missing:
        raise TypeError(f"{called}(): {', '.join(map(repr, missing))} {'is' if len(missing) == 1 else 'are'} missing")
    return found


def _take(called: str, node: _Node, left: dict[str, Any], missing: list[str]) -> Any:
    if isinstance(node, _Leaf):
        name = node.parameter.name
        if name not in left and node.parameter.required:
            missing.append(name)
            return None
        value = left.pop(name, node.parameter.default)
        node.parameter.check(value)
        return value
    if node.field in left:
        value, kind = left.pop(node.field), node.kind if isinstance(node, _Branch) else Changes
        if not isinstance(value, kind):
            raise TypeError(f"{called}(): {node.field} is a {type(value).__name__}; expected {kind.__name__}")
        return value
    if isinstance(node, _Optional):
        changes = {p.name: left.pop(p.name, None) for p in node.parameters}
        for parameter in node.parameters:
            parameter.check(changes[parameter.name])
        return Changes({name: value for name, value in changes.items() if value is not None})
    before = len(missing)
    found = {inner.field: _take(called, inner, left, missing) for inner in node.nodes}
    return node.kind(**found) if len(missing) == before else None


def _refuse_same_names(function: Callable[..., Any], nodes: Iterable[_Node], leaves: Iterable[_Leaf]) -> None:
    names = [leaf.parameter.name for leaf in leaves] + list(_branch_names(nodes))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TypeError(f"{function.__name__}(): two parameters are named {', '.join(twice)}")


def _branch_names(nodes: Iterable[_Node]) -> Iterable[str]:
    for node in nodes:
        if not isinstance(node, _Leaf):
            yield node.field
        if isinstance(node, _Branch):
            yield from _branch_names(node.nodes)


# Text


def _docstring(text: str, every: Iterable[Parameter]) -> str:
    """A docstring with the section on arguments before those on results and errors."""
    lines = text.splitlines()
    heads = ("Returns:", "Yields:", "Raises:", "Example:", "Examples:")
    place = next((i for i, line in enumerate(lines) if line in heads), len(lines))
    before, after = "\n".join(lines[:place]).rstrip(), "\n".join(lines[place:])
    rows = [_row(parameter) for parameter in every]
    return "\n".join([before, "", "Args:", *rows, *(["", after] if after else [])])


def _row(parameter: Parameter) -> str:
    words = f"one of {', '.join(parameter.setting.choices)}" if parameter.setting.choices else ""
    said = "; ".join(part for part in (parameter.unit, words) if part)
    text = f"{parameter.name}: {parameter.setting.help}{f' ({said})' if said else ''}."
    # A Python user knows the others by their names without dashes.
    text = re.sub(r"(?<!\S)--(?=[a-z])", "", text)
    return textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="        ", break_on_hyphens=False)


# Settings of several functions

TdbArray = Annotated[str, Setting("path or s3:// URI of the database", metavar="URI")]
NewTdbArray = Annotated[str, Setting("path or s3:// URI of the database; made if there is none", metavar="URI")]
DryRun = Annotated[bool, Setting("say what would be done and do nothing")]
Threads = Annotated[
    int, Setting("number of chunks of 2^24 bases worked on at a time; 0: as many as there are cores", unit="chunks")
]
