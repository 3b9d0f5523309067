#!/usr/bin/env bash
# What tracks and embeddings say about genes and cohesin peaks of yeast. Usage: run.sh DATA [OUT [FLAGS of gen_downstream]]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "${1:?usage: run.sh DATA [OUT [FLAGS]]}" && pwd)
out=${2:-yeast_downstream}
epochs=${EPOCHS:-10} units=${UNITS:-64}
mkdir -p "$out"

binned=$data/yeast_binned_tracks
printf 'dataset\tmnase\tpol2\tscc1\trna_fwd\trna_rev\tatac\n' > "$out/samples.tsv"
printf 'yeast\t%s\t%s\t%s\t%s\t%s\t%s\n' "$binned/MNase.bw" "$binned/PolII.bw" "$binned/Scc1.bw" "$binned/RNA.fwd.bw" \
    "$binned/RNA.rev.bw" "$data/yeast_atac/atac_cutsites.bw" >> "$out/samples.tsv"
gen_ingest --tdb_array "$out/database" --chrom_sizes "$data/sacCer3/sacCer3.chrom.sizes" \
    --tiledb_metadata "$out/samples.tsv" --attribute_config_file "$here/types.yaml"
python3 "$here/labels.py" "$data" "$out"

# Embeddings of a task's own tracks, never of what its labels were made of: TASK_pca, TASK_epilstm, TASK_avocado.
embed() {
    local task=$1 tracks=("${@:2}")
    gen_embed --tdb_array "$out/database" --pca 3 --model_prefix "$out/${task}_pca" --assays "${tracks[@]}" \
        --train_chroms chrII chrIV chrXVI --chroms chrII chrIV chrXVI --overwrite
    gen_train --architecture_spec epilstm --tdb_array "$out/database" --model_prefix "$out/${task}_epilstm" \
        --assays "${tracks[@]}" --train_chroms chrII chrIV --validation_chroms chrXVI --model_params bottleneck=3 \
        "units=$units" --batch_size 16 --epochs "$epochs" --overwrite
    gen_train --architecture_spec avocado --tdb_array "$out/database" --model_prefix "$out/${task}_avocado" \
        --assays "${tracks[@]}" --train_chroms chrII chrIV chrXVI --preset published --model_params n_layers=1 \
        n_nodes=64 n_celltype_factors=4 n_assay_factors=8 n_25bp_factors=4 n_250bp_factors=6 n_5kbp_factors=6 \
        --batch_size 10000 --epoch_size 50 --epochs $((2 * epochs)) --overwrite
    for model in epilstm avocado; do
        gen_embed --tdb_array "$out/database" --load_model_hdf5 "$out/${task}_$model.keras" \
            --chroms chrII chrIV chrXVI --overwrite
    done
}
embed rna pol2 mnase scc1 atac
embed cohesin pol2 mnase rna_fwd rna_rev atac

# RNA of genes on three chromosomes, from what is not RNA.
all=pol2,mnase,scc1,atac
gen_downstream --tdb_array "$out/database" --labels "$out/labels.rna.tsv" --label_column rna --task regression \
    --label_transformation log --flank 600 --parts 8 --pool mean --transformation arcsinh \
    --features all=$all pca='*:rna_pca' epilstm='*:rna_epilstm' avocado='*:rna_avocado' all+pca="$all,*:rna_pca" \
    all+epilstm="$all,*:rna_epilstm" all+avocado="$all,*:rna_avocado" pol2=pol2 mnase=mnase scc1=scc1 atac=atac \
    --title "RNA of yeast genes" --out_prefix "$out/rna" "${@:3}"
# Activity of TSSs on all chromosomes, from accessibility.
gen_downstream --tdb_array "$out/database" --labels "$out/labels.tss.tsv" --label_column tss --task regression \
    --label_transformation log --flank 600 --pool mean --transformation arcsinh --parts 24 \
    --features atac=atac --title "STRIPE-seq reads of yeast TSSs" --out_prefix "$out/tss" "${@:3}"
# Cohesin peaks beside matched regions, from what is not cohesin.
all=pol2,mnase,rna_fwd,rna_rev,atac
gen_downstream --tdb_array "$out/database" --labels "$out/labels.cohesin.tsv" --flank 1000 --parts 6 --pool mean \
    --transformation arcsinh --features all=$all pca='*:cohesin_pca' epilstm='*:cohesin_epilstm' \
    avocado='*:cohesin_avocado' all+pca="$all,*:cohesin_pca" all+epilstm="$all,*:cohesin_epilstm" \
    all+avocado="$all,*:cohesin_avocado" pol2=pol2 rna=rna_fwd,rna_rev mnase=mnase atac=atac \
    --title "Scc1 peaks of yeast" --out_prefix "$out/cohesin" "${@:3}"
