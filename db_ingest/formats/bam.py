"""Counts of alignments from BAM files: of their 5' ends, or of the bases that they cover."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from db_ingest.errors import InputError
from db_ingest.formats import bam_records
from db_ingest.formats.bam_records import ALIGNMENTS, COUNTED, ELSEWHERE, FILTERED, FIRST, LAST, SEQUENCE, WANTED
from db_ingest.formats.base import EVERYTHING, Channel
from db_ingest.formats.events import EventBatch, EventCounter
from db_ingest.inputs import bgzf
from db_ingest.inputs.files import require_file
from db_ingest.inputs.naming import Naming

_WHAT = "a BAM file"
_DUPLICATE = 0x400
_EVENTS_AT_ONCE = 1 << 16
_CHECKED = 1 << 20


def open_signal(
    path: str | Path,
    naming: Naming,
    options: Mapping[str, Any],
    channels: Sequence[Channel] = (EVERYTHING,),
    *,
    threads: int = 1,
) -> EventCounter:
    """Count the alignments of a BAM, sorted or not; no index is needed.

    Unmapped reads never count. The 5' base of an alignment is its first on the plus strand and its last on the minus
    strand; clipped bases are no part of it. A covered base is one under an M, = or X of the CIGAR.

    Args:
        path: the file.
        naming: names of the chromosomes of the database's genome.
        options: ``count`` (``"5p"`` or ``"coverage"``); ``min_mapq``, the least mapping quality; ``exclude_flags``, any
            of which leaves an alignment out, and ``include_flags``, all of which it must have, as samtools' ``-F`` and
            ``-f``; ``duplicates`` (``"keep"`` or ``"drop"``), which alone decides about flag 0x400, whatever
            ``exclude_flags`` says of it; for 5' ends ``shift``, bp added on the plus and on the minus strand.
        channels: the tracks to count in one pass: both strands, or one.
        threads: number of threads that inflate the file.

    Returns:
        A reader. Its summary has ``alignments``, and of these ``counted``, ``filtered`` (unmapped, or by quality and
        flags), ``elsewhere`` (on chromosomes the genome lacks) and ``without_cigar``; ``beyond_ends``, 5' ends that the
        shift moved off their chromosome.

    Raises:
        InputError: no BAM, damaged or cut short; of another assembly; an alignment past its chromosome's end.
    """
    summary: dict[str, Any] = {}
    with closing(_Bam(path, naming, options, channels, threads)) as bam:
        counter = EventCounter(
            bam.path, naming.genome, bam.batches(), len(channels), bam.chromosomes, summary, reach=bam.reach
        )
        summary.update(bam.counts())
    return counter


def check_signal(path: str | Path, naming: Naming, options: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` for what is wrong with a BAM's header, its first records or its end."""
    with closing(_Bam(path, naming, options, (EVERYTHING,), 1)) as bam:
        for _ in bam.batches(_CHECKED):
            pass


def read_sizes(path: str | Path) -> dict[str, int]:
    """Names and sizes in bp of the chromosomes in a BAM's header, in its order."""
    with closing(bgzf.inflate(Path(path), _WHAT, 1)) as blocks:
        return dict(_read_header(Path(path), blocks)[0])


class _Bam:
    """One pass over a BAM.

    Args:
        path, naming, options, channels, threads: as :func:`open_signal` has them.
    """

    def __init__(
        self, path: str | Path, naming: Naming, options: Mapping[str, Any], channels: Sequence[Channel], threads: int
    ) -> None:
        self.path = require_file(path, _WHAT)
        self._coverage = options["count"] == "coverage"
        shift = (0, 0) if self._coverage else options["shift"]
        self.reach = max(map(abs, shift))
        self._shift = np.array(shift, np.int64)
        self._filters = np.array(_filters(self.path, options), np.int64)
        self._takes = _takes(channels)
        _require_bam(self.path)
        self._blocks = bgzf.inflate(self.path, _WHAT, threads)
        references, self._rest = _read_header(self.path, self._blocks)
        matched = naming.match(self.path, _sizes(self.path, references))
        self.chromosomes = tuple(matched)
        of_file = {files_name: naming.genome.index(name) for name, files_name in matched.items()}
        self._names = [name for name, _ in references]
        self._places = np.array([of_file.get(name, -1) for name in self._names], np.int32)
        self._sizes = np.array([size for _, size in references], np.int64)
        self._tally = np.zeros(9, np.int64)

    def batches(self, most: int | None = None) -> Iterator[EventBatch]:
        """Yield the events of the file, or of its first ``most`` bytes of records."""
        room = _EVENTS_AT_ONCE
        events, filled = self._make_room(room), 0
        held: list[bytearray] = []
        lacking = seen = 0
        for block in chain((self._rest,), self._blocks):
            held.append(block)
            seen += len(block)
            lacking -= len(block)
            if lacking > 0:
                continue
            content = held[0] if len(held) == 1 else bytearray().join(held)
            data, at = np.frombuffer(content, np.uint8), 0
            while True:
                stop, at, filled = bam_records.parse(
                    data,
                    at,
                    self._filters,
                    self._shift,
                    self._coverage,
                    self._places,
                    self._sizes,
                    self._takes,
                    *events,
                    filled,
                    self._tally,
                )
                if stop != bam_records.FULL:
                    break
                if filled:
                    yield self._batch(events, filled)
                room = max(room, int(self._tally[WANTED]))
                events, filled = self._make_room(room), 0
            if stop in (bam_records.DAMAGED, bam_records.OUTSIDE):
                raise self._complain(stop)
            held = [content[at:]] if stop == bam_records.CUT else []
            lacking = int(self._tally[WANTED]) - len(content) + at if held else 0
            if most is not None and seen >= most:
                break
        else:
            if held:
                raise InputError(f"{self.path}: ends within alignment {self._tally[ALIGNMENTS] + 1:,}; it is cut short")
        if filled:
            yield self._batch(events, filled)

    def close(self) -> None:
        """Stop inflating."""
        self._blocks.close()

    def counts(self) -> dict[str, int]:
        """Numbers of alignments, for the summary."""
        names = {"alignments": ALIGNMENTS, "counted": COUNTED, "filtered": FILTERED, "elsewhere": ELSEWHERE}
        names["without_cigar"] = bam_records.WITHOUT_CIGAR
        return {name: int(self._tally[at]) for name, at in names.items()}

    def _make_room(self, events: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        ends = np.empty(events if self._coverage else 0, np.int64)
        return np.empty(events, np.int32), np.empty(events, np.int64), ends, np.empty(events, np.int16)

    def _batch(self, events: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], filled: int) -> EventBatch:
        chromosome, start, end, channel = (array[:filled] for array in events)
        return EventBatch(chromosome, start, end if self._coverage else None, channel)

    def _complain(self, stop: int) -> InputError:
        number = f"alignment {self._tally[ALIGNMENTS] + 1:,}"
        if stop == bam_records.DAMAGED:
            return InputError(f"{self.path}: {number} is damaged; expected {_WHAT}")
        reference = self._tally[SEQUENCE]
        return InputError(
            f"{self.path}: {number} lies at {self._names[reference]}:{self._tally[FIRST]:,}-{self._tally[LAST]:,}, "
            f"past the end of the chromosome; expected positions below {self._sizes[reference]:,}"
        )


