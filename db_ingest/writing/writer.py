"""Write tracks into a database: each to a row of its own, made visible by the catalogue when it is whole."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.formats import FORMATS
from db_ingest.formats.base import Channel
from db_ingest.layout import arrays, schema
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue, Staged, Track
from db_ingest.layout.summaries import Part, combine
from db_ingest.progress import progress
from db_ingest.writing.plan import Checked, Plan, stamp_of
from db_ingest.writing.tasks import Output, Task, Written, perform
from db_ingest.writing.workers import Crew, crew

log = logging.getLogger("kerasgen")


@dataclass
class _Track:
    """A track on its way: what it will be, and what has been written of it."""

    item: Checked | None
    staged: Staged
    folder: str | None = None
    waiting: int = 0
    parts: list[Part] = field(default_factory=list)
    last: Written | None = None


def write(plan: Plan, check: Callable[[], None]) -> Iterator[Track]:
    """Write what a plan says; yields each track once it is committed.

    The caller holds the writer's lock; ``check`` raises if it was lost. Rows are handed out for good before the first
    byte is written, so that no later run takes half a row for a track, and the same run again finds what is done.
    """
    book = plan.existing or Catalogue(plan.genome)
    tracks = [
        _Track(item, book.stage(*item.cell.name, item.cell.attribute.type, item.source, item.settings))
        for item in plan.todo
    ]
    if plan.sequence is not None:
        name = catalogues.SEQUENCE
        tracks.insert(0, _Track(None, book.stage(name, name, name, plan.sequence.source, {})))

    # Tracks are finished in any order; the catalogue lists them in that of the samples table.
    order = {(t.attribute, t.dataset): i for i, t in enumerate(book.tracks)}
    for item in plan.todo:
        order.setdefault(item.cell.name, len(order))

    def save() -> None:
        check()
        book.tracks.sort(key=lambda track: order[track.attribute, track.dataset])
        book.save(plan.uri)

    save()
    with (
        progress("ingest", int(plan.estimate["bases"]), "bases") as advance,
        crew(plan.workers, plan.threads, plan.scheduler, advance) as hired,
    ):
        todo: deque[tuple[Task, list[_Track]]] = deque()
        pending: dict[Future[list[Written]], tuple[Task, list[_Track]]] = {}

        def plan_for(of: list[_Track]) -> None:
            for task, made in _tasks(plan, of, hired):
                todo.append((task, made))
                for track in made:
                    track.waiting += 1

        plan_for(tracks)
        failure: BaseException | None = None
        try:
            while pending or (todo and failure is None):
                # No more than keeps the workers busy: what is under way is finished when something fails.
                while todo and failure is None and len(pending) < 2 * hired.slots:
                    task, made = todo.popleft()
                    pending[hired.executor.submit(perform, _dispatched(task, book, hired))] = (task, made)
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    task, made = pending.pop(future)
                    if (error := future.exception()) is not None:
                        failure = failure or error
                        continue
                    if not hired.reports:
                        advance(_bases(task))
                    for track, written in zip(made, future.result(), strict=True):
                        track.waiting -= 1
                        if written.folder is None and track.folder == "counts":
                            # Not counts after all: once more from the start, as real numbers.
                            track.folder, track.parts, track.last = "signal", [], None
                            plan_for([track])
                        elif written.folder is not None and task.folder in (None, track.folder):
                            track.parts += written.parts
                            track.last = written
                        if track.waiting == 0 and track.last is not None:
                            done = _commit(book, track)
                            save()
                            if done is not None:
                                yield done
        except BaseException:
            if hired.elsewhere:
                # Nobody else may write while these do.
                log.info("waiting for %d task(s) that the cluster has begun", len(pending))
                wait(pending)
            raise
        if failure is not None:
            raise failure


def _dispatched(task: Task, book: Catalogue, hired: Crew) -> Task:
    """A task with what a worker on another machine must know now."""
    if not hired.elsewhere:
        return task
    environment = storage.s3_environment() if storage.is_remote(task.uri) else {}
    return dataclasses.replace(task, environment=environment, commit=book.commit)


def _tasks(plan: Plan, tracks: list[_Track], hired: Crew) -> Iterator[tuple[Task, list[_Track]]]:
    """The work that makes tracks: chunk by chunk where a file can be read in parts, else all of one file at once."""
    whole: dict[tuple[Any, ...], list[_Track]] = {}
    for track in tracks:
        key = (id(track),) if track.item is None else track.item.read_with
        whole.setdefault(key, []).append(track)
    alone = max(1, hired.threads // max(1, len(whole)))
    for made in whole.values():
        item = made[0].item
        task = Task(
            uri=plan.uri,
            genome=plan.genome,
            aliases=plan.aliases,
            path=str(plan.sequence.path if item is None and plan.sequence else item and item.path),
            type=catalogues.SEQUENCE if item is None else item.cell.attribute.type,
            options={} if item is None else item.options,
            outputs=tuple(_output(plan, track) for track in made),
            threads=alone,
        )
        _create_arrays(plan, made)
        if item is None or not FORMATS[task.type].splits:
            yield task, made
            continue
        (track,) = made
        track.folder = track.folder or ("counts" if item.counts else "signal")
        arrays.create(plan.uri, schema.member(track.folder, item.cell.attribute.name), plan.genome)
        for chunk in range(plan.genome.chunk_count):
            pieces = plan.genome.pieces(*plan.genome.chunk(chunk))
            if any(piece.chromosome in item.chromosomes for piece in pieces):
                yield dataclasses.replace(task, folder=track.folder, chunks=(chunk,)), made


def _create_arrays(plan: Plan, made: list[_Track]) -> None:
    """Make the arrays that the tracks of a file will lie in, as far as that is known before it is read."""
    for track in made:
        if track.item is None:
            arrays.create(plan.uri, schema.SEQUENCE, plan.genome)
        elif track.item.cell.attribute.kind == "mask":
            for name in (schema.member("mask", track.staged.attribute), schema.intervals(track.staged.attribute)):
                arrays.create(plan.uri, name, plan.genome)


def _output(plan: Plan, track: _Track) -> Output:
    """Where a track goes, and what an interrupted writer stored of it."""
    staged, item = track.staged, track.item
    channel = Channel() if item is None else item.cell.channel
    if plan.existing is None or staged.row not in plan.resumed.get(staged.attribute, ()):
        return Output(staged.attribute, staged.dataset, staged.row, channel)
    if item is None:
        members = {schema.SEQUENCE: schema.SEQUENCE}
    elif item.cell.attribute.kind == "mask":
        members = {"mask": schema.member("mask", staged.attribute)}
    else:
        bin = item.options.get("bin", 1)
        members = {folder: schema.member(folder, staged.attribute, bin) for folder in ("signal", "counts")}
    genome = plan.genome if item is None else plan.genome.binned(item.options.get("bin", 1))
    done = {folder: arrays.chunks_done(plan.uri, member, staged.row, genome) for folder, member in members.items()}
    return Output(staged.attribute, staged.dataset, staged.row, channel, done)


def _bases(task: Task) -> int:
    chunks = range(task.genome.chunk_count) if task.chunks is None else task.chunks
    return len(task.outputs) * sum(
        piece.end - piece.start for chunk in chunks for piece in task.genome.pieces(*task.genome.chunk(chunk))
    )


def _commit(book: Catalogue, track: _Track) -> Track | None:
    """Enter a finished track into the catalogue; None for the sequence."""
    staged, item, last = track.staged, track.item, track.last
    assert last is not None
    assert last.folder is not None
    if item is not None and stamp_of(item.path) != item.stamp:
        raise InputError(f"{item.path}: changed while it was being read; run again when it is whole")
    summary, checksums = combine(track.parts)
    if item is None:
        book.sequence = {**staged.source, "row": staged.row, "checksums": checksums}
        book.unstage(staged.attribute, staged.dataset)
        return None
    if last.folder == "mask":
        summary = {"covered": summary["covered"]}
    done = Track(
        attribute=staged.attribute,
        dataset=staged.dataset,
        kind=item.cell.attribute.kind,
        type=staged.type,
        folder=last.folder,
        row=staged.row,
        source=staged.source,
        options=staged.options,
        summary={
            **last.summary,
            **summary,
            "absent_chromosomes": [name for name in book.genome.names if name not in last.chromosomes],
        },
        checksums=checksums,
        committed=catalogues.now(),
        bin=last.bin,
    )
    book.put(done)
    return done
