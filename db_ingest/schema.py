"""The members of a database and their TileDB schemas; ``docs/database.md`` is the specification."""

from __future__ import annotations

import numpy as np
import tiledb

from db_ingest.codes import MASK_MISSING, UNKNOWN_BASE
from db_ingest.genome import Genome

ROWS = 2**31
"""Rows an array of tracks can ever hold; unwritten rows cost nothing."""

SEQUENCE = "sequence"
FILTERS = {"name": "zstd", "level": 3}

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


def signal(attribute: str) -> str:
    """Name of the member that holds a signal attribute."""
    return f"signal/{attribute}"


def mask(attribute: str) -> str:
    """Name of the member that holds a mask attribute."""
    return f"mask/{attribute}"


def intervals(attribute: str) -> str:
    """Name of the member that holds the intervals behind a mask attribute."""
    return f"intervals/{attribute}"


def _filters() -> tiledb.FilterList:
    return tiledb.FilterList([tiledb.ZstdFilter(level=FILTERS["level"])])


def _position(genome: Genome) -> tiledb.Dim:
    return tiledb.Dim("position", domain=(0, genome.length - 1), tile=genome.tile, dtype=np.uint64)


def _row() -> tiledb.Dim:
    return tiledb.Dim("row", domain=(0, ROWS - 1), tile=1, dtype=np.uint64)


def schema_for(member: str, genome: Genome) -> tiledb.ArraySchema:
    """TileDB schema of a member, by its name."""
    if member.startswith("intervals/"):
        start = tiledb.Dim("start", domain=(0, genome.length - 1), tile=genome.tile, dtype=np.uint64)
        attributes = [
            tiledb.Attr(
                name=name,
                dtype=np.dtype("U0") if dtype.kind == "O" else dtype,
                var=dtype.kind == "O",
                filters=_filters(),
            )
            for name, dtype in INTERVAL_FIELDS.items()
        ]
        domain = tiledb.Domain(_row(), start)
        return tiledb.ArraySchema(domain=domain, attrs=attributes, sparse=True, allows_duplicates=True)
    if member == SEQUENCE:
        domain = tiledb.Domain(_position(genome))
        attribute = tiledb.Attr(name="value", dtype=np.uint8, fill=UNKNOWN_BASE, filters=_filters())
    else:
        domain = tiledb.Domain(_row(), _position(genome))
        if member.startswith("signal/"):
            attribute = tiledb.Attr(name="value", dtype=np.float32, fill=np.nan, filters=_filters())
        else:
            attribute = tiledb.Attr(name="value", dtype=np.uint8, fill=MASK_MISSING, filters=_filters())
    return tiledb.ArraySchema(domain=domain, attrs=[attribute], cell_order="row-major", tile_order="row-major")
