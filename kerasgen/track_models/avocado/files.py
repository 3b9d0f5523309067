"""A trained model's files: ``P.keras`` (the network), ``P.npz`` (factors of the genome, context), ``P.json``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError, MissingFileError
from kerasgen import bundle
from kerasgen.track_models.avocado.genome import LEVELS
from kerasgen.track_models.avocado.settings import AvocadoSettings
from kerasgen.track_models.avocado.state import AvocadoState
from kerasgen.track_models.binned import BinnedTracks, Stretch
from kerasgen.track_models.ensemble import network_path, remove_further

KIND = "avocado"


def save(state: AvocadoState, prefix: str | Path, document: dict[str, Any]) -> None:
    """Write a trained model's files; none appears unless all could be written.

    Args:
        state: all that the model has learned.
        prefix: ``P``.
        document: more to keep in ``P.json``.
    """
    arrays = {
        f"model_{number}_{level}": table
        for number, model in enumerate(state.models)
        if model.genome is not None
        for level, table in zip(LEVELS, model.genome.tables, strict=True)
    }
    if state.context_tracks is not None:
        arrays["tracks"] = state.context_tracks.values
    with ExitStack() as writing:
        # The last one entered is the first to be renamed: P.json comes last.
        about = writing.enter_context(storage.replacing(bundle.path_of(prefix, "json")))
        factors = writing.enter_context(storage.replacing(bundle.path_of(prefix, "npz")))
        identity = hashlib.sha256()
        for number, model in enumerate(state.models):
            network = writing.enter_context(storage.replacing(network_path(prefix, number)))
            model.network.save(network)
            for weights in model.network.get_weights():
                identity.update(np.ascontiguousarray(weights).tobytes())
        for array in arrays.values():
            identity.update(np.ascontiguousarray(array[:1]).tobytes())
        name = identity.hexdigest()[:32]
        with factors.open("wb") as file:
            np.savez(file, identity=np.array(name), **arrays)  # type: ignore[arg-type]
        about.write_text(json.dumps({**document, **_to_json(state, name)}, indent=1))
    remove_further(prefix, len(state.models))


def load(prefix: str | Path) -> AvocadoState:
    """Open a model's files; see :meth:`kerasgen.track_models.avocado.model.Avocado.load`."""
    prefix = str(prefix).removesuffix(".keras")
    content, about = bundle.open_bundle(prefix).config, bundle.path_of(prefix, "json")
    if content.get("kind") != KIND:
        raise InputError(f"{about}: not an Avocado; expected the files of Avocado.save")
    try:
        state = _from_json(content)
        pairs, identity = content["context_tracks"], content["identity"]
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{about}: not what Avocado.save writes ({type(error).__name__}: {error})") from error
    arrays = _arrays(bundle.path_of(prefix, "npz"), identity)
    for number, model in enumerate(state.models):
        network = bundle.load_model(network_path(prefix, number))
        shapes = [tuple(variable.shape) for variable in model.network.variables]
        if [tuple(variable.shape) for variable in network.variables] != shapes:
            raise InputError(f"{network_path(prefix, number)}: not the network that {about} describes")
        model.network = network
        model.start_genome(state.stretches, [arrays[f"model_{number}_{level}"] for level in LEVELS])
    if pairs is not None:
        state.context_tracks = BinnedTracks(
            tuple((celltype, assay) for celltype, assay in pairs), arrays["tracks"], state.bin, state.stretches,
            state.transformation,
        )  # fmt: skip
    return state


def _to_json(state: AvocadoState, identity: str) -> dict[str, Any]:
    """Contents of ``P.json`` that a model is opened from."""
    return {
        "bundle_version": bundle.FORMAT_VERSION,
        "kind": KIND,
        "identity": identity,
        "celltypes": list(state.celltypes),
        "assays": list(state.assays),
        "experiments": list(state.experiments),
        "preset": state.preset,
        "settings": dataclasses.asdict(state.settings),
        "n_models": len(state.models),
        "seed": state.seed,
        "turns": state.trainings,
        "stretches": [list(stretch) for stretch in state.stretches],
        "bin": state.bin,
        "transformation": state.transformation,
        "least": state.least,
        "scales": [[*pair, *scale] for pair, scale in state.scales.items()],
        "alike": [[*assays, value] for assays, value in state.alike.items()],
        "context_tracks": None if state.context_tracks is None else list(state.context_tracks.pairs),
        "history": state.history,
        "versions": bundle.versions(),
    }


def _from_json(content: dict[str, Any]) -> AvocadoState:
    """The state that :func:`_to_json` wrote, its models and tracks still to be read."""
    state = AvocadoState.untrained(
        content["celltypes"],
        content["assays"],
        content["preset"],
        AvocadoSettings(**content["settings"]),
        n_models=content["n_models"],
        seed=content["seed"],
    )
    stretches = tuple(Stretch(*stretch) for stretch in content["stretches"])
    return dataclasses.replace(
        state,
        positions=stretches[-1].end,
        bin=content["bin"],
        transformation=content["transformation"],
        stretches=stretches,
        experiments=tuple((celltype, assay) for celltype, assay in content["experiments"]),
        scales={(celltype, assay): (mean, spread) for celltype, assay, mean, spread in content["scales"]},
        alike={(one, other): value for one, other, value in content["alike"]},
        least=content["least"],
        trainings=content["turns"],
        history=content["history"],
    )


def _arrays(path: Path, identity: str) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; a model's factors lie beside its .keras file")
    try:
        with np.load(path, allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in opened.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not the arrays that Avocado.save writes ({error})") from error
    if "identity" not in arrays or str(arrays["identity"]) != identity:
        raise InputError(f"{path}: not of the same model as the .json beside it; expected files of one save")
    return arrays
