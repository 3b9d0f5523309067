#!/usr/bin/env bash
# What tracks say about genes and cohesin peaks of yeast. Usage: run.sh DATA [OUT [FLAGS of gen_downstream]]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "${1:?usage: run.sh DATA [OUT [FLAGS]]}" && pwd)
out=${2:-yeast_downstream}
mkdir -p "$out"

binned=$data/yeast_binned_tracks
printf 'dataset\tmnase\tpol2\tscc1\trna_fwd\trna_rev\tatac\n' > "$out/samples.tsv"
printf 'yeast\t%s\t%s\t%s\t%s\t%s\t%s\n' "$binned/MNase.bw" "$binned/PolII.bw" "$binned/Scc1.bw" "$binned/RNA.fwd.bw" \
    "$binned/RNA.rev.bw" "$data/yeast_atac/atac_cutsites.bw" >> "$out/samples.tsv"
gen_ingest --tdb_array "$out/database" --chrom_sizes "$data/sacCer3/sacCer3.chrom.sizes" \
    --tiledb_metadata "$out/samples.tsv" --attribute_config_file "$here/types.yaml"
python3 "$here/labels.py" "$data" "$out"

# RNA of genes on three chromosomes, from what is not RNA.
gen_downstream --tdb_array "$out/database" --labels "$out/labels.rna.tsv" --label_column rna --task regression \
    --label_transformation log --flank 600 --parts 8 --pool mean --transformation arcsinh \
    --features all=pol2,mnase,scc1,atac pol2=pol2 mnase=mnase scc1=scc1 atac=atac \
    --title "RNA of yeast genes" --out_prefix "$out/rna" "${@:3}"
# Activity of TSSs on all chromosomes, from accessibility.
gen_downstream --tdb_array "$out/database" --labels "$out/labels.tss.tsv" --label_column tss --task regression \
    --label_transformation log --flank 600 --pool mean --transformation arcsinh --parts 24 \
    --features atac=atac --title "STRIPE-seq reads of yeast TSSs" --out_prefix "$out/tss" "${@:3}"
# Cohesin peaks beside matched regions, from what is not cohesin.
gen_downstream --tdb_array "$out/database" --labels "$out/labels.cohesin.tsv" --flank 1000 --parts 6 --pool mean \
    --transformation arcsinh --features all=pol2,mnase,rna_fwd,rna_rev,atac pol2=pol2 rna=rna_fwd,rna_rev mnase=mnase \
    atac=atac --title "Scc1 peaks of yeast" --out_prefix "$out/cohesin" "${@:3}"
