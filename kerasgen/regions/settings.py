"""The flags about regions and background: what they may be, alone and together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db_ingest.errors import InputError
from kerasgen.database import Database
from kerasgen.regions.bed import CENTRES

UPSAMPLE_BY = ("base", "peak")
BACKGROUNDS = ("random", "gc_matched", "bed")
AMBIGUOUS = ("center", "window")
_BED, _PARTITION = "--bed_regions", "--tdb_partition_attribute_for_upsample"


def check(database: Database, flags: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` for flags of training that are out of range or contradict each other."""
    from kerasgen.regions.composition import LEVELS

    check_regions(flags)
    for name, known in (
        ("upsample_by", (None, *UPSAMPLE_BY)),
        ("background", BACKGROUNDS),
        ("ambiguous", AMBIGUOUS),
    ):
        if flags[name] not in known:
            raise InputError(f"--{name} {flags[name]}: expected one of {', '.join(word for word in known if word)}")
    for name in ("num_train", "num_valid"):
        if flags[name] is not None and flags[name] < 1:
            raise InputError(f"--{name} {flags[name]}: expected 1 or more")
    for name, least in (("max_n_fraction", 0.0), ("gc_tolerance", 1 / LEVELS)):
        if not least <= flags[name] <= 1:
            raise InputError(f"--{name} {flags[name]:g}: expected a share from {least:g} to 1")
    if flags["revcomp"] and flags["bed_regions_stranded"]:
        raise InputError("--revcomp turns windows at random, --bed_regions_stranded by their strand; give one")
    if flags["bed_regions"] is None:
        for name, default in (("bed_regions_center", "summit"), ("bed_regions_stranded", False)):
            if flags[name] != default:
                raise InputError(f"--{name} goes with {_BED}; {_PARTITION} was given")
    elif flags["tdb_partition_datasets_for_upsample"]:
        raise InputError(f"--tdb_partition_datasets_for_upsample goes with {_PARTITION}; {_BED} was given")
    if by_base(flags):
        _check_by_base(flags)
    if flags["ambiguous"] == "window" and flags["tdb_ambig_attribute"] is None:
        raise InputError("--ambiguous window says how far --tdb_ambig_attribute reaches; give both")
    _check_background(database, flags)


def check_regions(flags: Mapping[str, Any]) -> None:
    """The part of :func:`check` that is about the regions themselves, which prediction takes too."""
    if (flags["bed_regions"] is None) == (flags["tdb_partition_attribute_for_upsample"] is None):
        raise InputError(f"give one of {_BED} and {_PARTITION}")
    center = flags["bed_regions_center"]
    if center not in CENTRES:
        raise InputError(f"--bed_regions_center {center}: expected one of {', '.join(CENTRES)}")
    if flags["bed_regions_jitter"] != 1 and center != "random":
        raise InputError(
            "--bed_regions_jitter is the number of centres drawn a region with --bed_regions_center random; "
            "--jitter moves centres by up to so many bp"
        )
    if flags["bed_regions_jitter"] < 1 or flags["jitter"] < 0:
        raise InputError("--bed_regions_jitter: expected 1 or more; --jitter: 0 or more")


def by_base(flags: Mapping[str, Any]) -> bool:
    """Whether each base is as likely to be drawn as any other, else each region; by default where kerasAC does it."""
    chosen = flags["upsample_by"] or ("base" if flags["bed_regions"] is None else "peak")
    return bool(chosen == "base")


def ratio(name: str, flags: Mapping[str, Any]) -> float:
    """The one share of a flag such as ``upsample_ratio_list_train``."""
    values = flags[name]
    if len(values) != 1 or not 0 < values[0] <= 1:
        raise InputError(f"--{name} {' '.join(map(str, values))}: expected one share above 0, at most 1")
    return float(values[0])


def _check_by_base(flags: Mapping[str, Any]) -> None:
    center = flags["bed_regions_center"]
    if flags["bed_regions"] is not None and center != "random":
        raise InputError(
            f"--upsample_by base takes any base of a region, --bed_regions_center {center} does not; "
            "expected random with it"
        )
    for name, default in (("jitter", 0), ("bed_regions_jitter", 1), ("bed_regions_stranded", False)):
        if flags[name] != default:
            raise InputError(f"--{name} goes with --upsample_by peak; with base, any base may be a centre already")


def _check_background(database: Database, flags: Mapping[str, Any]) -> None:
    kind = flags["background"]
    if (kind == "bed") != (flags["background_bed"] is not None):
        raise InputError("--background bed and --background_bed FILE go together")
    shares = [ratio(name, flags) for name in ("upsample_ratio_list_train", "upsample_ratio_list_eval")]
    if kind != "random" and min(shares) == 1:
        raise InputError(
            f"--background {kind}: no background is drawn; expected a share below 1 in --upsample_ratio_list_train "
            "or --upsample_ratio_list_eval"
        )
    if kind == "gc_matched" and not database.has_sequence:
        raise InputError(
            f"--background gc_matched: {database.uri} holds no sequence; ingest one with gen_ingest --ref_fasta"
        )
