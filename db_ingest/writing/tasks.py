"""What a worker does: read a file, or chunks of it, and write them as fragments.

Every member is written in chunks of the position axis, one fragment per chunk, all with the timestamp ``row + 1``. A
chunk that an interrupted writer finished is summarised from what is stored instead of being written again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError, KerasgenError
from db_ingest.formats import FORMATS, sequence
from db_ingest.formats.base import SignalReader
from db_ingest.inputs.naming import Naming
from db_ingest.layout import arrays, catalogue, codes, members
from db_ingest.layout.summaries import Part, summarise, to_counts
from db_ingest.writing.masks import write_mask
from db_ingest.writing.task import Task, TaskResult

_STRETCH = 2**20
"""Cells read at a time: what is done with them next still finds them in the processor's cache."""


class _OpenFile(NamedTuple):
    """A file that stays open for the next task of a thread, and all that its reading depends on."""

    key: tuple[object, ...]
    reader: SignalReader


class TaskRunner:
    """Does tasks in this process.

    A file that is read in parts stays open in each thread until the thread gets a task on another one.

    Args:
        advance: called with the number of bases done.
    """

    def __init__(self, advance: Callable[[int], None] = lambda bases: None) -> None:
        self.advance = advance
        self._thread = threading.local()
        self._commits: dict[str, int] = {}

    def perform(self, task: Task) -> list[TaskResult]:
        """Do a task; returns one result per output."""
        self._require_commit(task.uri, task.commit)
        try:
            if task.type == members.SEQUENCE:
                return [_write_sequence(task, self.advance)]
            if FORMATS[task.type].kind == "mask":
                return [write_mask(task, self.advance)]
            return self._write_signals(task)
        except KerasgenError:
            raise
        except Exception as error:
            # An error of the system names the file it is about.
            raise storage.explain(str(getattr(error, "filename", None) or task.uri), error) from error

    def _require_commit(self, uri: str, commit: int) -> None:
        if self._commits.get(uri, 0) >= commit:
            return
        found = catalogue.load(uri).commit if catalogue.exists(uri) else 0
        if found < commit:
            raise InputError(
                f"{uri}: a worker finds another database, or none, under this name; expected the one of commit {commit}"
            )
        self._commits[uri] = found

    def _reader(self, task: Task) -> SignalReader:
        """The task's file, opened; one that may be read in parts stays open for this thread's next task."""
        known = FORMATS[task.type]
        state = os.stat(task.path)
        channels = tuple(output.channel for output in task.outputs)
        # A thread of a cluster lives on: the file may be another by then, or be read in another way.
        key = (
            (task.path, state.st_ino, state.st_size, state.st_mtime_ns),
            (task.type, sorted((name, repr(value)) for name, value in task.options.items())),
            (task.genome, task.aliases),
            channels,
        )
        held: _OpenFile | None = getattr(self._thread, "open", None)
        if known.splits and held is not None and held.key == key:
            return held.reader
        if held is not None:
            held.reader.close()
            self._thread.open = None
        extra = {"threads": task.threads} if known.threaded else {}
        naming = Naming(task.genome, task.aliases)
        reader: SignalReader = known.load().open_signal(task.path, naming, task.options, channels, **extra)
        if known.splits:
            self._thread.open = _OpenFile(key, reader)
        return reader

    def _write_signals(self, task: Task) -> list[TaskResult]:
        reader = self._reader(task)
        try:
            return [_write_signal(task, reader, channel, self.advance) for channel in range(len(task.outputs))]
        finally:
            if not FORMATS[task.type].splits:
                reader.close()


def _write_signal(task: Task, reader: SignalReader, channel: int, advance: Callable[[int], None]) -> TaskResult:
    folders: tuple[str, ...]
    if task.folder is not None:
        folders = (task.folder,)
    else:
        folders = ("counts", "signal") if reader.counts and reader.bin == 1 else ("signal",)
    for folder in folders:
        parts = _write_values(task, reader, channel, folder, advance)
        if parts is not None:
            return TaskResult(folder, parts, reader.chromosomes, dict(reader.summary), reader.bin)
    return TaskResult(None, [], reader.chromosomes, dict(reader.summary), reader.bin)


def _write_values(
    task: Task, reader: SignalReader, channel: int, folder: str, advance: Callable[[int], None]
) -> list[Part] | None:
    """Write a signal's chunks; None if they should be counts and are not."""
    output = task.outputs[channel]
    genome = task.genome if reader.bin == 1 else task.genome.binned(reader.bin)
    member = members.member(folder, output.attribute, reader.bin)
    if task.folder is None:
        arrays.create(task.uri, member, task.genome)
    parts: list[Part] = []
    with arrays.ChunkWriter(task.uri, member, output.row, threads=1 if task.chunks else task.threads) as writer:
        for index in task.chunks if task.chunks is not None else range(genome.chunk_count):
            first, last = genome.chunk(index)
            pieces = [piece for piece in genome.pieces(first, last) if piece.chromosome in reader.chromosomes]
            if pieces and index in output.done.get(folder, ()):
                parts += arrays.stored_parts(task.uri, member, output.row, first, last, pieces)
            elif pieces:
                cells = writer.cells(last - first)
                for piece in pieces:
                    for start in range(piece.start, piece.end, _STRETCH):
                        end = min(start + _STRETCH, piece.end)
                        values = reader.read_bins(piece.chromosome, start, end, channel)
                        at = piece.at + start - piece.start
                        into = cells[at : at + len(values)]
                        if folder == "signal":
                            into[:] = values
                        elif not to_counts(values, into):
                            return None
                        parts.append(summarise(piece.chromosome, start, into, folder))
                writer.put(first, cells)
            advance(sum(piece.end - piece.start for piece in pieces))
    return parts


def _write_sequence(task: Task, advance: Callable[[int], None]) -> TaskResult:
    """Write the sequence; a chunk goes out when the file has given all its chromosomes, in whatever order."""
    genome, (output,) = task.genome, task.outputs
    done = output.done.get(members.SEQUENCE, frozenset())
    building: dict[int, np.ndarray] = {}
    missing: dict[int, int] = {}
    parts: list[Part] = []
    chunk_bases = [sum(p.end - p.start for p in genome.pieces(*genome.chunk(i))) for i in range(genome.chunk_count)]
    for name, bases in sequence.chromosomes(task.path, Naming(genome, task.aliases)):
        offset = genome.offset(name)
        for index in range(genome.chunk_of(offset), genome.chunk_of(offset + len(bases) - 1) + 1):
            first, last = genome.chunk(index)
            if index not in building:
                building[index] = np.full(last - first, codes.UNKNOWN_BASE, np.uint8)
                missing[index] = chunk_bases[index]
            start, end = max(first - offset, 0), min(last - offset, len(bases))
            building[index][offset + start - first : offset + end - first] = bases[start:end]
            parts.append(summarise(name, start, bases[start:end], members.SEQUENCE))
            missing[index] -= end - start
            if missing[index] == 0:
                cells = building.pop(index)
                if index not in done:
                    arrays.put(task.uri, members.SEQUENCE, output.row, first, cells)
                advance(chunk_bases[index])
    return TaskResult(members.SEQUENCE, parts, genome.names, {})
