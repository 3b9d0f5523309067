"""Which attributes are the plus and the minus strand of one another, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORDS = {"plus": "minus", "fwd": "rev", "forward": "reverse", "pos": "neg"}
_PARTNER = {**_WORDS, **{minus: plus for plus, minus in _WORDS.items()}}
_WORD = re.compile(r"(?<![a-z])(" + "|".join(sorted(_PARTNER, key=len, reverse=True)) + r")(?![a-z])", re.I)
_SIGN = re.compile(r"(?<=[._-])([+-])(?=$|[._-])|([+])$")


def partner_name(name: str) -> str | None:
    """Return the name ``name`` would have on the other strand, or None if it names no strand.

    >>> partner_name("count_bigwig_plus_5p")
    'count_bigwig_minus_5p'
    >>> partner_name("idr_peak") is None
    True
    """
    word = _WORD.search(name)
    if word:
        swapped = _PARTNER[word.group().lower()]
        swapped = swapped.upper() if word.group().isupper() else swapped
        swapped = swapped.capitalize() if word.group().istitle() else swapped
        return name[: word.start()] + swapped + name[word.end() :]
    sign = _SIGN.search(name)
    if sign:
        return name[: sign.start()] + ("-" if sign.group() == "+" else "+") + name[sign.end() :]
    if name.endswith("-"):
        return name[:-1] + "+"
    return None


def is_minus(name: str) -> bool:
    """Whether the name is that of a minus-strand attribute."""
    word = _WORD.search(name)
    if word:
        return word.group().lower() in _WORDS.values()
    sign = _SIGN.search(name)
    return sign.group() == "-" if sign else name.endswith("-")


def pair_strands(names: Iterable[str], overrides: dict[str, str] | None = None) -> dict[str, str | None]:
    """Map each stranded attribute to its partner.

    Args:
        names: all attributes of a database.
        overrides: pairs that overrule the names; either direction is enough.

    Returns:
        attribute -> partner, or None where the name tells a strand but the partner is not among ``names``.
        An attribute that names no strand is absent.
    """
    names = list(names)
    pairs: dict[str, str | None] = {}
    for name in names:
        other = partner_name(name)
        if other is not None:
            pairs[name] = other if other in names else None
    for plus, minus in (overrides or {}).items():
        pairs[plus], pairs[minus] = minus, plus
    return pairs
