"""Signal from NumPy arrays on a grid of bins, .npy and .npz. Format: https://numpy.org/neps/nep-0001-npy-format.html."""

from __future__ import annotations

import threading
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from db_ingest.errors import InputError
from db_ingest.formats.base import EVERYTHING, Channel
from db_ingest.inputs.files import require_file
from db_ingest.inputs.naming import Naming
from db_ingest.layout.codes import MOST_COUNTS
from db_ingest.layout.genome import shorten_names

_WHAT = "a NumPy .npy or .npz file"
_MAGIC = b"\x93NUMPY"
_PIECE = 2**20
# NumPy reads a header as Python code, which Python 3.11 before 3.11.8 must not do in two threads at once
# (https://github.com/python/cpython/issues/106905).
_one_header_at_a_time = threading.Lock()
_BROKEN = (ValueError, EOFError, OSError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype


def open_signal(
    path: str | Path, naming: Naming, options: Mapping[str, Any], channels: Sequence[Channel] = (EVERYTHING,)
) -> BinnedArrays:
    """Open arrays as :mod:`db_ingest.formats.base` describes; a file has one channel."""
    return BinnedArrays(path, naming, options)


def check_signal(path: str | Path, naming: Naming, options: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` unless the file's headers say arrays that fit the genome."""
    _find_arrays(require_file(path, _WHAT), naming, options)


class BinnedArrays:
    """One open file of arrays, each with a value for every bin of a chromosome, from base 0; NaN is no value.

    An archive holds an array for each chromosome under its name, or one array, or ``key`` names one. A single array is
    of ``chromosome``; without that, of the chromosome that its name is, or else of the genome's only one.

    Args:
        path: the file.
        naming: names of the database's genome.
        options: ``bin`` (bp of a bin; the last one of a chromosome may be shorter), ``key``, ``chromosome`` (both None
            where not given) and ``missing`` (``zero`` or ``nan``: what bins without a value hold).

    Attributes:
        bin: bp of a bin.
        chromosomes: names of the genome that there are arrays of.
        counts: whether the first chromosome's values are whole numbers from 0 to 65,534.
        summary: ``elsewhere``, arrays left out because the genome lacks their chromosome.

    Raises:
        InputError: no such file, arrays of another dimension, type or length, none that fits, or infinite values.
    """

    def __init__(self, path: str | Path, naming: Naming, options: Mapping[str, Any]) -> None:
        self.path = require_file(path, _WHAT)
        self.bin: int = options["bin"]
        self._missing = np.float32(np.nan if options["missing"] == "nan" else 0)
        self._keys, elsewhere = _find_arrays(self.path, naming, options)
        self._open: tuple[str, np.ndarray] | None = None
        self.chromosomes = tuple(self._keys)
        self.summary = {"elsewhere": elsewhere}
        self.counts = _are_counts(self._array(self.chromosomes[0]))

    def read(self, chromosome: str, start: int, end: int, channel: int = 0) -> np.ndarray:
        """Value of each base of ``[start, end)``, which is that of its bin, as ``(end - start,) float32``."""
        first = start // self.bin
        values = self.read_bins(chromosome, first, -(-end // self.bin), channel)
        return values.repeat(self.bin)[start - first * self.bin : end - first * self.bin]

    def read_bins(self, chromosome: str, first: int, last: int, channel: int = 0) -> np.ndarray:
        """Values of bins ``[first, last)`` of a chromosome as ``(last - first,) float32``."""
        with np.errstate(over="ignore"):
            values = self._array(chromosome)[first:last].astype(np.float32)
        endless = np.flatnonzero(np.isinf(values))
        if len(endless):
            at = (first + int(endless[0])) * self.bin
            raise InputError(
                f"{self.path}: {chromosome}:{at:,}-{at + self.bin:,}: an infinite value, or one beyond float32; "
                "expected finite ones, or NaN for none"
            )
        values[np.isnan(values)] = self._missing
        return values

    def close(self) -> None:
        """Let go of the arrays."""
        self._open = None

    def _array(self, chromosome: str) -> np.ndarray:
        # One chromosome in memory at a time: an archive's arrays are inflated whole.
        if self._open is None or self._open[0] != chromosome:
            self._open = None
            self._open = chromosome, _load(self.path, self._keys[chromosome])
        return self._open[1]


def _are_counts(values: np.ndarray) -> bool:
    if values.dtype.kind == "f":
        values = values[~np.isnan(values)]
        if (values != np.floor(values)).any():
            return False
    return len(values) == 0 or (float(values.min()) >= 0 and float(values.max()) <= MOST_COUNTS)


def _load(path: Path, key: str) -> np.ndarray:
    try:
        if not key:
            with _one_header_at_a_time:
                return np.load(path, mmap_mode="r", allow_pickle=False)
        with zipfile.ZipFile(path) as archive:
            members = {_key_of(member): member for member in archive.namelist()}
            with archive.open(members[key]) as packed:
                header = _read_header(packed)
                values = np.empty(header.shape, header.dtype)
                _fill(values, packed)
                return values
    except _BROKEN as error:
        what = f"array {key!r}" if key else "the array"
        raise InputError(f"{path}: {what} cannot be read ({error}); expected {_WHAT}") from error


def _fill(values: np.ndarray, packed: IO[bytes]) -> None:
    """Read an array's values, a piece at a time: a member of an archive has no file to map."""
    room = values.view(np.uint8).data
    while room:
        piece = packed.read(min(len(room), _PIECE))
        if not piece:
            raise EOFError(f"{len(room):,} bytes are missing at its end")
        room[: len(piece)] = piece
        room = room[len(piece) :]


def _find_arrays(path: Path, naming: Naming, options: Mapping[str, Any]) -> tuple[dict[str, str], int]:
    """``{chromosome: key}`` in the order of the genome, and how many arrays are left out; a lone array's key is ""."""
    headers = _read_headers(path)
    key, chromosome, size = options["key"], options["chromosome"], options["bin"]
    if size < 1:
        raise InputError(f"{path}: bin is {size}; expected the bp of a bin, 1 or more")
    if key is not None:
        if key not in headers:
            raise InputError(f"{path}: no array {key!r}; the file has {shorten_names(list(headers))}")
        headers = {key: headers[key]}
    if len(headers) == 1 and (chromosome is not None or naming.find(next(iter(headers))) is None):
        lone = next(iter(headers))
        found = {_chromosome_of_lone(path, naming, chromosome, headers[lone], size): lone}
    elif chromosome is not None:
        raise InputError(
            f"{path}: {len(headers)} arrays, {shorten_names(list(headers))}; expected one, or key, for {chromosome}"
        )
    else:
        found = naming.match(path, list(headers))
    for name, used in found.items():
        own = chromosome if len(naming.genome) == 1 else None
        _check_array(path, used, headers[used], name, naming.genome.size(name), size, own)
    return found, len(headers) - len(found)


def _chromosome_of_lone(path: Path, naming: Naming, chromosome: str | None, header: _Header, bin_size: int) -> str:
    genome = naming.genome
    if chromosome is None:
        if len(genome) > 1:
            raise InputError(
                f"{path}: an array of no chromosome's name; the genome has {shorten_names(genome.names)}; "
                "give the one it is of as chromosome"
            )
        return genome.names[0]
    found = naming.find(chromosome)
    if found is None:
        raise InputError(
            f"{path}: chromosome is {chromosome!r}; the genome has {shorten_names(genome.names)}"
            + _line_needed(header, bin_size, chromosome)
        )
    return found


def _line_needed(header: _Header, bin_size: int, chromosome: str) -> str:
    """The line of chrom sizes that makes a chromosome of a grid that has no coordinates."""
    return f" (chrom sizes with {chromosome} and {header.shape[0] * bin_size} bp would fit)" if header.shape else ""


def _check_array(
    path: Path, key: str, header: _Header, chromosome: str, size: int, bin_size: int, own: str | None
) -> None:
    what = f"array {key!r}" if key else "the array"
    if len(header.shape) != 1 or header.dtype.kind not in "fiub":
        raise InputError(
            f"{path}: {what} has shape {header.shape} and type {header.dtype}; expected one dimension of numbers"
        )
    (length,) = header.shape
    bins = -(-size // bin_size)
    if length != bins:
        fitting = round(size / length) if length else 0
        hint = f" (bins of {fitting:,} bp would fit)" if fitting and -(-size // fitting) == length else ""
        # Where chrom sizes were made for this grid alone, it is the size in them that is wrong.
        hint = _line_needed(header, bin_size, own) if own and length else hint
        raise InputError(
            f"{path}: {what} has {length:,} values; "
            f"{chromosome} of {size:,} bp has {bins:,} bins of {bin_size:,} bp{hint}"
        )


def _read_headers(path: Path) -> dict[str, _Header]:
    """Shape and type of each array by its key; that of a .npy file is ""."""
    try:
        with path.open("rb") as handle:
            if handle.read(len(_MAGIC)) == _MAGIC:
                handle.seek(0)
                return {"": _read_header(handle)}
        headers = {}
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as packed:
                    headers[_key_of(member)] = _read_header(packed)
    except _BROKEN as error:
        raise InputError(f"{path}: cannot be read ({error}); expected {_WHAT}") from error
    if not headers:
        raise InputError(f"{path}: no array in it; expected {_WHAT}")
    return headers


def _read_header(handle: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(handle)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with _one_header_at_a_time:
        shape, _, dtype = read(handle)
    return _Header(shape, dtype)


def _key_of(member: str) -> str:
    return member.removesuffix(".npy")
