"""Genome sequence from FASTA, plain or gzipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from db_ingest.codes import UNKNOWN_BASE
from db_ingest.errors import InputError
from db_ingest.formats.files import require_file
from db_ingest.genome import Genome, shorten_names

_WHAT = "a FASTA file"

_CODES = np.full(256, UNKNOWN_BASE, np.uint8)
for _code, _base in enumerate(b"ACGT"):
    _CODES[_base] = _CODES[_base + 32] = _code


def encode(sequence: str | bytes) -> np.ndarray:
    """Bases as ``(length,) uint8``: A C G T = 0 1 2 3 in either case, anything else 4."""
    data = sequence.encode("ascii", errors="replace") if isinstance(sequence, str) else sequence
    return _CODES[np.frombuffer(data, np.uint8)]


def check(path: str | Path) -> Path:
    """Return the path of a file that starts like FASTA; raises :class:`InputError` otherwise."""
    import pysam

    path = require_file(path, _WHAT)
    # Our one line says it; htslib would write its own to standard error as well.
    pysam.set_verbosity(0)
    try:
        with pysam.FastxFile(str(path)) as records:
            first = next(iter(records), None)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as FASTA ({error})") from error
    if first is None or not first.sequence or first.quality is not None:
        raise InputError(f"{path}: no sequence in it; expected {_WHAT} (lines of '>name' followed by bases)")
    return path


def read(path: str | Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield ``(name, codes)`` a chromosome, ``codes`` being ``(size,) uint8`` as of :func:`encode`."""
    import pysam

    path = check(path)
    with pysam.FastxFile(str(path)) as records:
        try:
            for record in records:
                yield str(record.name), encode(record.sequence or "")
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: broken FASTA ({error})") from error


def genome(path: str | Path) -> Genome:
    """Names and sizes of a FASTA file's sequences, from its ``.fai`` index where there is a newer one."""
    path = check(path)
    index = Path(f"{path}.fai")
    if index.is_file() and index.stat().st_mtime >= path.stat().st_mtime:
        return Genome.from_chrom_sizes(index)
    sizes: dict[str, int] = {}
    for name, codes in read(path):
        if name in sizes:
            raise InputError(f"{path}: sequence {name!r} is there twice")
        if len(codes) == 0:
            raise InputError(f"{path}: sequence {name!r} has no bases")
        sizes[name] = len(codes)
    return Genome(tuple(sizes), tuple(sizes.values()))


def check_genome(path: str | Path, expected: Genome) -> None:
    """Raise :class:`InputError` unless the file holds every chromosome of ``expected`` at its size."""
    found = genome(path)
    absent = [name for name in expected.names if name not in found]
    if absent:
        raise InputError(
            f"{path}: lacks {shorten_names(absent)} of the chrom sizes; the FASTA has {shorten_names(found.names)}"
        )
    for name in expected.names:
        if found.size(name) != expected.size(name):
            raise InputError(
                f"{path}: chromosome {name} has {found.size(name):,} bp, the chrom sizes say {expected.size(name):,}"
            )
