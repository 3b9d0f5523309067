"""Which names attributes and datasets may have."""

from __future__ import annotations

import re

from db_ingest.errors import InputError

_ATTRIBUTE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


def check_attribute(name: str, flag: str) -> str:
    """Return the name of an attribute, which names folders; raises :class:`InputError` if it can be none."""
    if not _ATTRIBUTE.fullmatch(name):
        raise InputError(f"{flag} {name!r}; expected letters, digits and _ . + - only")
    if name == "seq":
        raise InputError(f"{flag} 'seq'; that names the sequence where inputs are chosen, expected another name")
    return name


def check_dataset(name: str, flag: str) -> str:
    """Return the name of a dataset; raises :class:`InputError` if flags and tables could not carry it."""
    if not name.strip() or name != name.strip() or name == "None" or set(name) & set(",\t\r\n"):
        raise InputError(f"{flag} {name!r}; a name may hold no comma or tab and may not be empty or None")
    return name
