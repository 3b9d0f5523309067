#!/usr/bin/env bash
# Yeast accessibility from files to scores. Usage: run.sh DATA [OUT [FLAGS of gen_train]]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "${1:?usage: run.sh DATA [OUT [FLAGS]]}" && pwd)
out=${2:-yeast_atac}
mkdir -p "$out"

printf 'dataset\tcuts\natac\t%s\n' "$data/yeast_atac/yeast_500k_SRR1822137.frag.gz" > "$out/samples.tsv"
# Left out: the ribosomal repeats, which hold a quarter of all cuts, and the mitochondrion.
printf 'chrXII\t450000\t491000\nchrM\t0\t85779\n' > "$out/blacklist.bed"
# Both held-out chromosomes, end to end, in windows of 500 bp.
awk -v OFS='\t' '$1 == "chrI" || $1 == "chrII" {for (i = 500; i + 1000 <= $2; i += 500) print $1, i, i + 500}' \
    "$data/sacCer3/sacCer3.fa.fai" > "$out/tiles.bed"

gen_ingest --tdb_array "$out/database" --ref_fasta "$data/sacCer3/sacCer3.fa" --tiledb_metadata "$out/samples.tsv" \
    --attribute_config_file "$here/attributes.yaml"
gen_train --config "$here/train.yaml" --tdb_array "$out/database" --blacklist "$out/blacklist.bed" \
    --bed_regions "$data/yeast_atac/hmmratac_yeast500k_accessible_regions.narrowPeak" \
    --model_prefix "$out/model" --overwrite "${@:3}"
gen_predict_tdb --load_model_hdf5 "$out/model.keras" --predictions_and_labels_hdf5 "$out/test" --seed 1
gen_score_bpnet --predictions "$out/test.predictions" --outf "$out/scores" \
    --title "yeast ATAC-seq, regions of chrI and chrII"
gen_predict_tdb --load_model_hdf5 "$out/model.keras" --predictions_and_labels_hdf5 "$out/tiles" \
    --bed_regions "$out/tiles.bed" --bed_regions_center center --jitter 0 --bigwig_prefix "$out/tiles"
gen_score_bpnet --predictions "$out/tiles.predictions" --outf "$out/tiles.scores" \
    --title "yeast ATAC-seq, all of chrI and chrII"
gen_report --model_prefix "$out/model" --scores "$out/scores.json" --predictions "$out/test.predictions" \
    --title "Yeast ATAC-seq" --outf "$out/report.html"
