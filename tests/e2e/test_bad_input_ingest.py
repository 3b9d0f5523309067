"""``gen_ingest`` on files that are broken, missing or of another kind.

Each must end with exit status 2 and one line on standard error that names the file and the place, leave neither a
database nor a temporary file, and not touch a database that is there.
"""

from __future__ import annotations

import gzip
import logging
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from db_ingest.cli.gen_ingest import COMMAND

SIZES = {"chr1": 3_000, "chr2": 1_500}
PEAK = ("chr1", 100, 200, "p", 0, ".", 1, 2, 3, 50)


def write_fasta(path: Path) -> None:
    rng = np.random.default_rng(1)
    text = "".join(f">{name}\n{''.join(rng.choice(list('ACGT'), size))}\n" for name, size in SIZES.items())
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_bigwig(path: Path, sizes: dict[str, int]) -> None:
    rng = np.random.default_rng(2)
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(sizes.items()))
        for name, size in sizes.items():
            file.addEntries(name, 10, values=[float(v) for v in rng.random(size - 10) + 0.1], span=1, step=1)


def write_bed(path: Path, *rows: tuple) -> None:
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


class Experiment:
    """A sound experiment in a folder, to be broken in one place."""

    def __init__(self, folder: Path, dataset: str = "new") -> None:
        self.folder, self.dataset = folder, dataset
        folder.mkdir()
        self.bigwig, self.peaks, self.fasta = folder / "signal.bw", folder / "peaks.narrowPeak", folder / "genome.fa"
        self.table, self.types = folder / "samples.tsv", folder / "types.tsv"
        self.database = folder / "db"
        write_fasta(self.fasta)
        write_bigwig(self.bigwig, SIZES)
        write_bed(self.peaks, PEAK)
        self.types.write_text("signal\tbigwig\npeaks\tbed_summit_from_last_col\n")
        self.name_files()
        self.flags: dict[str, object] = {
            "tdb_array": self.database,
            "ref_fasta": self.fasta,
            "tiledb_metadata": self.table,
            "attribute_config_file": self.types,
        }

    def name_files(self) -> None:
        """Write the samples table."""
        self.table.write_text(f"dataset\tsignal\tpeaks\n{self.dataset}\t{self.bigwig}\t{self.peaks}\n")

    def words(self) -> list[str]:
        return [f"--{name}={value}" for name, value in self.flags.items()]


@dataclass(frozen=True)
class Case:
    """How to break an experiment, and what the message must name besides; ``{x}`` is an attribute of it."""

    spoil: Callable[[Experiment], object]
    expects: tuple[str, ...]


def cut(kept: int | float) -> Case:
    """Keep the first bytes of the bigWig, a share of them, or all but the last."""

    def spoil(it: Experiment) -> None:
        whole = it.bigwig.read_bytes()
        it.bigwig.write_bytes(whole[: int(len(whole) * kept) if isinstance(kept, float) else kept])

    return Case(spoil, ("{bigwig}: ",))


def overwritten(target: str, content: bytes, *expects: str) -> Case:
    return Case(lambda it: getattr(it, target).write_bytes(content), expects)


def peaks(*rows: tuple, expects: tuple[str, ...]) -> Case:
    return Case(lambda it: write_bed(it.peaks, *rows), expects)


def chromosomes(sizes: dict[str, int], *expects: str) -> Case:
    return Case(lambda it: write_bigwig(it.bigwig, sizes), expects)


def table(text: str, *expects: str) -> Case:
    return Case(
        lambda it: it.table.write_text(text.replace("BIGWIG", str(it.bigwig)).replace("BED", str(it.peaks))), expects
    )


def types(name: str, text: str, *expects: str) -> Case:
    def spoil(it: Experiment) -> None:
        it.types = it.folder / name
        it.types.write_text(text)
        it.flags["attribute_config_file"] = it.types

    return Case(spoil, ("{types}", *expects))


