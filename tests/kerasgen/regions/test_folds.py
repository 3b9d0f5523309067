"""Splits by chromosome."""

from __future__ import annotations

import pytest

from db_ingest.errors import InputError
from db_ingest.layout.genome import Genome
from kerasgen.regions import folds
from kerasgen.settings import Folds

HUMAN = Genome(tuple(f"chr{n}" for n in [*range(1, 23), "X", "Y", "M"]), (1000,) * 25)
ROMAN = "I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI M"
YEAST = Genome(tuple(f"chr{name}" for name in ROMAN.split()), (1000,) * 17)


@pytest.mark.parametrize("genome", folds.FOLDS)
def test_every_chromosome_is_tested_once_and_only_once(genome: str) -> None:
    names = [name for fold in folds.FOLDS[genome] for name in fold]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("fold", "test", "validation"),
    [(0, {"chr1"}, {"chr8", "chr10"}), (4, {"chr5", "chr16", "chrY"}, {"chr6", "chr13", "chr22"})],
)
def test_human_folds_are_the_published_ones(fold: int, test: set, validation: set) -> None:
    split = folds.split(HUMAN, Folds(genome="hg38", fold=fold))
    assert set(split.test) == test
    assert set(split.validation) == validation
    assert not {"chrM"} & set(split.train)
    assert set(split.train) | test | validation | {"chrM"} == set(HUMAN.names)


def test_yeast_fold_zero_holds_out_one_and_two() -> None:
    split = folds.split(YEAST, Folds(genome="sacCer3", fold=0))
    assert split.test == ("chrI", "chrII")
    assert split.validation == ("chrVIII", "chrXIII")
    assert len(split.train) == 12


def test_lists_leave_the_rest_to_training_or_testing() -> None:
    split = folds.split(YEAST, Folds(validation_chroms=["chrII"], test_chroms=["chrI"]))
    assert "chrM" in split.train
    assert len(split.train) == 15
    split = folds.split(YEAST, Folds(train_chroms=["chrI"], validation_chroms=["chrII"]))
    assert len(split.test) == 15


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "give --fold and --genome"),
        ({"fold": 1}, "go together"),
        ({"fold": 12, "genome": "hg38"}, "folds 0 to 9"),
        ({"fold": 0, "genome": "dm6"}, "known are hg38"),
        ({"fold": 0, "genome": "sacCer3", "train_chroms": ["chrI"]}, "not both"),
        ({"validation_chroms": ["chrZ"]}, "chrZ: not in the genome"),
        ({"validation_chroms": ["chrI"], "test_chroms": ["chrI"]}, "named in --validation_chroms too"),
        ({"fold": 0, "genome": "hg38"}, "has no validation chromosome"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(flags: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        folds.split(YEAST, Folds(**flags))
