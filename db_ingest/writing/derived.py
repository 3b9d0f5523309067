"""Write tracks that come from other arrays than a file's: chunk by chunk, resumable, each visible when it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import tiledb

from db_ingest import storage
from db_ingest.errors import InputError, KerasgenError
from db_ingest.layout import arrays, codes, members
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue, Provenance, Staged, Track
from db_ingest.layout.cells import CELLS, read
from db_ingest.layout.genome import Genome, Piece
from db_ingest.layout.summaries import Part, combine, summarise, to_counts
from db_ingest.writing import workers


class CellSource:
    """Where the cells of a track come from. Read by several threads at once.

    Attributes:
        chromosomes: those of the genome that may hold values.
        counts: whether the values may all be whole numbers from 0 to 65,534.
    """

    chromosomes: tuple[str, ...]
    counts: bool = False

    def read(self, chromosome: str, start: int, end: int) -> np.ndarray:
        """Cells ``[start, end)`` of a chromosome: float32 of a signal (NaN: no value), uint8 codes of a mask."""
        raise NotImplementedError

    def see(self, pieces: Sequence[Piece], cells: np.ndarray) -> None:
        """Take note of a chunk that is stored."""

    def finish(self, uri: str, row: int) -> Mapping[str, Any]:
        """Do what is left when all chunks are stored; returns what to add to the track's summary."""
        return {}


@dataclass(frozen=True)
class DerivedTrack:
    """A track to write.

    Args:
        attribute, dataset: its name.
        kind: ``"signal"`` or ``"mask"``.
        provenance: what it is made from.
        origin: gives its cells.
        bin: bp per cell.
    """

    attribute: str
    dataset: str
    kind: str
    provenance: Provenance
    origin: CellSource
    bin: int = 1


def write(
    uri: str,
    catalogue: Catalogue,
    save: Callable[[], None],
    wanted: Sequence[DerivedTrack],
    threads: int,
    what: str,
    instead_of: Sequence[Track] | None = None,
) -> Iterator[tuple[DerivedTrack, Track | None]]:
    """Write tracks, one after the other; yields each when it is committed, with None if it holds no value at all.

    The caller holds the writer's lock; ``save`` makes ``catalogue`` that of the database. Given ``instead_of``, all are
    committed in one step when the last is written, and these tracks are gone then.
    """
    from db_ingest.progress import progress

    resumed = {(row.attribute, row.row) for row in catalogue.staged}
    rows = [catalogue.stage(item.attribute, item.dataset, item.provenance) for item in wanted]
    save()
    total = sum(catalogue.genome.binned(item.bin).bases for item in wanted)
    done = []
    with (
        progress(what, total, "bases" if all(item.bin == 1 for item in wanted) else "bins") as advance,
        ThreadPoolExecutor(workers.at_a_time(threads)) as executor,
    ):
        for item, staged in zip(wanted, rows, strict=True):
            writing = _Writing(uri, catalogue.genome, item, staged, (staged.attribute, staged.row) in resumed)
            track = writing.perform(executor, advance)
            if track is None:
                catalogue.unstage(item.attribute, item.dataset)
            else:
                catalogue.put(track)
            if instead_of is None:
                save()
                yield item, track
            else:
                done.append((item, track))
    if instead_of is not None:
        catalogue.tracks = [track for track in catalogue.tracks if track not in instead_of]
        save()
        yield from done


