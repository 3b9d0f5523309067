"""The HDF5 files of contribution scores, ``P.shap.h5``: written batch by batch, read whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest.errors import InputError, MissingFileError
from kerasgen.interpretation.explainers import Attributions
from kerasgen.objectives import heads
from kerasgen.prediction.files import CHUNK_CACHE, ZIPPED
from kerasgen.sequence import one_hot

if TYPE_CHECKING:
    import h5py

SUFFIX = ".shap.h5"

_ROWS = 32
"""Regions per chunk of an array, where so many fit into the cache."""


class Explained(NamedTuple):
    """Contribution scores of ``gen_shap`` in memory, in the direction in which windows were read.

    Args:
        chromosome: ``(n,)`` names.
        start: ``(n,) int64`` first base of each window.
        reverse: ``(n,) bool``, read as the reverse complement.
        sequence: ``(n, length, 4) uint8`` one-hot.
        observed: head -> ``(n, length) float32``.
        database: path or URI of the database that the windows are of.
    """

    chromosome: np.ndarray
    start: np.ndarray
    reverse: np.ndarray
    sequence: np.ndarray
    observed: dict[str, np.ndarray]
    database: str = ""


def read_explained(path: str | Path) -> Explained:
    """Read ``P.shap.h5``; raises :class:`InputError` for anything else."""
    import h5py

    if not Path(path).is_file():
        raise MissingFileError(f"{path}: no such file; expected the P.shap.h5 of gen_shap")
    try:
        with h5py.File(path) as file:
            coords = file["coords"][:].astype(str)
            sequence = file["sequence"][:]
            observed = {head: file[head]["observed"][:] for head in heads.in_order(file)}
            database = str(file.attrs.get("database", ""))
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: not a file of gen_shap ({error})") from error
    start = coords[:, 1].astype(np.int64) - sequence.shape[1] // 2
    return Explained(coords[:, 0], start, coords[:, 2] == "-", sequence, observed, database)


class ExplainedWriter:
    """Writes contribution scores batch by batch; a context manager.

    Args:
        path: the file.
        coords: ``(n, 3)`` byte strings of all regions.
        length: bp of each.
        heads: names of the groups.
        attributes: provenance.
    """

    def __init__(
        self, path: str | Path, coords: np.ndarray, length: int, heads: Sequence[str], attributes: Mapping[str, Any]
    ) -> None:
        self._path, self._coords, self._length = path, coords, length
        self._heads, self._attributes = heads, attributes

    def __enter__(self) -> ExplainedWriter:
        import h5py

        count, length = len(self._coords), self._length
        # A chunk that the cache holds is packed once, however many batches write to it.
        chunk = max(1, min(_ROWS, count, CHUNK_CACHE // (length * 4 * np.dtype(np.float32).itemsize)))
        self.file: h5py.File = h5py.File(self._path, "w", rdcc_nbytes=CHUNK_CACHE)
        self.file.attrs.update(self._attributes)
        self.file["coords"] = self._coords
        # Kept open, for HDF5 packs what its cache holds of an array when the last handle of it is closed.
        self._arrays: dict[str, h5py.Dataset] = {}

        def add(name: str, shape: tuple[int, ...], dtype: type, **more: Any) -> None:
            self._arrays[name] = self.file.create_dataset(name, shape, dtype, **more)

        add("sequence", (count, length, 4), np.uint8, chunks=(chunk, length, 4), **ZIPPED)
        for name in self._heads:
            add(f"{name}/hypothetical", (count, length, 4), np.float32, chunks=(chunk, length, 4), **ZIPPED)
            add(f"{name}/observed", (count, length), np.float32, chunks=(chunk, length), **ZIPPED)
            for column in ("delta", "difference"):
                add(f"{name}/{column}", (count,), np.float64)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                # A full disk is an error here, where closing might pass over it.
                self.file.flush()
        finally:
            self.file.close()

    def put_sequence(self, where: slice, codes: np.ndarray) -> None:
        """Write the sequence of some regions, ``(batch, length) uint8`` base codes."""
        self._arrays["sequence"][where] = one_hot(codes).astype(np.uint8)

    def put(self, where: slice, head: str, scores: Attributions) -> None:
        """Write the scores of a head for some regions."""
        for column in ("hypothetical", "observed", "delta", "difference"):
            self._arrays[f"{head}/{column}"][where] = getattr(scores, column)
