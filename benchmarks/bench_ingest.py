"""Files into a database: ours beside each peer and the limits, on files of growing size, from one run.

Usage: bench_ingest.py --peer_python PEERS/bin/python [--sizes 10 50 250] [--tracks 1 4 16] [--json FILE] ...

Peers live in an environment of their own (``pip install -r peers/requirements.txt``); one that is not there is left
out. Every measurement is a fresh process on files that the page cache holds; the repeats of all methods alternate. A
method that by its last rate would take longer than ``--budget`` is skipped, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from make_bam import write_bam
from make_files import KINDS, peak_summits, write_bigwig
from peers.harness import Bench, Method, print_header, print_rows

FLANK, RANGES = 1057, 5_000
TINY = 0.2
PARTS = ("decode", "store", "read", "bam", "s3")
BAM_SIZES = {f"chr{i}": 50_000_000 for i in range(1, 5)}

OURS = [
    Method("**ours**, 1 worker, 1 thread", "ours", 1, own=True, checked=False),
    Method("**ours**, 1 worker, 2 threads", "ours", 2, own=True, checked=False),
    Method("**ours**, 2 workers", "ours", 1, workers=2, own=True, checked=False),
]
AS_FAST = ["ours, 1 worker 1 thread, × as fast", "1 × 2", "2 × 1"]
DECODE = [
    Method("**ours**, 1 thread", "ours", 1, own=True),
    Method("**ours**, 2 threads", "ours", 2, own=True),
    Method("pyBigWig", "pyBigWig"),
    Method("pybigtools", "pybigtools"),
    Method("figwig, 1 thread", "figwig", 1),
    Method("figwig, 2 threads", "figwig", 2),
    Method("limit of a core: ISA-L inflates, no decoding", "inflate", checked=False),
    Method("limit: copy in memory", "copy", checked=False),
]
STORE = [
    *OURS,
    Method("figwig bw2fw, 1 thread", "figwig_file", 1, checked=False),
    Method("figwig bw2fw, 2 threads", "figwig_file", 2, checked=False),
    Method("pyBigWig into zarr 3, Blosc", "zarr", checked=False),
    Method("GenVarLoader (intervals, not decoded)", "genvarloader", checked=False),
    Method("seqdataloader's pattern", "seqdataloader", checked=False),
    Method("limit: decoded values into our layout", "memory", 2, own=True, checked=False),
]
TRACK = [
    Method("**ours**", "ours", 2, own=True),
    Method("figwig file", "figwig_file", 2),
    Method("zarr 3, Blosc", "zarr"),
    Method("GenVarLoader", "genvarloader", 2),
    Method("seqdataloader's array", "seqdataloader"),
    Method("figwig on the bigWig", "figwig", 2),
    Method("pybigtools on the bigWig", "pybigtools"),
    Method("pyBigWig on the bigWig", "pyBigWig"),
]
PEAKS = [
    Method("**ours**", "ours", 2, own=True),
    Method("figwig file", "figwig_file", 2, checked=False),
    Method("figwig on the bigWig", "figwig", 2, checked=False),
    Method("seqdataloader's array", "seqdataloader"),
    Method("pybigtools on the bigWig", "pybigtools"),
    Method("pyBigWig on the bigWig", "pyBigWig"),
]
BAM = [
    *OURS,
    Method("figwig bam2bw, 1 thread", "bam2bw", 1, checked=False),
    Method("figwig bam2bw, 2 threads", "bam2bw", 2, checked=False),
    Method("our reader alone, 1 thread", "our_reader", 1, own=True),
    Method("our reader alone, 2 threads", "our_reader", 2, own=True),
    Method("pysam loop, nothing stored", "pysam"),
]

REMOTE = [
    Method("ingest, 1 worker", "ingest", 2, own=True, checked=False),
    Method("ingest, 2 workers", "ingest", 1, workers=2, own=True, checked=False),
    Method("one whole track", "track", 2, own=True, checked=False),
    Method("epoch, peaks into memory", "into_memory", own=True, checked=False),
    Method("epoch, through a buffer of a tenth", "through_buffer", own=True, checked=False),
]


def bigwigs(options: argparse.Namespace, megabases: float, tracks: int) -> dict[str, Any]:
    """Job on bigWig files of a size, made once and read once so that the page cache holds them."""
    size, paths = int(megabases * 1e6), []
    for seed in range(tracks):
        path = options.folder / f"{options.kind}_{megabases:g}mb_{seed}.bw"
        if not path.exists():
            unfinished = path.with_suffix(".new")
            write_bigwig(unfinished, {"chr1": size}, seed, options.kind)
            unfinished.rename(path)
        path.read_bytes()
        paths.append(str(path))
    return {"files": paths, "sizes": {"chr1": size}, "kind": options.kind}


def peak_ranges(folder: Path, megabases: float) -> tuple[str, int, int]:
    """File of at most 5,000 merged windows of peaks, spread over the chromosome; how many, and their bases."""
    size = int(megabases * 1e6)
    summits = np.unique(peak_summits(size, 0))
    summits = summits[(summits >= FLANK) & (summits < size - FLANK)]
    breaks = np.flatnonzero(np.diff(summits) > 2 * FLANK) + 1
    first, last = np.append(0, breaks), np.append(breaks, len(summits)) - 1
    kept = np.unique(np.linspace(0, len(first) - 1, min(RANGES, len(first))).astype(int))
    starts, ends = summits[first[kept]] - FLANK, summits[last[kept]] + FLANK
    windows = np.concatenate([summits[first[i] : last[i] + 1] for i in kept]) - FLANK
    path = folder / f"ranges_{megabases:g}mb.npz"
    np.savez(path, starts=starts, ends=ends, windows=windows, width=2 * FLANK)
    return str(path), len(starts), int((ends - starts).sum())


def chosen(options: argparse.Namespace, methods: list[Method]) -> list[Method]:
    """The methods that ``--methods`` names."""
    words = options.methods or [""]
    return [method for method in methods if any(word.lower() in method.label.lower() for word in words)]


def grid(options: argparse.Namespace) -> list[tuple[float, int]]:
    """Sizes and numbers of tracks, the smallest first."""
    return [(megabases, tracks) for megabases in sorted(options.sizes) for tracks in sorted(options.tracks)]


def bench_decode(bench: Bench, options: argparse.Namespace) -> None:
    """Files to values, nothing kept."""
    print("\n### Decoding alone\n")
    methods = chosen(options, DECODE)
    bench.warm_up("decode", methods, bigwigs(options, TINY, 1))
    print_header(["Mb", "tracks", "reader"], "base", ["ours, 1 thread, × as fast", "2 threads"])
    for megabases, tracks in grid(options):
        job = bigwigs(options, megabases, tracks)
        bases = job["sizes"]["chr1"] * tracks
        print_rows(
            bench.compare("decode", "decode", methods, job, bases, Mb=megabases, tracks=tracks), ["Mb", "tracks"]
        )


def bench_store(bench: Bench, options: argparse.Namespace) -> None:
    """Files into storage, and what was stored read back."""
    print("\n### Into storage\n")
    methods = chosen(options, STORE)
    bench.warm_up("store", methods, bigwigs(options, TINY, 1))
    print_header(["Mb", "tracks", "into"], "base", AS_FAST, stored=True)
    whole, peaks = [], []
    for megabases, tracks in grid(options):
        job = bigwigs(options, megabases, tracks)
        place = {"Mb": megabases, "tracks": tracks}
        size, given = job["sizes"]["chr1"], sum(os.path.getsize(path) for path in job["files"])
        rows = bench.compare("store", "store", methods, job, size * tracks, **place, input=given)
        print_rows(rows, ["Mb", "tracks"], stored=True)
        if "read" in options.parts:
            absent = {method.name for method in STORE if not bench.target(method).exists()}
            there = [method for method in chosen(options, TRACK) if method.name not in absent]
            whole.append(bench.compare("read", "track", there, job, size, **place))
            path, count, bases = peak_ranges(options.folder, megabases)
            there = [method for method in chosen(options, PEAKS) if method.name not in absent]
            peaks.append(bench.compare("read", "peaks", there, {**job, "ranges": path}, bases, **place, ranges=count))
        for method in STORE:
            bench.remove(method)
    if "read" in options.parts:
        print("\n### Reading back one whole track\n")
        print_header(["Mb", "tracks", "from"], "base", ["ours, × as fast"])
        for rows in whole:
            print_rows(rows, ["Mb", "tracks"])
        print("\n### Reading back the ranges of peaks\n")
        print_header(["Mb", "tracks", "ranges", "from"], "base", ["ours, × as fast"])
        for rows in peaks:
            print_rows(rows, ["Mb", "tracks", "ranges"])


def bench_bam(bench: Bench, options: argparse.Namespace) -> None:
    """5' ends of alignments."""
    print("\n### 5' ends of a BAM\n")

    def job(alignments: int, sizes: dict[str, int]) -> dict[str, Any]:
        path = options.folder / f"reads_{alignments}.bam"
        if not path.exists():
            unfinished = path.with_suffix(".new")
            write_bam(unfinished, alignments, sizes)
            unfinished.rename(path)
        path.read_bytes()
        return {"files": [str(path)], "sizes": sizes}

    methods = chosen(options, BAM)
    bench.warm_up("bam", methods, job(1_000, {"chr1": 200_000}))
    print_header(["alignments", "by"], "alignment", AS_FAST, stored=True)
    for alignments in sorted(options.alignments):
        work = job(alignments, BAM_SIZES)
        given = os.path.getsize(work["files"][0])
        rows = bench.compare("bam", "bam", methods, work, alignments, alignments=alignments, input=given)
        print_rows(rows, ["alignments"], stored=True)
    for method in BAM:
        bench.remove(method)


