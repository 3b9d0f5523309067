"""Peak memory of gen_predict_tdb and gen_shap by the number of regions, each run in a process of its own.

Usage: bench_memory.py [REGIONS ...]        (2000 20000 by default)
Prints for each number of regions the seconds and the peak resident memory of both, and the sizes of the HDF5 files.
The model is a small BPNet of 200 bp sequence and 80 bp profile on a simulated genome.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

PLUS, MINUS = "count_bigwig_plus_5p", "count_bigwig_minus_5p"
CHROMOSOME = 300_000


def make_bundle(folder: Path) -> None:
    """A database and a model trained on it for one epoch."""
    import kerasgen
    from db_ingest import ingest

    kerasgen.simulate(str(folder / "files"), chromosomes=3, chromosome_size=CHROMOSOME, peaks=90, seed=7)
    ingest(str(folder / "db"), str(folder / "files" / "samples.tsv"), ref_fasta=str(folder / "files" / "genome.fa"),
           attribute_config="encode_pipeline")  # fmt: skip
    kerasgen.train(
        model_prefix=str(folder / "model"), tdb_array=str(folder / "db"), tdb_input_flank=[100],
        tdb_output_source_attribute=[f"{PLUS},{MINUS}"] * 2, tdb_output_datasets=["pooled"], tdb_output_flank=[40],
        tdb_output_aggregation=[None, "sum"], tdb_output_transformation=[None, "log"],
        bed_regions=str(folder / "files" / "peaks.narrowPeak"), validation_chroms=["chr2"], test_chroms=["chr3"],
        model_params=["filters=8", "n_dil_layers=2", "profile_kernel_size=11", "conv1_kernel_size=9"], epochs=1,
    )  # fmt: skip


def write_regions(path: Path, count: int) -> None:
    """Regions anywhere on the third chromosome, in no order."""
    starts = np.random.default_rng(0).integers(200, CHROMOSOME - 200, count)
    path.write_text("".join(f"chr3\t{start}\t{start + 1}\n" for start in starts))


def run(folder: Path, what: str, count: int) -> None:
    """One command on a number of regions; prints seconds, peak memory and the size of its file."""
    import kerasgen

    bed = folder / f"{count}.bed"
    write_regions(bed, count)
    model, prefix = str(folder / "model.keras"), str(folder / f"{what}.{count}")
    began = time.perf_counter()
    if what == "predict_tdb":
        path = kerasgen.predict_tdb(model, prefix, bed_regions=str(bed), bigwig_prefix=prefix).path
    else:
        path = kerasgen.shap(model, prefix, bed_regions=str(bed), num_refs_per_seq=2, batch_size=64).path
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{what}: {count:,} regions, {seconds:.1f} s, peak {peak:,.0f} MiB, file {path.stat().st_size / 2**20:.0f} MiB"
    )


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--run":
        run(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
        return
    with tempfile.TemporaryDirectory() as name:
        make_bundle(Path(name))
        for what in ("predict_tdb", "shap"):
            for count in [int(word) for word in sys.argv[1:]] or [2_000, 20_000]:
                subprocess.run([sys.executable, __file__, "--run", name, what, str(count)], check=True)


if __name__ == "__main__":
    main()
