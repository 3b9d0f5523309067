"""What a model expects and what was observed, along the genome: bigWigs of a predictions file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from db_ingest.errors import InputError
from db_ingest.layout.genome import Genome
from kerasgen.objectives import heads
from kerasgen.prediction.batches import turned
from kerasgen.prediction.bigwig import write_bigwigs
from kerasgen.regions.windows import Windows
from kerasgen.spec import DataSpec

if TYPE_CHECKING:
    import h5py

Expected = Callable[["h5py.File", slice], np.ndarray]
"""Expected values of some samples, ``(samples, positions, channels)``, from the file's arrays."""


class Tracks(NamedTuple):
    """An output whose values lie along the genome.

    Args:
        place: of the output.
        expected: gives what the model expects.
        bin: bp per position.
        name: of the output, where it is not the only one written.
    """

    place: int
    expected: Expected
    bin: int = 1
    name: str | None = None


def tracks_of(spec: DataSpec) -> list[Tracks]:
    """The outputs to write: a profile with the counts that go with it, else all of values per bin.

    The first is written without a name, as where it is the only one.

    Raises:
        InputError: the model has neither.
    """
    pair = heads.profile_with_counts(spec.outputs)
    if pair is not None:
        profile, counts = (heads.of(spec.outputs[place]) for place in pair)

        def shared_out(file: h5py.File, where: slice) -> np.ndarray:
            total = counts.total_counts(file[f"pred_{pair[1]}"][where], spec.pseudocount)
            return profile.expected(file[f"pred_{pair[0]}"][where]) * total[:, None]

        return [Tracks(pair[0], shared_out)]
    names = heads.names_of(spec.outputs)
    found: list[Tracks] = []
    for place, head in enumerate(heads.all_of(spec.outputs)):
        if head.bigwig == "positions":
            name = names[place] if found else None
            found.append(Tracks(place, _per_bin(place, head), head.channels.bin or 1, name))
    if found:
        return found
    raise InputError("--bigwig_prefix needs a profile output and log counts (sum, log) of the same channels, or bins")


def write_tracks(
    path: Path, prefix: str, genome: Genome, spec: DataSpec, windows: Windows, tracks: Tracks
) -> list[Path]:
    """Write ``.task_<t>.predicted.bw`` and ``.task_<t>.observed.bw`` of a predictions file, one channel per file.

    The output's name, where it has one, comes before them.

    Samples are read a bounded number at a time. Values of reversed windows are turned back, their channels swapped.
    """
    import h5py

    channels = spec.outputs[tracks.place]
    prefix = prefix if tracks.name is None else f"{prefix}.{tracks.name}"
    swap = np.array(channels.swap(dict(spec.strand_map))) if windows.reverse.any() else None
    written = []
    with h5py.File(path) as file:

        def along(values: np.ndarray, first: int, last: int) -> np.ndarray:
            return np.repeat(turned(values, windows.take(slice(first, last)), swap), tracks.bin, axis=1)

        def predicted(first: int, last: int) -> np.ndarray:
            return along(tracks.expected(file, slice(first, last)), first, last)

        def observed(first: int, last: int) -> np.ndarray:
            return along(np.nan_to_num(file[f"lab_{tracks.place}"][first:last]), first, last)

        for kind, read in (("predicted", predicted), ("observed", observed)):
            paths = [Path(f"{prefix}.task_{task}.{kind}.bw") for task in range(channels.width)]
            start = windows.centre - channels.flank
            write_bigwigs(paths, genome, windows.chromosome, start, channels.length, read)
            written += paths
    return written


def _per_bin(place: int, head: heads.Head) -> Expected:
    return lambda file, where: head.expected(file[f"pred_{place}"][where])
