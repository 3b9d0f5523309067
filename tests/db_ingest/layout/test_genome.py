"""Where chromosomes lie on the position axis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError, MissingFileError
from db_ingest.layout.genome import TILE, Genome, shorten_names

sizes_and_tile = st.tuples(st.lists(st.integers(1, 500), min_size=1, max_size=8), st.integers(1, 64))


def made(sizes: list[int], tile: int) -> Genome:
    return Genome(tuple(f"chr{i}" for i in range(len(sizes))), tuple(sizes), tile)


@given(sizes_and_tile)
def test_no_tile_holds_two_chromosomes(drawn):
    sizes, tile = drawn
    genome = made(sizes, tile)
    owner: dict[int, str] = {}
    for name, size in zip(genome.names, genome.sizes, strict=True):
        assert genome.offset(name) % tile == 0
        for position in range(genome.offset(name), genome.offset(name) + size):
            assert owner.setdefault(position // tile, name) == name
    assert max(owner) < genome.length // tile
    assert genome.bases == sum(sizes)


def test_first_chromosome_starts_at_zero_and_the_next_on_the_next_tile():
    genome = Genome(("a", "b", "c"), (1, TILE, TILE + 1))
    assert [genome.offset(name) for name in "abc"] == [0, TILE, 3 * TILE]
    assert genome.length == 5 * TILE


def test_unknown_chromosome_is_an_input_error_that_lists_the_known():
    with pytest.raises(InputError, match=r"'chr9'.*chr0, chr1"):
        made([10, 20], 8).offset("chr9")


def test_chromosome_named_twice_is_refused():
    with pytest.raises(InputError, match="'x' is named twice"):
        Genome(("x", "y", "x"), (1, 2, 3))


def test_genome_without_chromosomes_is_refused():
    with pytest.raises(InputError, match="at least one"):
        Genome((), ())


def test_positions_stay_exact_beyond_32_bits():
    genome = Genome(tuple(f"c{i}" for i in range(30)), (300_000_000,) * 30)
    padded = -(-300_000_000 // TILE) * TILE
    assert genome.offset("c29") == 29 * padded > 2**32


def test_chrom_sizes_reads_names_and_lengths_in_the_files_order(inputs):
    path = inputs.text("g.sizes", "# made by hand\nchrB\t200\n\nchrA 100\nchrM\t7\t9\t60\t61\n")
    genome = Genome.from_chrom_sizes(path)
    assert genome.names == ("chrB", "chrA", "chrM")
    assert genome.sizes == (200, 100, 7)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("chr1\n", 1),
        ("chr1\t10\nchr2\tten\n", 2),
        ("chr1\t-5\n", 1),
        ("chr1\t0\n", 1),
        ("c\t1\nc\t1\n", 2),
        ("c\t²\n", 1),
    ],
)
def test_broken_chrom_sizes_names_file_and_line(inputs, text, line):
    path = inputs.text("g.sizes", text)
    with pytest.raises(InputError) as caught:
        Genome.from_chrom_sizes(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_missing_or_empty_chrom_sizes_is_refused(inputs):
    with pytest.raises(MissingFileError, match=r"none\.sizes"):
        Genome.from_chrom_sizes(inputs.folder / "none.sizes")
    with pytest.raises(InputError, match=r"e\.sizes: no chromosomes"):
        Genome.from_chrom_sizes(inputs.text("e.sizes", "# nothing\n"))


def test_long_lists_of_names_are_cut_and_counted():
    assert shorten_names(["a", "b"]) == "a, b"
    assert shorten_names([f"c{i}" for i in range(9)], 2) == "c0, c1, … (9 in all)"


def test_chunks_are_those_of_the_genome_and_of_its_grids():
    genome = Genome(("a", "b"), (150, 40), 16, chunk_positions=64)
    assert [genome.chunk(i) for i in range(genome.chunk_count)] == [(0, 64), (64, 128), (128, 192), (192, 208)]
    assert [genome.chunk_of(position) for position in (0, 63, 64, 207)] == [0, 0, 1, 3]
    grid = genome.binned(2)
    assert (grid.size_by_name, grid.tile) == ({"a": 75, "b": 20}, 16)
    assert [grid.chunk(i) for i in range(grid.chunk_count)] == [(0, 64), (64, 112)]
