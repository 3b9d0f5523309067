"""Cells as they are stored and read, against NumPy's own slices."""

import numpy as np
import pytest
import tiledb
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.layout import arrays, cells, schema
from db_ingest.layout.genome import Genome

GENOME = Genome(("chr1", "chr2"), (3_000, 900), tile=64)


@pytest.fixture(scope="module", params=["signal/a", "counts/a", "mask/a", "sequence"])
def member(request, tmp_path_factory):
    """An open member, its row and what was written there."""
    uri = str(tmp_path_factory.mktemp("db"))
    dtype = cells.CELLS[cells.folder_of(request.param)][0]
    written = np.random.default_rng(3).integers(0, 200, GENOME.length).astype(dtype)
    arrays.create(uri, request.param, GENOME)
    row = None if request.param == "sequence" else 2
    arrays.put(uri, request.param, row or 0, 0, written)
    with tiledb.open(f"{uri}/{request.param}") as array:
        yield array, row, written


@examples(60)
@given(
    edges=st.lists(st.integers(0, GENOME.length), min_size=2, max_size=60, unique=True).map(sorted),
    chunk=st.sampled_from([64, 256, 2**24]),
)
def test_stretches_are_slices_laid_end_to_end(member, edges, chunk):
    array, row, written = member
    edges = np.array(edges[: len(edges) // 2 * 2])
    starts, ends = edges[::2], edges[1::2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "CHUNK", chunk)
        found = cells.read_stretches(array, row, starts, ends)
    expected = np.concatenate([written[a:b] for a, b in zip(starts, ends, strict=True)])
    assert found.dtype == written.dtype
    np.testing.assert_array_equal(found, expected)


def test_no_stretch_is_no_cell(member):
    array, row, written = member
    found = cells.read_stretches(array, row, np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert (found.dtype, len(found)) == (written.dtype, 0)


@pytest.mark.parametrize("name", ["signal/a", "counts/a"])
def test_no_figures_of_tiles_are_kept(name):
    assert schema.schema_for(name, GENOME).attr("value").ncells == 2
