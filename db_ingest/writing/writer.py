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
from db_ingest.layout import arrays, members
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue, Provenance, Staged, Track
from db_ingest.layout.summaries import Part, combine
from db_ingest.progress import progress
from db_ingest.writing.plan import CheckedTrack, IngestPlan, stamp_of
from db_ingest.writing.task import Output, Task, TaskResult
from db_ingest.writing.workers import WorkerPool, worker_pool

log = logging.getLogger("kerasgen")


@dataclass
class _TrackProgress:
    """How far a track is: what it will be, and what has been written of it."""

    item: CheckedTrack | None
    staged: Staged
    folder: str | None = None
    waiting: int = 0
    parts: list[Part] = field(default_factory=list)
    last: TaskResult | None = None


def write(plan: IngestPlan, check: Callable[[], None]) -> Iterator[Track]:
    """Write what a plan says; yields each track once it is committed.

    The caller holds the writer's lock; ``check`` raises if it was lost. Rows are handed out for good before the first
    byte is written, so that no later run takes half a row for a track, and the same run again finds what is done.
    """
    catalogue = plan.existing or Catalogue(plan.genome)
    tracks = [_TrackProgress(item, catalogue.stage(*item.name, item.provenance)) for item in plan.todo]
    if plan.sequence is not None:
        name = members.SEQUENCE
        staged = catalogue.stage(name, name, Provenance(name, plan.sequence.source, {}))
        tracks.insert(0, _TrackProgress(None, staged))

    # Tracks are finished in any order; the catalogue lists them in that of the samples table.
    order = {(t.attribute, t.dataset): i for i, t in enumerate(catalogue.tracks)}
    for item in plan.todo:
        order.setdefault(item.name, len(order))

    def save() -> None:
        check()
        catalogue.tracks.sort(key=lambda track: order[track.attribute, track.dataset])
        catalogue.save(plan.uri)

    save()
    environment = storage.s3_environment() if plan.scheduler and storage.is_remote(plan.uri) else {}
    with (
        progress("ingest", int(plan.estimate["bases"]), "bases") as advance,
        worker_pool(plan.workers, plan.threads, plan.scheduler, advance, environment) as pool,
    ):
        schedule = _Schedule(plan, pool, catalogue)
        schedule.add(tracks)
        for task, made, results in schedule.results():
            if not pool.reports:
                advance(task.bases)
            for track in schedule.collect(task, made, results):
                done = _commit(catalogue, track)
                save()
                if done is not None:
                    yield done


class _Schedule:
    """Tasks that wait for a worker, those that are under way, and what becomes of their results."""

    def __init__(self, plan: IngestPlan, pool: WorkerPool, catalogue: Catalogue) -> None:
        self._plan, self._pool, self._catalogue = plan, pool, catalogue
        self._todo: deque[tuple[Task, list[_TrackProgress]]] = deque()
        self._pending: dict[Future[list[TaskResult]], tuple[Task, list[_TrackProgress]]] = {}

    def add(self, tracks: list[_TrackProgress]) -> None:
        """Plan the work that makes tracks."""
        for task, made in _tasks(self._plan, tracks, self._pool):
            self._todo.append((task, made))
            for track in made:
                track.waiting += 1

    def results(self) -> Iterator[tuple[Task, list[_TrackProgress], list[TaskResult]]]:
        """Hand out the tasks; yields each with its tracks and results when it is done, in any order.

        When a task fails, what is under way is finished, and its results are yielded, before the error is raised.
        """
        failure: BaseException | None = None
        try:
            while self._pending or (self._todo and failure is None):
                if failure is None:
                    self._hand_out()
                for future in wait(self._pending, return_when=FIRST_COMPLETED).done:
                    task, made = self._pending.pop(future)
                    if (error := future.exception()) is not None:
                        failure = failure or error
                    else:
                        yield task, made, future.result()
        except BaseException:
            if self._pool.elsewhere:
                # Nobody else may write while these do.
                log.info("waiting for %d task(s) that the cluster has begun", len(self._pending))
                wait(self._pending)
            raise
        if failure is not None:
            raise failure

    def _hand_out(self) -> None:
        # No more than keeps the workers busy: what is under way is finished when something fails.
        while self._todo and len(self._pending) < 2 * self._pool.slots:
            task, made = self._todo.popleft()
            # A worker on another machine must find the database as it is now.
            task = dataclasses.replace(task, commit=self._catalogue.commit) if self._pool.elsewhere else task
            self._pending[self._pool.executor.submit(self._pool.perform, task)] = (task, made)

    def collect(self, task: Task, made: list[_TrackProgress], results: list[TaskResult]) -> Iterator[_TrackProgress]:
        """Enter the results of a task into its tracks; yields those that are whole now."""
        for track, result in zip(made, results, strict=True):
            track.waiting -= 1
            if result.folder is None and track.folder == "counts":
                # Not counts after all: once more from the start, as real numbers.
                track.folder, track.parts, track.last = "signal", [], None
                self.add([track])
            elif result.folder is not None and task.folder in (None, track.folder):
                track.parts += result.parts
                track.last = result
            if track.waiting == 0 and track.last is not None:
                yield track


