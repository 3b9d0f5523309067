"""Every real file that has coordinates, ingested as ``examples/real_formats`` does: every base of every track.

What a base should hold is worked out here with pyBigWig, pysam and loops over lines, without any reader of ours.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import once
import pyBigWig
import pysam
import pytest
import yaml

from db_ingest.layout.catalogue import Track
from db_ingest.upkeep.verify import verify
from kerasgen.database import Database

pytestmark = pytest.mark.real

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "real_formats"
TYPES = {"sacCer3": "types_yeast.yaml", "hg38": "types_encode.yaml", "mm10": "types_encode.yaml"}
FOLDERS = ("yeast_stripeseq", "yeast_atac", "yeast_binding_sites", "yeast_binned_tracks", "encode_atac_formats")
SET_ASIDE, SUPPLEMENTARY = 0x4 | 0x100 | 0x200 | 0x400, 0x800
"""What types of BAM leave out unless told otherwise: unmapped, secondary, failed, duplicate; of 5' ends also these."""

Expected = dict[str, np.ndarray | None]
"""Chromosome -> one value per base; None where the file does not name the chromosome: no base has a value."""


class Case(NamedTuple):
    """A track, what it came from, and the chromosomes that it is stored on."""

    database: Database
    track: Track
    path: Path
    type: str
    options: dict[str, Any]

    @property
    def sizes(self) -> dict[str, int]:
        return dict(zip(self.database.genome.names, self.database.genome.sizes, strict=True))


# What the files say


def genome_names(sizes: Mapping[str, int]) -> dict[str, str]:
    """What files call the chromosomes, chrIV also IV and chrM also Mito -> the genome's name."""
    return {name: name for name in sizes} | {name.removeprefix("chr"): name for name in sizes} | {"Mito": "chrM"}


