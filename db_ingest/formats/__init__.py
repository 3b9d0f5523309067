"""One module per file format, and the table of attribute types that they can be read as.

:mod:`db_ingest.formats.base` says what a module promises.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Option:
    """A setting of an attribute type.

    Args:
        default: its value when not given.
        expected: what it may be, for messages.
        accepts: whether a value, as YAML gives it, is one.
        required: whether it must be given.
    """

    default: Any
    expected: str
    accepts: Callable[[Any], bool]
    required: bool = False


def _one_of(*values: str) -> Option:
    return Option(values[0], f"one of {', '.join(values)}", lambda value: value in values)


def _whole(default: int, most: int) -> Option:
    return Option(
        default,
        f"a whole number from 0 to {most:,}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most,
    )


def _text() -> Option:
    return Option(None, "text", lambda value: value is None or (isinstance(value, str) and bool(value)))


def _is_shift(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(bp, int) and not isinstance(bp, bool) and abs(bp) <= 1000 for bp in value)
    )


TRANSFORM, UNIT = "transform", "unit"
"""Settings that change nothing about how a file is read, but say what its values are."""

_MEASURED = {TRANSFORM: _one_of("None", "arcsinh"), UNIT: _text()}
_MISSING = {"missing": _one_of("zero", "nan")}
_NEGATIVE = {"negative": _one_of("auto", "keep", "absolute")}
_SHIFT = {"shift": Option([0, 0], "two whole numbers of bp, for the plus and the minus strand", _is_shift)}


def _reads(exclude_flags: int) -> dict[str, Option]:
    return {
        "min_mapq": _whole(0, 255),
        "exclude_flags": _whole(exclude_flags, 0xFFFF),
        "include_flags": _whole(0, 0xFFFF),
        "duplicates": _one_of("drop", "keep"),
    }


# Unmapped, secondary, failed; a supplementary alignment's 5' end lies within its read, but its bases do align.
_READS_5P, _READS_COVERAGE = _reads(0xB04), _reads(0x304)
_FRAGMENTS = {"count": _one_of("cut_sites", "coverage"), **_SHIFT, "barcodes": _text()}
_BIN = Option(
    None,
    "bp per bin, a whole number from 1 to 1,000,000",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10**6,
    required=True,
)
_GRID = {"bin": _BIN, "key": _text(), "chromosome": _text(), **_MISSING, **_MEASURED}
_INTERVALS = {"empty": _one_of("refuse", "allow"), "past_end": _one_of("refuse", "clip")}


@dataclass(frozen=True)
class Format:
    """An attribute type: how a file of it is read.

    Args:
        module: module of :mod:`db_ingest.formats` that reads it.
        kind: ``"signal"`` (the module has ``open_signal``) or ``"mask"`` (``open_intervals``).
        options: settings it knows.
        strand: the strand it takes of a stranded file, None for both.
        splits: whether several workers may each read a part of one file; otherwise one reads it from end to end.
        threaded: whether reading one file can use several threads.
        fixed: settings that the type itself stands for, passed on with the options.
    """

    module: str
    kind: str = "signal"
    options: Mapping[str, Option] = field(default_factory=dict)
    strand: str | None = None
    splits: bool = False
    threaded: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def all_options(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """All options of a file by name: its settings, defaults for the others, and what the type stands for."""
        return {name: option.default for name, option in self.options.items()} | dict(settings) | dict(self.fixed)

    def load(self) -> ModuleType:
        """Import the module."""
        return importlib.import_module(f"{__name__}.{self.module}")


def _stranded(name: str, **settings: Any) -> dict[str, Format]:
    strands = {"": None, "_plus": "+", "_minus": "-"}
    return {f"{name}{ending}": Format(strand=strand, **settings) for ending, strand in strands.items()}


def _peaks(summits: str, layout: str = "bed", summit_column: str = "auto") -> Format:
    fixed = {"summits": summits, "layout": layout, "summit_column": summit_column}
    return Format("bed", "mask", options=_INTERVALS, fixed=fixed)


FORMATS: dict[str, Format] = {
    "bigwig": Format("bigwig", options={**_NEGATIVE, **_MISSING, **_MEASURED}, splits=True),
    "bedgraph": Format("bedgraph", options={**_NEGATIVE, **_MISSING, **_MEASURED}),
    **_stranded("bam_5p", module="bam", options={**_SHIFT, **_READS_5P}, threaded=True, fixed={"count": "5p"}),
    "bam_coverage": Format("bam", options=_READS_COVERAGE, threaded=True, fixed={"count": "coverage"}),
    "fragments": Format("fragments", options=_FRAGMENTS),
    "bedpe": Format("bedpe", options={"count": _FRAGMENTS["count"], **_SHIFT}),
    **_stranded("tagalign_5p", module="tagalign", options=_SHIFT),
    "npz": Format("npz", options=_GRID),
    "npy": Format("npz", options=_GRID),
    "bed_no_summit": _peaks(summits="none"),
    "bed_summit_from_peak_center": _peaks(summits="centre"),
    "bed_summit_from_last_col": _peaks(summits="called", summit_column="last_col"),
    "narrowPeak": _peaks(summits="called", layout="narrowpeak"),
    "broadPeak": _peaks(summits="none", layout="broadpeak"),
}
"""Every attribute type by the name that a config gives it."""


def has_called_summits(ingest_type: str) -> bool:
    """Whether a file of this type says where the summit of each interval is; not where the track is of no file."""
    return ingest_type in FORMATS and FORMATS[ingest_type].fixed.get("summits") == "called"
