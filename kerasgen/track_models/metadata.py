"""A table of what is known of cell types and assays, to colour them by."""

from __future__ import annotations

from pathlib import Path

from db_ingest.errors import InputError, MissingFileError


class Metadata(dict[str, str]):
    """Names of cell types and assays to what they are coloured by; ``column`` is what that is."""

    column = ""


def read_metadata(path: str, column: str | None) -> Metadata:
    """Read a table of what is known of cell types and assays.

    Args:
        path: tab separated, a header first; a name in the first column. A name that comes again is passed over.
        column: the column to take; the second when not given.

    Raises:
        MissingFileError, InputError: no such file, no such column, or a line of another number of columns.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"{path}: no such file; expected a table (--metadata)")
    lines = [
        line.rstrip("\r\n").split("\t") for line in Path(path).read_text("utf-8-sig", errors="replace").splitlines()
    ]
    if not lines or len(lines[0]) < 2:
        raise InputError(f"{path}:1: expected a header of two or more columns, tab separated")
    header = lines[0]
    if column is not None and column not in header[1:]:
        raise InputError(f"{path}:1: no column {column!r} after the first; it has {', '.join(header[1:])}")
    place = 1 if column is None else header.index(column, 1)
    metadata = Metadata()
    metadata.column = header[place]
    for number, fields in enumerate(lines[1:], 2):
        if fields == [""]:
            continue
        if len(fields) != len(header):
            raise InputError(f"{path}:{number}: {len(fields)} columns; the header has {len(header)}")
        metadata.setdefault(fields[0], fields[place] or "none")
    return metadata
