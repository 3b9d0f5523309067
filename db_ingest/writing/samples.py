"""The samples table and the attribute types: which file becomes which track."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats import FORMATS
from db_ingest.inputs.fetch import is_uri
from db_ingest.layout.names import check_attribute, check_dataset

_PEAK, _AMBIG = "bed_summit_from_last_col", "bed_no_summit"
_STRANDED = {f"count_bigwig_{strand}_5p": "bigwig" for strand in ("plus", "minus", "unstranded")}
_ENCODE = {
    "pval_bigwig": "bigwig",
    "fc_bigwig": "bigwig",
    **_STRANDED,
    "idr_peak": _PEAK,
    "overlap_peak": _PEAK,
    "ambig_peak": _AMBIG,
}
PRESETS: dict[str, dict[str, str]] = {
    "encode_pipeline": _ENCODE,
    "encode_pipeline_with_controls": {**_ENCODE, **{f"control_{name}": kind for name, kind in _STRANDED.items()}},
    "generic_bigwig": {"bigwig_track": "bigwig", "ambig_peak": _AMBIG},
}
"""Attribute types of the layouts that kerasAC's users have, by the name of ``--attribute_config``."""


@dataclass(frozen=True)
class Attribute:
    """How files of one attribute are read.

    Args:
        name: the attribute.
        type: one of :data:`db_ingest.formats.FORMATS`.
        options: settings of the type that differ from their default.
    """

    name: str
    type: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """``"signal"`` or ``"mask"``."""
        return FORMATS[self.type].kind


@dataclass(frozen=True)
class Cell:
    """One cell of the samples table: a path or URI of a file that becomes a track of an attribute and a dataset."""

    attribute: Attribute
    dataset: str
    path: str


def attributes_from(preset: str | None, config_file: str | Path | None) -> dict[str, Attribute]:
    """Attribute types by name, from exactly one of a preset and a file.

    A config file has lines of attribute and type, tab separated, or is YAML: ``name: type`` or
    ``name: {type: ..., option: ...}``.

    Raises:
        InputError: both or neither given, or an unknown preset, type or option.
    """
    if (preset is None) == (config_file is None):
        raise InputError("give one of --attribute_config and --attribute_config_file")
    if preset is not None:
        if preset not in PRESETS:
            raise InputError(f"--attribute_config {preset}: unknown; expected one of {', '.join(PRESETS)}")
        return {name: Attribute(name, kind) for name, kind in PRESETS[preset].items()}
    assert config_file is not None
    path = Path(config_file)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; expected an attribute config (attribute and type, or YAML)")
    entries = _read_yaml(path) if path.suffix in (".yaml", ".yml") else _read_lines(path)
    if not entries:
        raise InputError(f"{path}: no attributes in it")
    return {name: _attribute(path, name, dict(entry)) for name, entry in entries.items()}


def _read_lines(path: Path) -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text("utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.rstrip().split("\t") if "\t" in line.strip() else line.split()
        if len(fields) != 2:
            raise InputError(f"{path}:{number}: expected an attribute and a type, got {line.strip()[:60]!r}")
        name = fields[0].strip()
        if name in entries:
            raise InputError(f"{path}:{number}: attribute {name!r} is there twice")
        entries[name] = {"type": fields[1].strip()}
    return entries


def _read_yaml(path: Path) -> dict[str, dict[str, Any]]:
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML would let the last of two equal keys win in silence."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for (key, _), name in zip(node.value, keys, strict=True):
                if keys.count(name) > 1:
                    line = [k for k, _ in node.value if k.value == key.value][-1].start_mark.line + 1
                    raise InputError(f"{path}:{line}: {name!r} is there twice")
            return super().construct_mapping(node, deep)

    try:
        document = yaml.load(path.read_text("utf-8-sig"), Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected attributes and their types")
    return {str(name): dict(entry) if isinstance(entry, dict) else {"type": entry} for name, entry in document.items()}


def _attribute(path: Path, name: str, entry: dict[str, Any]) -> Attribute:
    check_attribute(name, f"{path}: attribute")
    kind = entry.pop("type", None)
    if not isinstance(kind, str) or kind not in FORMATS:
        raise InputError(f"{path}: attribute {name!r} has type {kind!r}; expected one of {', '.join(FORMATS)}")
    known = FORMATS[kind].options
    for option, value in entry.items():
        if option not in known:
            raise InputError(
                f"{path}: attribute {name!r}: unknown option {option!r}; "
                f"{kind} has {', '.join(known) if known else 'none'}"
            )
        if not known[option].accepts(value):
            raise InputError(f"{path}: attribute {name!r}: {option} is {value!r}; expected {known[option].expected}")
    missing = [option for option in known if known[option].required and option not in entry]
    if missing:
        raise InputError(f"{path}: attribute {name!r}: {kind} needs {missing[0]}: {known[missing[0]].expected}")
    if entry.get("barcodes"):
        entry["barcodes"] = _locate(entry["barcodes"], path) or entry["barcodes"]
    return Attribute(name, kind, {k: v for k, v in entry.items() if v != known[k].default})


def read_samples(path: str | Path, attributes: Mapping[str, Attribute]) -> list[Cell]:
    """Read the samples table: tab separated, a header of ``dataset`` and attribute names, one line per dataset.

    A cell is a path or empty. A relative path is looked for in the working folder, then beside the table.

    Raises:
        InputError: with file and line, for a broken table, a dataset named twice or an unknown attribute.
        MissingFileError: the table or a file it names does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; expected a samples table (--tiledb_metadata)")
    lines = [
        (number, line.rstrip().split("\t"))
        for number, line in enumerate(path.read_text("utf-8-sig", errors="replace").splitlines(), 1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        raise InputError(f"{path}: empty; expected a header of 'dataset' and attribute names")
    header_number, header = lines[0]
    header = [name.strip() for name in header]
    if "dataset" not in header:
        raise InputError(f"{path}:{header_number}: no column 'dataset' in the header; it has {', '.join(header)[:80]}")
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"{path}:{header_number}: column {name!r} is there twice")
        if name != "dataset" and name not in attributes:
            raise InputError(
                f"{path}:{header_number}: unknown attribute {name!r}; the config has {', '.join(attributes)}"
            )
    cells: list[Cell] = []
    seen: dict[str, int] = {}
    for number, fields in lines[1:]:
        if len(fields) > len(header):
            raise InputError(f"{path}:{number}: {len(fields)} columns; the header has {len(header)}")
        row = dict(zip(header, [cell.strip() for cell in fields], strict=False))
        dataset = row.pop("dataset", "")
        if not dataset:
            raise InputError(f"{path}:{number}: no dataset name")
        check_dataset(dataset, f"{path}:{number}: dataset")
        if dataset in seen:
            raise InputError(f"{path}:{number}: dataset {dataset!r} is there already, on line {seen[dataset]}")
        seen[dataset] = number
        for name, cell in row.items():
            if cell:
                cells.append(Cell(attributes[name], dataset, _resolve(path, number, name, cell)))
    if not cells:
        raise InputError(f"{path}: names no files; expected a path in at least one cell")
    return cells


def _resolve(table: Path, number: int, column: str, cell: str) -> str:
    found = _locate(cell, table)
    if found is None:
        raise MissingFileError(f"{table}:{number}: column {column!r}: no such file {cell}")
    return found


def _locate(name: str, beside: Path) -> str | None:
    """A URI as it is; a path as found in the working folder or in the folder of the file that names it, or None."""
    if is_uri(name):
        return name
    places = (os.path.expanduser(name), str(beside.parent / name))
    return next((str(Path(place)) for place in places if os.path.isfile(place)), None)
