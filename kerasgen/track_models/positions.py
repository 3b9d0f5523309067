"""What a trained bundle says of each position of a database: its embedding, chromosome by chromosome."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from db_ingest.errors import InputError
from kerasgen import backend
from kerasgen.bundle import Bundle
from kerasgen.database import Database
from kerasgen.track_models.binned import stored_transformation
from kerasgen.track_models.epilstm.inputs import Inputs

_BLOCK = 2**18


class Positions(Protocol):
    """Embeddings of the positions of a genome.

    Attributes:
        components: numbers a position.
        bin: bp a position.
        chromosomes: those that there are embeddings of.
    """

    components: int
    bin: int
    chromosomes: tuple[str, ...]

    def digest(self, chromosomes: Sequence[str]) -> str:
        """Changes when the embeddings of these chromosomes would."""

    def load(self) -> None:
        """Load the model; before :meth:`blocks`."""

    def blocks(self, chromosome: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield first bin and ``(bins, components) float32`` of one stretch after another; NaN where there is none."""


def open_positions(found: Bundle, database: Database) -> Positions:
    """The embeddings of a bundle.

    Raises:
        InputError: a model that has none, or a database that lacks what it needs.
    """
    architecture = found.config.get("architecture", {})
    family = architecture.get("name") or found.config.get("kind")
    if family not in _FAMILIES:
        raise InputError(
            f"{found.model_path}: a model of the family {family or architecture.get('file')}; "
            f"expected one that embeds positions: {', '.join(_FAMILIES)}"
        )
    return _FAMILIES[family](found, database)


class Codes:
    """Codes of an autoencoder's bottleneck, computed from the tracks of a database; of an ensemble, the first model's.

    Args:
        found: the bundle of an Epi-LSTM.
        database: holds the tracks that it was trained on, of any chromosomes.

    Raises:
        InputError: a track is missing, or lies on a grid that does not fit.
    """

    def __init__(self, found: Bundle, database: Database) -> None:
        self._found, self._inputs = found, Inputs(found, database)
        self.bin, self.chromosomes = self._inputs.bin, self._inputs.chromosomes
        self.components: int = found.config["architecture"]["config"]["bottleneck"]

    def digest(self, chromosomes: Sequence[str]) -> str:
        """Changes when the model or the tracks do."""
        model = hashlib.sha256(self._found.model_path.read_bytes()).hexdigest()
        values = [[t.bin, stored_transformation(t), *map(t.checksums.get, chromosomes)] for t in self._inputs.tracks]
        return hashlib.sha256(json.dumps([model, values, list(chromosomes)]).encode()).hexdigest()

    def load(self) -> None:
        """Load the model."""
        from kerasgen.track_models.epilstm.encoder import Coder

        longest = max(map(self._inputs.bins, self.chromosomes))
        self._coder = Coder(self._found.load_model(), self._inputs.normalisation, longest)

    def blocks(self, chromosome: str) -> Iterator[tuple[int, np.ndarray]]:
        """Read tracks and encode them, some stretches at a time."""
        read = functools.partial(self._inputs.read, chromosome)
        yield from self._coder.run(read, self._inputs.bins(chromosome))


class Factors:
    """Genome factors of an Avocado, as it learned them; the tracks are not read again.

    Args:
        found: the bundle of an Avocado.
        database: of the genome that it was trained on.

    Raises:
        InputError: a chromosome of another size, or a model without genome factors.
    """

    def __init__(self, found: Bundle, database: Database) -> None:
        from kerasgen.track_models.models import TrackModel

        backend.load()
        self._found = found
        self._model = TrackModel(found.prefix)
        self.bin = self._model.main.bin
        self.chromosomes = tuple(self._model.chromosomes)
        self.components = self._width(self.chromosomes[0])
        if self.components == 0:
            raise InputError(f"{found.model_path}: has no genome factors; train one that has, e.g. --preset published")
        grid = database.genome.binned(self.bin)
        for name in self.chromosomes:
            if name not in grid or grid.size(name) != self._model.bins(name):
                raise InputError(
                    f"{database.uri}: no chromosome {name} of {self._model.bins(name):,} bins; expected the genome "
                    f"that {found.model_path} was trained on"
                )

    def digest(self, chromosomes: Sequence[str]) -> str:
        """Changes when the factors do."""
        own = {s.chromosome for s in self._model.main.stretches}
        files = [f"{self._found.prefix}.npz", *(f"{self._found.prefix}.{n}.npz" for n in chromosomes if n not in own)]
        contents = []
        for path in files:
            with Path(path).open("rb") as file:
                contents.append(hashlib.file_digest(file, "sha256").hexdigest())
        return hashlib.sha256(json.dumps([contents, list(chromosomes)]).encode()).hexdigest()

    def load(self) -> None:
        """Nothing is left to load."""

    def blocks(self, chromosome: str) -> Iterator[tuple[int, np.ndarray]]:
        """Lay the factors of the three resolutions side by side, some bins at a time."""
        model, origin = self._model.of(chromosome)
        bins = self._model.bins(chromosome)
        for first in range(0, bins, _BLOCK):
            last = min(first + _BLOCK, bins)
            yield first, model.factors(origin + first, origin + last)

    def _width(self, chromosome: str) -> int:
        model, origin = self._model.of(chromosome)
        return int(model.factors(origin, origin + 1).shape[1])


_FAMILIES: dict[str, Callable[[Bundle, Database], Positions]] = {"epilstm": Codes, "avocado": Factors}