def bench_s3(bench: Bench, options: argparse.Namespace) -> None:
    """Requests to S3, counted by a proxy before a server on this machine, whose speed says nothing."""
    import pytest
    from peers.counting import CountingProxy, make_bucket, servers

    print("\n### Requests to S3\n")
    kinds = ["GET", "HEAD", "PUT", "POST", "DELETE"]
    names = ["Mb", "tracks", "what", "requests", *kinds, "MB sent", "MB received", "requests a GB", "requests a Gb"]
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)
    with servers.moto(options.folder / "moto.log") as endpoint, pytest.MonkeyPatch.context() as patch:
        proxy = CountingProxy(endpoint)
        servers.use_environment(patch, proxy.url)
        try:
            for number, (megabases, tracks) in enumerate(grid(options)):
                job = bigwigs(options, megabases, tracks)
                path, _, within = peak_ranges(options.folder, megabases)
                bases = {"ingest": job["sizes"]["chr1"] * tracks, "track": job["sizes"]["chr1"]}
                for method in REMOTE:
                    if method.name == "ingest":
                        bucket = f"bench-{number}-{method.workers}"
                        make_bucket(bucket)
                    bench.remove(method)
                    job |= {"uri": f"s3://{bucket}/database", "ranges": None if method.name == "track" else path}
                    proxy.requests(), proxy.bytes()
                    found = bench.run("remote", method, job)
                    counts, (sent, received) = proxy.counts(), proxy.bytes()
                    cells = [f"{megabases:g}", f"{tracks}", method.label]
                    if isinstance(found, str):
                        print(f"| {' | '.join(cells)} | {found} |", flush=True)
                        continue
                    total, values = sum(counts.values()), bases.get(method.name, within)
                    row = {"table": "s3", "Mb": megabases, "tracks": tracks, "method": method.label, "units": values}
                    bench.rows.append({**row, "requests": counts, "sent": sent, "received": received, **found})
                    cells += [f"{total:,}", *(f"{counts.get(kind, 0):,}" for kind in kinds)]
                    cells += [f"{sent / 1e6:,.1f}", f"{received / 1e6:,.1f}"]
                    cells += [f"{total / (sent + received) * 1e9:,.0f}", f"{total / values * 1e9:,.0f}"]
                    print(f"| {' | '.join(cells)} |", flush=True)
        finally:
            proxy.close()
            for method in REMOTE:
                bench.remove(method)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=float, nargs="+", default=[10.0], metavar="MB", help="bases of the chromosome")
    parser.add_argument("--tracks", type=int, nargs="+", default=[1], help="bigWig files in one go")
    parser.add_argument("--alignments", type=int, nargs="+", default=[5_000_000], help="of the BAM file")
    parser.add_argument("--methods", nargs="+", metavar="WORD", help="only those with one of the words in their name")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0], help="of track")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:-1])
    parser.add_argument("--budget", type=float, default=120.0, metavar="S", help="what a measurement may take")
    parser.add_argument("--peer_python", default=sys.executable, help="interpreter of the environment of the peers")
    parser.add_argument("--folder", type=Path, help="for files, which are kept and used again; else a temporary one")
    parser.add_argument("--json", type=Path, help="file for all measurements")
    options = parser.parse_args(arguments)
    if shutil.which(options.peer_python) is None:
        parser.error(f"--peer_python {options.peer_python}: no such interpreter")
    return options


def main() -> None:
    options = parse()
    temporary = options.folder is None
    options.folder = Path(tempfile.mkdtemp(prefix="bench_ingest.")) if temporary else options.folder.absolute()
    options.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.folder, options.peer_python, options.repeats, options.budget)
    load = os.getloadavg()[0]
    machine = f"{psutil.cpu_count()} CPU cores, load {load:.1f} at the start, Python {platform.python_version()}"
    print(f"Tracks: {options.kind}; {machine}")
    try:
        if "decode" in options.parts:
            bench_decode(bench, options)
        if {"store", "read"} & set(options.parts):
            bench_store(bench, options)
        if "bam" in options.parts:
            bench_bam(bench, options)
        if "s3" in options.parts:
            bench_s3(bench, options)
    finally:
        if temporary:
            shutil.rmtree(options.folder)
    if bench.versions:
        print("\n" + ", ".join(f"{name} {number}" for name, number in sorted(bench.versions.items())))
    if options.json:
        document = {"machine": machine, "kind": options.kind, "versions": bench.versions, "rows": bench.rows}
        options.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
