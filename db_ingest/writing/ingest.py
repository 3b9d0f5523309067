"""Files in, database out: what ``gen_ingest`` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Level, Track
from db_ingest.settings import Setting, takes_settings
from db_ingest.writing.plan import CheckedTrack, IngestPlan, Request, existing_catalogue, make_plan
from db_ingest.writing.workers import get_ready

if TYPE_CHECKING:
    from db_ingest.writing.report import SanityReport


@dataclass
class IngestResult:
    """What an ingest did.

    Args:
        uri: the database.
        written: tracks committed by this run.
        unchanged: tracks that were there already, from the same file and settings.
        report: the sanity report on the datasets named; None after a dry run.
        estimate: ``bases``, ``seconds``, ``memory_bytes`` and ``disk_bytes`` of the work.
        levels: signals that were kept in bins as well, and the level that each got.
    """

    uri: str
    written: list[Track] = field(default_factory=list)
    unchanged: list[CheckedTrack] = field(default_factory=list)
    report: SanityReport | None = None
    estimate: dict[str, float] = field(default_factory=dict)
    levels: list[tuple[Track, Level]] = field(default_factory=list)


@takes_settings
def ingest(
    *,
    request: Request,
    levels: Annotated[
        Sequence[int] | None,
        Setting(
            "sizes of bins: keep the signals of the samples table as means of bins of these sizes as well, to read "
            "them quickly at that resolution; tracks that have them already keep them",
            unit="bp",
        ),
    ] = None,
    dry_run: Annotated[bool, Setting("check all inputs and estimate time, memory and disk, but write nothing")] = False,
) -> IngestResult:
    """Write sequence, signals, masks and intervals into a database, new or living.

    All inputs are checked before anything is written. Every track becomes visible whole, when it is done; a track whose
    file and settings have not changed is left as it is. An ingest that was interrupted goes on where it ended when
    it is started again. Inputs, like the database, may be local paths or URIs (``s3://``; inputs also ``https://``).

    Returns:
        What was written, the estimate and the sanity report.

    Raises:
        InputError: anything wrong with the inputs; what an input shows only when it is read to its end may come after
            other tracks were written.
        RunError: another process is writing to the database, or the storage failed.
    """
    if levels:
        from db_ingest.writing.levels import check_bins

        levels = check_bins(levels, flag="--levels")
    levels = levels or ()
    if dry_run:
        return _result(_plan(request, levels))
    existing_catalogue(request.tdb_array)
    get_ready(request.workers, request.scheduler)
    uri = request.tdb_array
    with storage.write_lock(uri, keep=lambda: catalogues.exists(uri)) as lock:
        plan = _plan(request, levels)
        result = _result(plan)
        if plan.todo or plan.sequence:
            from db_ingest.writing.writer import write

            try:
                for track in write(plan, lock.check):
                    result.written.append(track)
            except InputError as error:
                # The same run would fail again, so nothing of a new database is left. After any other error, what is
                # done stays, for the same run to go on with.
                new = plan.existing is None and not result.written
                if new and not isinstance(error, (storage.DeniedError, storage.UnreachableError)):
                    lock.check()
                    storage.remove_contents(uri, keep=(storage.LOCK_NAME,))
                raise
        if levels:
            result.levels = _add_levels(plan, levels, lock.check)

    from db_ingest.writing import report

    result.report = report.check(str(uri), catalogues.load(uri), plan.datasets)
    return result


def _plan(request: Request, levels: Sequence[int]) -> IngestPlan:
    """The plan of a request, whose grids the levels fit."""
    plan = make_plan(request)
    for item in (*plan.todo, *plan.unchanged):
        for size in levels:
            if size % item.options.get("bin", 1):
                raise InputError(
                    f"--levels {size}: {item.dataset} {item.attribute.name} was measured in bins of "
                    f"{item.options['bin']} bp; expected a multiple"
                )
    return plan


def _add_levels(plan: IngestPlan, levels: Sequence[int], check: Callable[[], None]) -> list[tuple[Track, Level]]:
    """Keep the signals of a plan in bins as well."""
    from db_ingest.writing.levels import add_levels

    catalogue = catalogues.load(plan.uri)
    found = [catalogue.find(*item.name) for item in (*plan.todo, *plan.unchanged)]
    signals = [track for track in found if track is not None and track.kind == "signal"]
    return add_levels(plan.uri, catalogue, signals, levels, check=check).written


def _result(plan: IngestPlan) -> IngestResult:
    return IngestResult(uri=plan.uri, unchanged=plan.unchanged, estimate=plan.estimate)
