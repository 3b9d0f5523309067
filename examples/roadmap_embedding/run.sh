#!/usr/bin/env bash
# Codes of 20 Roadmap tracks beside principal components. Usage: run.sh DATA [OUT [FLAGS of compare.py]]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "${1:?usage: run.sh DATA [OUT [FLAGS]]}" && pwd)
out=${2:-roadmap_embedding}
mkdir -p "$out"

python3 "$here/samples.py" "$data/roadmap_pilot" "$out"
gen_ingest --tdb_array "$out/database" --tiledb_metadata "$out/samples.tsv" \
    --attribute_config_file "$here/types.yaml" --chrom_sizes "$out/pilot.sizes"
python3 "$here/compare.py" "$out/database" "$out" "${@:3}"
gen_embed --tdb_array "$out/database" --load_model_hdf5 "$out/epilstm_12_seed0.keras" --name epilstm \
    --hdf5 "$out/epilstm.h5" --overwrite
gen_embed --tdb_array "$out/database" --pca 12 --model_prefix "$out/pca" --overwrite
