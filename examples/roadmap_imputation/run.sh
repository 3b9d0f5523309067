#!/usr/bin/env bash
# Tracks of four cell types imputed from the others. Usage: run.sh DATA [OUT] [flags of table.py]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "${1:?usage: run.sh DATA [OUT] [flags of table.py]}" && pwd)/roadmap_pilot
out=${2:-roadmap_imputation}
mkdir -p "$out"

assays="H3K4me3 H3K27me3 H3K36me3 H3K9me3 H3K4me1"
{
    printf 'dataset'; printf '\t%s' $assays; printf '\n'
    for celltype in E003 E017 E116 E117; do
        printf '%s' "$celltype"
        for assay in $assays; do printf '\t%s' "$data/$celltype.$assay.pilot.arcsinh.npz"; done
        printf '\n'
    done
} > "$out/samples.tsv"
# The pilot regions come without coordinates: one chromosome of their bins laid end to end.
printf 'pilot\t%d\n' $((1126469 * 25)) > "$out/pilot.sizes"

gen_ingest --tdb_array "$out/database" --chrom_sizes "$out/pilot.sizes" --tiledb_metadata "$out/samples.tsv" \
    --attribute_config_file "$here/types.yaml"
python3 "$here/table.py" "$out/database" --out "$out/table" "${@:3}"