@lru_cache
def lines_of(path: Path) -> list[list[str]]:
    """Columns of all lines but a browser's track line."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return [line.split("\t") for line in text.splitlines() if not line.startswith("track ")]


@lru_cache
def reads_of(path: Path, without: int) -> list[tuple[str, bool, int, int, list[tuple[int, int]]]]:
    """Chromosome, whether reverse, start, end and aligned blocks of the reads that count, by pysam."""
    with pysam.AlignmentFile(str(path)) as file:
        return [
            (r.reference_name, r.is_reverse, r.reference_start, r.reference_end, r.get_blocks())
            for r in file.fetch(until_eof=True)
            if not r.flag & without
        ]


def counted(case: Case, intervals: list[tuple[str, int, int]]) -> Expected:
    """How many of the intervals cover each base."""
    names = genome_names(case.sizes)
    # Whole numbers below 2 ** 24 are exact.
    steps = {name: np.zeros(size + 1, np.float32) for name, size in case.sizes.items()}
    for name, start, end in intervals:
        steps[names[name]][start] += 1
        steps[names[name]][end] -= 1
    return {name: np.cumsum(of, out=of)[:-1] for name, of in steps.items()}


def bigwig(case: Case) -> Expected:
    names = genome_names(case.sizes)
    expected: Expected = dict.fromkeys(case.sizes)
    with pyBigWig.open(str(case.path)) as file:
        for name in file.chroms():
            if name in names:
                expected[names[name]] = np.nan_to_num(file.values(name, 0, file.chroms(name), numpy=True), copy=False)
    return expected


def five_prime_ends(case: Case) -> Expected:
    assert not case.options
    reads = reads_of(case.path, SET_ASIDE | SUPPLEMENTARY)
    ends = [(name, end - 1 if reverse else start) for name, reverse, start, end, _ in reads if wanted(case, reverse)]
    return counted(case, [(name, at, at + 1) for name, at in ends])


def bam_coverage(case: Case) -> Expected:
    assert not case.options
    return counted(case, [(name, *block) for name, *_, blocks in reads_of(case.path, SET_ASIDE) for block in blocks])


def tagalign(case: Case) -> Expected:
    assert not case.options
    ends = [
        (name, int(end) - 1 if strand == "-" else int(start))
        for name, start, end, _, _, strand in lines_of(case.path)
        if wanted(case, strand == "-")
    ]
    return counted(case, [(name, at, at + 1) for name, at in ends])


def wanted(case: Case, reverse: bool) -> bool:
    return not case.type.endswith("_plus" if reverse else "_minus")


def fragments(case: Case) -> Expected:
    fragments = [(name, int(start), int(end)) for name, start, end, *_ in lines_of(case.path)]
    if case.options.get("count") == "coverage":
        return counted(case, fragments)
    plus, minus = case.options["shift"]
    cuts = [(name, at) for name, start, end in fragments for at in (start + plus, end - 1 + minus)]
    return counted(case, [(name, at, at + 1) for name, at in cuts])


def mask(case: Case) -> Expected:
    names, sizes = genome_names(case.sizes), case.sizes
    painted = {name: np.zeros(size, np.uint8) for name, size in sizes.items()}
    for name, start, end, *_ in lines_of(case.path):
        painted[names[name]][int(start) : int(end)] = 1
    if case.type != "bed_no_summit":
        for name, start, end, *more in lines_of(case.path):
            last = min(int(end), sizes[names[name]])
            centre = (int(start) + last) // 2
            called = case.type == "narrowPeak" and more[-1] != "-1"
            painted[names[name]][int(start) + int(more[-1]) if called else centre] = 2
    return dict(painted)


EXPECTED: dict[str, Callable[[Case], Expected]] = {
    "bigwig": bigwig,
    "bam_5p": five_prime_ends,
    "bam_5p_plus": five_prime_ends,
    "bam_5p_minus": five_prime_ends,
    "bam_coverage": bam_coverage,
    "fragments": fragments,
    "bedpe": fragments,
    "tagalign_5p": tagalign,
    "tagalign_5p_plus": tagalign,
    "tagalign_5p_minus": tagalign,
    "narrowPeak": mask,
    "bed_summit_from_peak_center": mask,
    "bed_no_summit": mask,
}
MASKS = [type for type, expect in EXPECTED.items() if expect is mask]


# The databases


@pytest.fixture(scope="module")
def samples() -> ModuleType:
    spec = importlib.util.spec_from_file_location("samples", EXAMPLE / "samples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(samples: ModuleType, real_data: Path) -> dict[str, dict[str, dict[str, Path]]]:
    """Database -> dataset -> attribute -> file."""
    return {
        "sacCer3": samples.yeast(real_data),
        "hg38": samples.encode(real_data, "pe"),
        "mm10": samples.encode(real_data, "se"),
    }


@pytest.fixture(scope="module")
def databases(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Database]:
    """The databases that the example makes, before it verifies them."""
    script = EXAMPLE / "run.sh"
    ingest, loop, verify = script.read_text().partition("\nfor database in")
    assert loop
    assert "gen_db verify" in verify
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def make(folder: Path) -> None:
        words = ["bash", "-c", ingest, str(script), str(real_data), str(folder)]
        subprocess.run(words, check=True, env={**os.environ, "PATH": path})

    folder = once.made(tmp_path_factory, "formats", make)
    return {name: Database(str(folder / name)) for name in TYPES}


@pytest.fixture(scope="module")
def cases(databases: dict[str, Database], rows: dict[str, dict[str, dict[str, Path]]]) -> list[Case]:
    """Every track that the samples tables and types name."""
    found = []
    for name, database in databases.items():
        types = yaml.safe_load((EXAMPLE / TYPES[name]).read_text())
        for dataset, row in rows[name].items():
            for attribute, path in row.items():
                given = types[attribute]
                options = dict(given) if isinstance(given, dict) else {"type": given}
                track = database.track(attribute, dataset)
                found.append(Case(database, track, path, options.pop("type"), options))
    return found


def stored(case: Case) -> dict[str, np.ndarray]:
    """All that is stored of a track, by chromosome."""
    genome = case.database.genome
    axis = case.database.read(case.track, (np.array([0]), np.array([genome.length])))
    return {n: axis[o : o + s] for n, s, o in zip(genome.names, genome.sizes, genome.offsets, strict=False)}


# The comparison


def test_all_files_with_coordinates_are_in_a_table(rows, real_data: Path) -> None:
    in_tables = {path for table in rows.values() for row in table.values() for path in row.values()}
    on_disk = {path for folder in FOLDERS for path in (real_data / folder).iterdir() if path.suffix != ".bai"}
    assert in_tables == on_disk
    assert len(on_disk) > 300


def test_databases_hold_the_tracks_of_the_tables_and_no_others(databases, cases) -> None:
    assert sum(len(database.tracks) for database in databases.values()) == len(cases) > 350
    assert {case.type for case in cases} == set(EXPECTED)


def test_every_base_of_the_sequence_equals_pysam(databases, real_data: Path) -> None:
    database = databases["sacCer3"]
    letters = np.frombuffer(b"ACGTN", np.uint8)
    with pysam.FastaFile(str(real_data / "sacCer3" / "sacCer3.fa")) as fasta:
        sizes = dict(zip(database.genome.names, database.genome.sizes, strict=True))
        assert sizes == dict(zip(fasta.references, fasta.lengths, strict=True))
        for name, size in sizes.items():
            assert letters[database.sequence([name], [0], size)[0]].tobytes() == fasta.fetch(name).upper().encode()


@pytest.mark.parametrize("type", EXPECTED)
def test_every_base_of_every_track_is_what_the_file_says(cases, type: str) -> None:
    of_type = [case for case in cases if case.type == type]
    assert of_type
    for case in of_type:
        expected, found = EXPECTED[type](case), stored(case)
        assert list(found) == list(expected)
        for name, values in expected.items():
            place = f"{case.track.name} {name}"
            if values is None:
                assert np.isnan(found[name]).all(), place
            elif not np.array_equal(found[name], values):
                at = int(np.argmax(found[name] != values))
                pytest.fail(f"{place}:{at}: {found[name][at]} is stored, {case.path} says {values[at]}")


def test_chromosomes_that_a_bigwig_lacks_hold_no_value(cases) -> None:
    absent = {case.track.name: set(case.track.summary["absent_chromosomes"]) for case in cases if case.type == "bigwig"}
    sixteen = set(cases[0].sizes)
    few = {f"{name} track": sixteen - {"chrII", "chrIV", "chrXVI"} for name in ("MNase", "PolII", "Scc1")}
    few |= {f"RNA.{strand} track": few["MNase track"] for strand in ("fwd", "rev")}
    few |= {"se fold_change": {"chrM"}, "se p_value": {"chrM"}}
    assert {name: names for name, names in absent.items() if names} == few


def test_cut_sites_of_fragments_are_those_of_the_bigwigs_made_from_them(databases) -> None:
    database = databases["sacCer3"]
    for name, size in zip(database.genome.names, database.genome.sizes, strict=True):

        def read(attribute: str, dataset: str, name: str = name, size: int = size) -> np.ndarray:
            return database.windows(database.track(attribute, dataset), [name], [0], size)[0]

        of_fragments = read("cuts_of_fragments", "atac")
        np.testing.assert_array_equal(of_fragments, read("cuts", "atac"))
        np.testing.assert_array_equal(of_fragments, read("cuts", "atac_plus") + read("cuts", "atac_minus"))


@pytest.mark.parametrize("name", ["hg38", "mm10"])
def test_verify_finds_that_tracks_are_what_their_sources_say(databases, name: str) -> None:
    found = verify(databases[name].uri, sources=True)
    assert (found.damage, found.sources) == ([], [])
    assert found.checked == len(databases[name].tracks)


@pytest.mark.parametrize("type", MASKS)
def test_intervals_are_the_lines_of_the_file(cases, type: str) -> None:
    for case in (case for case in cases if case.type == type):
        names, sizes = genome_names(case.sizes), case.sizes
        expected = []
        for name, start, end, *more in lines_of(case.path):
            more += [".", "nan", ".", "nan", "nan", "nan", "-1"][len(more) :]
            label, score, strand, *values, summit = more
            end_there = min(int(end), sizes[names[name]])
            expected.append((names[name], int(start), end_there, label, float(score), strand, *map(float, values)))
            expected[-1] += (int(summit),)
        table = case.database.intervals(case.track.attribute, case.track.dataset)
        columns = ("chromosome", "start", "end", "name", "score", "strand", "signalValue", "pValue", "qValue", "summit")
        found = list(zip(*(table[column].tolist() for column in columns), strict=True))
        assert in_order(found) == in_order(expected), case.track.name
        assert case.track.summary["intervals"] == len(expected)


def in_order(rows: list[tuple]) -> list[tuple]:
    """Rows sorted, None for NaN."""
    return sorted((tuple(None if isinstance(v, float) and math.isnan(v) else v for v in row) for row in rows), key=repr)


def test_peaks_past_the_end_are_cut_and_counted(cases) -> None:
    (case,) = [case for case in cases if case.options.get("past_end") == "clip"]
    past = [row for row in lines_of(case.path) if int(row[2]) > case.sizes[row[0]]]
    assert case.track.summary["clipped"] == len(past) == 19


def test_empty_files_are_masks_without_intervals(cases) -> None:
    empty = [case for case in cases if case.path.stat().st_size == 0]
    assert sorted(case.track.dataset for case in empty) == ["site_Kti12", "site_Rpa190"]
    for case in empty:
        assert case.track.summary["intervals"] == case.track.summary["covered"] == 0
        assert len(case.database.intervals(case.track.attribute, case.track.dataset)["start"]) == 0
