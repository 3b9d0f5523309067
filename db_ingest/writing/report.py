"""The sanity report after an ingest: what each track holds, and what looks wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from db_ingest.inputs.strands import is_minus, pair_strands
from db_ingest.intervals import merge
from db_ingest.layout.catalogue import Catalogue, Track
from db_ingest.layout.describe import covered, percent, total
from db_ingest.layout.genome import Genome, shorten_names
from db_ingest.layout.reader import Reader

_MANY_TRACKS = 12
"""Tracks of an attribute above which one line stands for them all; ``gen_db info`` lists each."""
_MANY_INTERVALS, _MANY_BASES = 20_000, 2**24
_MUCH_SIGNAL, _SHIFT = 1000, 5
"""Signal in intervals, and bp between the strands, from which on their order is judged."""


@dataclass
class SanityReport:
    """Outcome of the checks.

    Args:
        lines: one line per track, or an attribute that very many datasets have, and one line per mask on the signal in
            its intervals; for people.
        warnings: one line each thing that looks wrong, with all datasets in which it does.
        shares: ``(mask attribute, signal attribute, dataset)`` -> share of the intervals with any signal, of those on
            chromosomes that the signal was measured on.
    """

    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shares: dict[tuple[str, str, str], float] = field(default_factory=dict)


def check(uri: str, catalogue: Catalogue, datasets: Iterable[str]) -> SanityReport:
    """Describe and examine all tracks of ``datasets``."""
    report = SanityReport()
    genome = catalogue.genome
    of_dataset: dict[str, list[Track]] = {dataset: [] for dataset in datasets}
    of_attribute: dict[str, list[Track]] = {}
    for track in catalogue.tracks:
        if track.dataset in of_dataset:
            of_dataset[track.dataset].append(track)
            of_attribute.setdefault(track.attribute, []).append(track)
    summarised = {name: tracks for name, tracks in of_attribute.items() if len(tracks) > _MANY_TRACKS}
    reader = Reader(uri)
    odd: dict[tuple[str, str], list[Track]] = {}
    pairs: list[str] = []
    try:
        for dataset, unordered in of_dataset.items():
            # The order of commits changes from run to run.
            tracks = sorted(unordered, key=lambda track: (track.kind == "mask", track.attribute))
            for track in tracks:
                if track.attribute not in summarised:
                    report.lines.append(describe(track, genome))
                for text in _odd(track, genome):
                    odd.setdefault((track.attribute, text), []).append(track)
            signals = {t.attribute: t for t in tracks if t.kind == "signal" and t.bin == 1}
            for mask in (t for t in tracks if t.kind == "mask"):
                table = reader.read_intervals(mask.intervals, mask.row)
                if not len(table["start"]):
                    continue
                totals = {name: _sums(reader, track, table) for name, track in signals.items()}
                shares = []
                for name, (sums, _) in totals.items():
                    measured = _measured(signals[name], genome, table["start"])
                    if not measured.any():
                        continue
                    picked = sums[measured[_pick(table)]]
                    share = report.shares[mask.attribute, name, dataset] = float((picked > 0).mean())
                    where = "" if measured.all() else f" (of {measured.sum():,} on chromosomes that it has)"
                    shares.append(f"{name} {share:.1%}{where}")
                if shares and mask.attribute not in summarised:
                    report.lines.append(f"{mask.name}: intervals with signal: {', '.join(shares)}")
                pairs += _swapped(dataset, mask.attribute, table["strand"][_pick(table)], totals)
            pairs += _twins(dataset, signals)
    finally:
        reader.close()
    for attribute, tracks in summarised.items():
        report.lines.append(_describe_many(attribute, tracks, genome))
        report.lines += _describe_shares(attribute, report.shares)
    report.warnings = [_warn(text, tracks) for (_, text), tracks in odd.items()] + pairs
    return report


def describe(track: Track, genome: Genome) -> str:
    """One line on a track: coverage and sum of a signal, count and bases of a mask."""
    summary, share = track.summary, percent(covered(track, genome))
    if track.kind == "mask":
        text = f"{track.name}: {summary['intervals']:,} intervals over {share} of bases"
    else:
        there, all_of_them = len(track.checksums), len(genome)
        where = "" if there == all_of_them else f" on {there} of {all_of_them} chromosomes"
        text = f"{track.name}: {share} of {_cells(track)}{where} covered, sum {total(summary['sum'])}"
    return text + _notes([track])


def _describe_many(attribute: str, tracks: Sequence[Track], genome: Genome) -> str:
    """One line on all tracks of an attribute: the range, and which datasets are at its ends."""
    is_mask = tracks[0].kind == "mask"
    of = {track.dataset: track.summary["intervals" if is_mask else "sum"] for track in tracks}
    least, most = min(of, key=lambda name: of[name]), max(of, key=lambda name: of[name])
    span = f"{total(of[least])} ({least}) to {total(of[most])} ({most}), median {total(median(of.values()))}"
    shares = sorted(covered(track, genome) for track in tracks)
    span_covered = f"{percent(shares[0])} to {percent(shares[-1])} of {_cells(tracks[0])} covered"
    nothing = [track.dataset for track in tracks if is_mask and not track.summary["intervals"]]
    text = f"{attribute}: {len(tracks):,} datasets, {span_covered}, {'intervals' if is_mask else 'sum'} {span}"
    text += f", none in {shorten_names(nothing)}" if nothing else ""
    return f"{text}{_notes(tracks)}; gen_db info lists each"


def _describe_shares(mask: str, shares: dict[tuple[str, str, str], float]) -> list[str]:
    """One line per signal on how much of the intervals of a mask that many datasets have lie in it."""
    of_signal: dict[str, dict[str, float]] = {}
    for (attribute, signal, dataset), share in shares.items():
        if attribute == mask:
            of_signal.setdefault(signal, {})[dataset] = share
    lines = []
    for signal, of in of_signal.items():
        least, most = min(of, key=lambda name: of[name]), max(of, key=lambda name: of[name])
        span = f"{of[least]:.1%} ({least}) to {of[most]:.1%} ({most}), median {median(of.values()):.1%}"
        lines.append(f"{mask}: intervals with signal: {signal} {span}")
    return lines


_LEFT_OUT = {
    "elsewhere": "on chromosomes the genome lacks",
    "unknown_barcodes": "of barcodes that are not in the table",
    "beyond_ends": "moved past a chromosome's end",
    "filtered": "for their flags or mapping quality",
    "between_chromosomes": "from one chromosome to another",
    "unpaired": "without a mate",
}


def _notes(tracks: Sequence[Track]) -> str:
    """What the readers changed or left out, as the end of a line."""

    def count(key: str) -> int:
        return sum(int(track.summary.get(key) or 0) for track in tracks)

    text = f", {count('without_summit'):,} without a summit (their centre is used)" if count("without_summit") else ""
    text += f", {count('clipped'):,} cut at their chromosome's end" if count("clipped") else ""
    text += ", absolute values taken" if count("absolute") else ""
    left_out = [f"{count(key):,} {why}" for key, why in _LEFT_OUT.items() if count(key)]
    return f"{text}; left out: {', '.join(left_out)}" if left_out else text


def _cells(track: Track) -> str:
    return "bases" if track.bin == 1 else f"bins of {track.bin} bp"


def _measured(track: Track, genome: Genome, positions: np.ndarray) -> np.ndarray:
    """Whether each of ``(n,)`` positions is on a chromosome that a track was measured on; ``(n,) bool``."""
    has = np.array([name in track.checksums for name in genome.names])
    return has[np.searchsorted(genome.offsets, positions, side="right") - 1]


_MINIMUM = "<minimum>"


def _odd(track: Track, genome: Genome) -> list[str]:
    """What looks wrong about a track, in words that are the same for all tracks of which it is true."""
    summary: dict[str, Any] = track.summary
    found = []
    if summary["absent_chromosomes"]:
        absent = summary["absent_chromosomes"]
        found.append(
            f"{len(absent)} of {len(genome)} chromosomes are not in the file and hold no value: "
            + ", ".join(absent[:5])
            + ("…" if len(absent) > 5 else "")
        )
    if track.kind != "signal":
        return found
    if summary["covered"] == 0:
        found.append("no signal at all")
    if summary.get("absolute"):
        found.append("absolute values taken, as for a minus strand that is written with negative values")
    elif summary["minimum"] < 0:
        if summary["maximum"] <= 0 and pair_strands([track.attribute]) and not is_minus(track.attribute):
            found.append("a plus-strand track with negative values only; plus and minus look swapped")
        else:
            found.append(f"holds negative values (minimum {_MINIMUM}), kept as they are")
    return found


def _warn(text: str, tracks: Sequence[Track]) -> str:
    name = tracks[0].name
    if len(tracks) > 1:
        name = f"{tracks[0].attribute} of {shorten_names([track.dataset for track in tracks])}"
    return f"{name}: " + text.replace(_MINIMUM, f"{min(track.summary.get('minimum', 0) for track in tracks):g}")


def _sums(reader: Reader, track: Track, table: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sum of a signal over each interval that :func:`_pick` picks, and of value times distance from the start of it.

    ``(n,) float64`` each.
    """
    pick = _pick(table)
    starts = table["start"][pick]
    ends = np.minimum(table["end"][pick], starts + _MANY_BASES)
    # Overlapping intervals are cut to disjoint ones to read, then summed by differences of the running sum.
    span_starts, span_ends = merge(starts, ends)
    values = np.nan_to_num(reader.read(track.member, track.row, span_starts, span_ends).astype(np.float64))
    base = np.concatenate([[0], np.cumsum(span_ends - span_starts)])
    span = np.searchsorted(span_starts, starts, side="right") - 1
    first = base[span] + starts - span_starts[span]
    last = first + ends - starts
    running = np.concatenate([[0.0], np.cumsum(values)])
    moment = np.concatenate([[0.0], np.cumsum(values * np.arange(len(values)))])
    sums = running[last] - running[first]
    return sums, moment[last] - moment[first] - first * sums


def _pick(table: dict[str, np.ndarray]) -> np.ndarray:
    """Places of intervals spread over all: as many as are looked at, and not more bases than fit in memory."""
    count = len(table["start"])
    picked = np.unique(np.linspace(0, count - 1, min(count, _MANY_INTERVALS)).astype(np.int64))
    lengths = np.minimum(table["end"] - table["start"], _MANY_BASES)
    while len(picked) > 1 and lengths[picked].sum() > _MANY_BASES:
        picked = picked[::2]
    return picked


def _swapped(
    dataset: str, mask: str, strands: np.ndarray, totals: dict[str, tuple[np.ndarray, np.ndarray]]
) -> list[str]:
    """Whether plus and minus look swapped.

    Stranded intervals should hold more signal of their own strand than of the other. In unstranded ones, reads around a
    binding site have the 5' ends of the plus strand to the left of those of the minus strand.
    """
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
        a, b = signals[plus], signals[minus]
        if (a.source["sha256"], a.type) == (b.source["sha256"], b.type):
            found.append(f"{dataset}: {plus} and {minus} come from identical files")
    return found
