"""Which chromosomes train, validate and test: published folds and lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from db_ingest.errors import InputError
from db_ingest.layout.genome import Genome, shorten_names
from kerasgen.settings import Folds

_HUMAN = ("1", "2 19", "3 20", "6 13 22", "5 16 Y", "4 15 21", "7 14 18", "11 17 X", "9 12", "8 10")
_MOUSE = ("1", "2 19", "3", "6 13", "5 16 Y", "4 15", "7 14 18", "11 17 X", "9 12", "8 10")
_YEAST = ("I II", "VIII XIII", "IV VI", "VII IX", "XV III", "XII", "XVI V", "XIV X", "XI")


def _table(folds: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"chr{name}" for name in fold.split()) for fold in folds)


FOLDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "hg38": _table(_HUMAN),
    "hg19": _table(_HUMAN),
    "mm10": _table(_MOUSE),
    "mm9": _table(_MOUSE),
    "sacCer3": _table(_YEAST),
}
"""Test chromosomes by genome and fold.

Those of human and mouse are the tables that kerasAC publishes; the fold before (the last one before fold 0) validates.
Those of sacCer3 are ours: fold 0 tests on chrI and chrII; the fold after validates.
"""


@dataclass(frozen=True)
class Split:
    """Chromosome names of each part, in the genome's order."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def published(genome: str, fold: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Test and validation chromosomes of a published fold.

    Raises:
        InputError: an unknown genome or fold.
    """
    if genome not in FOLDS:
        raise InputError(f"--genome {genome}: no published folds; known are {', '.join(FOLDS)}")
    folds = FOLDS[genome]
    if not 0 <= fold < len(folds):
        raise InputError(f"--fold {fold}: {genome} has folds 0 to {len(folds) - 1}")
    step = 1 if genome == "sacCer3" else -1
    return folds[fold], folds[(fold + step) % len(folds)]


def split(chromosomes: Genome, given: Folds, *, validates: bool = True) -> Split:
    """Divide a genome's chromosomes.

    With a published fold, all that neither tests nor validates trains, chrM and unplaced contigs excepted. With lists,
    the training chromosomes default to all the others, the test chromosomes to all that neither trains nor validates.

    Args:
        chromosomes: the genome's.
        given: a published fold, or lists.
        validates: whether something is chosen by validation; else lists need not name its chromosomes.

    Raises:
        InputError: no split given, both kinds given, an unknown chromosome, or one named in two parts.
    """
    lists: Mapping[str, Sequence[str] | None] = {
        "--train_chroms": given.train_chroms,
        "--validation_chroms": given.validation_chroms,
        "--test_chroms": given.test_chroms,
    }
    genome, fold = given.genome, given.fold
    if fold is not None or genome is not None:
        if fold is None or genome is None:
            raise InputError("--fold and --genome go together")
        if listed := [name for name, value in lists.items() if value]:
            raise InputError(f"give either --fold and --genome or {listed[0]}, not both")
        test, validation = published(genome, fold)
        everything = {name for part in FOLDS[genome] for name in part}
        train = tuple(n for n in chromosomes.names if n in everything and n not in test and n not in validation)
        result = Split(
            train,
            tuple(n for n in chromosomes.names if n in validation),
            tuple(n for n in chromosomes.names if n in test),
        )
        for part, names in (("training", result.train), ("validation", result.validation)):
            if not names:
                raise InputError(
                    f"fold {fold} of {genome} has no {part} chromosome in this genome, which has "
                    f"{shorten_names(chromosomes.names)}"
                )
        return result
    if validates and not given.validation_chroms:
        raise InputError("give --fold and --genome, or --validation_chroms (and --train_chroms, --test_chroms)")
    parts: dict[str, str] = {}
    for flag, some in lists.items():
        for name in some or ():
            if name not in chromosomes:
                raise InputError(f"{flag} {name}: not in the genome, which has {shorten_names(chromosomes.names, 20)}")
            if name in parts:
                raise InputError(f"{flag} {name}: named in {parts[name]} too")
            parts[name] = flag
    named = set(parts)
    rest = tuple(name for name in chromosomes.names if name not in named)
    train = tuple(given.train_chroms or rest)
    test = tuple(given.test_chroms or (rest if given.train_chroms else ()))
    if not train:
        raise InputError("no chromosome is left to train on")
    return Split(train, tuple(given.validation_chroms or ()), test)
