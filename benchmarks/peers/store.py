"""bigWig files into each peer's own store, so that any stretch of any track can be read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from child import chunks

WINDOW = 2**16

Work = Callable[[], Any]


def figwig_file(job: SimpleNamespace) -> Work:
    from figwig import bw2fw

    return lambda: bw2fw.main([*job.files, "-o", job.target, "-p", str(job.threads)])


def zarr(job: SimpleNamespace) -> Work:
    """Per-base float32 in chunks of our tile's extent, Blosc (Zstandard, byte shuffle), decoded by pyBigWig."""
    import pyBigWig
    import zarr
    from zarr.codecs import BloscCodec

    def work() -> None:
        group = zarr.open_group(job.target, mode="w")
        for name, size in job.sizes.items():
            array = group.create_array(
                name,
                shape=(len(job.files), size),
                chunks=(1, WINDOW),
                dtype="float32",
                compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
            )
            for row, path in enumerate(job.files):
                with pyBigWig.open(path) as file:
                    for _, start, end in chunks({name: size}):
                        values = file.values(name, start, end, numpy=True)
                        array[row, start:end] = np.nan_to_num(values, copy=False)

    return work


def genvarloader(job: SimpleNamespace) -> Work:
    """The whole genome as regions of 65,536 bp; it keeps their intervals as they are and decodes when it reads."""
    import genvarloader as gvl
    import polars as pl
    from loguru import logger

    logger.remove()
    # Its regions may not reach past an end, so the last of a chromosome is cut there.
    places = list(chunks(job.sizes, WINDOW))
    bed = pl.DataFrame(places, schema=["chrom", "chromStart", "chromEnd"], orient="row")
    paths = {f"sample{i:03d}": path for i, path in enumerate(job.files)}
    return lambda: gvl.write(job.target, bed, tracks=gvl.BigWigs("signal", paths))


def seqdataloader(job: SimpleNamespace) -> Work:
    """Seqdataloader's pattern: lists of values by pyBigWig into a dense genome x task array, 10,000 x 1, gzip."""
    import pyBigWig
    import tiledb

    step = 10_000_000

    def work() -> None:
        Path(job.target).mkdir()
        for name, size in job.sizes.items():
            uri = f"{job.target}/{name}"
            domain = tiledb.Domain(
                tiledb.Dim("position", domain=(0, -(-size // 10_000) * 10_000 - 1), tile=10_000, dtype=np.uint32),
                tiledb.Dim("task", domain=(0, len(job.files) - 1), tile=1, dtype=np.uint32),
            )
            attribute = tiledb.Attr(name="value", dtype=np.float32, filters=tiledb.FilterList([tiledb.GzipFilter()]))
            tiledb.Array.create(uri, tiledb.ArraySchema(domain=domain, attrs=[attribute]))
            for task, path in enumerate(job.files):
                with pyBigWig.open(path) as file, tiledb.open(uri, "w") as array:
                    for start in range(0, size, step):
                        end = min(start + step, size)
                        values = np.array(file.values(name, start, end), np.float32)
                        array[start:end, task] = np.nan_to_num(values)

    return work


def memory(job: SimpleNamespace) -> Work:
    """The limit of our layout: as many values, decoded before the clock starts, into our tiles with our filters."""
    import pyBigWig
    import tiledb

    from db_ingest.layout.genome import Genome
    from db_ingest.layout.schema import schema_for

    genome = Genome(tuple(job.sizes), tuple(job.sizes.values()))
    schema = schema_for("counts/value" if job.kind in ("counts", "coverage") else "signal/value", genome)
    with pyBigWig.open(job.files[0]) as file:
        decoded = {
            place: np.nan_to_num(file.values(*place, numpy=True), copy=False).astype(schema.attr(0).dtype)
            for place in chunks(job.sizes)
        }

    def work() -> None:
        tiledb.Array.create(job.target, schema)
        for row in range(len(job.files)):
            for (name, start, _), values in decoded.items():
                at = genome.offset(name) + start
                with tiledb.open(job.target, "w", timestamp=row + 1) as array:
                    array[row, at : at + len(values)] = values

    return work


def ours(job: SimpleNamespace) -> Work:
    samples = [(f"sample{i:03d}", [path]) for i, path in enumerate(job.files)]
    return ingest_ours(job, {"signal": {"type": "bigwig"}}, samples)


def ingest_ours(
    job: SimpleNamespace,
    types: dict[str, dict[str, Any]],
    samples: list[tuple[str, list[str]]],
    ref_fasta: str | None = None,
) -> Work:
    """``gen_ingest`` of samples, names and one file per attribute, into ``job.uri`` or a folder."""
    import importlib
    import json
    import pkgutil

    import db_ingest

    # Modules load where they are first needed; here, as the peers' do, before the clock starts.
    for module in pkgutil.walk_packages(db_ingest.__path__, "db_ingest."):
        # But what an ingest loads beside its planning is its own time.
        if module.name != "db_ingest.writing.preload":
            importlib.import_module(module.name)
    folder = Path(job.target)
    folder.mkdir()
    (folder / "chrom.sizes").write_text("".join(f"{name}\t{size}\n" for name, size in job.sizes.items()))
    # JSON is YAML.
    (folder / "types.yaml").write_text(json.dumps(types))
    rows = ["\t".join([name, *paths]) + "\n" for name, paths in samples]
    (folder / "samples.tsv").write_text("\t".join(["dataset", *types]) + "\n" + "".join(rows))
    return lambda: db_ingest.ingest(
        job.uri or f"{folder}/database",
        str(folder / "samples.tsv"),
        ref_fasta=ref_fasta,
        chrom_sizes=str(folder / "chrom.sizes"),
        attribute_config_file=str(folder / "types.yaml"),
        workers=job.workers,
        threads=job.threads,
    )
