"""Cell types and assays that an Avocado learns when it is trained already, all else frozen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.settings import require_new
from kerasgen.database import Database
from kerasgen.track_models.binned import from_database
from kerasgen.track_models.imputation_settings import AddedNames

if TYPE_CHECKING:
    from kerasgen.track_models.avocado.whole_genome import GenomeAvocado

_KEPT = ("run", "architecture", "held_out", "validated_on")
"""What the file of a model with added names keeps of the one that it was made from."""


def require_free(added: AddedNames, *, overwrite: bool) -> None:
    """Raise :class:`InputError` if the model with added names cannot be written where it is to go."""
    path = Path(f"{added.new_model}.json")
    require_new(path, overwrite=overwrite)
    storage.require_writable(path.parent)


def learn(trained: GenomeAvocado, database: Database, added: AddedNames) -> GenomeAvocado:
    """Learn new cell types, then new assays, and write the model that knows them; of all chromosomes it knew.

    Raises:
        InputError: a name that has no track of what the model knows.
    """
    from kerasgen.track_models.avocado.train import chromosome_models
    from kerasgen.track_models.avocado.whole_genome import GenomeAvocado

    model, prefix = trained.main, added.new_model
    how = {name: trained.document.get("run", {}).get(name) for name in ("epochs", "epoch_size", "sampling")}
    for axis, names in added.axes.items():
        _learn_axis(trained, database, axis, names, {**how, "epochs": added.add_epochs or how["epochs"]})
    further = [name for name in trained.chromosomes if name not in {s.chromosome for s in model.stretches}]
    kept = {key: trained.document[key] for key in _KEPT if key in trained.document}
    document: dict[str, Any] = {
        **kept,
        "chromosomes": trained.sizes,
        "database": {"uri": database.uri, "commit": database.commit},
        "made_from": {"model": trained.prefix, "added": added.axes},
        "chromosome_models": further,
    }
    for name, other in chromosome_models(model, database, further, model.experiments, **how):
        other.save(f"{prefix}.{name}", {**document, "chromosome_models": []})
    model.save(str(prefix), document)
    return GenomeAvocado(str(prefix))


def _learn_axis(trained: GenomeAvocado, database: Database, axis: str, names: list[str], how: dict[str, Any]) -> None:
    """Learn new cell types from tracks of known assays, or new assays from tracks of known cell types."""
    model, is_celltypes = trained.main, axis == "celltypes"
    known = model.assays if is_celltypes else model.celltypes
    unknown = {
        (track.dataset, track.attribute)
        for track in database.tracks
        if (track.attribute if is_celltypes else track.dataset) not in known
    }
    tracks = from_database(
        database,
        celltypes=names if is_celltypes else None,
        assays=None if is_celltypes else names,
        bin=model.bin,
        chroms=[stretch.chromosome for stretch in model.stretches],
        transformation=model.transformation,
        leave_out={*trained.held_out, *trained.validated_on, *unknown},
    )
    for name in names:
        if name not in (tracks.celltypes if is_celltypes else tracks.assays):
            raise InputError(f"--add_{axis} {name}: has no track of what the model knows ({', '.join(known[:12])})")
    fit = model.fit_celltypes if is_celltypes else model.fit_assays
    fit(tracks, n_epochs=how["epochs"], epoch_size=how["epoch_size"], sampling=how["sampling"])
