"""A small genome with planted motifs and the tracks they cause: what ``gen_simulate`` does."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

from db_ingest.errors import InputError
from db_ingest.settings import Setting, require_new, takes_settings
from kerasgen.motifs import Motif, bundled_path, read_jaspar
from kerasgen.settings import Seed

DATASETS = ("rep1", "rep2", "pooled")
_NOISE = 0.002
"""Reads a base and strand outside peaks, each replicate."""
_EDGE = 2_000
_SITE_STRENGTH = 0.8
"""Share of the best site's log odds that a planted site has at least."""
_BASES = np.frombuffer(b"ACGT", np.uint8)


class Simulation(NamedTuple):
    """Files of a simulated experiment.

    Args:
        folder: holds ``genome.fa``, ``chrom.sizes``, ``samples.tsv`` (attributes of the preset ``encode_pipeline``),
            bigWigs, ``peaks.narrowPeak``, and the truth in ``motifs.bed``.
        peaks, motifs: how many were planted.
        bases: size of the genome in bp.
    """

    folder: Path
    peaks: int
    motifs: int
    bases: int


class _Effect(NamedTuple):
    """What a motif does to reads around it."""

    log_reads: float
    distance: int
    spread: float
    plus_share: float


@takes_settings
def simulate(
    out_dir: Annotated[str, Setting("folder to make", metavar="DIR")],
    *,
    chromosomes: Annotated[int, Setting("number of chromosomes", unit="chromosomes", least=1)] = 6,
    chromosome_size: Annotated[int, Setting("size of each chromosome", unit="bp")] = 500_000,
    peaks: Annotated[
        int, Setting("number of peaks to plant, evenly over the chromosomes", unit="peaks", least=1)
    ] = 1800,
    motifs: Annotated[
        str | None,
        Setting("JASPAR file of the motifs to plant (default: four that come with the package)", metavar="FILE"),
    ] = None,
    motifs_per_peak: Annotated[int, Setting("largest number of motifs per peak", unit="motifs", least=1)] = 3,
    reads_per_peak: Annotated[
        float,
        Setting(
            "expected number of reads per peak, both strands and all replicates, before its motifs multiply them",
            unit="reads",
        ),
    ] = 40.0,
    seed: Seed = 1234,
    overwrite: Annotated[bool, Setting("replace the folder")] = False,
) -> Simulation:
    """Write a genome with planted motifs, and peaks and stranded 5' ends that depend on them.

    Each peak holds 1 to ``motifs_per_peak`` motifs, strong sites drawn from their matrices, on either
    strand. A motif multiplies the peak's reads and shapes them: 5' ends of the plus strand pile up to its left and
    those of the minus strand to its right, at a distance, with a spread and with a strand bias that are the motif's
    own. Reads are Poisson; two replicates are drawn, ``pooled`` is their sum.

    Raises:
        InputError: the folder exists, or the peaks do not fit.
    """
    folder = Path(out_dir)
    require_new(folder, overwrite=overwrite, way="name a new folder or give --overwrite")
    if folder.exists() and any(folder.iterdir()) and not (folder / "motifs.bed").is_file():
        raise InputError(f"{folder}: not a folder of gen_simulate; it is not overwritten")
    matrices = read_jaspar(motifs or bundled_path())
    each = -(-peaks // chromosomes)
    room = motifs_per_peak * (max(len(m.matrix) for m in matrices) + 6) + 60
    if (chromosome_size - 2 * _EDGE) < each * 2 * room:
        raise InputError(
            f"{each} peaks do not fit on a chromosome of {chromosome_size:,} bp; give fewer --peaks or a larger "
            "--chromosome_size"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        planted = _build(
            building, matrices, chromosomes, chromosome_size, peaks, each, motifs_per_peak, reads_per_peak, seed
        )
        if folder.exists():
            shutil.rmtree(folder)
        building.chmod(0o755)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Simulation(folder, peaks, planted, chromosomes * chromosome_size)


def _build(
    folder: Path,
    matrices: list[Motif],
    chromosomes: int,
    size: int,
    peaks: int,
    each: int,
    motifs_per_peak: int,
    reads_per_peak: float,
    seed: int,
) -> int:
    rng = np.random.default_rng(seed)
    effects = _effects(matrices)
    names = [f"chr{i + 1}" for i in range(chromosomes)]
    sequences, tracks = {}, {}
    peak_lines, truth_lines = [], []
    left = peaks
    for name in names:
        here = min(each, left)
        left -= here
        sequence = _background(rng, size)
        rates = np.full((2, size), _NOISE)
        for number, centre in enumerate(_centres(rng, here, size)):
            chosen = rng.integers(0, len(matrices), rng.integers(1, motifs_per_peak + 1))
            total = reads_per_peak / 2 * np.exp(sum(effects[i].log_reads for i in chosen))
            places = _plant(rng, sequence, matrices, chosen, int(centre))
            for which, start, reverse in places:
                _add_reads(
                    rates, effects[which], start + len(matrices[which].matrix) // 2, reverse, total / len(places)
                )
                strand = "-" if reverse else "+"
                end = start + len(matrices[which].matrix)
                truth_lines.append(f"{name}\t{start}\t{end}\t{matrices[which].name}\t0\t{strand}\n")
            begin, end = max(int(centre) - 150, 0), min(int(centre) + 150, size)
            peak_lines.append(
                f"{name}\t{begin}\t{end}\t{name}_peak_{number + 1}\t{min(int(total), 1000)}\t.\t{total:.2f}\t-1\t-1\t"
                f"{int(centre) - begin}\n"
            )
        sequences[name] = sequence
        replicates = rng.poisson(rates, (2, *rates.shape))
        tracks[name] = np.concatenate([replicates, replicates.sum(axis=0, keepdims=True)])
    _write_fasta(folder / "genome.fa", sequences)
    (folder / "chrom.sizes").write_text("".join(f"{name}\t{size}\n" for name in names))
    (folder / "peaks.narrowPeak").write_text("".join(peak_lines))
    (folder / "motifs.bed").write_text("".join(truth_lines))
    rows = ["dataset\tcount_bigwig_plus_5p\tcount_bigwig_minus_5p\tidr_peak\n"]
    for place, dataset in enumerate(DATASETS):
        for side, sign in enumerate(("plus", "minus")):
            _write_bigwig(folder / f"{dataset}.{sign}.bw", {n: tracks[n][place, side] for n in names})
        rows.append(f"{dataset}\t{dataset}.plus.bw\t{dataset}.minus.bw\tpeaks.narrowPeak\n")
    (folder / "samples.tsv").write_text("".join(rows))
    return len(truth_lines)


def _effects(matrices: list[Motif]) -> list[_Effect]:
    """An effect for each motif, the strongest for the most informative."""
    bits = [float((2 + (m.matrix * np.log2(np.maximum(m.matrix, 1e-9))).sum(axis=1)).sum()) for m in matrices]
    rank = np.argsort(np.argsort(bits))
    return [
        _Effect(0.4 + 1.0 * r / max(len(matrices) - 1, 1), 12 + 7 * (i % 4), 3.0 + 2.0 * (i % 3), 0.5 + 0.12 * (i % 3))
        for i, r in enumerate(rank)
    ]


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Sequence of independent bases, 60% A and T, as ``(size,) uint8`` codes."""
    return rng.choice(4, size, p=(0.3, 0.2, 0.2, 0.3)).astype(np.uint8)


def _centres(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Peak centres, one in the middle half of each of ``count`` equal stretches."""
    step = (size - 2 * _EDGE) / max(count, 1)
    return (_EDGE + step * (np.arange(count) + 0.25 + 0.5 * rng.random(count))).astype(np.int64)


def _plant(
    rng: np.random.Generator, sequence: np.ndarray, matrices: list[Motif], chosen: np.ndarray, centre: int
) -> list[tuple[int, int, bool]]:
    """Write motifs side by side around a centre; returns their numbers, starts and strands."""
    gaps = rng.integers(5, 30, len(chosen))
    width = sum(len(matrices[i].matrix) for i in chosen) + int(gaps[1:].sum())
    start = centre - width // 2
    places = []
    for order, i in enumerate(chosen):
        start += int(gaps[order]) if order else 0
        matrix = matrices[i].matrix
        site = _site(rng, matrix)
        reverse = bool(rng.random() < 0.5)
        sequence[start : start + len(matrix)] = (3 - site)[::-1] if reverse else site
        places.append((int(i), start, reverse))
        start += len(matrix)
    return places


def _site(rng: np.random.Generator, matrix: np.ndarray) -> np.ndarray:
    """Draw a site from a matrix, again while it scores less than most of the best site's log odds."""
    odds = np.log2(np.maximum(matrix, 1e-3) / 0.25)
    least = _SITE_STRENGTH * odds.max(axis=1).sum()
    while True:
        site = (rng.random((len(matrix), 1)) > np.cumsum(matrix, axis=1)).sum(axis=1).clip(0, 3)
        if odds[np.arange(len(site)), site].sum() >= least:
            return site


def _add_reads(rates: np.ndarray, effect: _Effect, middle: int, reverse: bool, reads: float) -> None:
    """Add expected 5' ends of both strands around a motif to ``(2, size)`` rates of one replicate."""
    share = 1 - effect.plus_share if reverse else effect.plus_share
    reach = effect.distance + int(5 * effect.spread)
    offsets = np.arange(-reach, reach + 1)
    for strand, (peak, weight) in enumerate(((-effect.distance, share), (effect.distance, 1 - share))):
        shape = np.exp(-0.5 * ((offsets - peak) / effect.spread) ** 2)
        low, high = max(0, reach - middle), min(len(offsets), rates.shape[1] - middle + reach)
        rates[strand, middle - reach + low : middle - reach + high] += (reads * weight * shape / shape.sum())[low:high]


def _write_fasta(path: Path, sequences: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        for title, codes in sequences.items():
            file.write(f">{title}\n".encode())
            text = _BASES[codes].tobytes()
            for start in range(0, len(text), 60):
                file.write(text[start : start + 60] + b"\n")


def _write_bigwig(path: Path, counts: dict[str, np.ndarray]) -> None:
    from db_ingest.formats.bigwig_writer import BigWigWriter

    with BigWigWriter(path, {name: len(values) for name, values in counts.items()}) as writer:
        for name in writer.chromosomes:
            at = np.flatnonzero(counts[name])
            writer.add(name, at, at + 1, counts[name][at])
