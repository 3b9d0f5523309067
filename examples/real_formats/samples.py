"""Write the samples tables of this example: samples.py DATA OUT."""

from __future__ import annotations

import sys
from pathlib import Path

Row = dict[str, Path]


def yeast(data: Path) -> dict[str, Row]:
    """Datasets and files on sacCer3."""
    tss, atac, binned = data / "yeast_stripeseq", data / "yeast_atac", data / "yeast_binned_tracks"
    rows: dict[str, Row] = {}
    for sample in ("WT_1", "WT_2", "WT_3", "WT_pooled"):
        rows[sample] = {f"tss_{strand}": tss / f"S288C_{sample}.{strand}.bw" for strand in ("plus", "minus")}
        peaks = tss / f"S288C_{sample}.TSRs.narrowPeak"
        rows[sample] |= {"tsr": peaks} if peaks.exists() else {}
    rows["S288C"] = dict.fromkeys(("reads_plus", "reads_minus", "reads_coverage"), tss / "S288C.bam")
    fragments, pairs = (atac / f"yeast_500k_SRR1822137.{ending}.gz" for ending in ("frag", "bedpe"))
    rows["atac"] = {
        "cuts": atac / "atac_cutsites.bw",
        "cuts_of_fragments": fragments,
        "coverage_of_fragments": fragments,
        "cuts_of_bedpe": pairs,
        "peaks": atac / "yeast_atac_peaks.narrowPeak",
        "regions": atac / "hmmratac_yeast500k_accessible_regions.narrowPeak",
    }
    rows["atac_plus"] = {"cuts": atac / "atac_cutsites_plus4.bw"}
    rows["atac_minus"] = {"cuts": atac / "atac_cutsites_minus4.bw"}
    rows["atac"]["summits"] = atac / "yeast_atac_summits.bed"
    for name in ("MNase", "PolII", "Scc1", "RNA.fwd", "RNA.rev"):
        rows[name] = {"track": binned / f"{name}.bw"}
    rows["Scc1"]["binned_peaks"] = binned / "Scc1-peaks.narrowPeak"
    rows["genes"] = {"tss": binned / "TSSs.bed"}
    for path in sorted((data / "yeast_binding_sites").glob("*.bed")):
        rows[f"site_{path.stem}"] = {"sites": path}
    return rows


def encode(data: Path, kind: str) -> dict[str, Row]:
    """Datasets and files of the paired-end (``pe``, hg38) or single-end (``se``, mm10) run of ENCODE's pipeline."""
    folder = data / "encode_atac_formats"
    (bam,) = folder.glob(f"filter.{kind}.*.bam")
    tags = sorted(folder.glob(f"bam2ta.{kind}.*.tagAlign.gz"))
    rows: dict[str, Row] = {kind: dict.fromkeys(("reads", "reads_plus", "reads_minus", "coverage"), bam)}
    for number, path in enumerate(tags, 1):
        rows.setdefault(f"{kind}_tags_{number}", {}).update(dict.fromkeys(("tags", "tags_plus", "tags_minus"), path))
    if kind == "se":
        for attribute, ending in (("fold_change", "fc.signal.bigwig"), ("p_value", "pval.signal.bigwig")):
            (rows[kind][attribute],) = folder.glob(f"macs2.*.{ending}")
        (rows[kind]["peaks"],) = folder.glob("macs2.*.narrowPeak.gz")
        (rows[kind]["overlap"],) = folder.glob("overlap.*.narrowPeak.gz")
    return rows


def table(rows: dict[str, Row]) -> str:
    """A samples table."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [["dataset", *columns]]
    lines += [[name, *(str(row.get(column, "")) for column in columns)] for name, row in rows.items()]
    return "".join("\t".join(line) + "\n" for line in lines)


def main(data: Path, out: Path) -> None:
    """Write ``yeast.tsv``, ``hg38.tsv`` and ``mm10.tsv``."""
    for name, rows in (("yeast", yeast(data)), ("hg38", encode(data, "pe")), ("mm10", encode(data, "se"))):
        (out / f"{name}.tsv").write_text(table(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
