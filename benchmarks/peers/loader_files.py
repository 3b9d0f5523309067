"""The stores that some loaders read from, made of bigWig files and a sequence."""

from __future__ import annotations

from types import SimpleNamespace

from store import Work, figwig_file, ingest_ours

__all__ = ["figwig_file", "genvarloader", "ours"]


def ours(job: SimpleNamespace) -> Work:
    from ours_loader import tracks_of

    names = tracks_of(job)
    attributes = list(dict.fromkeys(attribute for attribute, _ in names))
    step = len(attributes)
    samples = [(names[i][1], job.files[i : i + step]) for i in range(0, len(names), step)]
    return ingest_ours(job, {name: {"type": "bigwig"} for name in attributes}, samples, ref_fasta=job.fasta)


def genvarloader(job: SimpleNamespace) -> Work:
    """A dataset of the peaks, wide enough for their jitter."""
    import genvarloader as gvl
    import polars as pl
    from loader import INPUT, JITTER, chromosome, peaks
    from loguru import logger

    logger.remove()
    centres = peaks(job)
    bed = pl.DataFrame({"chromStart": centres - INPUT // 2, "chromEnd": centres + INPUT // 2})
    bed = bed.select(pl.lit(chromosome(job)).alias("chrom"), pl.all())
    tracks = [gvl.BigWigs(f"track{i:03d}", {"sample": path}) for i, path in enumerate(job.files)]

    def work() -> None:
        gvl.write(job.target, bed, tracks=tracks, max_jitter=JITTER, overwrite=True)
        # It keeps a copy of the sequence beside it.
        gvl.Dataset.open(job.target, reference=job.fasta)

    return work
