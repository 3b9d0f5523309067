"""NumPy arrays on a grid of bins, against plain NumPy, and those that fit no genome."""

from __future__ import annotations

import ast
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats import npz
from db_ingest.formats.base import SignalReader
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

NAMING = Naming(Genome(("chr1", "chr2", "chrM"), (1_000, 505, 70)))
LONE = Naming(Genome(("pilot",), (505,)))
OPTIONS = {"bin": 25, "key": None, "chromosome": None, "missing": "zero"}


def open_(path: Path, naming: Naming = NAMING, **options: object) -> npz.BinnedArrays:
    npz.check_signal(path, naming, {**OPTIONS, **options})
    reader = npz.open_signal(path, naming, {**OPTIONS, **options})
    assert isinstance(reader, SignalReader)
    return reader


@examples(60)
@given(
    size=st.integers(1, 300),
    bin=st.integers(1, 60),
    kind=st.sampled_from(["f2", "f4", ">f4", "f8", "i1", "u2", "i8", "?"]),
    missing=st.sampled_from(["zero", "nan"]),
    suffix=st.sampled_from(["npy", "npz"]),
    data=st.data(),
)
def test_every_base_has_the_value_of_its_bin(size, bin, kind, missing, suffix, data):
    bins = (size + bin - 1) // bin
    values = data.draw(st.lists(st.integers(0, 1), min_size=bins, max_size=bins))
    array = (np.array(values) * 3).astype(kind)
    if array.dtype.kind == "f":
        array[data.draw(st.integers(0, bins - 1))] = np.nan
    filled = array.astype(np.float32)
    if missing == "zero":
        filled = np.nan_to_num(filled)
    expected = np.array([filled[base // bin] for base in range(size)])
    start = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(start + 1, size))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        (np.save if suffix == "npy" else np.savez)(path, array)
        reader = open_(path, Naming(Genome(("c",), (size,))), bin=bin, missing=missing)
        found = reader.read("c", start, end)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected[start:end])
        np.testing.assert_array_equal(reader.read_bins("c", 0, bins), filled)
        assert reader.bin == bin
        reader.close()


def test_reader_hands_out_fresh_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(21, np.float32))
    reader = open_(tmp_path / "a.npy", LONE)
    reader.read("pilot", 0, 505)[:] = 7
    reader.read_bins("pilot", 0, 21)[:] = 7
    assert reader.read("pilot", 0, 505).sum() == 505


def test_archive_holds_an_array_for_each_chromosome_under_any_of_its_names(tmp_path):
    arrays = {"2": np.arange(21), "chr1": np.arange(40), "chrUn": np.arange(3)}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    reader = open_(tmp_path / "a.npz")
    assert (reader.chromosomes, reader.summary) == (("chr1", "chr2"), {"elsewhere": 1})
    for name, key in (("chr1", "chr1"), ("chr2", "2"), ("chr1", "chr1")):
        np.testing.assert_array_equal(reader.read_bins(name, 3, 9), arrays[key][3:9])


def test_lone_array_is_of_its_name_of_the_chromosome_given_or_of_the_only_one(tmp_path):
    np.savez(tmp_path / "named.npz", chr2=np.ones(21))
    np.savez(tmp_path / "bare.npz", np.ones(21))
    np.savez(tmp_path / "two.npz", x=np.ones(21), y=np.zeros(3))
    np.save(tmp_path / "bare.npy", np.ones(21))
    assert open_(tmp_path / "named.npz").chromosomes == ("chr2",)
    assert open_(tmp_path / "bare.npz", chromosome="2").chromosomes == ("chr2",)
    assert open_(tmp_path / "bare.npy", chromosome="chr2").chromosomes == ("chr2",)
    assert open_(tmp_path / "two.npz", key="x", chromosome="chr2").chromosomes == ("chr2",)
    assert open_(tmp_path / "bare.npz", LONE).chromosomes == ("pilot",)
    assert open_(tmp_path / "named.npz", LONE).chromosomes == ("pilot",)


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ([0, 3, 65_534], True),
        ([0.0, np.nan, 3.0], True),
        ([0, 65_535], False),
        ([-1, 3], False),
        ([0.5], False),
        ([True, False], True),
    ],
)
def test_counts_are_whole_numbers_up_to_65534(tmp_path, values, counts):
    np.save(tmp_path / "a.npy", values)
    assert open_(tmp_path / "a.npy", Naming(Genome(("c",), (len(values),))), bin=1).counts is counts


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_infinite_value_is_refused_with_its_place(tmp_path, value):
    array = np.zeros(40)
    array[7] = value
    np.save(tmp_path / "a.npy", array)
    reader = open_(tmp_path / "a.npy", chromosome="chr1")
    with pytest.raises(InputError, match=r"a\.npy: chr1:175-200: an infinite value, or one beyond float32"):
        reader.read("chr1", 100, 300)
    assert reader.read("chr1", 0, 175).sum() == 0


