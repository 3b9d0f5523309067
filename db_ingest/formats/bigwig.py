"""Signal from bigWig files. Format: Kent et al. 2010, Bioinformatics 26:2204."""

from __future__ import annotations

import math
import struct
import sys
from pathlib import Path

import numpy as np

from db_ingest.errors import InputError
from db_ingest.formats.files import require_file
from db_ingest.genome import Genome, shorten_names

_WHAT = "a bigWig file"
_BIGWIG, _BIGBED, _INDEX = 0x888FFC26, 0x8789F2EB, 0x2468ACE0
_HEADER = "HHQQQHHQQIQ"


class BigWig:
    """One open bigWig file. Not shared between threads: open one in each.

    Args:
        path: the file; its structure is checked before libBigWig sees it.

    Attributes:
        chromosomes: name -> size in bp, as the file's header gives them.
        minimum, maximum: smallest and largest value, from the file's summary (0 and 0 in a file without one).

    Raises:
        InputError: not a bigWig, cut short, or with infinite values.
    """

    def __init__(self, path: str | Path) -> None:
        import pyBigWig

        self.path = require_file(path, _WHAT)
        self.minimum, self.maximum = _check_structure(self.path)
        if not (math.isfinite(self.minimum) and math.isfinite(self.maximum)):
            raise InputError(f"{self.path}: values from {self.minimum:g} to {self.maximum:g}; expected finite values")
        try:
            self._file = pyBigWig.open(str(self.path))
            self.chromosomes: dict[str, int] = dict(self._file.chroms())
        except (RuntimeError, OSError) as error:
            raise InputError(f"{self.path}: cannot be read as bigWig ({error})") from error

    def check_genome(self, genome: Genome) -> list[str]:
        """Chromosomes the file shares with ``genome``, in its order.

        Raises:
            InputError: none in common, or a size differs.
        """
        shared = [name for name in genome.names if name in self.chromosomes]
        if not shared:
            raise InputError(
                f"{self.path}: no chromosome in common with the genome; "
                f"the file has {shorten_names(list(self.chromosomes))}, the genome {shorten_names(genome.names)}"
            )
        for name in shared:
            size = self.chromosomes[name]
            if size != genome.size(name):
                relation = "longer" if size > genome.size(name) else "shorter"
                raise InputError(
                    f"{self.path}: chromosome {name} has {size:,} bp, {relation} than the genome's "
                    f"{genome.size(name):,}; is it another assembly?"
                )
        return shared

    def read(self, chromosome: str, start: int, end: int) -> np.ndarray:
        """Values of ``[start, end)`` as ``(end - start,) float32``; 0 where the file holds none."""
        try:
            values = self._file.values(chromosome, start, end, numpy=True)
        except (RuntimeError, OSError, ValueError) as error:
            raise InputError(f"{self.path}: {chromosome}:{start:,}-{end:,} cannot be read ({error})") from error
        return np.nan_to_num(values, copy=False, nan=0.0).astype(np.float32, copy=False)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _check_structure(path: Path) -> tuple[float, float]:
    """Smallest and largest value, by the summary; raises unless the header is a bigWig's and its parts are there."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        head = handle.read(64)
        order = "<" if head[:4] == struct.pack("<I", _BIGWIG) else ">"
        if head[:4] != struct.pack(order + "I", _BIGWIG):
            kind = "a bigBed file" if head[:4] == struct.pack("<I", _BIGBED) else "no bigWig header"
            raise InputError(f"{path}: {kind}; expected {_WHAT}")
        if size < 64:
            raise InputError(f"{path}: truncated at {size:,} bytes, within the header; expected {_WHAT}")
        fields = struct.unpack(order + _HEADER, head[4:64])
        index_at = fields[4]
        if index_at + 48 > size:
            raise InputError(f"{path}: truncated at {size:,} bytes, before its index at byte {index_at:,}")
        handle.seek(index_at)
        if handle.read(4) != struct.pack(order + "I", _INDEX):
            raise InputError(f"{path}: no index at byte {index_at:,}; the file is damaged")
        # Writers since version 3 repeat the magic number as the last four bytes.
        handle.seek(size - 4)
        tail = handle.read(4)
        if fields[0] >= 3 and tail != head[:4]:
            raise InputError(f"{path}: truncated at {size:,} bytes; the end mark of a bigWig is missing")
        # pyBigWig's own header() cuts both to whole numbers and crashes on infinite ones.
        if fields[8] == 0:
            return 0.0, 0.0
        handle.seek(fields[8] + 8)
        minimum, maximum = struct.unpack(order + "dd", handle.read(16))
    # libBigWig starts its maximum at the smallest positive double and leaves it there if no value is above 0.
    return minimum, 0.0 if maximum == sys.float_info.min else maximum