class _Writing:
    """One track on its way."""

    def __init__(self, uri: str, genome: Genome, item: DerivedTrack, staged: Staged, resumed: bool) -> None:
        self._uri, self._item, self._staged, self._resumed = uri, item, staged, resumed
        self._whole, self._genome = genome, genome if item.bin == 1 else genome.binned(item.bin)

    def perform(self, executor: ThreadPoolExecutor, advance: Callable[[int], None]) -> Track | None:
        item, origin = self._item, self._item.origin
        folders = ["mask"] if item.kind == "mask" else ["counts", "signal"] if origin.counts else ["signal"]
        parts: list[tuple[Part, bool]] | None = None
        for folder in folders:
            parts = self._write(folder, executor, advance)
            if parts is not None:
                break
        assert parts is not None
        valued = {part.chromosome for part, there in parts if there}
        if not valued:
            return None
        summary, checksums = combine(part for part, _ in parts if part.chromosome in valued)
        summary = {"covered": summary["covered"]} if item.kind == "mask" else summary
        return Track(
            attribute=item.attribute,
            dataset=item.dataset,
            kind=item.kind,
            folder=folder,
            row=self._staged.row,
            **item.provenance._asdict(),
            summary={
                **summary,
                **origin.finish(self._uri, self._staged.row),
                "absent_chromosomes": [name for name in self._whole.names if name not in valued],
            },
            checksums=checksums,
            committed=catalogues.now(),
            bin=item.bin,
        )

    def _write(
        self, folder: str, executor: ThreadPoolExecutor, advance: Callable[[int], None]
    ) -> list[tuple[Part, bool]] | None:
        """All chunks, each part with whether it holds a value; None if they should be counts and are not."""
        member = members.member(folder, self._item.attribute, self._item.bin)
        arrays.create(self._uri, member, self._whole)
        done = frozenset[int]()
        if self._resumed:
            done = arrays.chunks_done(self._uri, member, self._staged.row, self._genome)
        futures: list[Future[list[tuple[Part, bool]] | None]] = [
            executor.submit(self._chunk, folder, member, index, index in done, advance)
            for index in range(self._genome.chunk_count)
        ]
        parts: list[tuple[Part, bool]] = []
        try:
            for future in futures:
                found = future.result()
                if found is None:
                    return None
                parts += found
        finally:
            for future in futures:
                future.cancel()
            wait(futures)
        return parts

    def _chunk(
        self, folder: str, member: str, index: int, is_done: bool, advance: Callable[[int], None]
    ) -> list[tuple[Part, bool]] | None:
        first, last = self._genome.chunk(index)
        origin = self._item.origin
        bases = self._genome.pieces(first, last)
        pieces = [piece for piece in bases if piece.chromosome in origin.chromosomes]
        found = []
        try:
            if pieces:
                cells = self._stored(member, first, last) if is_done else self._cells(folder, pieces, last - first)
                if cells is None:
                    return None
                stretches = [cells[piece.at : piece.at + piece.end - piece.start] for piece in pieces]
                valued = [has_value(stretch, folder) for stretch in stretches]
                for piece, stretch, there in zip(pieces, stretches, valued, strict=True):
                    found.append((summarise(piece.chromosome, piece.start, stretch, folder), there))
                if any(valued) and not is_done:
                    arrays.put(self._uri, member, self._staged.row, first, cells)
                origin.see(pieces, cells)
        except KerasgenError:
            raise
        except Exception as error:
            raise storage.explain(self._uri, error) from error
        advance(sum(piece.end - piece.start for piece in bases))
        return found

    def _stored(self, member: str, first: int, last: int) -> np.ndarray:
        with tiledb.open(storage.join(self._uri, member), ctx=storage.tiledb_ctx(self._uri)) as array:
            return read(array, self._staged.row, first, last)

    def _cells(self, folder: str, pieces: Sequence[Piece], length: int) -> np.ndarray | None:
        dtype, fill = CELLS[folder]
        cells = arrays.buffer(dtype, length)
        cells.fill(fill)
        for piece in pieces:
            values = self._item.origin.read(piece.chromosome, piece.start, piece.end)
            into = cells[piece.at : piece.at + len(values)]
            if folder != "counts":
                into[:] = values
            elif not to_counts(values, into):
                return None
        return cells


def has_value(cells: np.ndarray, folder: str) -> bool:
    """Whether any of ``(n,)`` cells of a member in ``folder`` holds a value."""
    if folder == "signal":
        return not bool(np.isnan(cells).all())
    missing = codes.MASK_MISSING if folder == "mask" else codes.COUNTS_MISSING
    return int(cells.min()) != missing


def refuse_or_skip(catalogue: Catalogue, item: DerivedTrack, overwrite: bool) -> bool:
    """Whether a track is to be written: not if it is there, of the same source.

    Raises:
        InputError: it is there, of another source, and ``overwrite`` is not given; or the attribute is of another kind.
    """
    old = catalogue.find(item.attribute, item.dataset)
    for track in catalogue.tracks:
        if track is not old and track.attribute == item.attribute and track.kind != item.kind:
            raise InputError(f"attribute {item.attribute!r} is a {track.kind} in the database; this is a {item.kind}")
    if old is None:
        return True
    if old.provenance.gives_the_same(item.provenance):
        return False
    if not overwrite:
        raise InputError(
            f"{old.name} is in the database already, from another source ({old.source['path']}); "
            "--overwrite replaces it"
        )
    return True