def save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("arrays", "options", "expects"),
    [
        (
            {"chr1": np.ones(100)},
            {},
            r"'chr1' has 100 values; chr1 of 1,000 bp has 40 bins of 25 bp \(bins of 10 bp would fit\)",
        ),
        ({"chr1": np.ones(41)}, {}, r"'chr1' has 41 values; chr1 of 1,000 bp has 40 bins of 25 bp$"),
        ({"chr1": np.ones(0)}, {}, "'chr1' has 0 values"),
        ({"chr1": np.ones((40, 1))}, {}, r"'chr1' has shape \(40, 1\) and type float64; expected one dimension"),
        ({"chr1": np.ones(40, complex)}, {}, "type complex128; expected one dimension of numbers"),
        ({"chr1": np.array(["a"] * 40)}, {}, "type <U1; expected one dimension of numbers"),
        ({"chr1": np.array([None] * 40)}, {}, "type object; expected one dimension of numbers"),
        ({"a": np.ones(40), "b": np.ones(3)}, {}, "no chromosome in common with the genome; the file has a, b"),
        ({"a": np.ones(40), "b": np.ones(3)}, {"key": "c"}, "no array 'c'; the file has a, b"),
        ({"a": np.ones(40), "b": np.ones(3)}, {"chromosome": "chr1"}, "2 arrays, a, b; expected one, or key, for chr1"),
        ({"a": np.ones(40)}, {}, "an array of no chromosome's name; the genome has chr1, chr2, chrM"),
        ({"a": np.ones(40)}, {"chromosome": "chr9"}, "chromosome is 'chr9'; the genome has chr1, chr2, chrM"),
        (
            {"a": np.ones(40)},
            {"chromosome": "pilot"},
            r"chromosome is 'pilot'; .* \(chrom sizes with pilot and 1000 bp would fit\)",
        ),
        ({"1": np.ones(40), "chr1": np.ones(40)}, {}, "1 and chr1 both mean the genome's chr1"),
        ({}, {}, "no array in it"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_at_once(tmp_path, arrays, options, expects):
    path = save(tmp_path / "a.npz", **arrays)
    for try_ in (npz.check_signal, npz.open_signal):
        with pytest.raises(InputError, match=rf"a\.npz: .*{expects}"):
            try_(path, NAMING, {**OPTIONS, **options})


def test_grid_without_coordinates_says_the_size_that_its_chromosome_needs(tmp_path):
    path = save(tmp_path / "a.npz", a=np.ones(40))
    with pytest.raises(InputError, match=r"pilot of 505 bp has 21 bins of 25 bp \(chrom sizes with pilot and 1000 bp"):
        npz.check_signal(path, LONE, {**OPTIONS, "chromosome": "pilot"})
    assert open_(path, Naming(Genome(("pilot",), (1000,))), chromosome="pilot").chromosomes == ("pilot",)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_file_cut_anywhere_is_refused(tmp_path, name):
    whole = tmp_path / name
    (np.save if name == "a.npy" else np.savez_compressed)(whole, np.random.default_rng(1).random(21))
    content = whole.read_bytes()
    path = tmp_path / f"cut_{name}"
    for kept in range(1, len(content), 7):
        path.write_bytes(content[:kept])
        with pytest.raises(InputError, match=rf"cut_{name}: "):
            npz.open_signal(path, LONE, OPTIONS).read_bins("pilot", 0, 21)


def test_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, np.random.default_rng(1).random(21))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: "):
        npz.open_signal(path, LONE, OPTIONS).read_bins("pilot", 0, 21)


@pytest.mark.parametrize("content", [b"hello world", b"PK\x03\x04 no zip", b"\x93NUMPY\x01\x00\x04\x00{}  "])
def test_file_that_is_no_array_is_refused(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: cannot be read \(.*\); expected a NumPy \.npy or \.npz file"):
        npz.check_signal(path, NAMING, OPTIONS)


def test_empty_and_missing_files_are_refused(tmp_path):
    (tmp_path / "e.npy").touch()
    with pytest.raises(InputError, match=r"e\.npy: empty file"):
        npz.check_signal(tmp_path / "e.npy", NAMING, OPTIONS)
    with pytest.raises(MissingFileError, match=r"none\.npy"):
        npz.check_signal(tmp_path / "none.npy", NAMING, OPTIONS)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_headers_are_read_by_one_thread_at_a_time(tmp_path, name, monkeypatch):
    """NumPy reads them as Python code; Python 3.11 may fail where two threads do that at once."""
    (np.save if name == "a.npy" else np.savez)(tmp_path / name, np.arange(21))
    read, inside, most, begun = ast.literal_eval, [], [], threading.Barrier(4)

    def slow_read(text: str) -> object:
        inside.append(text)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return read(text)

    def open_and_read(_: int) -> np.ndarray:
        begun.wait()
        return open_(tmp_path / name, LONE).read_bins("pilot", 0, 21)

    monkeypatch.setattr(ast, "literal_eval", slow_read)
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(open_and_read, range(4)):
            np.testing.assert_array_equal(found, np.arange(21))
    assert len(most) >= 8
    assert max(most) == 1
