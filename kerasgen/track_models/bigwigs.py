"""Imputed tracks as bigWigs, many at a time: what tracks share is computed once for all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.progress import progress
from kerasgen.track_models.binned import Pair
from kerasgen.track_models.models import BINS_AT_ONCE, BinRange, TrackModel

if TYPE_CHECKING:
    from db_ingest.formats.bigwig_writer import BigWigWriter
    from kerasgen.track_models.scorer import ImputationScorer

_VALUES_AT_ONCE = 2**27
"""Imputed values that are in memory together: half a gigabyte."""
_FILES_AT_ONCE = 64
_BASES_PER_ZOOM_VALUE = 128
"""A file that is being written holds four bytes per so many bases of a chromosome, for its zoom levels."""


class WrittenBigWigs(NamedTuple):
    """BigWigs that were written.

    Args:
        paths: the files.
        clipped: file -> number of bins whose value, arcsinh undone, was below 0 and was set to 0; none where it is 0.
    """

    paths: list[Path]
    clipped: dict[Path, int]


def bigwig_path(folder: Path, pair: Pair, ending: str = "bigwig") -> Path:
    """``<celltype>.<assay>.bigwig`` in a folder."""
    return folder / f"{pair[0]}.{pair[1]}.{ending}"


def split_existing(
    folder: Path, pairs: Sequence[Pair], *, std: bool, skip: bool, overwrite: bool
) -> tuple[list[Pair], list[Path]]:
    """Pairs to impute, and files that are left as they are.

    Args:
        folder: where files go; it must be possible to write there.
        pairs: those asked for.
        std: whether each has a second file, of standard deviations.
        skip: leave out the pairs all of whose files exist.
        overwrite: replace files that exist.

    Raises:
        InputError: a file exists, and neither is asked for.
    """
    storage.require_writable(folder)
    endings = ("bigwig", "std.bigwig") if std else ("bigwig",)
    to_impute: list[Pair] = []
    existing: list[Path] = []
    for pair in pairs:
        paths = [bigwig_path(folder, pair, ending) for ending in endings]
        present = [path for path in paths if path.exists()]
        if present and not (skip or overwrite):
            raise InputError(f"{present[0]}: exists; --overwrite replaces it, --skip_existing leaves it")
        if skip and len(present) == len(paths):
            existing += present
        else:
            to_impute.append(pair)
    return to_impute, existing


def write_bigwigs(
    model: TrackModel,
    pairs: Sequence[Pair],
    ranges: Sequence[BinRange],
    folder: Path,
    *,
    keep_arcsinh: bool = False,
    std: bool = False,
    scorer: ImputationScorer | None = None,
    at_once: int = BINS_AT_ONCE,
) -> WrittenBigWigs:
    """Impute tracks and write them, as many together as fit in memory; each file is written whole or not at all.

    Args:
        model: imputes.
        pairs: the tracks.
        ranges: the bins.
        folder: where the files go.
        keep_arcsinh: write the model's values; otherwise arcsinh is undone, and what is then below 0 is 0.
        std: also write the standard deviation between the models of an ensemble, of the model's values.
        scorer: is given the model's values of each track.
        at_once: bins that are imputed in one go.
    """
    ranges = sorted(ranges, key=lambda bins: (bins.chromosome.encode(), bins.first))  # The order within a bigWig.
    undo = model.transformation == "arcsinh" and not keep_arcsinh
    count = sum(bins.end - bins.first for bins in ranges)
    together = _tracks_at_once(model, at_once + (count if scorer is not None else 0))
    written = WrittenBigWigs([], {})
    with progress("imputing", len(pairs) * count, "bins") as advance:
        for first in range(0, len(pairs), together):
            group = pairs[first : first + together]
            paths = [bigwig_path(folder, pair) for pair in group]
            std_paths = [bigwig_path(folder, pair, "std.bigwig") for pair in group] if std else []
            clipped = [0] * len(group)
            with contextlib.ExitStack() as stack:
                files = [stack.enter_context(_open(path, model.sizes)) for path in paths]
                std_files = [stack.enter_context(_open(path, model.sizes)) for path in std_paths]
                for bins in _cut(ranges, at_once):
                    deviations = None
                    if std:
                        values, deviations = model.impute_with_std(group, bins)
                    else:
                        values = model.impute(group, bins)
                    for row, pair in enumerate(group):
                        measured = values[row]
                        if undo:
                            measured = np.sinh(measured.astype(np.float64)).astype(np.float32)
                            clipped[row] += int((measured < 0).sum())
                            measured = np.maximum(measured, 0)
                        _add(files[row], model, bins, measured)
                        if deviations is not None:
                            _add(std_files[row], model, bins, deviations[row])
                        if scorer is not None:
                            scorer.take(pair, bins, values[row])
                    advance(values.size)
            written.paths.extend([*paths, *std_paths])
            written.clipped.update({path: number for path, number in zip(paths, clipped, strict=True) if number})
            if scorer is not None:
                scorer.score(group)
    return written


def _tracks_at_once(model: TrackModel, values: int) -> int:
    """Tracks that are imputed together, each of which takes so many values beside what its file holds."""
    zoom = max(model.sizes.values()) // _BASES_PER_ZOOM_VALUE
    return max(1, min(_FILES_AT_ONCE, _VALUES_AT_ONCE // (values + zoom)))


def _cut(ranges: Sequence[BinRange], at_once: int) -> Iterator[BinRange]:
    """Ranges cut into such as are imputed in one go."""
    for bins in ranges:
        for first in range(bins.first, bins.end, at_once):
            yield BinRange(bins.chromosome, first, min(first + at_once, bins.end))


@contextlib.contextmanager
def _open(path: Path, sizes: dict[str, int]) -> Iterator[BigWigWriter]:
    from db_ingest.formats.bigwig_writer import BigWigWriter

    with storage.replacing(path) as temporary, BigWigWriter(temporary, sizes) as writer:
        yield writer


def _add(writer: BigWigWriter, model: TrackModel, bins: BinRange, values: np.ndarray) -> None:
    """Add bins of a chromosome; those without a value are left out, and the chromosome's last one may be shorter."""
    known = np.flatnonzero(np.isfinite(values))
    starts = (bins.first + known) * model.bin
    ends = np.minimum(starts + model.bin, model.sizes[bins.chromosome])
    writer.add(bins.chromosome, starts, ends, values[known])
