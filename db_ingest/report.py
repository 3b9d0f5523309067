"""The sanity report after an ingest: what each track holds, and what looks wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from db_ingest.catalogue import Catalogue, Track
from db_ingest.intervals import merge
from db_ingest.reader import Reader
from db_ingest.schema import intervals, signal
from db_ingest.strands import is_minus, pair_strands

_MANY_INTERVALS = 20_000
_MUCH_SIGNAL, _SHIFT = 1000, 5
"""Signal in intervals, and bp between the strands, from which on their order is judged."""


@dataclass
class Report:
    """Outcome of the checks.

    Args:
        lines: one line a track, for people.
        warnings: one line each thing that looks wrong.
        shares: ``(mask attribute, signal attribute, dataset)`` -> share of the intervals with any signal.
    """

    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shares: dict[tuple[str, str, str], float] = field(default_factory=dict)


def describe(track: Track, catalogue: Catalogue) -> str:
    """One line on a track: coverage and sum of a signal, count and bases of a mask."""
    summary: dict[str, Any] = track.summary
    name = f"{track.dataset} {track.attribute}"
    share = summary["covered"] / max(catalogue.genome.bases, 1)
    if track.kind == "signal":
        text = f"{name}: {share:.2%} of bases covered, sum {summary['sum']:,.6g}"
        return text + (", absolute values taken" if summary["absolute"] else "")
    text = f"{name}: {summary['intervals']:,} intervals over {share:.2%} of bases"
    if summary["without_summit"]:
        text += f", {summary['without_summit']:,} without a summit (their centre is used)"
    if summary["elsewhere"]:
        text += f", {summary['elsewhere']:,} on chromosomes the genome lacks left out"
    return text


def check(uri: str, catalogue: Catalogue, datasets: Iterable[str]) -> Report:
    """Describe and examine all tracks of ``datasets``."""
    report = Report()
    reader = Reader(uri)
    try:
        for dataset in datasets:
            tracks = {t.attribute: t for t in catalogue.tracks if t.dataset == dataset}
            for track in tracks.values():
                report.lines.append(describe(track, catalogue))
                report.warnings += _odd(track, catalogue)
            signals = {n: t for n, t in tracks.items() if t.kind == "signal"}
            masks = {n: t for n, t in tracks.items() if t.kind == "mask"}
            totals = {}
            for mask_name, mask in masks.items():
                table = reader.read_intervals(intervals(mask_name), mask.row)
                totals[mask_name] = {n: _sums(reader, t, table) for n, t in signals.items()}
                for name, (sums, _) in totals[mask_name].items():
                    share = float((sums > 0).mean())
                    report.shares[mask_name, name, dataset] = share
                    report.lines.append(f"{dataset} {mask_name}: {share:.1%} of intervals have {name} signal")
                report.warnings += _swapped(dataset, mask_name, table["strand"], totals[mask_name])
            report.warnings += _twins(dataset, signals)
    finally:
        reader.close()
    return report


def _odd(track: Track, catalogue: Catalogue) -> list[str]:
    summary, name = track.summary, f"{track.dataset} {track.attribute}"
    found = []
    if summary["absent_chromosomes"]:
        absent = summary["absent_chromosomes"]
        found.append(
            f"{name}: {len(absent)} of {len(catalogue.genome)} chromosomes are not in the file and hold no value: "
            + ", ".join(absent[:5])
            + ("…" if len(absent) > 5 else "")
        )
    if track.kind != "signal":
        return found
    if summary["covered"] == 0:
        found.append(f"{name}: no signal at all")
    if summary["absolute"]:
        found.append(f"{name}: absolute values taken, as for a minus strand that is written with negative values")
    elif summary["minimum"] < 0:
        if summary["maximum"] <= 0 and pair_strands([track.attribute]) and not is_minus(track.attribute):
            found.append(f"{name}: a plus-strand track with negative values only; plus and minus look swapped")
        else:
            found.append(f"{name}: holds negative values (minimum {summary['minimum']:g}), kept as they are")
    return found


def _sums(reader: Reader, track: Track, table: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sum of a signal over each interval, and of value times distance from its start; ``(n,) float64`` each.

    Of at most 20,000 intervals, spread over all.
    """
    pick = _pick(len(table["start"]))
    starts, ends = table["start"][pick], table["end"][pick]
    # Overlapping intervals are cut to disjoint ones to read, then summed by differences of the running sum.
    span_starts, span_ends = merge(starts, ends)
    values = np.nan_to_num(reader.read(signal(track.attribute), track.row, span_starts, span_ends).astype(np.float64))
    base = np.concatenate([[0], np.cumsum(span_ends - span_starts)])
    span = np.searchsorted(span_starts, starts, side="right") - 1
    first = base[span] + starts - span_starts[span]
    last = first + ends - starts
    running = np.concatenate([[0.0], np.cumsum(values)])
    moment = np.concatenate([[0.0], np.cumsum(values * np.arange(len(values)))])
    sums = running[last] - running[first]
    return sums, moment[last] - moment[first] - first * sums


def _pick(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, _MANY_INTERVALS)).astype(np.int64))


def _swapped(
    dataset: str, mask: str, strands: np.ndarray, totals: dict[str, tuple[np.ndarray, np.ndarray]]
) -> list[str]:
    """Whether plus and minus look swapped.

    Stranded intervals should hold more signal of their own strand than of the other. In unstranded ones, reads around a
    binding site have the 5' ends of the plus strand to the left of those of the minus strand.
    """
    strands = strands[_pick(len(strands))]
    found = []
    sums = {name: total for name, (total, _) in totals.items()}
    for plus, minus in pair_strands(sums).items():
        if minus is None or is_minus(plus):
            continue
        if not np.isin(strands, ("+", "-")).any() and min(sums[plus].sum(), sums[minus].sum()) >= _MUCH_SIGNAL:
            shift = totals[plus][1].sum() / sums[plus].sum() - totals[minus][1].sum() / sums[minus].sum()
            if shift > _SHIFT:
                found.append(
                    f"{dataset}: in {mask}, {plus} lies {shift:.0f} bp to the right of {minus} on average; around "
                    "binding sites 5' ends of the plus strand lie to the left: swapped, unless these are start sites"
                )
        own = other = 0
        for strand, same, opposite in (("+", plus, minus), ("-", minus, plus)):
            here = strands == strand
            own += int((sums[same][here] > sums[opposite][here]).sum())
            other += int((sums[same][here] < sums[opposite][here]).sum())
        if own + other >= 20 and other > 2 * own:
            found.append(
                f"{dataset}: {other:,} of {own + other:,} stranded {mask} intervals hold more signal of the other "
                f"strand; {plus} and {minus} look swapped"
            )
    return found


def _twins(dataset: str, signals: dict[str, Track]) -> list[str]:
    found = []
    for plus, minus in pair_strands(signals).items():
        if minus is None or is_minus(plus):
            continue
        if signals[plus].source["sha256"] == signals[minus].source["sha256"]:
            found.append(f"{dataset}: {plus} and {minus} come from identical files")
    return found
