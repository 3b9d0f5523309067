#!/usr/bin/env bash
# Files of every kind into three databases, each then verified against its files. Usage: run.sh DATA [OUT]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "${1:?usage: run.sh DATA [OUT]}" && pwd)
out=${2:-real_formats}
mkdir -p "$out"

python3 "$here/samples.py" "$data" "$out"

gen_ingest --tdb_array "$out/sacCer3" --ref_fasta "$data/sacCer3/sacCer3.2bit" \
    --tiledb_metadata "$out/yeast.tsv" --attribute_config_file "$here/types_yeast.yaml"
# The ENCODE files state their chromosomes themselves: hg38's and mm10's chr19 and chrM.
encode=$data/encode_atac_formats
gen_ingest --tdb_array "$out/hg38" --tiledb_metadata "$out/hg38.tsv" --attribute_config_file "$here/types_encode.yaml" \
    --chrom_sizes "$encode/filter.pe.no_multimapping.ENCFF341MYG.subsampled.400.trim.merged.nodup.bam"
gen_ingest --tdb_array "$out/mm10" --tiledb_metadata "$out/mm10.tsv" --attribute_config_file "$here/types_encode.yaml" \
    --chrom_sizes "$encode/filter.se.no_multimapping.ENCFF439VSY.subsampled.400.trim.merged.nodup.bam"

for database in sacCer3 hg38 mm10; do
    gen_db verify --tdb_array "$out/$database" --sources
done