def gzipped(target: str, damage: Callable[[bytes], bytes]) -> Case:
    """Let the FASTA or the peaks be gzipped, and the gzip broken."""

    def spoil(it: Experiment) -> None:
        path = it.folder / f"{getattr(it, target).name}.gz"
        setattr(it, target, path)
        if target == "fasta":
            write_fasta(path)
            it.flags["ref_fasta"] = path
        else:
            write_bed(path, *[PEAK] * 400)
            it.name_files()
        path.write_bytes(damage(path.read_bytes()))

    return Case(spoil, (f"{{{target}}}: ",))


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 0xFF]) + content[len(content) // 2 + 1 :]


def flags(*expects: str, **changes: object) -> Case:
    def spoil(it: Experiment) -> None:
        it.flags.update({name: str(value).format_map(vars(it)) for name, value in changes.items() if value})
        for name in [name for name, value in changes.items() if not value]:
            del it.flags[name]

    return Case(spoil, expects)


CASES = {
    # Missing
    "missing FASTA": Case(lambda it: it.fasta.unlink(), ("{fasta}: no such file",)),
    "missing samples table": Case(lambda it: it.table.unlink(), ("{table}: no such file",)),
    "missing bigWig in a cell": Case(lambda it: it.bigwig.unlink(), ("{table}:2: ", "'signal'", "{bigwig}")),
    "missing peaks in a cell": Case(lambda it: it.peaks.unlink(), ("{table}:2: ", "'peaks'", "{peaks}")),
    "missing attribute config": Case(lambda it: it.types.unlink(), ("{types}: no such file",)),
    "missing chrom sizes": flags("{folder}/none.sizes: no such", chrom_sizes="{folder}/none.sizes"),
    # bigWig
    "bigWig cut to 1 byte": cut(1),
    "bigWig cut in its header": cut(40),
    "bigWig cut after its header": cut(64),
    "bigWig cut at a tenth": cut(0.1),
    "bigWig cut at a half": cut(0.5),
    "bigWig cut at nine tenths": cut(0.9),
    "bigWig without its last 100 bytes": cut(-100),
    "bigWig without its last byte": cut(-1),
    "bedGraph given as bigWig": overwritten("bigwig", b"chr1\t0\t5\t1.5\n" * 30, "{bigwig}: no bigWig header"),
    "bigBed given as bigWig": overwritten("bigwig", struct.pack("<I", 0x8789F2EB) + bytes(900), "{bigwig}: a bigBed"),
    "gzip given as bigWig": overwritten("bigwig", gzip.compress(bytes(900)), "{bigwig}: no bigWig header"),
    "empty bigWig": overwritten("bigwig", b"", "{bigwig}: empty file"),
    "longer chromosome in the bigWig": chromosomes(
        {"chr1": 3_000, "chr2": 1_501}, "{bigwig}: chromosome chr2 has 1,501 bp", "genome's 1,500"
    ),
    "shorter chromosome in the bigWig": chromosomes({"chr1": 2_999, "chr2": 1_500}, "{bigwig}: chromosome chr1"),
    "bigWig of other chromosome names": chromosomes(
        {"1": 3_000, "2": 1_500}, "{bigwig}: no chromosome in common", "file has 1, 2", "genome chr1, chr2"
    ),
    # Peaks
    "end below start": peaks(PEAK, ("chr1", 9, 5, *PEAK[3:]), expects=("{peaks}:2: chr1 9 5: ",)),
    "end at start": peaks(("chr1", 9, 9, *PEAK[3:]), expects=("{peaks}:1: chr1 9 9: ",)),
    "end past the chromosome": peaks(
        PEAK, PEAK, ("chr2", 9, 1_501, *PEAK[3:]), expects=("{peaks}:3: chr2 9 1501: ", "1,500 bp")
    ),
    "start below 0": peaks(("chr2", -1, 500, *PEAK[3:]), expects=("{peaks}:1: chr2 -1 500: ", "below 0")),
    "start that is no number": peaks(
        PEAK, ("chr1", "x", 9, *PEAK[3:]), expects=("{peaks}:2: start (column 2) is 'x'",)
    ),
    "end beyond all numbers": peaks(("chr1", 1, "9e99", *PEAK[3:]), expects=("{peaks}:1: end (column 3) is '9e99'",)),
    "value that is no number": peaks(
        PEAK, (*PEAK[:6], "high", 2, 3, 50), expects=("{peaks}:2: signalValue (column 7) is 'high'",)
    ),
    "summit below -1": peaks(PEAK, (*PEAK[:9], -2), expects=("{peaks}:2: chr1 100 200: summit offset -2",)),
    "summit past the peak": peaks(PEAK, (*PEAK[:9], 100), expects=("{peaks}:2: chr1 100 200: summit offset 100",)),
    "more columns further down": peaks(PEAK, PEAK, (*PEAK, "x"), expects=("{peaks}:3: more columns",)),
    "peaks of other chromosome names": peaks(
        ("1", *PEAK[1:]), ("X", *PEAK[1:]), expects=("{peaks}: no chromosome in common", "file has 1, X", "chr1, chr2")
    ),
    "empty peaks": overwritten("peaks", b"", "{peaks}: empty file"),
    "peaks of comments only": overwritten("peaks", b"track name=x\n# c\nbrowser hide all\n\n", "{peaks}: no intervals"),
    "bigWig given as peaks": Case(lambda it: write_bigwig(it.peaks, SIZES), ("{peaks}: binary",)),
    # Tables
    "dataset named twice": table("dataset\tpeaks\na\tBED\nb\tBED\na\tBED\n", "{table}:4: dataset 'a'", "line 2"),
    "unknown attribute": table("dataset\tpeak\na\tBED\n", "{table}:1: unknown attribute 'peak'", "signal, peaks"),
    "table without header": table("a\tBED\n", "{table}:1: no column 'dataset'"),
    "unknown type": types("t.tsv", "signal\tbigwig\npeaks\tpeaks\n", "'peaks' has type 'peaks'", "bed_no_summit"),
    "unknown type in YAML": types("t.yaml", "signal: bigwig\npeaks: {type: bed}\n", "'peaks' has type 'bed'"),
    "unknown option in YAML": types("t.yaml", "signal: {type: bigwig, sign: x}\n", "'signal': unknown option 'sign'"),
    "unknown value in YAML": types("t.yaml", "signal: {type: bigwig, negative: x}\n", "'signal': negative is 'x'"),
    "broken YAML": types("t.yaml", "signal: [bigwig\n", "not YAML"),
    "both attribute configs": flags(
        "--attribute_config and --attribute_config_file", attribute_config="encode_pipeline"
    ),
    "neither attribute config": flags("--attribute_config and --attribute_config_file", attribute_config_file=None),
    "negative threads": flags("--threads -1: expected 0", threads=-1),
    # Genome
    "text given as FASTA": overwritten("fasta", b"no sequence here\n", "{fasta}: no sequence"),
    "FASTQ given as FASTA": overwritten("fasta", b"@chr1\nACGT\n+\nIIII\n", "{fasta}: no sequence"),
    "bigWig given as FASTA": Case(lambda it: write_bigwig(it.fasta, SIZES), ("{fasta}: ",)),
    "empty FASTA": overwritten("fasta", b"", "{fasta}: empty file"),
    "chromosome twice in the FASTA": overwritten("fasta", b">a\nAC\n>a\nAC\n", "{fasta}: sequence 'a' is there twice"),
    "broken chrom sizes": flags("{table}:1: expected a chromosome name and a length", chrom_sizes="{table}"),
    # Compression
    "truncated gzip of peaks": gzipped("peaks", half),
    "damaged gzip of peaks": gzipped("peaks", flipped),
    "truncated gzip of the FASTA": gzipped("fasta", half),
    "damaged gzip of the FASTA": gzipped("fasta", flipped),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file and folder below a folder, and what the files hold."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def check_message(text: str, case: Case, experiment: Experiment) -> None:
    assert text.startswith("gen_ingest: error: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    for expected in case.expects:
        assert expected.format_map(vars(experiment)) in text


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    log = logging.getLogger("kerasgen")
    before = (log.handlers, log.propagate, log.level)
    yield
    log.handlers, log.propagate = before[0], before[1]
    log.setLevel(before[2])


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return Experiment(tmp_path / "experiment")


@pytest.fixture(scope="module")
def good_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound database of the same genome."""
    made = Experiment(tmp_path_factory.mktemp("good") / "files", dataset="old")
    assert COMMAND.run(made.words()) == 0
    return made.database


def test_experiment_that_is_not_broken_is_ingested(experiment, good_database):
    assert COMMAND.run(experiment.words()) == 0
    assert (experiment.database / "catalogue.json").is_file()


@every_case
def test_bad_input_ends_with_2_in_one_line_and_leaves_nothing(case, experiment, tmp_path, capfd):
    case.spoil(experiment)
    before = content_of(tmp_path)
    assert COMMAND.run(experiment.words()) == 2
    said = capfd.readouterr()
    check_message(said.err, case, experiment)
    assert said.out == ""
    assert not experiment.database.exists()
    assert content_of(tmp_path) == before


@every_case
def test_bad_input_leaves_a_database_that_is_there_byte_for_byte(case, experiment, good_database, capfd):
    case.spoil(experiment)
    experiment.flags["tdb_array"] = good_database
    before = content_of(good_database)
    assert COMMAND.run([*experiment.words(), "--overwrite"]) == 2
    check_message(capfd.readouterr().err, case, experiment)
    assert content_of(good_database) == before


@pytest.mark.parametrize(
    "name",
    [
        "missing FASTA",
        "bigWig without its last 100 bytes",
        "end past the chromosome",
        "unknown option in YAML",
        "truncated gzip of the FASTA",
    ],
)
def test_bad_input_to_the_console_script(name, experiment, tmp_path):
    case = CASES[name]
    case.spoil(experiment)
    before = content_of(tmp_path)
    script = Path(sys.executable).parent / "gen_ingest"
    done = subprocess.run([script, *experiment.words()], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    check_message(done.stderr, case, experiment)
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("name", ["bigWig cut at a half", "start below 0", "truncated gzip of the FASTA"])
def test_dry_run_refuses_the_same(name, experiment, tmp_path, capfd):
    case = CASES[name]
    case.spoil(experiment)
    before = content_of(tmp_path)
    assert COMMAND.run([*experiment.words(), "--dry_run"]) == 2
    check_message(capfd.readouterr().err, case, experiment)
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("kind", ["folder", "file", "other catalogue"])
def test_path_that_holds_something_else_is_refused_and_kept(kind, experiment, tmp_path, capfd):
    place = experiment.database
    if kind == "file":
        place.write_text("precious")
    else:
        place.mkdir()
        (place / ("catalogue.json" if kind == "other catalogue" else "thesis.txt")).write_text("precious")
    before = content_of(tmp_path)
    assert COMMAND.run(experiment.words()) == 2
    check_message(capfd.readouterr().err, Case(print, ("{database}",)), experiment)
    assert content_of(tmp_path) == before


def test_unknown_preset_is_refused_by_the_parser(experiment, capfd):
    del experiment.flags["attribute_config_file"]
    with pytest.raises(SystemExit) as caught:
        COMMAND.run([*experiment.words(), "--attribute_config", "encode"])
    assert caught.value.code == 2
    check_message(capfd.readouterr().err, Case(print, ("'encode'", "encode_pipeline")), experiment)
    assert not os.path.exists(experiment.database)


def test_summit_of_minus_one_is_accepted_as_the_centre_and_counted(experiment, capfd):
    write_bed(experiment.peaks, PEAK, (*PEAK[:9], -1), ("chr2", 10, 21, *PEAK[3:9], -1))
    assert COMMAND.run(experiment.words()) == 0
    assert "3 intervals" in (said := capfd.readouterr().out)
    assert "2 without a summit (their centre is used)" in said
