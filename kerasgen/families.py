"""Families of models, one table: what each learns from, and what trains, opens, embeds and imputes with it.

Functions are named as ``"module:function"`` and imported at their use, so that this module stands below all of them.
A family that is not in the table learns from windows in the usual way: an architecture of
:data:`architectures.ARCHITECTURES`, or one from a file of the user's.
"""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from db_ingest.errors import InputError

WINDOWS, TRACKS = "windows", "tracks"
"""What families learn from: windows of sequence and signal, or the tracks of a database alone."""


@dataclass(frozen=True)
class Family:
    """What is done with the models of one family, and by which function.

    Args:
        name: its architecture; empty for one from a file of the user's.
        learns_from: :data:`WINDOWS` or :data:`TRACKS`.
        trainer: what ``gen_train`` calls.
        opener: :class:`~kerasgen.bundle.Bundle` -> the trained model.
        embedder: bundle, database -> :class:`~kerasgen.track_models.positions.Positions`; None if it embeds nothing.
        imputer: bundle, URI of a database or None -> :class:`~kerasgen.track_models.models.TrackModel`; None if it
            imputes nothing.
        example: flags of ``gen_train`` for its help.
    """

    name: str
    learns_from: str
    trainer: str
    opener: str
    embedder: str | None = None
    imputer: str | None = None
    example: str = ""

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"the family {self.name}" if self.name else "a family of the user's"

    def train(self, **settings: Any) -> Any:
        """Train a model; see the function that :attr:`trainer` names."""
        return load(self.trainer)(**settings)

    def open(self, bundle: Any) -> Any:
        """Open the trained model of a bundle."""
        return load(self.opener)(bundle)

    def embed(self, bundle: Any, database: Any) -> Any:
        """Open the embeddings of a bundle.

        Raises:
            InputError: the family has none.
        """
        if self.embedder is None:
            raise InputError(_cannot(bundle, self, "embeds positions", "embedder"))
        return load(self.embedder)(bundle, database)

    def impute(self, bundle: Any, tdb_array: str | None) -> Any:
        """Open the model of a bundle to impute tracks with it.

        Args:
            bundle: that of the model.
            tdb_array: where the database lies now; None for where it was when the model was trained.

        Raises:
            InputError: the family imputes nothing.
        """
        if self.imputer is None:
            raise InputError(_cannot(bundle, self, "imputes tracks", "imputer"))
        return load(self.imputer)(bundle, tdb_array)


_OF_WINDOWS = Family(
    name="",
    learns_from=WINDOWS,
    trainer="kerasgen.training.train:train",
    opener="kerasgen.bundle:Bundle.load_model",
)

FAMILIES = {
    family.name: family
    for family in (
        Family(
            name="avocado",
            learns_from=TRACKS,
            trainer="kerasgen.track_models.avocado.train:train_avocado",
            opener="kerasgen.track_models.avocado.model:open_model",
            embedder="kerasgen.track_models.avocado.positions:Factors",
            imputer="kerasgen.track_models.avocado.whole_genome:open_imputer",
            example="--hold_out E117:H3K4me3 --validate_on E003:H3K4me1",
        ),
        Family(
            name="epilstm",
            learns_from=TRACKS,
            trainer="kerasgen.track_models.epilstm.train:train_epilstm",
            opener="kerasgen.bundle:Bundle.load_model",
            embedder="kerasgen.track_models.epilstm.positions:Codes",
            imputer="kerasgen.track_models.epilstm.reconstruction:open_imputer",
            example="--validation_chroms chr8 --test_chroms chr9 --model_params bottleneck=12",
        ),
    )
}
"""Families that train, open, embed or impute in a way of their own, by name."""


def get(name: str | None) -> Family:
    """The family of an architecture; None for one from a file of the user's."""
    return FAMILIES.get(name or "") or replace(_OF_WINDOWS, name=name or "")


def family_of(config: Mapping[str, Any]) -> Family:
    """The family of the model that a ``P.json`` describes."""
    # An Avocado that was saved in Python names its kind alone.
    return get(config.get("kind") or config.get("architecture", {}).get("name"))


def of_tracks() -> list[Family]:
    """Families that learn from tracks alone."""
    return [family for family in FAMILIES.values() if family.learns_from == TRACKS]


def require_windows(name: str) -> None:
    """Raise :class:`InputError` for an architecture that does not learn from windows, and say what trains it."""
    family = get(name)
    if family.learns_from != WINDOWS:
        function = family.trainer.partition(":")[2]
        raise InputError(
            f"--architecture_spec {name}: learns from tracks, not from windows; call kerasgen.{function}, or "
            f"gen_train --architecture_spec {name}"
        )


def load(function: str) -> Callable[..., Any]:
    """Import what ``"module:function"`` names."""
    module, _, name = function.partition(":")
    return cast(Callable[..., Any], operator.attrgetter(name)(importlib.import_module(module)))


def _cannot(bundle: Any, family: Family, does: str, role: str) -> str:
    able = ", ".join(name for name, other in FAMILIES.items() if getattr(other, role))
    return f"{bundle.model_path}: a model of {family.title}; expected one that {does}: {able}"