def _tasks(
    plan: IngestPlan, tracks: list[_TrackProgress], pool: WorkerPool
) -> Iterator[tuple[Task, list[_TrackProgress]]]:
    """The work that makes tracks: chunk by chunk where a file can be read in parts, else all of one file at once."""
    whole: dict[tuple[Any, ...], list[_TrackProgress]] = {}
    for track in tracks:
        key = (id(track),) if track.item is None else track.item.read_with
        whole.setdefault(key, []).append(track)
    alone = max(1, pool.threads // max(1, len(whole)))
    for made in whole.values():
        item = made[0].item
        task = Task(
            uri=plan.uri,
            genome=plan.genome,
            aliases=plan.aliases,
            path=str(plan.sequence.path if item is None and plan.sequence else item and item.path),
            type=members.SEQUENCE if item is None else item.attribute.type,
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
        arrays.create(plan.uri, members.member(track.folder, item.attribute.name), plan.genome)
        for chunk in range(plan.genome.chunk_count):
            pieces = plan.genome.pieces(*plan.genome.chunk(chunk))
            if any(piece.chromosome in item.chromosomes for piece in pieces):
                yield dataclasses.replace(task, folder=track.folder, chunks=(chunk,)), made


def _create_arrays(plan: IngestPlan, made: list[_TrackProgress]) -> None:
    """Make the arrays that the tracks of a file will lie in, as far as that is known before it is read."""
    for track in made:
        if track.item is None:
            arrays.create(plan.uri, members.SEQUENCE, plan.genome)
        elif track.item.attribute.kind == "mask":
            for name in (members.member("mask", track.staged.attribute), members.intervals(track.staged.attribute)):
                arrays.create(plan.uri, name, plan.genome)


def _output(plan: IngestPlan, track: _TrackProgress) -> Output:
    """Where a track goes, and what an interrupted writer stored of it."""
    staged, item = track.staged, track.item
    channel = Channel() if item is None else item.channel
    if plan.existing is None or staged.row not in plan.resumed.get(staged.attribute, ()):
        return Output(staged.attribute, staged.dataset, staged.row, channel)
    if item is None:
        places = {members.SEQUENCE: members.SEQUENCE}
    elif item.attribute.kind == "mask":
        places = {"mask": members.member("mask", staged.attribute)}
    else:
        bin_size = item.options.get("bin", 1)
        places = {folder: members.member(folder, staged.attribute, bin_size) for folder in ("signal", "counts")}
    genome = plan.genome if item is None else plan.genome.binned(item.options.get("bin", 1))
    done = {folder: arrays.chunks_done(plan.uri, member, staged.row, genome) for folder, member in places.items()}
    return Output(staged.attribute, staged.dataset, staged.row, channel, done)


def _commit(catalogue: Catalogue, track: _TrackProgress) -> Track | None:
    """Enter a finished track into the catalogue; None for the sequence."""
    staged, item, last = track.staged, track.item, track.last
    assert last is not None
    assert last.folder is not None
    if item is not None and stamp_of(item.path) != item.stamp:
        raise InputError(f"{item.path}: changed while it was being read; run again when it is whole")
    summary, checksums = combine(track.parts)
    if item is None:
        catalogue.sequence = {**staged.source, "row": staged.row, "checksums": checksums}
        catalogue.unstage(staged.attribute, staged.dataset)
        return None
    if last.folder == "mask":
        summary = {"covered": summary["covered"]}
    done = Track(
        attribute=staged.attribute,
        dataset=staged.dataset,
        kind=item.attribute.kind,
        folder=last.folder,
        row=staged.row,
        **staged.provenance._asdict(),
        summary={
            **last.summary,
            **summary,
            "absent_chromosomes": [name for name in catalogue.genome.names if name not in last.chromosomes],
        },
        checksums=checksums,
        committed=catalogues.now(),
        bin=last.bin,
    )
    catalogue.put(done)
    return done
