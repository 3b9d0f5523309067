"""Every attribute type through an ingest, on disk and in S3: see ``format_conformance.py``."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import format_conformance
import numpy as np
import pytest
import yaml
from format_conformance import CASES, SHORT, SIZES, Truth

from db_ingest import IngestResult, ingest
from db_ingest.errors import InputError
from db_ingest.formats import FORMATS
from db_ingest.layout import catalogue as catalogues

PLAIN = {name: name for name in SHORT}


class Database:
    """A database with one track of a type, and the files that made it."""

    def __init__(self, uri: str, folder: Path, kind: str, stored: Callable[[str], Any]) -> None:
        self.stored = stored
        self.uri, self.folder, self.kind, self.case = uri, folder, kind, CASES[kind]
        self.path = folder / self.case.name
        (folder / "genome.sizes").write_text("".join(f"{name}\t{size}\n" for name, size in SIZES.items()))
        (folder / "samples.tsv").write_text(f"dataset\ttrack\nk562\t{self.path}\n")

    def write(self, seed: int, sizes: Mapping[str, int] = SIZES, names: Mapping[str, str] = PLAIN) -> Truth:
        return self.case.write(self.path, sizes, names, np.random.default_rng(seed))

    def ingest(self, options: Mapping[str, Any] | None = None, **arguments: Any) -> IngestResult:
        entry = {"type": self.kind, **self.case.options, **(options or {})}
        (self.folder / "types.yaml").write_text(yaml.safe_dump({"track": entry}))
        return ingest(
            self.uri,
            str(self.folder / "samples.tsv"),
            chrom_sizes=str(self.folder / "genome.sizes"),
            attribute_config_file=str(self.folder / "types.yaml"),
            threads=1,
            **arguments,
        )

    def check(self, truth: Truth, missing: float = 0) -> None:
        """Compare every base of the genome with the truth."""
        stored = self.stored(self.uri)
        track = stored.track("track", "k562")
        assert track["folder"] == self.case.folder
        for name, size in SIZES.items():
            cells = -(-size // self.case.bin)
            expected = truth.values.get(name, np.full(cells, self.case.absent, np.float32)).copy()
            if name in truth.values:
                expected[np.isnan(expected)] = missing
            np.testing.assert_array_equal(stored.values("track", "k562", name), expected, err_msg=name)
        if truth.intervals is not None:
            np.testing.assert_equal(stored.intervals("track", "k562"), truth.intervals)
        covered = [name for name in SIZES if name in truth.values or not np.isnan(self.case.absent)]
        cells = {name: stored.cells("track", "k562", name) for name in covered}
        assert track["checksums"] == {name: f"{zlib.crc32(here.tobytes()):08x}" for name, here in cells.items()}


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "db") if request.param == "disk" else request.getfixturevalue("s3").uri("db")


@pytest.fixture(params=CASES)
def database(request: pytest.FixtureRequest, place: str, tmp_path: Path, stored: Callable[[str], Any]) -> Database:
    folder = tmp_path / "files"
    folder.mkdir()
    return Database(place, folder, request.param, stored)


def test_every_type_has_a_case():
    assert set(CASES) == set(FORMATS)


def test_every_base_is_right_an_unchanged_file_is_left_and_a_changed_one_replaced_on_demand(database):
    truth = database.write(seed=1)
    result = database.ingest()
    assert [(t.dataset, t.attribute, t.type) for t in result.written] == [("k562", "track", database.kind)]
    database.check(truth)
    again = database.ingest()
    assert (again.written, len(again.unchanged)) == ([], 1)

    other = database.write(seed=2)
    with pytest.raises(InputError, match=f"{database.path}: k562 track is in the database already.*--overwrite"):
        database.ingest()
    database.check(truth)
    assert len(database.ingest(overwrite=True).written) == 1
    database.check(other)


def test_names_of_another_source_are_understood_and_a_chromosome_may_be_absent(database):
    sizes = {name: size for name, size in SIZES.items() if name != "chrM"}
    truth = database.write(seed=3, sizes=sizes, names=SHORT)
    result = database.ingest(database.case.renamed)
    database.check(truth)
    absent = [name for name in SIZES if name not in truth.values] if np.isnan(database.case.absent) else []
    assert result.written[0].summary["absent_chromosomes"] == absent


def test_another_assembly_is_refused_with_both_lengths_and_nothing_is_left(database):
    database.write(seed=4, sizes={**SIZES, "chr2": 1_600})
    with pytest.raises(InputError) as caught:
        database.ingest()
    said = str(caught.value)
    assert said.startswith(str(database.path))
    assert re.search(database.case.tells, said.replace(",", ""))
    assert "\n" not in said
    assert not catalogues.exists(database.uri)


@pytest.mark.parametrize("kind", [kind for kind, known in FORMATS.items() if "missing" in known.options])
def test_bases_without_a_value_may_hold_nan(kind, tmp_path, stored):
    database = Database(str(tmp_path / "db"), tmp_path, kind, stored)
    truth = database.write(seed=5)
    database.ingest({"missing": "nan"})
    assert any(np.isnan(values).any() for values in truth.values.values())
    database.check(truth, missing=np.nan)


@pytest.mark.parametrize("stem", ["bam_5p", "tagalign_5p"])
def test_strands_of_one_file_are_read_together(stem, tmp_path, place, stored):
    path = tmp_path / CASES[stem].name
    truths = {
        ending: CASES[f"{stem}{ending}"].write(
            tmp_path / f"other{path.suffixes[-1]}", SIZES, PLAIN, np.random.default_rng(6)
        )
        for ending in ("_plus", "_minus")
    }
    truths[""] = CASES[stem].write(path, SIZES, PLAIN, np.random.default_rng(6))
    (tmp_path / "sizes").write_text("".join(f"{name}\t{size}\n" for name, size in SIZES.items()))
    (tmp_path / "types.tsv").write_text("".join(f"reads{ending}\t{stem}{ending}\n" for ending in truths))
    header = "\t".join(f"reads{ending}" for ending in truths)
    (tmp_path / "samples.tsv").write_text(f"dataset\t{header}\nk562" + f"\t{path}" * 3 + "\n")
    ingest(
        place,
        str(tmp_path / "samples.tsv"),
        chrom_sizes=str(tmp_path / "sizes"),
        attribute_config_file=str(tmp_path / "types.tsv"),
    )
    found = stored(place)
    for name in SIZES:
        here = {ending: found.values(f"reads{ending}", "k562", name) for ending in truths}
        for ending, truth in truths.items():
            np.testing.assert_array_equal(here[ending], truth.values[name])
        np.testing.assert_array_equal(here[""], here["_plus"] + here["_minus"])


def test_groups_of_barcodes_become_datasets(tmp_path, place, stored):
    rng = np.random.default_rng(7)
    groups = {"AAA-1": "T", "CCC-1": "B", "GGG-1": "T"}
    truth = {group: {name: np.zeros(size, np.float32) for name, size in SIZES.items()} for group in "TB"}
    rows, unknown = [], 0
    for name, start, end in format_conformance._spans(rng, SIZES, 200):
        barcode = str(rng.choice([*groups, "TTT-1"]))
        rows.append(f"{name}\t{start}\t{end}\t{barcode}\t1\n")
        unknown += barcode not in groups
        if barcode in groups:
            truth[groups[barcode]][name][start] += 1
            truth[groups[barcode]][name][end - 1] += 1
    (tmp_path / "fragments.tsv").write_text("".join(rows))
    (tmp_path / "groups.tsv").write_text("".join(f"{barcode}\t{group}\n" for barcode, group in groups.items()))
    (tmp_path / "sizes").write_text("".join(f"{name}\t{size}\n" for name, size in SIZES.items()))
    (tmp_path / "types.yaml").write_text("cuts: {type: fragments, barcodes: groups.tsv}\n")
    (tmp_path / "samples.tsv").write_text("dataset\tcuts\npbmc\tfragments.tsv\n")

    def run(**arguments: Any) -> IngestResult:
        return ingest(
            place,
            str(tmp_path / "samples.tsv"),
            chrom_sizes=str(tmp_path / "sizes"),
            attribute_config_file=str(tmp_path / "types.yaml"),
            **arguments,
        )

    result = run()
    assert [track.dataset for track in result.written] == ["pbmc.T", "pbmc.B"]
    assert unknown
    for track in result.written:
        assert track.summary["unknown_barcodes"] == unknown
    found = stored(place)
    for group, values in truth.items():
        for name in SIZES:
            np.testing.assert_array_equal(found.values("cuts", f"pbmc.{group}", name), values[name])
    assert len(run().unchanged) == 2
    (tmp_path / "groups.tsv").write_text("AAA-1\tT\nCCC-1\tB\n")
    with pytest.raises(InputError, match="--overwrite"):
        run()
    run(overwrite=True)
    assert (stored(place).values("cuts", "pbmc.T", "chr1") != truth["T"]["chr1"]).any()
