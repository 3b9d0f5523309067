"""Names and sizes of chromosomes, from a list of them or from the header of a file that states them."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from db_ingest.errors import InputError
from db_ingest.inputs.files import require_file
from db_ingest.layout.genome import Genome

_WHAT = "chrom sizes: a table of names and sizes, or a BAM, bigWig, 2bit or FASTA file"
_BIGWIG = (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26")
_TWOBIT = (b"\x43\x27\x41\x1a", b"\x1a\x41\x27\x43")


def read_sizes(path: str | Path) -> Genome:
    """The chromosomes that a file names, in its order.

    Args:
        path: a ``chrom.sizes`` or ``.fai`` table, or a BAM, bigWig, 2bit or FASTA file.

    Raises:
        InputError: it is none of these, damaged, or names no chromosome.
    """
    path = require_file(path, _WHAT)
    start = _start(path)
    if start[:4] in _BIGWIG:
        from db_ingest.formats import bigwig

        return _genome(path, bigwig.read_sizes(path))
    if start[:4] == b"BAM\1":
        from db_ingest.formats import bam

        return _genome(path, bam.read_sizes(path))
    if start[:4] in _TWOBIT or start[:1] == b">":
        from db_ingest.formats import sequence

        return sequence.genome_of(path)
    return Genome.from_chrom_sizes(path)


def _start(path: Path) -> bytes:
    """The first bytes of a file, or of what is compressed in it."""
    with path.open("rb") as handle:
        start = handle.read(4)
    if start[:2] != b"\x1f\x8b":
        return start
    try:
        with gzip.open(path) as inflated:
            return inflated.read(4)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: broken or truncated gzip ({error}); expected {_WHAT}") from error


def _genome(path: Path, sizes: dict[str, int]) -> Genome:
    if not sizes:
        raise InputError(f"{path}: names no chromosomes; expected {_WHAT}")
    return Genome(tuple(sizes), tuple(sizes.values()))
