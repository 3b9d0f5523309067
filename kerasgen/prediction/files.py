"""The HDF5 files of predictions, ``P.predictions``: written batch by batch, read whole or in parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest.errors import InputError, MissingFileError
from kerasgen.database import Database
from kerasgen.objectives import heads
from kerasgen.regions.windows import Windows
from kerasgen.spec import DataSpec

if TYPE_CHECKING:
    import h5py

SUFFIX = ".predictions"

ZIPPED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
"""How arrays of result files are compressed."""

CHUNK_CACHE = 2**23
"""Bytes of chunks of an array that HDF5 keeps unpacked; a chunk that is larger is packed anew by each write to it."""

_ROWS = 64
"""Samples per chunk of an array."""


class Predictions(NamedTuple):
    """A predictions file in memory.

    Args:
        coords: ``(n, 3)`` strings: chromosome, centre, strand.
        spec: inputs and outputs of the model.
        labels, outputs: one float32 array per output.
        attributes: provenance.
    """

    coords: np.ndarray
    spec: DataSpec
    labels: list[np.ndarray]
    outputs: list[np.ndarray]
    attributes: dict[str, str]

    @property
    def profile(self) -> int | None:
        """Place of the profile output."""
        return heads.place_of(self.spec.outputs, "profile")

    @property
    def counts(self) -> int | None:
        """Place of the counts output."""
        return heads.place_of(self.spec.outputs, "counts")


def read_predictions(path: str | Path) -> Predictions:
    """Read a file of ``gen_predict_tdb``; raises :class:`InputError` for anything else."""
    import h5py

    if not Path(path).is_file():
        raise MissingFileError(f"{path}: no such file; expected the P.predictions of gen_predict_tdb")
    try:
        with h5py.File(path) as file:
            spec = DataSpec.from_json(json.loads(file.attrs["data_spec"]))
            count = len(spec.outputs)
            return Predictions(
                coords=file["coords"][:].astype(str),
                spec=spec,
                labels=[file[f"lab_{i}"][:] for i in range(count)],
                outputs=[file[f"pred_{i}"][:] for i in range(count)],
                attributes={key: str(value) for key, value in file.attrs.items()},
            )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a predictions file of gen_predict_tdb ({error})") from error


class PredictionsWriter:
    """Writes a predictions file batch by batch; a context manager.

    Args:
        path: the file.
        coords: ``(n, 3)`` byte strings of all samples, see :func:`coordinates`.
        attributes: provenance.
    """

    def __init__(self, path: str | Path, coords: np.ndarray, attributes: Mapping[str, Any]) -> None:
        self._path, self._coords, self._attributes = path, coords, attributes

    def __enter__(self) -> PredictionsWriter:
        import h5py

        self.file: h5py.File = h5py.File(self._path, "w", rdcc_nbytes=CHUNK_CACHE)
        # Kept open, for HDF5 packs what its cache holds of an array when the last handle of it is closed.
        self._arrays: dict[str, h5py.Dataset] = {}
        self.file.attrs.update(self._attributes)
        self.file["coords"] = self._coords
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                # A full disk is an error here, where closing might pass over it.
                self.file.flush()
        finally:
            self.file.close()

    def put(self, where: slice, labels: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Write some samples' labels and outputs, one array per output of the model.

        Raises:
            InputError: the model has more or fewer outputs than there are labels.
        """
        if len(labels) != len(outputs):
            raise InputError(f"the model has {len(outputs)} outputs; the data spec has {len(labels)}")
        for kind, arrays in (("lab", labels), ("pred", outputs)):
            for i, array in enumerate(arrays):
                name = f"{kind}_{i}"
                if name not in self._arrays:
                    chunks = (min(_ROWS, len(self._coords)), *array.shape[1:])
                    shape = (len(self._coords), *array.shape[1:])
                    self._arrays[name] = self.file.create_dataset(name, shape, np.float32, chunks=chunks, **ZIPPED)
                self._arrays[name][where] = array


def coordinates(database: Database, windows: Windows) -> np.ndarray:
    """``(n, 3)`` byte strings: chromosome, centre, strand (``-`` where read as the reverse complement)."""
    names = np.array(database.genome.names)[windows.chromosome]
    strand = np.where(windows.reverse, "-", "+")
    return np.column_stack([names, windows.centre.astype(str), strand]).astype("S")
