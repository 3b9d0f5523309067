"""Any intervals and any signal come out of a database as they went in, wherever chunks and chromosomes end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyBigWig
import pytest
from chance import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from db_ingest import ingest

CHUNK = 65_536
SIZES = {"chr1": 2 * CHUNK + 100, "chr2": CHUNK - 1, "chr3": CHUNK, "chr4": 1}
BORDERS = [0, CHUNK, 2 * CHUNK]
round_trips = settings(examples(8), suppress_health_check=list(HealthCheck))


class Peak(NamedTuple):
    chromosome: str
    start: int
    end: int
    offset: int


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db_ingest.layout.genome.CHUNK", CHUNK)


@st.composite
def place(draw: st.DrawFn) -> tuple[str, int]:
    """A base, often near a border of chunks or an end of its chromosome."""
    name = draw(st.sampled_from(list(SIZES)))
    near = draw(st.sampled_from([*BORDERS, SIZES[name]])) + draw(st.integers(-3, 2))
    base = draw(st.one_of(st.just(near), st.integers(0, SIZES[name] - 1)))
    return name, min(max(base, 0), SIZES[name] - 1)


@st.composite
def peaks(draw: st.DrawFn) -> Peak:
    name, start = draw(place())
    end = min(start + draw(st.one_of(st.integers(1, 6), st.integers(1, 100_000))), SIZES[name])
    offset = draw(st.one_of(st.sampled_from([-1, 0, end - start - 1]), st.integers(-1, end - start - 1)))
    return Peak(name, start, end, offset)


@st.composite
def signals(draw: st.DrawFn) -> dict[str, list[tuple[int, int, float]]]:
    """Intervals with values that do not overlap, by chromosome."""
    value = draw(
        st.sampled_from(
            [
                st.integers(0, 65_534).map(float),
                st.integers(0, 70_000).map(float),
                st.floats(-1e6, 1e6, width=32),
                st.floats(width=32, allow_nan=False, allow_infinity=False),
            ]
        )
    )
    found: dict[str, list[tuple[int, int, float]]] = {}
    for name, base in sorted(set(draw(st.lists(place(), max_size=12)))):
        before = found.setdefault(name, [(0, 0, 0.0)])[-1][1]
        start = max(base, before)
        end = min(start + draw(st.one_of(st.integers(1, 5), st.integers(1, 100_000))), SIZES[name])
        if start < end:
            found[name].append((start, end, draw(value)))
    return {name: rows[1:] for name, rows in found.items() if len(rows) > 1}


def made(folder: Path, stored: Any, types: dict[str, str], files: dict[str, Path]) -> Any:
    """A database of one dataset, attribute -> type and attribute -> file."""
    (folder / "sizes").write_text("".join(f"{name}\t{size}\n" for name, size in SIZES.items()))
    (folder / "types.yaml").write_text("".join(f"{name}: {kind}\n" for name, kind in types.items()))
    table = "\t".join(["dataset", *files]) + "\n" + "\t".join(["d", *map(str, files.values())]) + "\n"
    (folder / "samples.tsv").write_text(table)
    ingest(
        str(folder / "db"),
        str(folder / "samples.tsv"),
        chrom_sizes=str(folder / "sizes"),
        attribute_config_file=str(folder / "types.yaml"),
        threads=1,
    )
    return stored(folder / "db")


@pytest.fixture
def folders() -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as top:
        yield lambda: Path(tempfile.mkdtemp(dir=top))


EDGES = [
    *(Peak("chr1", border - 1, border + 1, offset) for border in BORDERS[1:] for offset in (0, 1)),
    *(Peak("chr1", border, border + 9, offset) for border in BORDERS for offset in (0, 8)),
    *(Peak(name, 0, 1, 0) for name in SIZES),
    *(Peak(name, max(0, size - 5), size, min(size, 5) - 1) for name, size in SIZES.items()),
    *(Peak(name, 0, size, -1) for name, size in SIZES.items()),
]


@round_trips
@example(EDGES)
@example([])
@given(st.lists(peaks(), max_size=12))
def test_any_set_of_peaks_comes_back(folders, stored, drawn):
    folder = folders()
    lines = "".join(f"{c}\t{s}\t{e}\tp{i}\t{i}\t.\t{i}.5\t-1\t-1\t{o}\n" for i, (c, s, e, o) in enumerate(drawn))
    (folder / "p.narrowPeak").write_text(lines)
    catalogue = made(folder, stored, {"peaks": "{type: narrowPeak, empty: allow}"}, {"peaks": folder / "p.narrowPeak"})
    for name, size in SIZES.items():
        expected = np.zeros(size, np.uint8)
        here = [peak for peak in drawn if peak.chromosome == name]
        for _, start, end, _ in here:
            expected[start:end] = 1
        for _, start, end, offset in here:
            expected[start + offset if offset >= 0 else (start + end) // 2] = 2
        np.testing.assert_array_equal(catalogue.values("peaks", "d", name), expected)
    if drawn:
        rows = [(c, s, e, f"p{i}", i, ".", i + 0.5, -1, -1, o) for i, (c, s, e, o) in enumerate(drawn)]
        assert catalogue.intervals("peaks", "d") == sorted(rows)


@round_trips
@example({name: [(0, size, 1.0)] for name, size in SIZES.items()})
@example({"chr1": [(CHUNK - 1, CHUNK, 7.0), (CHUNK, CHUNK + 1, 65_534.0), (2 * CHUNK - 1, 2 * CHUNK + 1, 3.0)]})
@example({"chr1": [(5, 9, 4.0), (2 * CHUNK + 99, 2 * CHUNK + 100, 0.5)]})
@given(signals().filter(bool))
def test_any_signal_comes_back_from_bigwig_and_from_bedgraph(folders, stored, drawn):
    folder = folders()
    with pyBigWig.open(str(folder / "a.bw"), "w") as file:
        file.addHeader(list(SIZES.items()))
        for name in SIZES:
            if name in drawn:
                starts, ends, values = zip(*drawn[name], strict=True)
                file.addEntries([name] * len(starts), list(starts), ends=list(ends), values=list(values))
    lines = "".join(f"{name}\t{s}\t{e}\t{v!r}\n" for name, rows in drawn.items() for s, e, v in rows)
    (folder / "a.bedGraph").write_text(lines)
    files = {"a": folder / "a.bw", "b": folder / "a.bedGraph", "a_nan": folder / "a.bw", "b_nan": folder / "a.bedGraph"}
    types = {
        "a": "bigwig",
        "b": "bedgraph",
        "a_nan": "{type: bigwig, missing: nan}",
        "b_nan": "{type: bedgraph, missing: nan}",
    }
    catalogue = made(folder, stored, types, files)
    every = [value for rows in drawn.values() for _, _, value in rows]
    whole = all(value == int(value) and 0 <= value <= 65_534 for value in every)
    for name, size in SIZES.items():
        expected = np.full(size, np.nan, np.float32)
        for start, end, value in drawn.get(name, ()):
            expected[start:end] = value
        for attribute in files:
            assert catalogue.track(attribute, "d")["folder"] == ("counts" if whole else "signal")
            found = catalogue.values(attribute, "d", name)
            # A chromosome that a bedGraph does not name was not measured.
            absent = attribute.startswith("b") and name not in drawn
            filled = expected if absent or attribute.endswith("_nan") else np.nan_to_num(expected)
            np.testing.assert_array_equal(found, filled, err_msg=f"{attribute} {name}")