def _filters(path: Path, options: Mapping[str, Any]) -> tuple[int, int, int]:
    without, needed = int(options["exclude_flags"]), int(options["include_flags"])
    without = without & ~_DUPLICATE if options["duplicates"] == "keep" else without | _DUPLICATE
    if without & needed:
        option = "duplicates: drop" if without & needed == _DUPLICATE else "exclude_flags"
        raise InputError(
            f"{path}: include_flags asks for flag {without & needed:#x}, which {option} leaves out; "
            "expected flags that alignments can have"
        )
    return int(options["min_mapq"]), without, needed


def _takes(channels: Sequence[Channel]) -> np.ndarray:
    """The channels that take each strand, ``(2, n) int16``, ended by -1 where one has fewer than n."""
    of_strand = [[i for i, c in enumerate(channels) if c.strand in (None, strand)] for strand in "+-"]
    takes = np.full((2, max(map(len, of_strand))), -1, np.int16)
    for row, taken in zip(takes, of_strand, strict=True):
        row[: len(taken)] = taken
    return takes


def _require_bam(path: Path) -> None:
    with path.open("rb") as handle:
        head = handle.read(4)
    if head == b"CRAM":
        raise InputError(f"{path}: a CRAM file; expected {_WHAT} (samtools view -b makes one)")
    if head in (b"@HD\t", b"@SQ\t", b"@RG\t", b"@PG\t", b"@CO\t"):
        raise InputError(f"{path}: SAM text; expected {_WHAT} (samtools view -b makes one)")
    if not bgzf.is_bgzf(path):
        kind = "gzip without blocks" if head[:2] == b"\x1f\x8b" else "no BAM header"
        raise InputError(f"{path}: {kind}; expected {_WHAT}")
    bgzf.require_end(path, _WHAT)


def _read_header(path: Path, blocks: Iterator[bytearray]) -> tuple[list[tuple[str, int]], bytearray]:
    """The references' names and sizes in bp, and what follows the header in its last block."""
    data = bytearray()

    def take(at: int, size: int) -> bytes:
        while len(data) < at + size:
            block = next(blocks, None)
            if block is None:
                raise InputError(f"{path}: ends within its header; it is cut short")
            data.extend(block)
        return bytes(data[at : at + size])

    def number(at: int) -> int:
        value = int(struct.unpack("<i", take(at, 4))[0])
        if value < 0:
            raise InputError(f"{path}: a length of {value} in its header; the file is damaged")
        return value

    if take(0, 4) != b"BAM\1":
        raise InputError(f"{path}: compressed, but no BAM header; expected {_WHAT}")
    at = 8 + number(4)
    references: list[tuple[str, int]] = []
    count = number(at)
    at += 4
    for _ in range(count):
        length = number(at)
        name = take(at + 4, length).rstrip(b"\0").decode(errors="replace")
        references.append((name, number(at + 4 + length)))
        at += 8 + length
    return references, data[at:]


def _sizes(path: Path, references: Sequence[tuple[str, int]]) -> dict[str, int]:
    if not references:
        raise InputError(f"{path}: no chromosomes in its header; expected aligned reads")
    sizes: dict[str, int] = {}
    for name, size in references:
        if name in sizes:
            raise InputError(f"{path}: its header has chromosome {name} twice")
        sizes[name] = size
    return sizes
