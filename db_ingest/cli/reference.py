"""Tables of flags in the documents of the commands: ``python -m db_ingest.cli.reference docs/commands/*.md``.

A document marks the place of a table, ``<!-- flags of MODULE:NAME -->`` to ``<!-- end of flags -->``, by the name of
the :class:`~db_ingest.cli.frame.Command`, or of an item of a dictionary of commands, ``MODULE:NAME[KEY]``.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from db_ingest import storage
from db_ingest.cli.frame import Command
from db_ingest.settings import Parameter

_PLACE = re.compile(r"(<!-- flags of ([\w.]+):(\w+)(?:\[(\w+)\])? -->\n).*?(<!-- end of flags -->)", re.DOTALL)


def write_tables(text: str) -> str:
    """A document with the tables of its commands as the code is now."""

    def table(place: re.Match[str]) -> str:
        found: Any = getattr(importlib.import_module(place[2]), place[3])
        command: Command = found[place[4]] if place[4] else found
        return f"{place[1]}{table_of(command.parameters().values())}{place[5]}"

    return _PLACE.sub(table, text)


def table_of(parameters: Iterable[Parameter]) -> str:
    """The flags of a command as tables in Markdown, one per group."""
    groups: dict[str, list[Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(parameter.setting.group, []).append(parameter)
    lines = []
    for group, members in groups.items():
        lines += [f"\n**{group}**\n"] if len(groups) > 1 else [""]
        lines += ["| flag | value | default | meaning |", "|---|---|---|---|", *map(_row, members)]
    return "\n".join([*lines, "", ""])


def _row(parameter: Parameter) -> str:
    names = ", ".join(f"`{name}`" for name in (f"--{parameter.name}", *parameter.setting.also))
    default = "**needed**" if parameter.required else _default(parameter)
    help = parameter.setting.help
    meaning = re.sub(r"(?<!\S)(--\w+)", r"`\1`", help[0].upper() + help[1:]).replace("|", "\\|")
    return f"| {names} | {_value(parameter)} | {default} | {meaning} |"


def _default(parameter: Parameter) -> str:
    if parameter.switch and parameter.default is not None:
        return "on" if parameter.default else "off"
    return f"`{parameter.shown_default}`" if parameter.shown_default else ""


def _value(parameter: Parameter) -> str:
    """What a flag takes, in words."""
    if parameter.switch:
        return "switch"
    if parameter.setting.choices:
        return ", ".join(f"`{word}`" for word in parameter.setting.choices)
    if parameter.setting.unit:
        word = parameter.setting.unit
    elif parameter.is_number:
        word = "number"
    else:
        word = f"`{parameter.placeholder}`".replace("|", "\\|")
    return f"{word}, one or more" if parameter.many else word


def main(paths: Sequence[str] | None = None) -> int:
    """Write the tables of the documents that are named; says which were not as the code is."""
    for path in map(Path, sys.argv[1:] if paths is None else paths):
        before = path.read_text()
        after = write_tables(before)
        if after != before:
            storage.replace_bytes(path, after.encode())
            sys.stdout.write(f"{path}: written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
