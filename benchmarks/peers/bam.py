"""5' ends of a BAM's alignments, one track per strand: from the file to whatever each can be read from afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from child import chunks

Work = Callable[[], Any]

SKIPPED = 0x304
"""Flags of alignments left out: unmapped, secondary, failed quality checks. Duplicates count, as bam2bw has it."""
OURS = {"exclude_flags": SKIPPED, "duplicates": "keep"}


def pysam(job: SimpleNamespace) -> Work:
    """A loop over the alignments, counted into arrays: nothing is stored."""
    import pysam

    def work() -> Iterator[np.ndarray]:
        places: dict[tuple[str, bool], list[int]] = {(name, minus): [] for name in job.sizes for minus in (False, True)}
        with pysam.AlignmentFile(job.files[0]) as file:
            for read in file.fetch(until_eof=True):
                if not read.flag & SKIPPED:
                    minus = read.is_reverse
                    places[read.reference_name, minus].append(read.reference_end - 1 if minus else read.reference_start)
        for (name, _), found in places.items():
            yield np.bincount(found, minlength=job.sizes[name]).astype(np.float32)

    return work


def bam2bw(job: SimpleNamespace) -> Work:
    """Figwig's, into two bigWig files."""
    from figwig import bam2bw

    folder = Path(job.target)
    folder.mkdir()
    (folder / "chrom.sizes").write_text("".join(f"{name}\t{size}\n" for name, size in job.sizes.items()))
    command = [job.files[0], "-s", str(folder / "chrom.sizes"), "-n", str(folder / "reads"), "-p", str(job.threads)]
    return lambda: bam2bw.main(command)


def our_reader(job: SimpleNamespace) -> Work:
    """Our reader alone, and all its values once."""
    from db_ingest.formats import FORMATS
    from db_ingest.formats.base import Channel
    from db_ingest.inputs.naming import Naming
    from db_ingest.layout.genome import Genome

    kind = FORMATS["bam_5p"]
    module = kind.load()
    naming = Naming(Genome(tuple(job.sizes), tuple(job.sizes.values())))
    options = {name: option.default for name, option in kind.options.items()} | dict(kind.fixed) | OURS

    def work() -> Iterator[np.ndarray]:
        channels = (Channel(strand="+"), Channel(strand="-"))
        reader = module.open_signal(job.files[0], naming, options, channels, threads=job.threads)
        try:
            for channel in range(len(channels)):
                for place in chunks(job.sizes):
                    yield reader.read(*place, channel)
        finally:
            reader.close()

    return work


def ours(job: SimpleNamespace) -> Work:
    from store import ingest_ours

    return ingest_ours(
        job,
        {strand: {"type": f"bam_5p_{strand}", **OURS} for strand in ("plus", "minus")},
        [("sample000", [job.files[0]] * 2)],
    )
