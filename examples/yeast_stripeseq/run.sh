#!/usr/bin/env bash
# Yeast start sites from files to scores. Usage: run.sh DATA [OUT]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "${1:?usage: run.sh DATA [OUT]}" && pwd)
out=${2:-yeast_stripeseq}
mkdir -p "$out"

{
    printf 'dataset\tplus\tminus\ttsr\n'
    for sample in WT_1 WT_2 WT_3 WT_pooled; do
        files=$data/yeast_stripeseq/S288C_$sample
        peaks=$files.TSRs.narrowPeak
        [ -e "$peaks" ] || peaks=
        printf '%s\t%s\t%s\t%s\n' "$sample" "$files.plus.bw" "$files.minus.bw" "$peaks"
    done
} > "$out/samples.tsv"

gen_ingest --tdb_array "$out/database" --ref_fasta "$data/sacCer3/sacCer3.fa" --tiledb_metadata "$out/samples.tsv" \
    --attribute_config_file "$here/attributes.tsv"
python3 "$here/loci.py" "$out/database" "$out/loci.narrowPeak"
gen_train --config "$here/train.yaml" --tdb_array "$out/database" --bed_regions "$out/loci.narrowPeak" \
    --model_prefix "$out/model" --overwrite
gen_predict_tdb --load_model_hdf5 "$out/model.keras" --predictions_and_labels_hdf5 "$out/test" --jitter 50 --seed 1
# log(30 + 1): loci with 30 or more counts; task 0 is a locus's own strand.
gen_score_bpnet --predictions "$out/test.predictions" --outf "$out/scores" --title "yeast STRIPE-seq, chrI and chrII" \
    --tasks 0 --label_min_to_score 3.43398 --replicates WT_1 WT_2
gen_report --model_prefix "$out/model" --scores "$out/scores.json" --predictions "$out/test.predictions" \
    --title "Yeast STRIPE-seq" --outf "$out/report.html"
