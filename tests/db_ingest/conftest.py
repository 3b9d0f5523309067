"""Small inputs of the write side, and the way to look into a database without our own reader."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pytest
import tiledb
from plain import joined
from servers import s3_fixture, s3_server_fixture  # noqa: F401
from threads import threads_end_fixture  # noqa: F401

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}


class Inputs:
    """Writes input files into one folder; a name that ends in ``.gz`` is gzipped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rng = np.random.default_rng(5)

    def text(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    def bed(self, name: str, lines: Sequence[str | Sequence[object]]) -> Path:
        rows = [line if isinstance(line, str) else "\t".join(map(str, line)) for line in lines]
        return self.text(name, "".join(f"{row}\n" for row in rows))

    def sequence(self, size: int) -> str:
        return "".join(self.rng.choice(list("ACGTNacgtnR"), size))

    def fasta(self, name: str = "genome.fa", sizes: Mapping[str, int] = SIZES) -> Path:
        records = []
        for chromosome, size in sizes.items():
            bases = self.sequence(size)
            lines = "\n".join(bases[i : i + 60] for i in range(0, size, 60))
            records.append(f">{chromosome} some description\n{lines}\n")
        return self.text(name, "".join(records))

    def signal(self, size: int, scale: float = 1.0) -> np.ndarray:
        """Values with uncovered stretches (NaN)."""
        values = (self.rng.random(size) + 0.01) * scale
        for start in self.rng.integers(0, size, 4):
            values[start : start + size // 10] = np.nan
        return values

    def bigwig(
        self,
        name: str,
        values: Mapping[str, np.ndarray] | None = None,
        sizes: Mapping[str, int] = SIZES,
        scale: float = 1.0,
    ) -> Path:
        """Write a bigWig whose header names ``sizes``; NaN in ``values`` stays uncovered."""
        path = self.folder / name
        if values is None:
            values = {chromosome: self.signal(size, scale) for chromosome, size in sizes.items()}
        with pyBigWig.open(str(path), "w") as file:
            file.addHeader(list(sizes.items()))
            for chromosome, dense in values.items():
                covered = np.flatnonzero(~np.isnan(dense))
                for stretch in np.split(covered, np.flatnonzero(np.diff(covered) > 1) + 1):
                    if len(stretch):
                        kept = [float(value) for value in dense[stretch]]
                        file.addEntries(chromosome, int(stretch[0]), values=kept, span=1, step=1)
        return path

    def samples(self, datasets: Mapping[str, Mapping[str, Any]], name: str = "samples.tsv") -> Path:
        """Write a samples table: dataset -> attribute -> path."""
        columns = list(dict.fromkeys(column for row in datasets.values() for column in row))
        lines = ["\t".join(["dataset", *columns])]
        lines += ["\t".join([n, *(str(row.get(c, "")) for c in columns)]) for n, row in datasets.items()]
        return self.text(name, "\n".join(lines) + "\n")

    def types(self, name: str = "types.tsv", **attributes: str) -> Path:
        return self.text(name, "".join(f"{attribute}\t{kind}\n" for attribute, kind in attributes.items()))


class Stored:
    """A database, on disk or in S3, as ``catalogue.json`` and TileDB show it when they are first looked at."""

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri)
        self._arrays: dict[str, tiledb.Array] = {}
        self.context = tiledb.Ctx(_s3_config()) if self.uri.startswith("s3://") else tiledb.Ctx()
        with tiledb.VFS(ctx=self.context).open(f"{self.uri}/catalogue.json") as file:
            self.document = json.loads(file.read())
        self.places = {c["name"]: (c["offset"], c["size"]) for c in self.document["genome"]["chromosomes"]}

    def open(self, member: str) -> tiledb.Array:
        if member not in self._arrays:
            self._arrays[member] = tiledb.open(f"{self.uri}/{member}", ctx=self.context)
        return self._arrays[member]

    def track(self, attribute: str, dataset: str) -> dict[str, Any]:
        (found,) = (t for t in self.document["tracks"] if (t["attribute"], t["dataset"]) == (attribute, dataset))
        return found

    def cells(self, attribute: str, dataset: str, chromosome: str) -> np.ndarray:
        """A track on a chromosome as it is stored: float32 or uint16 of a signal, uint8 of a mask."""
        track = self.track(attribute, dataset)
        offset, size = self.places[chromosome]
        level = "" if track["bin"] == 1 else f"@{track['bin']}"
        if track["bin"] != 1:
            offset, size = self._binned(chromosome, track["bin"])
        array = self.open(f"{track['folder']}/{attribute}{level}")
        return joined(array[track["row"], offset : offset + size]["value"])

    def values(self, attribute: str, dataset: str, chromosome: str) -> np.ndarray:
        """The same with counts as float32, NaN where there is none."""
        cells = self.cells(attribute, dataset, chromosome)
        return cells if cells.dtype != np.uint16 else np.where(cells == 65_535, np.nan, cells).astype(np.float32)

    def sequence(self, chromosome: str) -> np.ndarray:
        offset, size = self.places[chromosome]
        return self.open("sequence")[offset : offset + size]["value"]

    def intervals(self, attribute: str, dataset: str) -> list[tuple[Any, ...]]:
        """Intervals behind a mask: chromosome, start, end, name, score, strand, three values and the summit."""
        found = self.open(f"intervals/{attribute}")[self.track(attribute, dataset)["row"], :]
        rows = []
        for i in range(len(found["start"])):
            start = int(found["start"][i])
            name = max((c for c in self.places if self.places[c][0] <= start), key=lambda c: self.places[c][0])
            offset = self.places[name][0]
            text = [t.decode() if isinstance(t, bytes) else t for t in (found["name"][i], found["strand"][i])]
            numbers = [found[field][i] for field in ("signalValue", "pValue", "qValue", "summit")]
            rows.append(
                (name, start - offset, int(found["end"][i]) - offset, text[0], found["score"][i], text[1], *numbers)
            )
        return sorted(rows)

    def _binned(self, chromosome: str, bin: int) -> tuple[int, int]:
        """First cell and number of cells of a chromosome on a grid of bins."""
        tile, offset = self.document["genome"]["tile"], 0
        for name, (_, size) in self.places.items():
            bins = -(-size // bin)
            if name == chromosome:
                return offset, bins
            offset += (bins // tile + 1) * tile
        raise KeyError(chromosome)


def _s3_config() -> dict[str, str]:
    """TileDB's settings for the server that the environment names."""
    scheme, _, host = os.environ["AWS_ENDPOINT_URL"].partition("://")
    return {
        "vfs.s3.endpoint_override": host,
        "vfs.s3.scheme": scheme,
        "vfs.s3.region": os.environ["AWS_DEFAULT_REGION"],
        "vfs.s3.use_virtual_addressing": "false",
        "vfs.s3.aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "vfs.s3.aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
    }


def bigwig_values(path: Path, chromosome: str) -> np.ndarray:
    """What pyBigWig reads over a whole chromosome, 0 where the file has nothing."""
    with pyBigWig.open(str(path)) as file:
        return np.nan_to_num(file.values(chromosome, 0, file.chroms(chromosome), numpy=True))


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    folder = tmp_path / "inputs"
    folder.mkdir()
    return Inputs(folder)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Where a test's database goes; nothing is there yet."""
    return str(tmp_path / "db")


@pytest.fixture
def stored() -> type[Stored]:
    return Stored


@pytest.fixture
def read_bigwig():
    return bigwig_values
