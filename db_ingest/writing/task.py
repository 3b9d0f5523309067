"""What is handed to a worker and what comes back: plain records that travel between processes and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from db_ingest.formats.base import Channel
from db_ingest.layout.genome import Genome
from db_ingest.layout.summaries import Part


@dataclass(frozen=True)
class Output:
    """A row of a database that a task writes.

    Args:
        attribute, dataset: name of the track.
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
        threads: number of threads that reading one file may use.
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
    commit: int = 0

    @property
    def bases(self) -> int:
        """Number of bases that are written, those of every output together."""
        chunks = range(self.genome.chunk_count) if self.chunks is None else self.chunks
        return len(self.outputs) * sum(
            piece.end - piece.start for chunk in chunks for piece in self.genome.pieces(*self.genome.chunk(chunk))
        )


@dataclass(frozen=True)
class TaskResult:
    """What became of one output of a task.

    Args:
        folder: where it lies; None: its values are no counts although the task said so.
        parts: summaries, by stretch of chromosome.
        chromosomes: those that the file covers.
        summary: what the reader has to say.
        bin: bp per cell.
    """

    folder: str | None
    parts: list[Part]
    chromosomes: tuple[str, ...]
    summary: dict[str, Any]
    bin: int = 1
