"""Windows of a database against pysam and pyBigWig."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyBigWig
import pysam
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError, NoDatabaseError
from kerasgen.database import Database
from kerasgen.sequence import to_text

PLUS = "count_bigwig_plus_5p"


def expected_text(fasta: pysam.FastaFile, name: str, start: int, length: int) -> str:
    size = fasta.get_reference_length(name)
    inside = fasta.fetch(name, max(start, 0), max(min(start + length, size), 0)) if start < size else ""
    left = min(max(-start, 0), length)
    return ("N" * left + inside.upper()).ljust(length, "N")


def expected_values(path: Path, name: str, start: int, length: int) -> np.ndarray:
    with pyBigWig.open(str(path)) as file:
        size = file.chroms(name)
        values = np.zeros(length, np.float32)
        low, high = max(start, 0), min(start + length, size)
        if high > low:
            values[low - start : high - start] = np.nan_to_num(file.values(name, low, high, numpy=True))
    return values


windows = st.lists(
    st.tuples(st.sampled_from(["chr1", "chr2", "chr3"]), st.integers(-700, 60_700)), min_size=1, max_size=20
)


@examples(60)
@given(places=windows, length=st.integers(1, 900))
def test_windows_anywhere_equal_pysam_and_pybigwig(
    database: Database, simulated: Path, places: list[tuple[str, int]], length: int
) -> None:
    names, starts = [name for name, _ in places], [start for _, start in places]
    codes = database.sequence(names, starts, length)
    track = database.track(PLUS, "rep1")
    values = database.values([track], names, starts, length)
    assert codes.shape == (len(places), length)
    assert values.shape == (len(places), length, 1)
    with pysam.FastaFile(str(simulated / "genome.fa")) as fasta:
        for i, (name, start) in enumerate(places):
            assert to_text(codes[i]) == expected_text(fasta, name, start, length)
            np.testing.assert_array_equal(
                values[i, :, 0], expected_values(simulated / "rep1.plus.bw", name, start, length)
            )


def test_window_longer_than_a_chromosome_is_padded(database: Database, simulated: Path) -> None:
    codes = database.sequence(["chr2"], [-5_000], 70_000)
    with pysam.FastaFile(str(simulated / "genome.fa")) as fasta:
        assert to_text(codes[0]) == expected_text(fasta, "chr2", -5_000, 70_000)


def test_window_wholly_outside_reads_n_and_zero(database: Database) -> None:
    assert (database.sequence(["chr1", "chr1"], [-900, 60_000], 500) == 4).all()
    assert (database.windows(database.track(PLUS, "rep1"), ["chr1"], [-900], 500) == 0).all()
    assert (database.windows(database.track("idr_peak", "rep1"), ["chr3"], [99_000], 500) == 0).all()


def test_mask_marks_peaks_and_summits(database: Database, simulated: Path) -> None:
    peaks = [line.split() for line in (simulated / "peaks.narrowPeak").read_text().splitlines()]
    wanted = {name: np.zeros(60_000, np.uint8) for name in ("chr1", "chr2", "chr3")}
    for name, start, end, *_ in peaks:
        wanted[name][int(start) : int(end)] = 1
    for fields in peaks:
        wanted[fields[0]][int(fields[1]) + int(fields[9])] = 2
    track = database.track("idr_peak", "rep2")
    for name, mask in wanted.items():
        np.testing.assert_array_equal(database.windows(track, [name], [0], 60_000)[0], mask)


def test_intervals_come_back_as_they_came(database: Database, simulated: Path) -> None:
    table = database.intervals("idr_peak", "pooled")
    lines = [line.split("\t") for line in (simulated / "peaks.narrowPeak").read_text().splitlines()]
    lines.sort(key=lambda fields: (fields[0], int(fields[1])))
    assert table["chromosome"].tolist() == [f[0] for f in lines]
    assert table["start"].tolist() == [int(f[1]) for f in lines]
    assert table["end"].tolist() == [int(f[2]) for f in lines]
    assert table["name"].tolist() == [f[3] for f in lines]
    assert table["summit"].tolist() == [int(f[9]) for f in lines]
    np.testing.assert_allclose(table["signalValue"], [float(f[6]) for f in lines])


def test_unknown_names_are_listed(database: Database) -> None:
    with pytest.raises(InputError, match="no attribute 'nope'.*count_bigwig_plus_5p"):
        database.track("nope", "rep1")
    with pytest.raises(InputError, match="no dataset 'nope'.*rep1, rep2, pooled"):
        database.track(PLUS, "nope")
    with pytest.raises(InputError, match="3 datasets have"):
        database.track(PLUS)
    with pytest.raises(InputError, match="no chromosome 'chr9'.*chr1"):
        database.sequence(["chr9"], [0], 10)


@pytest.mark.parametrize("place", ["missing", "plain", "broken"])
def test_a_path_without_a_database_is_refused(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    if place != "missing":
        folder.mkdir()
    if place == "broken":
        (folder / "catalogue.json").write_text('{"format": "other"}')
    with pytest.raises(NoDatabaseError, match=str(folder)):
        Database(str(folder))


def test_an_s3_uri_without_a_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(NoDatabaseError, match="s3://bucket/db: no kerasgen database"):
        Database("s3://bucket/db")


def test_reading_with_threads_gives_the_same_values(database: Database) -> None:
    from concurrent.futures import ThreadPoolExecutor

    track = database.track(PLUS, "pooled")
    starts = np.arange(0, 50_000, 500)
    alone = [database.windows(track, ["chr1"], [s], 800) for s in starts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda s: database.windows(track, ["chr1"], [s], 800), starts))
    np.testing.assert_array_equal(np.concatenate(alone), np.concatenate(together))
