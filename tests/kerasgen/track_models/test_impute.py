"""Imputed values as bigWigs: gaps, the last bin, what is undone and cut off; regions as they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError
from kerasgen.track_models.bigwigs import WrittenBigWigs, write_bigwigs
from kerasgen.track_models.models import BinRange, parse_region

SIZES = {"chr1": 1_010, "chr10": 500}
PAIRS = [("E1", "a"), ("E2", "a")]


class Model:
    """Has values for two tracks; a stand-in for what was trained."""

    sizes = SIZES

    def __init__(self, values: dict[str, np.ndarray], transformation: str = "arcsinh") -> None:
        self.values, self.bin, self.transformation = values, 25, transformation

    def impute(self, pairs: list[tuple[str, str]], piece: BinRange) -> np.ndarray:
        rows = [PAIRS.index(pair) for pair in pairs]
        return self.values[piece.chromosome][rows, piece.first : piece.end]


@pytest.fixture
def model(rng: np.random.Generator) -> Model:
    return Model({name: rng.normal(1, 2, (2, -(-size // 25))).astype(np.float32) for name, size in SIZES.items()})


def written(model: Model, folder: Path, ranges: list[BinRange], **how) -> tuple[WrittenBigWigs, list[dict]]:
    """Write both tracks; gives what each base then holds."""
    result = write_bigwigs(model, PAIRS, ranges, folder, **how)  # type: ignore[arg-type]
    bases = []
    for path in result.paths:
        with pyBigWig.open(str(path)) as file:
            bases.append({name: file.values(name, 0, size, numpy=True) for name, size in file.chroms().items()})
    return result, bases


ALL = [BinRange("chr1", 0, 41), BinRange("chr10", 0, 20)]


@pytest.mark.parametrize("block", [7, 240_000])
def test_every_base_has_the_value_of_its_bin_and_gaps_have_none(model, tmp_path, block):
    model.values["chr1"][0, [0, 5, 6, 40]] = np.nan
    model.values["chr10"][0, :] = np.nan
    _, found = written(model, tmp_path, ALL, keep_arcsinh=True, at_once=block)
    for row, bases in enumerate(found):
        for name, size in SIZES.items():
            np.testing.assert_array_equal(bases[name], np.repeat(model.values[name][row], 25)[:size])


def test_arcsinh_is_undone_and_what_is_then_below_zero_is_zero_and_counted(model, tmp_path):
    result, found = written(model, tmp_path, ALL)
    for row, (path, bases) in enumerate(zip(result.paths, found, strict=True)):
        plain = {name: np.sinh(values[row].astype(np.float64)) for name, values in model.values.items()}
        for name, size in SIZES.items():
            np.testing.assert_allclose(bases[name], np.repeat(np.maximum(plain[name], 0), 25)[:size], rtol=1e-6)
        assert result.clipped[path] == sum(int((values < 0).sum()) for values in plain.values()) > 0


def test_values_of_a_model_without_arcsinh_are_written_as_they_are(model, tmp_path):
    model.transformation = "None"
    result, found = written(model, tmp_path, [BinRange("chr10", 3, 5)])
    np.testing.assert_array_equal(found[0]["chr10"][75:125], np.repeat(model.values["chr10"][0, 3:5], 25))
    assert np.isnan(np.delete(found[0]["chr10"], range(75, 125))).all()
    assert result.clipped == {}


def test_failure_leaves_no_file(model, tmp_path):
    model.values["chr10"] = None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        written(model, tmp_path, ALL)
    assert not list(tmp_path.iterdir())


@given(name=st.text("chrXY:_-.09", min_size=1), start=st.integers(0, 10**9), length=st.integers(0, 10**9))
def test_region_is_read_as_it_is_written(name, start, length):
    assert parse_region(f"{name}:{start}-{start + length}") == (name, start, start + length)
    assert parse_region(f"{name}:{start:,}-{start + length:,}") == (name, start, start + length)


@pytest.mark.parametrize("text", ["", "chr1", "chr1:5", "chr1:5-", ":5-9", "chr1:-5-9", "chr1:5-9e3", "chr1:a-b"])
def test_region_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="expected a region CHROM:START-END"):
        parse_region(text)
