"""The samples table and the attribute types."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats import FORMATS
from db_ingest.writing.samples import PRESETS, Attribute, attributes_from, read_samples

TYPES = {"signal": Attribute("signal", "bigwig"), "peaks": Attribute("peaks", "bed_no_summit")}


@pytest.fixture
def cell(inputs):
    return inputs.text("a.bw", "anything")


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_preset_gives_its_attributes_and_types(preset):
    found = attributes_from(preset, None)
    assert {name: attribute.type for name, attribute in found.items()} == PRESETS[preset]
    assert all(attribute.kind == ("signal" if attribute.type == "bigwig" else "mask") for attribute in found.values())


def test_encode_preset_with_controls_adds_the_three_control_tracks():
    more = set(PRESETS["encode_pipeline_with_controls"]) - set(PRESETS["encode_pipeline"])
    assert more == {f"control_count_bigwig_{strand}_5p" for strand in ("plus", "minus", "unstranded")}


def test_config_file_of_tabs_skips_comments_and_empty_lines(inputs):
    path = inputs.text("t.tsv", "# types\n\nsignal\tbigwig\npeaks bed_no_summit\r\n")
    assert attributes_from(None, path) == TYPES


def test_config_file_in_yaml_takes_types_and_options(inputs):
    path = inputs.text("t.yaml", "signal: {type: bigwig, negative: keep}\npeaks: bed_no_summit\n")
    found = attributes_from(None, path)
    assert found["signal"].options == {"negative": "keep"}
    assert found["peaks"] == TYPES["peaks"]


@pytest.mark.parametrize(
    ("name", "text", "expects"),
    [
        (
            "t.tsv",
            "signal\tbigwig\npeaks\twig\n",
            ": attribute 'peaks' has type 'wig'; expected one of bigwig, bedgraph",
        ),
        ("t.tsv", "signal\tbigwig\textra\n", ":1: expected an attribute and a type"),
        ("t.tsv", "a\tbigwig\n\na\tbigwig\n", ":3: attribute 'a' is there twice"),
        ("t.tsv", "../etc\tbigwig\n", "'../etc'; expected letters"),
        ("t.tsv", "# nothing\n", "no attributes"),
        ("t.yaml", "signal: {type: wig}\n", "type 'wig'"),
        ("t.yaml", "signal:\n", "type None"),
        ("t.yaml", "signal: {type: bigwig, sign: keep}\n", "unknown option 'sign'; bigwig has negative, missing"),
        ("t.yaml", "peaks: {type: narrowPeak, negative: keep}\n", "unknown option 'negative'; narrowPeak has empty"),
        ("t.yaml", "reads: {type: bam_5p, count: coverage}\n", "unknown option 'count'; bam_5p has shift, min_mapq"),
        ("t.yaml", "signal: {type: bigwig, negative: flip}\n", "negative is 'flip'; expected one of auto, keep"),
        ("t.yaml", "signal: {type: bigwig, negative: auto_minus}\n", "negative is 'auto_minus'; expected one of auto"),
        ("t.yaml", "signal: {type: bigwig, transform: log}\n", "transform is 'log'; expected one of None, arcsinh"),
        ("t.yaml", "signal: {type: bigwig, unit: 5}\n", "unit is 5; expected text"),
        ("t.yaml", "reads: {type: bam_5p, transform: arcsinh}\n", "unknown option 'transform'; bam_5p has shift"),
        ("t.yaml", "signal: {type: bedgraph, missing: null}\n", "missing is None; expected one of zero, nan"),
        ("t.yaml", "reads: {type: bam_5p, shift: 4}\n", "shift is 4; expected two whole numbers"),
        ("t.yaml", "reads: {type: bam_5p, shift: [4, -4.0]}\n", "shift is [4, -4.0]; expected two whole numbers"),
        ("t.yaml", "reads: {type: bam_5p, shift: [4, true]}\n", "expected two whole numbers"),
        ("t.yaml", "reads: {type: bam_5p, shift: [4, 5, 6]}\n", "expected two whole numbers"),
        ("t.yaml", "reads: {type: bam_5p, shift: [0, 1001]}\n", "expected two whole numbers"),
        ("t.yaml", "reads: {type: bam_coverage, shift: [0, 1]}\n", "unknown option 'shift'; bam_coverage has min_mapq"),
        ("t.yaml", "reads: {type: bam_5p, min_mapq: 256}\n", "min_mapq is 256; expected a whole number from 0 to 255"),
        ("t.yaml", "reads: {type: bam_5p, min_mapq: true}\n", "min_mapq is True; expected a whole number"),
        ("t.yaml", "reads: {type: bam_5p, exclude_flags: -1}\n", "from 0 to 65,535"),
        ("t.yaml", "cells: {type: fragments, barcodes: 5}\n", "barcodes is 5; expected text"),
        ("t.yaml", "grid: {type: npz}\n", "npz needs bin: bp per bin"),
        ("t.yaml", "grid: {type: npy, bin: 0}\n", "bin is 0; expected bp per bin"),
        ("t.yaml", "a: bigwig\nb:\n  type: bigwig\na: bedgraph\n", ":4: 'a' is there twice"),
        ("t.yaml", "a: {type: bigwig, type: bedgraph}\n", ":1: 'type' is there twice"),
        ("t.yaml", "a b: bigwig\n", "attribute 'a b'; expected letters"),
        ("t.yaml", "[signal\n", "not YAML"),
        ("t.yaml", "- signal\n", "expected attributes and their types"),
        ("t.yml", "", "expected attributes and their types"),
    ],
)
def test_broken_config_file_is_named_with_what_was_expected(inputs, name, text, expects):
    path = inputs.text(name, text)
    with pytest.raises(InputError) as caught:
        attributes_from(None, path)
    assert str(caught.value).startswith(str(path))
    assert expects in str(caught.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_options_with_their_default_are_left_out(inputs, kind):
    known = FORMATS[kind].options
    given = {name: 25 if option.required else option.default for name, option in known.items()}
    assert all(known[name].accepts(value) for name, value in given.items())
    path = inputs.text("t.yaml", yaml.safe_dump({"a": {"type": kind, **given}}))
    attribute = attributes_from(None, path)["a"]
    assert attribute.options == {name: 25 for name, option in known.items() if option.required}
    assert attribute.kind == FORMATS[kind].kind


def test_config_with_windows_line_ends_and_a_byte_order_mark_is_the_same(inputs):
    for name, text in (
        ("t.tsv", "signal\tbigwig\npeaks\tbed_no_summit\n"),
        ("t.yaml", "signal: bigwig\npeaks: bed_no_summit\n"),
    ):
        path = inputs.folder / name
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
        assert attributes_from(None, path) == TYPES


def test_table_of_barcodes_is_looked_for_beside_the_config(inputs, monkeypatch, tmp_path):
    table = inputs.text("groups.tsv", "AAA\tT\n")
    path = inputs.text("t.yaml", "cells: {type: fragments, barcodes: groups.tsv}\n")
    assert attributes_from(None, path)["cells"].options == {"barcodes": str(table)}
    monkeypatch.chdir(inputs.folder)
    assert attributes_from(None, path)["cells"].options == {"barcodes": "groups.tsv"}
    path = inputs.text("t.yaml", "cells: {type: fragments, barcodes: 's3://bucket/groups.tsv'}\n")
    assert attributes_from(None, path)["cells"].options == {"barcodes": "s3://bucket/groups.tsv"}


def test_exactly_one_of_preset_and_config_file_is_needed(inputs):
    path = inputs.types(signal="bigwig")
    for preset, file in ((None, None), ("encode_pipeline", path)):
        with pytest.raises(InputError, match="one of --attribute_config and --attribute_config_file"):
            attributes_from(preset, file)
    with pytest.raises(InputError, match="unknown; expected one of encode_pipeline"):
        attributes_from("encode", None)
    with pytest.raises(MissingFileError, match=r"none\.tsv"):
        attributes_from(None, inputs.folder / "none.tsv")


def test_cells_come_in_the_order_of_the_table_and_empty_ones_are_left_out(inputs, cell):
    table = inputs.samples(
        {"k562": {"signal": cell, "peaks": cell}, "hepg2": {"signal": "", "peaks": cell}, "none": {}}
    )
    found = [(c.dataset, c.attribute.name, c.path) for c in read_samples(table, TYPES)]
    assert found == [("k562", "signal", str(cell)), ("k562", "peaks", str(cell)), ("hepg2", "peaks", str(cell))]


def test_dataset_column_may_stand_anywhere_and_lines_may_end_early_or_in_crlf(inputs, cell):
    table = inputs.text("s.tsv", f"signal\tdataset\tpeaks\r\n# comment\r\n\r\n{cell}\tk562\r\n")
    assert [(c.dataset, c.attribute.name) for c in read_samples(table, TYPES)] == [("k562", "signal")]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffdataset\tsignal\nk562\tCELL\n",
        "dataset\tsignal\t\t\nk562\tCELL\t\t\t\n",
        " dataset \t signal \n k562 \t CELL \n",
        "dataset\tsignal\rk562\tCELL\r",
        "dataset\tsignal\nk562\tCELL",
    ],
    ids=["byte order mark", "trailing tabs", "spaces around", "old Mac line ends", "no last line end"],
)
def test_table_is_read_however_the_spreadsheet_wrote_it(inputs, cell, text):
    table = inputs.text("s.tsv", text.replace("CELL", str(cell)))
    found = [(c.dataset, c.attribute.name, c.path) for c in read_samples(table, TYPES)]
    assert found == [("k562", "signal", str(cell))]


def test_path_may_hold_spaces_and_any_letter_and_may_be_a_uri(inputs):
    odd = inputs.text("Zürich 猫 100%.bw", "anything")
    table = inputs.samples({"k562": {"signal": odd}, "b": {"signal": odd.name}, "c": {"signal": "s3://bucket/a b.bw"}})
    assert [c.path for c in read_samples(table, TYPES)] == [str(odd), str(odd), "s3://bucket/a b.bw"]


def test_relative_path_is_looked_for_here_and_then_beside_the_table(inputs, cell, tmp_path, monkeypatch):
    table = inputs.samples({"k562": {"signal": cell.name}})
    assert read_samples(table, TYPES)[0].path == str(cell)
    (tmp_path / cell.name).write_text("in the working folder")
    monkeypatch.chdir(tmp_path)
    assert Path(read_samples(table, TYPES)[0].path).read_text() == "in the working folder"


@pytest.mark.parametrize(
    ("text", "expects"),
    [
        ("", ": empty"),
        ("name\tsignal\nk562\tCELL\n", ":1: no column 'dataset'"),
        ("dataset\tsignal\tsignal\n", ":1: column 'signal' is there twice"),
        ("# c\ndataset\tsignal\tfoo\nk562\tCELL\n", ":2: unknown attribute 'foo'; the config has signal, peaks"),
        ("dataset\tsignal\nk562\tCELL\tCELL\n", ":2: 3 columns; the header has 2"),
        ("dataset\tsignal\n\tCELL\n", ":2: no dataset name"),
        ("dataset\tsignal\na\tCELL\nb\tCELL\na\tCELL\n", ":4: dataset 'a' is there already, on line 2"),
        ("dataset\tsignal\na,b\tCELL\n", ":2: dataset 'a,b'; a name may hold no comma"),
        ("dataset\tsignal\nNone\tCELL\n", ":2: dataset 'None'"),
        ("dataset\tsignal\na\t\n", ": names no files"),
        ("dataset\tsignal\na\tno.bw\n", ":2: column 'signal': no such file no.bw"),
        ("dataset\tsignal\na\t~nobody_of_this_name/a.bw\n", ":2: column 'signal': no such file ~nobody_of_this_name"),
        (f"dataset\tsignal\na\t{'a' * 300}\n", ":2: column 'signal': no such file aaa"),
    ],
)
def test_broken_table_is_named_with_line_and_what_was_expected(inputs, cell, text, expects):
    table = inputs.text("s.tsv", text.replace("CELL", str(cell)))
    with pytest.raises(InputError) as caught:
        read_samples(table, TYPES)
    assert str(caught.value).startswith(str(table) + expects)


def test_missing_table_and_a_folder_in_a_cell_are_missing_files(inputs):
    with pytest.raises(MissingFileError, match=r"none\.tsv"):
        read_samples(inputs.folder / "none.tsv", TYPES)
    with pytest.raises(MissingFileError, match="no such file"):
        read_samples(inputs.samples({"k562": {"signal": inputs.folder}}), TYPES)
