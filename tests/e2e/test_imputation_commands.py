"""From arrays in files to imputed bigWigs, by the commands: what is written, scored, added, drawn and refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from db_ingest.cli.gen_ingest import COMMAND as INGEST
from kerasgen.cli.gen_impute import COMMAND as IMPUTE
from kerasgen.cli.gen_train import COMMAND as TRAIN

BIN = 25
SIZES = {"chr1": 60_010, "chr2": 30_000}
CELLTYPES, ASSAYS = ("E1", "E2", "E3", "E4"), ("H3K4me3", "H3K36me3", "H3K9me3")
MISSING = ("E4", "H3K9me3")
SMALL = ["--model_params", "n_nodes=16", "--batch_size", "1000", "--epochs", "3"]

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command sets up the logger for its process; take that back."""
    log = logging.getLogger("kerasgen")
    before = (log.handlers, log.propagate, log.level)
    yield
    log.handlers, log.propagate = before[0], before[1]
    log.setLevel(before[2])


def run(command, *words: object) -> int:
    return command.run([str(word) for word in words])


def measured() -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """-log10 p of places that each assay likes, more or less in each cell type."""
    rng = np.random.default_rng(3)
    strength = {celltype: rng.uniform(0.5, 2) for celltype in CELLTYPES}
    found: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for assay in ASSAYS:
        shape = {name: rng.gamma(0.3, 4, -(-size // BIN)).astype(np.float32) for name, size in SIZES.items()}
        for celltype in CELLTYPES:
            found[celltype, assay] = {
                name: (values * strength[celltype] * rng.uniform(0.8, 1.2, len(values))).astype(np.float32)
                for name, values in shape.items()
            }
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of 11 of 12 tracks, two models of it, and annotation."""
    folder = tmp_path_factory.mktemp("imputation")
    values = measured()
    rows = ["\t".join(["dataset", *ASSAYS])]
    for celltype in CELLTYPES:
        cells = []
        for assay in ASSAYS:
            name = f"{celltype}.{assay}.npz"
            np.savez(folder / name, **values[celltype, assay])
            cells.append("" if (celltype, assay) == MISSING else name)
        rows.append("\t".join([celltype, *cells]))
    (folder / "samples.tsv").write_text("\n".join(rows) + "\n")
    (folder / "types.yaml").write_text("".join(f"{a}: {{type: npz, bin: {BIN}, unit: -log10 p}}\n" for a in ASSAYS))
    (folder / "sizes").write_text("".join(f"{name}\t{size}\n" for name, size in SIZES.items()))
    (folder / "genes.bed").write_text("chr1\t5000\t9000\tA\t0\t+\nchr1\t20000\t22000\tB\t0\t-\n")
    (folder / "meta.tsv").write_text("name\ttissue\nE1\tblood\nE2\tblood\nE3\tlung\n")
    assert run(INGEST, "--tdb_array", folder / "db", "--tiledb_metadata", folder / "samples.tsv",
               "--attribute_config_file", folder / "types.yaml", "--chrom_sizes", folder / "sizes") == 0  # fmt: skip
    train = ["--architecture_spec", "avocado", "--tdb_array", folder / "db", *SMALL]
    assert run(TRAIN, *train, "--model_prefix", folder / "m", "--hold_out", "E1:H3K4me3",
               "--validate_on", "E2:H3K36me3", "--patience", 2, "--n_models", 2) == 0  # fmt: skip
    assert run(TRAIN, *train, "--model_prefix", folder / "each", "--train_chroms", "chr1", "--per_chromosome",
               "--celltypes", "E1", "E2", "E3", "--assays", *ASSAYS[:2], "--preset", "published",
               "--epoch_size", 4) == 0  # fmt: skip
    return folder


def bigwig(path: Path, chromosome: str) -> np.ndarray:
    """Value of each bin; all bases of a bin must have it."""
    with pyBigWig.open(str(path)) as file:
        size = file.chroms(chromosome)
        bases = file.values(chromosome, 0, size, numpy=True)
    firsts = np.arange(0, size, BIN)
    np.testing.assert_array_equal(np.repeat(bases[firsts], BIN)[:size], bases)
    return bases[firsts]


def test_bundle_says_what_was_learned_from_and_what_was_held_out(folder):
    document = json.loads((folder / "m.json").read_text())
    assert document["held_out"] == [["E1", "H3K4me3"]]
    assert document["validated_on"] == [["E2", "H3K36me3"]]
    assert len(document["experiments"]) == 9
    assert document["chromosomes"] == SIZES
    assert document["run"]["n_models"] == 2
    lines = (folder / "m.log.csv").read_text().splitlines()
    assert lines[0].split(",")[:3] == ["epoch", "loss", "val_loss"]
    assert len(lines) == 1 + len(document["history"])


@pytest.mark.backend
def test_missing_track_is_imputed_as_the_model_predicts_it(folder, tmp_path, capsys):
    from kerasgen import Avocado

    assert run(IMPUTE, "--model", folder / "m", "--all-missing", "--out_dir", tmp_path) == 0
    path = tmp_path / "E4.H3K9me3.bigwig"
    assert capsys.readouterr().out.startswith(str(path))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    predicted = Avocado.load(folder / "m").predict(*MISSING)
    plain = np.maximum(np.sinh(predicted.astype(np.float64)), 0)
    bins = -(-SIZES["chr1"] // BIN)
    np.testing.assert_allclose(bigwig(path, "chr1"), plain[:bins], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bigwig(path, "chr2"), plain[bins:], rtol=1e-5, atol=1e-6)
    with pyBigWig.open(str(path)) as file:
        assert file.chroms() == SIZES
        # The last bin of chr1 has 10 bp.
        assert file.intervals("chr1")[-1][:2] == (60_000, 60_010)


def test_range_arcsinh_kept_and_deviation_are_those_of_the_model(folder, tmp_path):
    from kerasgen import Avocado

    assert run(IMPUTE, "--model", folder / "m.keras", "-c", "E1", "-a", "H3K4me3", "H3K9me3", "--chrom", "chr2",
               "--start", 1010, "--end", 2000, "--keep_arcsinh", "--std", "--out_dir", tmp_path) == 0  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 4
    model = Avocado.load(folder / "m")
    first = model.stretches[1].first + 40
    for path, values in (
        ("E1.H3K9me3.bigwig", model.predict("E1", "H3K9me3", first, first + 40)),
        ("E1.H3K9me3.std.bigwig", model.predict_std("E1", "H3K9me3", first, first + 40)),
    ):
        found = bigwig(tmp_path / path, "chr2")
        assert np.flatnonzero(np.isfinite(found)).tolist() == list(range(40, 80))
        np.testing.assert_allclose(found[40:80], values, rtol=1e-5, atol=1e-6)
    again = ["--model", folder / "m", "-c", "E1", "-a", "H3K9me3", "--region", "chr2:1,010-2,000", "--keep_arcsinh"]
    assert run(IMPUTE, *again, "--out_dir", tmp_path / "again") == 0
    np.testing.assert_array_equal(bigwig(tmp_path / "again" / "E1.H3K9me3.bigwig", "chr2"),
                                  bigwig(tmp_path / "E1.H3K9me3.bigwig", "chr2"))  # fmt: skip


def test_scores_stand_beside_baselines_and_say_what_was_seen(folder, tmp_path, capsys):
    from kerasgen.track_models.scores import score

    words = ["--model", folder / "m", "-a", "H3K4me3", "--out_dir", tmp_path, "--keep_arcsinh"]
    assert run(IMPUTE, *words, "--scores", tmp_path / "s", "--genes", folder / "genes.bed", "--plot_region",
               "chr1:5000-9000", "--plot_embeddings", tmp_path / "e.png", "--metadata",
               folder / "meta.tsv") == 0  # fmt: skip
    header, *rows = [line.split("\t") for line in (tmp_path / "s.tsv").read_text().splitlines()]
    assert header == ["celltype", "assay", "seen", "source", "mse_global", "mse_1obs", "mse_1imp", "mse_prom",
                      "mse_gene", "pearson", "spearman"]  # fmt: skip
    assert [row[2:4] for row in rows[:4]] == [
        ["held out", source] for source in ("model", "mean of others", "scaled mean", "constant")
    ]
    assert {row[2] for row in rows[4:]} == {"trained on"}
    values = measured()
    path = tmp_path / "E1.H3K4me3.bigwig"
    made = np.concatenate([bigwig(path, name) for name in SIZES])
    expected = score(np.arcsinh(np.concatenate([values["E1", "H3K4me3"][name] for name in SIZES])), made)
    assert float(rows[0][4]) == pytest.approx(expected["mse_global"], abs=1e-4)
    assert float(rows[0][-1]) == pytest.approx(expected["spearman"], abs=1e-3)
    others = [np.concatenate([np.arcsinh(values[c, "H3K4me3"][name]) for name in SIZES]) for c in CELLTYPES[1:]]
    seen = np.arcsinh(np.concatenate([values["E1", "H3K4me3"][name] for name in SIZES]))
    assert float(rows[1][4]) == pytest.approx(np.mean((seen - np.mean(others, axis=0)) ** 2), abs=1e-4)
    printed = capsys.readouterr().out
    assert "mean of others" in printed
    drawn = [tmp_path / name for name in ("s.png", "e.png", "E1.H3K4me3.chr1_5000_9000.png")]
    assert all(path.stat().st_size > 5_000 for path in drawn)


def test_each_chromosome_has_its_model_with_the_same_network(folder, tmp_path):
    from kerasgen import Avocado

    assert sorted(p.name for p in folder.glob("each*")) == [
        "each.chr2.json", "each.chr2.keras", "each.chr2.npz", "each.json", "each.keras", "each.log.csv", "each.npz",
    ]  # fmt: skip
    first, second = Avocado.load(folder / "each"), Avocado.load(folder / "each.chr2")
    np.testing.assert_array_equal(first.celltype_embedding, second.celltype_embedding)
    assert [stretch.chromosome for stretch in (*first.stretches, *second.stretches)] == ["chr1", "chr2"]
    words = ["--model", folder / "each", "-c", "E2", "-a", "H3K36me3", "--keep_arcsinh", "--out_dir", tmp_path]
    assert run(IMPUTE, *words) == 0
    path = tmp_path / "E2.H3K36me3.bigwig"
    for model, name in ((first, "chr1"), (second, "chr2")):
        np.testing.assert_allclose(bigwig(path, name), model.predict("E2", "H3K36me3"), rtol=1e-5, atol=1e-6)


def test_added_cell_type_and_assay_leave_the_old_ones_as_they_were(folder, tmp_path):
    from kerasgen import Avocado

    added = ["--add_celltypes", "E4", "--add_assays", "H3K9me3", "--add_epochs", 2]
    assert run(IMPUTE, "--model", folder / "each", *added, "--new_model", tmp_path / "more", "--all_missing",
               "--out_dir", tmp_path) == 0  # fmt: skip
    assert (tmp_path / "E4.H3K9me3.bigwig").is_file()
    old, new = Avocado.load(folder / "each"), Avocado.load(tmp_path / "more")
    assert len(new.history) == len(old.history) + 4
    assert new.celltypes == [*old.celltypes, "E4"]
    assert new.assays == [*old.assays, "H3K9me3"]
    np.testing.assert_array_equal(new.celltype_embedding[:3], old.celltype_embedding)
    np.testing.assert_array_equal(new.predict("E1", "H3K4me3"), old.predict("E1", "H3K4me3"))
    document = json.loads((tmp_path / "more.json").read_text())
    assert document["made_from"]["added"] == {"celltypes": ["E4"], "assays": ["H3K9me3"]}
    assert Avocado.load(tmp_path / "more.chr2").celltypes == new.celltypes


def test_files_that_are_there_are_refused_left_or_replaced(folder, tmp_path, capsys):
    words = ["--model", folder / "m", "-c", "E1", "-a", "H3K9me3", "--region", "chr2:0-1000", "--out_dir", tmp_path]
    path = tmp_path / "E1.H3K9me3.bigwig"
    path.write_text("mine")
    assert run(IMPUTE, *words) == 2
    assert "exists; --overwrite replaces it, --skip_existing leaves it" in capsys.readouterr().err
    assert run(IMPUTE, *words, "--skip_existing") == 0
    assert "there already" in capsys.readouterr().out
    assert path.read_text() == "mine"
    assert run(IMPUTE, *words, "--overwrite") == 0
    assert np.isfinite(bigwig(path, "chr2")[:40]).all()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("-c E9 -a H3K4me3", "m: knows no cell type 'E9'; expected one of E1, E2, E3, E4"),
        ("-c E1 -a H3K27ac", "m: knows no assay 'H3K27ac'; expected one of H3K"),
        ("-c E1 E1 -a H3K4me3", "cell type 'E1' is named twice"),
        ("-c E1 -a H3K4me3 --chrom chr3", "m: knows no chromosome 'chr3'; expected one of chr1, chr2"),
        (
            "-c E1 -a H3K4me3 --chrom chr2 --end 30001",
            "chr2:0-30,001: expected a range of one base or more within 0 to 30,000",
        ),
        ("-c E1 -a H3K4me3 --chrom chr2 --start 500 --end 500", "chr2:500-500: expected a range"),
        ("-c E1 -a H3K4me3 --start 500", "--start and --end are of one chromosome; name it with --chrom"),
        ("-c E1 -a H3K4me3 --region chr2", "'chr2': expected a region CHROM:START-END"),
        ("-c E1 -a H3K4me3 --region chr2:0-50 --chrom chr1", "give --region or --chrom, --start and --end, not both"),
        ("", "nothing to impute; name --celltype or --assay, or give --all_tracks"),
        ("-c E1 --all_missing", "the database has a track of each of these pairs; none is missing"),
        ("--scores x --plot_embeddings y", "--scores needs tracks that are imputed"),
        ("-c E1 --genes g.bed", "--genes and --enhancers are for --scores"),
        ("-c E4 -a H3K9me3 --scores OUT/s --region chr1:0-500", "the database has none of the imputed tracks to score"),
        ("-c E1 --overwrite --skip_existing", "give --skip_existing to leave files or --overwrite to replace them"),
        ("--add_celltypes E1 --new_model OUT/n", "cell type 'E1' is known already; expected new ones"),
        ("--add_assays H3K9me3 --new_model OUT/n", "assay 'H3K9me3' is known already; expected new ones"),
        ("--add_celltypes E9 --new_model OUT/n", "no cell type 'E9'; expected one of E1"),
        ("--add_celltypes E9", "--add_celltypes: say where the new model goes: --new_model P"),
        ("-c E1 --new_model OUT/n", "--new_model is for --add_celltypes or --add_assays"),
        ("--plot_embeddings OUT/e.png --metadata OUT/none", "none: no such file; expected a table (--metadata)"),
        ("--plot_embeddings OUT/e.png --color_by tissue", "--color_by names a column of --metadata; give that too"),
        ("-c E1 --tdb_array /none", "/none: no kerasgen database here"),
    ],
)
def test_wrong_words_are_one_line_and_leave_nothing(folder, tmp_path, capsys, words, says):
    out = tmp_path / "out"
    out.mkdir()
    line = words.replace("OUT", str(out)).split()
    assert run(IMPUTE, "--model", folder / "m", "--out_dir", out, *line) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    assert says in text
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--hold_out E1:H3K9", "--hold_out E1:H3K9: no such track; expected CELLTYPE:ASSAY, one of E1:H3K4me3"),
        ("--hold_out E1:H3K4me3 --validate_on E1:H3K4me3", "--hold_out and --validate_on both name E1:H3K4me3"),
        ("--hold_out E4:H3K4me3 E4:H3K36me3", "E4:H3K4me3 is held out or validated on, and no other track is left"),
        ("--celltypes E1 E2 --hold_out E3:H3K4me3", "left to learn cell type 'E3' from"),
        ("--celltypes E1 E9", "no cell type 'E9'; expected one of E1, E2, E3, E4"),
        ("--assays H3K4me3 H3K4me3", "assay 'H3K4me3' is named twice"),
        ("--celltypes E4 --assays H3K9me3", "cell type 'E4' has no track among those asked for"),
        ("--train_chroms chr9", "chr9"),
        ("--per_chromosome", "--per_chromosome: name the chromosomes that the network is learned from: --train_chroms"),
        ("--per_chromosome --train_chroms chr1 chr2", "--train_chroms names all chromosomes"),
        (
            "--model_params n_nods=3",
            "--model_params n_nods=3: unknown parameter 'n_nods'; known are n_celltype_factors",
        ),
        ("--model_params n_nodes=few", "n_nodes is 'few'; expected a whole number"),
        ("--patience 3", "--patience needs tracks to judge by; give --validate_on CELLTYPE:ASSAY"),
        ("--n_models 0", "--n_models 0: expected 1 or more"),
        ("--batch_size 0", "batch_size 0: expected at least 1"),
        ("--bin 0", "--bin 0: expected 1 or more"),
        ("--transformation None --hold_out E1:H3K4me3 --preset best", "invalid choice: 'best'"),
        ("--jitter 10", "--jitter is no flag of --architecture_spec avocado"),
        ("--model_prefix PREFIX", "m.keras: exists; --overwrite replaces it"),
    ],
)
def test_training_refuses_wrong_words_in_one_line(folder, tmp_path, capsys, words, says):
    line = ["--architecture_spec", "avocado", "--tdb_array", str(folder / "db"), "--model_prefix", str(tmp_path / "m")]
    try:
        status = run(TRAIN, *line, *words.replace("PREFIX", str(folder / "m")).split())
    except SystemExit as end:
        status = end.code
    assert status == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    assert says in text
    assert not list(tmp_path.iterdir())


def test_flags_of_models_of_tracks_are_refused_by_those_of_windows(capsys):
    assert run(TRAIN, "--tdb_array", "x", "--model_prefix", "m", "--hold_out", "E1:H3K4me3") == 2
    assert "--hold_out is no flag of --architecture_spec bpnet" in capsys.readouterr().err


def test_model_of_another_family_is_refused(folder, tmp_path, capsys):
    (tmp_path / "w.keras").write_bytes(b"")
    (tmp_path / "w.json").write_text(json.dumps({"bundle_version": 1, "architecture": {"name": "bpnet"}}))
    assert run(IMPUTE, "--model", tmp_path / "w", "-c", "E1") == 2
    assert (
        "w.keras: a model of the family bpnet; expected one that imputes tracks: avocado, epilstm"
        in capsys.readouterr().err
    )


def test_guide_states_the_published_settings_as_they_are():
    from kerasgen.track_models.avocado.settings import resolve

    guide = (Path(__file__).parents[2] / "docs" / "imputation.md").read_text()
    table = guide.split("## Settings")[1].split("## Errors")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) > 10
    stated = {name: value for name, value in ([word.strip(" `") for word in row] for row in rows)}
    assert stated == {name: str(getattr(resolve("published"), name)) for name in stated}
