"""A trained model's files: ``P.keras`` (the network), ``P.npz`` (factors of the genome, context), ``P.json``."""

from __future__ import annotations

import hashlib
import json
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError, MissingFileError
from kerasgen import bundle
from kerasgen.track_models.avocado.settings import Settings, to_json
from kerasgen.track_models.binned import BinnedTracks, Stretch

if TYPE_CHECKING:
    from kerasgen.track_models.avocado.model import Avocado

KIND = "avocado"


def save(model: Avocado, prefix: str | Path, document: dict[str, Any]) -> None:
    """Write a model's files; none appears unless all could be written.

    Args:
        model: a trained one.
        prefix: ``P``.
        document: more to keep in ``P.json``.
    """
    arrays = {
        f"model_{number}_{name}": table
        for number, member in enumerate(model._members)
        if member.genome is not None
        for name, table in zip(("25bp", "250bp", "5kbp"), member.genome.tables, strict=True)
    }
    if model._tracks is not None:
        arrays["tracks"] = model._tracks.values
    with ExitStack() as writing:
        # The last one entered is the first to be renamed: P.json comes last.
        about = writing.enter_context(storage.replacing(bundle.path_of(prefix, "json")))
        factors = writing.enter_context(storage.replacing(bundle.path_of(prefix, "npz")))
        identity = hashlib.sha256()
        for number, member in enumerate(model._members):
            network = writing.enter_context(storage.replacing(network_path(prefix, number)))
            member.network.save(network)
            for weights in member.network.get_weights():
                identity.update(np.ascontiguousarray(weights).tobytes())
        for array in arrays.values():
            identity.update(np.ascontiguousarray(array[:1]).tobytes())
        name = identity.hexdigest()[:32]
        with factors.open("wb") as file:
            np.savez(file, identity=np.array(name), **arrays)  # type: ignore[arg-type]
        content = {
            "bundle_version": bundle.FORMAT_VERSION,
            "kind": KIND,
            "identity": name,
            "celltypes": model.celltypes,
            "assays": model.assays,
            "experiments": model.experiments,
            "preset": model.preset,
            "settings": to_json(model.settings),
            "n_models": model.n_models,
            "seed": model.seed,
            "turns": model._turns,
            "stretches": [list(stretch) for stretch in model.stretches],
            "bin": model.bin,
            "transformation": model.transformation,
            "least": model._floor,
            "scales": [[*pair, *scale] for pair, scale in model._scales.items()],
            "alike": [[*assays, value] for assays, value in model._alike.items()],
            "context_tracks": None if model._tracks is None else list(model._tracks.pairs),
            "history": model.history,
            "versions": bundle.versions(),
        }
        about.write_text(json.dumps({**document, **content}, indent=1))
    remove_further(prefix, model.n_models)


def load(cls: type[Avocado], prefix: str | Path) -> Avocado:
    """Open a model's files; see :meth:`kerasgen.track_models.avocado.model.Avocado.load`."""
    prefix = str(prefix).removesuffix(".keras")
    opened = bundle.open_bundle(prefix)
    content, about = opened.config, bundle.path_of(prefix, "json")
    if content.get("kind") != KIND:
        raise InputError(f"{about}: not an Avocado; expected the files of Avocado.save")
    try:
        model = cls(
            content["celltypes"],
            content["assays"],
            preset=content["preset"],
            n_models=content["n_models"],
            seed=content["seed"],
            **{name: value for name, value in Settings(**content["settings"]).__dict__.items() if value is not None},
        )
        model.settings = Settings(**content["settings"])
        model.history, model.bin = content["history"], content["bin"]
        model.transformation, model._floor = content["transformation"], content["least"]
        model._experiments = [(celltype, assay) for celltype, assay in content["experiments"]]
        model._stretches = tuple(Stretch(*stretch) for stretch in content["stretches"])
        model._positions, model._turns = model._stretches[-1].end, content["turns"]
        model._scales = {(celltype, assay): (mean, spread) for celltype, assay, mean, spread in content["scales"]}
        model._alike = {(one, other): value for one, other, value in content["alike"]}
        context = content["context_tracks"]
        identity = content["identity"]
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{about}: not what Avocado.save writes ({type(error).__name__}: {error})") from error
    arrays = _arrays(bundle.path_of(prefix, "npz"), identity)
    for number, member in enumerate(model._members):
        member.settings = model.settings
        network = bundle.load_model(network_path(prefix, number))
        shapes = [tuple(variable.shape) for variable in member.network.variables]
        if [tuple(variable.shape) for variable in network.variables] != shapes:
            raise InputError(f"{network_path(prefix, number)}: not the network that {about} describes")
        member.network = network
        member.start_genome(model._stretches, [arrays[f"model_{number}_{name}"] for name in ("25bp", "250bp", "5kbp")])
    if context is not None:
        pairs = tuple((celltype, assay) for celltype, assay in context)
        model._tracks = BinnedTracks(pairs, arrays["tracks"], model.bin, model._stretches, model.transformation)
    return model


def open_model(opened: bundle.Bundle) -> Avocado:
    """The model of a bundle."""
    from kerasgen.track_models.avocado.model import Avocado

    return load(Avocado, opened.prefix)


def network_path(prefix: str | Path, number: int) -> Path:
    """``P.keras`` of the first model, ``P.model2.keras`` of the second; ``P.2.keras`` may be a chromosome's."""
    return bundle.path_of(prefix, "keras" if number == 0 else f"model{number + 1}.keras")


def remove_further(prefix: str | Path, n_models: int) -> None:
    """Remove the networks that an earlier, larger ensemble left."""
    number = max(n_models, 1)
    while (path := network_path(prefix, number)).exists():
        path.unlink()
        number += 1


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
