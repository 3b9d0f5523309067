"""The samples table and the attribute types."""

from __future__ import annotations

import pytest

from db_ingest.errors import InputError, MissingFileError
from db_ingest.samples import PRESETS, Attribute, attributes_from, read_samples

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
        ("t.tsv", "signal\tbigwig\npeaks\tbedgraph\n", "'peaks' has type 'bedgraph'; expected one of bigwig"),
        ("t.tsv", "signal\tbigwig\textra\n", ":1: expected an attribute and a type"),
        ("t.tsv", "a\tbigwig\n\na\tbigwig\n", ":3: attribute 'a' is there twice"),
        ("t.tsv", "../etc\tbigwig\n", "'../etc'; expected letters"),
        ("t.tsv", "# nothing\n", "no attributes"),
        ("t.yaml", "signal: {type: wig}\n", "type 'wig'"),
        ("t.yaml", "signal:\n", "type None"),
        ("t.yaml", "signal: {type: bigwig, sign: keep}\n", "unknown option 'sign'; bigwig has negative"),
        (
            "t.yaml",
            "peaks: {type: bed_no_summit, negative: keep}\n",
            "unknown option 'negative'; bed_no_summit has none",
        ),
        ("t.yaml", "signal: {type: bigwig, negative: flip}\n", "negative is 'flip'; expected one of auto, keep"),
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
    assert found == [("k562", "signal", cell), ("k562", "peaks", cell), ("hepg2", "peaks", cell)]


def test_dataset_column_may_stand_anywhere_and_lines_may_end_early_or_in_crlf(inputs, cell):
    table = inputs.text("s.tsv", f"signal\tdataset\tpeaks\r\n# comment\r\n\r\n{cell}\tk562\r\n")
    assert [(c.dataset, c.attribute.name) for c in read_samples(table, TYPES)] == [("k562", "signal")]


def test_relative_path_is_looked_for_here_and_then_beside_the_table(inputs, cell, tmp_path, monkeypatch):
    table = inputs.samples({"k562": {"signal": cell.name}})
    assert read_samples(table, TYPES)[0].path == cell
    (tmp_path / cell.name).write_text("in the working folder")
    monkeypatch.chdir(tmp_path)
    assert read_samples(table, TYPES)[0].path.read_text() == "in the working folder"


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
