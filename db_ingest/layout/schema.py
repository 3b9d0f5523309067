"""The TileDB schemas of a database's members; ``docs/database.md`` is the specification."""

from __future__ import annotations

import numpy as np
import tiledb

from db_ingest.layout import cells
from db_ingest.layout.genome import Genome
from db_ingest.layout.members import SEQUENCE, bin_of

ROWS = 2**31
"""Rows an array of tracks can ever hold; unwritten rows cost nothing."""

ZSTANDARD_LEVEL = 1

INTERVAL_FIELDS: dict[str, np.dtype] = {
    "end": np.dtype(np.uint64),
    "name": np.dtype("O"),
    "score": np.dtype(np.float64),
    "strand": np.dtype("O"),
    "signalValue": np.dtype(np.float64),
    "pValue": np.dtype(np.float64),
    "qValue": np.dtype(np.float64),
    "summit": np.dtype(np.int64),
}


def _filters() -> tiledb.FilterList:
    return tiledb.FilterList([tiledb.ZstdFilter(level=ZSTANDARD_LEVEL)])


def _row() -> tiledb.Dim:
    return tiledb.Dim("row", domain=(0, ROWS - 1), tile=1, dtype=np.uint64)


def schema_for(name: str, genome: Genome) -> tiledb.ArraySchema:
    """TileDB schema of a member of a database of ``genome``, by the member's name."""
    genome = genome.binned(bin_of(name)) if "@" in name else genome
    along = "start" if name.startswith("intervals/") else "position"
    place = tiledb.Dim(along, domain=(0, genome.length - 1), tile=genome.tile, dtype=np.uint64)
    if name.startswith("intervals/"):
        attributes = [
            tiledb.Attr(
                name=field,
                dtype=np.dtype("U0") if dtype.kind == "O" else dtype,
                var=dtype.kind == "O",
                filters=_filters(),
            )
            for field, dtype in INTERVAL_FIELDS.items()
        ]
        return tiledb.ArraySchema(
            domain=tiledb.Domain(_row(), place), attrs=attributes, sparse=True, allows_duplicates=True
        )
    folder = cells.folder_of(name)
    dtype, fill = cells.CELLS[folder]
    domain = tiledb.Domain(place) if name == SEQUENCE else tiledb.Domain(_row(), place)
    # Most bits of a count are 0 in whole tiles; those of a float are not.
    shuffle = [tiledb.BitShuffleFilter()] if folder == "counts" else []
    value = tiledb.Attr(
        name="value",
        dtype=cells.stored_type(folder),
        fill=cells.to_stored(np.array([fill], dtype))[0],
        filters=tiledb.FilterList([*shuffle, *_filters()]),
    )
    return tiledb.ArraySchema(domain=domain, attrs=[value], cell_order="row-major", tile_order="row-major")
