#!/usr/bin/env bash
# The whole path on simulated data: genome, tracks and peaks to a database, a model, its scores and what it learned.
# Usage: run.sh FOLDER   (the folder is made; what an earlier run left there is replaced)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: run.sh FOLDER}

gen_simulate --out_dir "$out/simulated" --overwrite
rm -rf "$out/database"
gen_ingest --tdb_array "$out/database" --ref_fasta "$out/simulated/genome.fa" \
    --tiledb_metadata "$out/simulated/samples.tsv" --attribute_config encode_pipeline
gen_db info --tdb_array "$out/database"
gen_train --config "$here/train.yaml" --tdb_array "$out/database" --model_prefix "$out/model" \
    --bed_regions "$out/simulated/peaks.narrowPeak" --overwrite
gen_predict_tdb --load_model_hdf5 "$out/model.keras" --predictions_and_labels_hdf5 "$out/test" \
    --bigwig_prefix "$out/test"
gen_score_bpnet --predictions "$out/test.predictions" --outf "$out/scores" --title demo --replicates rep1 rep2
gen_shap --load_model_hdf5 "$out/model.keras" --out_prefix "$out/test" --chroms chr6
gen_report --model_prefix "$out/model" --scores "$out/scores.json" --predictions "$out/test.predictions" \
    --explained "$out/test.shap.h5" --truth "$out/simulated/motifs.bed" --title "kerasgen demo" --outf "$out/report.html"
