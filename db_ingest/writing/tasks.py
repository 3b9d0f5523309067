"""What a worker does: read a file, or chunks of it, and write them as fragments. Tasks travel between machines.

Every member is written in chunks of the position axis, one fragment a chunk, all with the timestamp ``row + 1``. A
chunk that an interrupted writer finished is summarised from what is stored instead of being written again.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError, KerasgenError
from db_ingest.formats import FORMATS
from db_ingest.formats.base import Channel, SignalReader
from db_ingest.layout import codes
from db_ingest.layout.genome import Genome
from db_ingest.layout.summaries import Part, summarise, to_counts


@dataclass(frozen=True)
class Output:
    """A track to write.

    Args:
        attribute, dataset: its name.
        row: its row.
        channel: what it takes of the file.
        done: folder -> chunks that are stored already.
    """

    attribute: str
    dataset: str
    row: int
    channel: Channel = field(default_factory=Channel)
    done: Mapping[str, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A file, or chunks of it, to read and write.

    Args:
        uri: the database.
        genome: its chromosomes.
        aliases: names of chromosomes in the file, beyond those that are understood anyway.
        path: a local file.
        type: how it is read; ``"sequence"`` for FASTA and 2bit.
        options: all options of the type.
        outputs: the tracks it becomes.
        folder: where signals go, ``"signal"`` or ``"counts"``; None: as the file's values allow.
        chunks: those to write; None: all.
        threads: that reading one file may use.
        environment: variables to set first, on a machine that does not have them.
        commit: the catalogue must be at least of this commit where the work is done: another machine may know another
            folder by the same name. 0: not asked.
    """

    uri: str
    genome: Genome
    aliases: Mapping[str, str]
    path: str
    type: str
    options: Mapping[str, Any]
    outputs: tuple[Output, ...]
    folder: str | None = None
    chunks: tuple[int, ...] | None = None
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    commit: int = 0


@dataclass(frozen=True)
class Written:
    """What became of one output of a task.

    Args:
        folder: where it lies; None: its values are no counts although the task said so.
        parts: summaries, by stretch of chromosome.
        chromosomes: those that the file covers.
        summary: what the reader has to say.
        bin: bp a cell.
    """

    folder: str | None
    parts: list[Part]
    chromosomes: tuple[str, ...]
    summary: dict[str, Any]
    bin: int = 1


_STRETCH = 2**20
"""Cells read at a time: what is done with them next still finds them in the processor's cache."""

_advance: Callable[[int], None] = lambda bases: None  # noqa: E731
_local = threading.local()
_commits: dict[str, int] = {}


def _require_commit(uri: str, commit: int) -> None:
    from db_ingest.layout import catalogue

    if commit and _commits.get(uri, 0) < commit:
        found = catalogue.load(uri).commit if catalogue.exists(uri) else 0
        if found < commit:
            raise InputError(
                f"{uri}: a worker finds another database, or none, under this name; expected the one of commit {commit}"
            )
        _commits[uri] = found


def report_to(advance: Callable[[int], None]) -> None:
    """Have the tasks of this process count the bases they have done."""
    global _advance
    _advance = advance


def perform(task: Task) -> list[Written]:
    """Do a task; one result an output."""
    os.environ.update(task.environment)
    _require_commit(task.uri, task.commit)
    try:
        if task.type == "sequence":
            return [_write_sequence(task)]
        if FORMATS[task.type].kind == "mask":
            from db_ingest.writing.masks import write_mask

            return [write_mask(task, _advance)]
        return _write_signals(task)
    except KerasgenError:
        raise
    except Exception as error:
        # Of a file, an error of the system says the name.
        raise storage.explain(str(getattr(error, "filename", None) or task.uri), error) from error


def _reader(task: Task) -> SignalReader:
    """The task's file, opened; one that may be read in parts stays open for this thread's next task."""
    from db_ingest.inputs.naming import Naming

    known = FORMATS[task.type]
    state = os.stat(task.path)
    # A thread of a cluster lives on: the file may be another by then, or be read in another way.
    key = (
        (task.path, state.st_ino, state.st_size, state.st_mtime_ns),
        (task.type, sorted((name, repr(value)) for name, value in task.options.items())),
        (task.genome, task.aliases),
        tuple(output.channel for output in task.outputs),
    )
    held = _local.__dict__.get("reader")
    if known.splits and held is not None and held[0] == key:
        return held[1]  # type: ignore[no-any-return]
    if held is not None:
        held[1].close()
        del _local.reader
    channels = tuple(output.channel for output in task.outputs)
    naming = Naming(task.genome, task.aliases)
    extra = {"threads": task.threads} if known.threaded else {}
    reader: SignalReader = known.load().open_signal(task.path, naming, task.options, channels, **extra)
    if known.splits:
        _local.reader = (key, reader)
    return reader


def _write_signals(task: Task) -> list[Written]:
    reader = _reader(task)
    try:
        return [_write_signal(task, reader, channel) for channel in range(len(task.outputs))]
    finally:
        if not FORMATS[task.type].splits:
            reader.close()


def _write_signal(task: Task, reader: SignalReader, channel: int) -> Written:
    bin = getattr(reader, "bin", 1)
    folders: tuple[str | None, ...]
    if task.folder is not None:
        folders = (task.folder, None)
    else:
        folders = ("counts", "signal") if reader.counts and bin == 1 else ("signal",)
    for folder in folders:
        parts = None if folder is None else _write_values(task, reader, channel, folder, bin)
        if parts is not None:
            return Written(folder, parts, reader.chromosomes, dict(reader.summary), bin)
    return Written(None, [], reader.chromosomes, dict(reader.summary), bin)


def _write_values(task: Task, reader: SignalReader, channel: int, folder: str, bin: int) -> list[Part] | None:
    """Write a signal's chunks; None if they should be counts and are not."""
    from db_ingest.layout import arrays, schema

    output = task.outputs[channel]
    genome = task.genome if bin == 1 else task.genome.binned(bin)
    member = schema.member(folder, output.attribute, bin)
    if task.folder is None:
        arrays.create(task.uri, member, task.genome)
    read = reader.read if bin == 1 else functools.partial(_read_bins, reader)
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
                        values = read(piece.chromosome, start, min(start + _STRETCH, piece.end), channel)
                        at = piece.at + start - piece.start
                        into = cells[at : at + len(values)]
                        if folder == "signal":
                            into[:] = values
                        elif not to_counts(values, into):
                            return None
                        parts.append(summarise(piece.chromosome, start, into, folder))
                writer.put(first, cells)
            _advance(sum(piece.end - piece.start for piece in pieces))
    return parts


def _read_bins(reader: Any, chromosome: str, first: int, last: int, channel: int) -> np.ndarray:
    values: np.ndarray = reader.read_bins(chromosome, first, last)
    return values


def _write_sequence(task: Task) -> Written:
    """Write the sequence; a chunk goes out when the file has given all its chromosomes, in whatever order."""
    from db_ingest.formats import sequence
    from db_ingest.inputs.naming import Naming
    from db_ingest.layout import arrays, schema

    genome, (output,) = task.genome, task.outputs
    done = output.done.get(schema.SEQUENCE, frozenset())
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
            parts.append(summarise(name, start, bases[start:end], schema.SEQUENCE))
            missing[index] -= end - start
            if missing[index] == 0:
                cells = building.pop(index)
                if index not in done:
                    arrays.put(task.uri, schema.SEQUENCE, output.row, first, cells)
                _advance(chunk_bases[index])
    return Written(schema.SEQUENCE, parts, genome.names, {})
