"""Batches for training: ours beside each peer's loader and the limits, on windows around peaks, from one run.

Usage: bench_loader.py --peer_python PEERS/bin/python [--tracks 2 1 4 16] [--json FILE] ...

Every loader does the work that peers/loader.py describes; windows of each are looked up by their sequence and compared
with pysam's and pyBigWig's reading, in a process of its own. Peers live in an environment of their own (``pip install
-r peers/requirements.txt``); one that is not there is left out. Every measurement is a fresh process on files that the
page cache holds; the repeats of all methods alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from make_files import KINDS, peak_summits, write_bigwig, write_fasta
from peers.harness import Bench, Method, bytes_on_disk
from peers.loader import BATCH, LEAST_PEAKS, MARGIN

PARTS = ("memory", "disk", "growth", "training", "s3")
S3_TRACKS = 4


@dataclass(frozen=True)
class Loader(Method):
    """One loader; see :class:`Method`.

    Args:
        part: module of it.
        files: what it reads from that has to be made first, a function of ``loader_files.py``.
        calls: batches that it reads in one call.
    """

    part: str = "disk_loaders"
    files: str = ""
    calls: int = 1


def _ours(label: str, name: str, threads: int) -> Loader:
    return Loader(
        f"**ours**, {label}, {threads} thread{'s' * (threads > 1)}",
        name,
        threads,
        own=True,
        part="ours_loader",
        files="ours",
    )


MEMORY = [
    _ours("in memory", "in_memory", 1),
    _ours("in memory", "in_memory", 2),
    Loader("Cherimoya, in memory", "cherimoya", part="torch_loaders"),
    Loader("Cherimoya, in memory, 2 workers", "cherimoya", workers=2, part="torch_loaders"),
    Loader("bpnet-lite, in memory", "bpnet_lite", part="torch_loaders"),
    Loader("limit: copy in memory, 1 thread", "copies", 1, own=True, checked=False, part="limit_loaders"),
    Loader("limit: copy in memory, 2 threads", "copies", 2, own=True, checked=False, part="limit_loaders"),
]
DISK = [
    _ours("out of core", "out_of_core", 1),
    _ours("out of core", "out_of_core", 2),
    _ours("mapped files", "mapped", 1),
    _ours("mapped files", "mapped", 2),
    Loader("figwig file, a call a batch", "figwig_file", files="figwig_file"),
    Loader("figwig file, a call 16 batches", "figwig_file", files="figwig_file", calls=16),
    Loader("figwig file, a call 16 batches, 2 threads", "figwig_file", 2, files="figwig_file", calls=16),
    Loader("figwig on bigWig, a call a batch", "figwig"),
    Loader("figwig on bigWig, a call 16 batches", "figwig", calls=16),
    Loader("figwig on bigWig, a call 16 batches, 2 threads", "figwig", 2, calls=16),
    Loader("GenVarLoader, 1 thread", "genvarloader", 1, files="genvarloader"),
    Loader("GenVarLoader, 2 threads", "genvarloader", 2, files="genvarloader"),
    Loader("pybigtools + pyfaidx", "pybigtools"),
    Loader("pybigtools + pyfaidx, 2 workers", "pybigtools", workers=2),
    Loader("pyBigWig + pysam", "pyBigWig"),
    Loader("pyBigWig + pysam, 2 workers", "pyBigWig", workers=2),
    Loader("kerasAC's pattern, 1 thread", "slices", 1, own=True, files="ours"),
    Loader("kerasAC's pattern, 2 threads", "slices", 2, own=True, files="ours"),
    Loader("limit: blocks read in order", "block_reads", own=True, checked=False, part="limit_loaders", files="ours"),
]
GROWTH = [
    _ours("in memory", "in_memory", 1),
    _ours("mapped files", "mapped", 1),
    _ours("out of core", "out_of_core", 1),
]
REMOTE = [
    ("start-up, into memory", _ours("in memory", "in_memory", 1), 0.0),
    ("start-up, out of core", _ours("out of core", "out_of_core", 1), 0.0),
    ("start-up and an epoch, out of core", _ours("out of core", "out_of_core", 1), 300.0),
]


def peak_centres(size: int, many: int) -> np.ndarray:
    """Centres of so many peaks, sorted: of those that the tracks have, and anywhere else where these are too few."""
    summits = np.unique(np.clip(peak_summits(size, 0), MARGIN, size - MARGIN))
    rng = np.random.default_rng(size)
    chosen = rng.permutation(summits)[:many]
    return np.sort(np.append(chosen, rng.integers(MARGIN, size - MARGIN, many - len(chosen))))


def made(options: argparse.Namespace, megabases: float, many: int, tracks: int) -> dict[str, Any]:
    """Job on files of a size, made once and read once so that the page cache holds them."""
    size, folder = int(megabases * 1e6), options.folder
    sizes = {"chr1": size}
    paths = [folder / f"{options.kind}_{megabases:g}mb_{seed}.bw" for seed in range(tracks)]
    for seed, path in enumerate(paths):
        if not path.exists():
            write_bigwig(path.with_suffix(".new"), sizes, seed, options.kind).rename(path)
    fasta = folder / f"sequence_{megabases:g}mb.fa"
    if not fasta.with_name(fasta.name + ".fai").exists():
        write_fasta(fasta, sizes)
    for path in (*paths, fasta):
        path.read_bytes()
    peaks = folder / f"peaks_{megabases:g}mb_{many}.npy"
    np.save(peaks, peak_centres(size, many))
    return {
        "files": [str(path) for path in paths],
        "sizes": sizes,
        "fasta": str(fasta),
        "peaks": str(peaks),
        "windows": many,
    }


def prepared(bench: Bench, options: argparse.Namespace, loader: Loader, job: dict[str, Any]) -> dict[str, Any] | str:
    """The store that a loader reads from, made unless an earlier run has left it: where, seconds, bytes."""
    if not loader.files:
        return {"target": ""}
    # GenVarLoader's is of these very peaks, the others are of the genome.
    peaks = f"_{job['windows']}" if loader.files == "genvarloader" else ""
    name = f"loader_{loader.files}_{options.kind}_{job['sizes']['chr1'] / 1e6:g}mb_{len(job['files'])}{peaks}"
    target, note = options.folder / name, options.folder / f"{name}.json"
    if not note.exists():
        for path in (target, note):
            shutil.rmtree(path, ignore_errors=True)
        maker = Method(loader.label, loader.files, 2, own=loader.files == "ours", checked=False)
        found = bench.run("loader_files", maker, {**job, "target": str(target)})
        if isinstance(found, str):
            return found
        seconds = found["seconds"][0]
        note.write_text(
            json.dumps({"target": str(target), "files_seconds": seconds, "files_bytes": bytes_on_disk(target)})
        )
    return json.loads(note.read_text())


def compare(
    bench: Bench, options: argparse.Namespace, loaders: Iterable[Loader], job: dict[str, Any], **columns: Any
) -> list[dict[str, Any]]:
    """All loaders on one job: checked first, then timed, alternating, as rows of a table."""
    rows = []
    for loader in loaders:
        row: dict[str, Any] = {**columns, "method": loader.label, "windows": job["windows"], "loader": loader}
        row |= {name: [] for name in ("seconds", "cpu", "start_up", "start_up_cpu", "peak")}
        row["job"] = {**job, "calls": loader.calls, "least": options.least, "most": options.most}
        rows.append(row)
        store = prepared(bench, options, loader, job)
        if isinstance(store, str):
            row["note"] = store
            continue
        row |= store
        row["job"] |= {"target": store["target"]}
        # A process that compiles what the others then find compiled, too.
        found = bench.run(loader.part, loader, {**row["job"], "most": 0.0}, check=loader.checked)
        if isinstance(found, str) or found.get("wrong"):
            row["note"] = found if isinstance(found, str) else f"WRONG: {found['wrong']}"
    for _ in range(options.repeats):
        for row in rows:
            found = bench.run(row["loader"].part, row["loader"], row["job"]) if "note" not in row else row["note"]
            if isinstance(found, str):
                row["note"] = found
                continue
            for name in ("seconds", "cpu", "start_up", "start_up_cpu"):
                row[name] += found[name]
            row["peak"].append(found["peak"])
    for row in rows:
        row.pop("loader"), row.pop("job")
    bench.rows += rows
    return rows


def chosen(options: argparse.Namespace, loaders: list[Loader]) -> list[Loader]:
    """The loaders that ``--methods`` names."""
    words = options.methods or [""]
    return [loader for loader in loaders if any(word.lower() in loader.label.lower() for word in words)]


def short(number: float) -> str:
    """A number with as many digits as matter."""
    return f"{number:,.{2 if number < 1 else 1 if number < 10 else 0}f}"


def print_line(cells: Iterable[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def print_head(names: list[str]) -> None:
    print_line(names)
    print(f"|{'---|' * len(names)}", flush=True)


MEASURES = [
    "windows/s best", "median", "CPU µs each", "start-up s", "its CPU s", "peak MB", "files made in s", "their MB",
]  # fmt: skip


def measures(row: dict[str, Any]) -> list[str]:
    """Cells of :data:`MEASURES`."""
    rates = [row["windows"] / seconds for seconds in row["seconds"]]
    cells = [f"{max(rates):,.0f}", f"{statistics.median(rates):,.0f}", short(min(row["cpu"]) / row["windows"] * 1e6)]
    cells += [short(min(row[name])) for name in ("start_up", "start_up_cpu")] + [f"{max(row['peak']) / 1e6:,.0f}"]
    if "files_seconds" in row:
        return [*cells, short(row["files_seconds"]), short(row["files_bytes"] / 1e6)]
    return [*cells, "", ""]


def bench_batches(bench: Bench, options: argparse.Namespace) -> None:
    """Batches from memory, from disk."""
    loaders = [*(MEMORY if "memory" in options.parts else ()), *(DISK if "disk" in options.parts else ())]
    loaders = chosen(options, loaders)
    own = [loader.label for loader in loaders if "ours" in loader.label]
    print("\n### Batches\n")
    names = [f"{label.replace('*', '')}, × as fast" for label in own]
    print_head(["Mb", "peaks", "tracks", "loader", *MEASURES, *names])
    for tracks in options.tracks:
        job = made(options, options.sizes[0], options.peaks, tracks)
        rows = compare(bench, options, loaders, job, table="batches", Mb=options.sizes[0], tracks=tracks)
        best = {row["method"]: min(row["seconds"]) for row in rows if row["seconds"]}
        for row in rows:
            cells = [f"{row['Mb']:g}", f"{row['windows']:,}", f"{tracks}", row["method"]]
            if not row["seconds"]:
                print_line([*cells, row["note"]])
                continue
            ratios = [short(best[row["method"]] / best[label]) if label in best else "" for label in own]
            ratios = ["" if label == row["method"] else ratio for label, ratio in zip(own, ratios, strict=True)]
            print_line([*cells, *measures(row), *ratios])


def bench_growth(bench: Bench, options: argparse.Namespace) -> None:
    """Ours, with more regions and with more genome."""
    loaders, tracks = chosen(options, GROWTH), options.tracks[0]
    print("\n### Growth\n")
    print_head(["Mb", "regions", "tracks", "loader", "µs a window", *MEASURES])
    places = [(options.sizes[0], regions) for regions in sorted(options.regions)]
    places += [(megabases, options.peaks) for megabases in sorted(options.sizes)]
    for megabases, regions in places:
        job = made(options, megabases, regions, tracks)
        for row in compare(bench, options, loaders, job, table="growth", Mb=megabases, tracks=tracks):
            cells = [f"{megabases:g}", f"{regions:,}", f"{tracks}", row["method"]]
            if row["seconds"]:
                print_line([*cells, short(min(row["seconds"]) / regions * 1e6), *measures(row)])
            else:
                print_line([*cells, row["note"]])


def bench_training(bench: Bench, options: argparse.Namespace) -> None:
    """Steps of a BPNet with the loader and on one batch again and again."""
    print("\n### Training\n")
    print_head(["backend", "tracks", "step with the loader ms", "on a fixed batch ms", "ratio", "peak MB"])
    tracks, backend = options.tracks[0], os.environ.get("KERAS_BACKEND", "tensorflow")
    job = made(options, options.sizes[0], options.steps * BATCH, tracks)
    store = prepared(bench, options, GROWTH[0], job)
    loader = Method("ours", "bpnet", 2, own=True, checked=False)
    job |= {"rounds": options.rounds}
    found = store if isinstance(store, str) else bench.run("training_step", loader, {**job, "target": store["target"]})
    if isinstance(found, str):
        print_line([backend, f"{tracks}", found])
        return
    with_loader, fixed = (statistics.median(found[name]) for name in ("loader", "fixed"))
    milliseconds = [f"{seconds * 1e3:,.1f}" for seconds in (with_loader, fixed)]
    ratio, peak = f"{fixed / with_loader:.3f}", f"{found['peak'] / 1e6:,.0f}"
    print_line([backend, f"{tracks}", *milliseconds, ratio, peak])
    bench.rows.append({"table": "training", "backend": backend, "tracks": tracks, "steps": options.steps, **found})


def bench_s3(bench: Bench, options: argparse.Namespace) -> None:
    """Requests to S3, counted by a proxy before a server on this machine, whose speed says nothing."""
    import pytest
    from peers.counting import CountingProxy, make_bucket, servers

    print("\n### Requests to S3\n")
    kinds = ["GET", "HEAD", "PUT", "POST", "DELETE"]
    print_head(["Mb", "peaks", "tracks", "what", "requests", *kinds, "MB received", "MB a GET"])
    megabases = options.sizes[0]
    job = made(options, megabases, options.peaks, S3_TRACKS)
    with servers.moto(options.folder / "moto.log") as endpoint, pytest.MonkeyPatch.context() as patch:
        proxy = CountingProxy(endpoint)
        servers.use_environment(patch, proxy.url)
        try:
            make_bucket("bench-loader")
            job |= {"uri": "s3://bench-loader/database", "calls": 1, "least": 0.0}
            target = options.folder / "loader_s3"
            shutil.rmtree(target, ignore_errors=True)
            maker = Method("ours", "ours", 2, own=True, checked=False)
            failed = bench.run("loader_files", maker, {**job, "target": str(target)})
            for what, loader, most in REMOTE:
                proxy.requests(), proxy.bytes()
                found = failed if isinstance(failed, str) else bench.run(loader.part, loader, {**job, "most": most})
                counts, (_, received) = proxy.counts(), proxy.bytes()
                cells = [f"{megabases:g}", f"{options.peaks:,}", f"{S3_TRACKS}", what]
                if isinstance(found, str):
                    print_line([*cells, found])
                    continue
                row = {"table": "s3", "Mb": megabases, "windows": options.peaks, "tracks": S3_TRACKS, "method": what}
                bench.rows.append({**row, "requests": counts, "received": received, **found})
                if most and found["timed"] < options.peaks // BATCH * BATCH:
                    cells[-1] += f" (stopped after {found['timed'] / options.peaks:.0%} of it)"
                cells += [f"{sum(counts.values()):,}", *(f"{counts.get(kind, 0):,}" for kind in kinds)]
                print_line([*cells, f"{received / 1e6:,.1f}", f"{received / 1e6 / max(counts.get('GET', 0), 1):.2f}"])
        finally:
            proxy.close()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sizes",
        type=float,
        nargs="+",
        default=[100.0, 10.0, 250.0],
        metavar="MB",
        help="bases of the chromosome; all but growth take the first",
    )
    parser.add_argument("--peaks", type=int, default=20_000)
    parser.add_argument(
        "--tracks",
        type=int,
        nargs="+",
        default=[2, 1, 4, 16],
        help="1 has no strand, the others are pairs; growth and training take the first",
    )
    parser.add_argument(
        "--regions", type=int, nargs="+", default=[1_000, 10_000, 100_000, 200_000], help="peaks, for growth"
    )
    parser.add_argument("--methods", nargs="+", metavar="WORD", help="only those with one of the words in their name")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--least", type=float, default=3.0, metavar="S", help="time batches for so long, and an epoch")
    parser.add_argument("--most", type=float, default=20.0, metavar="S", help="but no longer than this")
    parser.add_argument("--steps", type=int, default=8, help="of training, an epoch")
    parser.add_argument("--rounds", type=int, default=3, help="of training, epochs of either kind")
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0], help="of track")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:-1])
    parser.add_argument("--peer_python", default=sys.executable, help="interpreter of the environment of the peers")
    parser.add_argument("--folder", type=Path, help="for files, which are kept and used again; else a temporary one")
    parser.add_argument("--json", type=Path, help="file for all measurements")
    options = parser.parse_args(arguments)
    if shutil.which(options.peer_python) is None:
        parser.error(f"--peer_python {options.peer_python}: no such interpreter")
    if min(options.peaks, *options.regions) < LEAST_PEAKS:
        parser.error(f"--peaks, --regions: expected {LEAST_PEAKS} or more")
    if any(tracks > 1 and tracks % 2 for tracks in options.tracks):
        parser.error("--tracks: expected 1 or an even number")
    return options


def main() -> None:
    options = parse()
    temporary = options.folder is None
    options.folder = Path(tempfile.mkdtemp(prefix="bench_loader.")) if temporary else options.folder.absolute()
    options.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.folder, options.peer_python, options.repeats, budget=max(options.most, 120.0))
    load = os.getloadavg()[0]
    machine = f"{psutil.cpu_count()} CPU cores, load {load:.1f} at the start, Python {platform.python_version()}"
    print(f"Tracks: {options.kind}; batches of {BATCH}; {machine}")
    try:
        if {"memory", "disk"} & set(options.parts):
            bench_batches(bench, options)
        if "growth" in options.parts:
            bench_growth(bench, options)
        if "training" in options.parts:
            bench_training(bench, options)
        if "s3" in options.parts:
            bench_s3(bench, options)
    finally:
        if temporary:
            shutil.rmtree(options.folder)
        if options.json:
            document = {"machine": machine, "kind": options.kind, "versions": bench.versions, "rows": bench.rows}
            options.json.write_text(json.dumps(document, indent=1))
    if bench.versions:
        print("\n" + ", ".join(f"{name} {number}" for name, number in sorted(bench.versions.items())))


if __name__ == "__main__":
    main()
