"""Train a model that imputes tracks from tracks: what ``gen_train --architecture_spec avocado`` does."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.layout.genome import shorten_names
from db_ingest.settings import Setting, absolute_path, takes_settings
from kerasgen import backend
from kerasgen.database import Database
from kerasgen.settings import Overwrite, Seed, TdbArray
from kerasgen.track_models.binned import BinnedTracks, Pair, from_database
from kerasgen.track_models.chromosomes import FILE, ChromosomeState
from kerasgen.track_models.settings import AvocadoTraining, HeldOutTracks, TrackModelPrefix, TrackSelection
from kerasgen.training import params, state
from kerasgen.training.state import EpochMetrics
from kerasgen.training.train import TrainingResult

if TYPE_CHECKING:
    from kerasgen.track_models.avocado.model import Avocado

    Learning = Callable[[], tuple[Avocado, list[EpochMetrics]]]

log = logging.getLogger("kerasgen")


@takes_settings
def train_avocado(
    tdb_array: TdbArray,
    model_prefix: TrackModelPrefix,
    *,
    architecture_spec: Annotated[
        str, Setting("model family: avocado", choices=("avocado",), group="model")
    ] = "avocado",
    selection: TrackSelection,
    held_out: HeldOutTracks,
    training: AvocadoTraining,
    seed: Seed = 1234,
    overwrite: Overwrite = False,
) -> TrainingResult:
    """Train an Avocado, a model that imputes tracks from tracks, and write it as a bundle.

    Writes ``P.keras``, ``P.npz`` (factors of the genome), ``P.json`` and ``P.log.csv`` (one row per epoch); with
    ``per_chromosome`` the same for each further chromosome, ``P.<chromosome>.keras`` and so on. They appear when all
    chromosomes are learned; until then what is learned lies in ``P.state/``. ``model_params`` are settings of
    :class:`~kerasgen.track_models.avocado.settings.AvocadoSettings`.

    Raises:
        InputError: wrong flags, names or files, nothing to resume or another training; nothing has been written then.
        RunError: the loss is not a number, or training was interrupted and can be resumed.
    """
    tdb_array = absolute_path(str(tdb_array))
    run: dict[str, Any] = {
        "tdb_array": tdb_array, "model_prefix": model_prefix, "architecture_spec": architecture_spec,
        **selection.flat(), **held_out.flat(), **training.flat(), "seed": seed, "overwrite": overwrite,
    }  # fmt: skip
    if training.resume and not training.per_chromosome:
        raise InputError("--resume: an Avocado is resumed chromosome by chromosome; expected it with --per_chromosome")
    database = Database(tdb_array)
    files = params.files(training.model_params or ())
    learned = ChromosomeState.of(run, state.circumstances(database.commit, files))
    tests, validates = _set_aside(database, held_out)
    if training.patience is not None and not validates:
        raise InputError("--patience needs tracks to judge by; give --validate_on CELLTYPE:ASSAY")
    further = []
    if training.per_chromosome:
        further = _further_chromosomes(database, held_out.train_chroms, selection, {*tests, *validates})
    settings = _settings(training)
    storage.require_writable(Path(model_prefix).parent)

    backend.load()
    from kerasgen.track_models.avocado.model import Avocado
    from kerasgen.track_models.avocado.settings import resolve

    def learn() -> tuple[Avocado, list[EpochMetrics]]:
        tracks = from_database(
            database, celltypes=selection.celltypes, assays=selection.assays, bin=selection.bin,
            chroms=held_out.train_chroms, transformation=selection.transformation, leave_out={*tests, *validates},
        )  # fmt: skip
        _refuse_unlearned(tracks, [*tests, *validates])
        valid = _one_by_one(database, validates, tracks) if validates else None
        model = Avocado(
            tracks.celltypes, tracks.assays, preset=training.preset, n_models=training.n_models, seed=seed, **settings
        )
        learned.begin()
        history = model.fit(
            tracks, valid, n_epochs=training.epochs, epoch_size=training.epoch_size, sampling=training.sampling,
            patience=training.patience,
        )  # fmt: skip
        return model, history

    document = {
        "run": run,
        "architecture": {"name": architecture_spec},
        "chromosomes": database.genome.size_by_name,
        "held_out": tests,
        "validated_on": validates,
        "database": {"uri": database.uri, "commit": database.commit},
        "chromosome_models": further,
    }
    if training.per_chromosome:
        with state.resumable(model_prefix, FILE):
            _learn_each(learned, learn, database, document)
            history = learned.rows
            _write_log(learned.prefix, history)
            learned.publish()
    else:
        model, history = learn()
        model.save(model_prefix, document)
        _write_log(model_prefix, history)
    epochs = training.epochs or resolve(training.preset, **settings).n_epochs
    return _result(model_prefix, history, epochs, learned.seconds)


def _learn_each(learned: ChromosomeState, learn: Learning, database: Database, document: dict[str, Any]) -> None:
    """Learn the network, then each chromosome; what an interrupted training has learned is taken as it is."""
    from kerasgen.track_models.avocado.model import Avocado

    model = None
    if learned.rows:
        log.info("resuming: network learned, and %d chromosome(s)", len(learned.chromosomes))
    else:
        model, rows = learn()
        model.save(learned.prefix, document)
        learned.add_network(rows)
    missing = [name for name in document["chromosome_models"] if name not in learned.chromosomes]
    if not missing:
        return
    model = model or Avocado.load(learned.prefix)
    how = {name: document["run"][name] for name in ("epochs", "epoch_size", "sampling")}
    for name, other in chromosome_models(model, database, missing, model.experiments, **how):
        other.save(f"{learned.prefix}.{name}", {**document, "chromosome_models": []})
        learned.add_chromosome(name)


def chromosome_models(
    model: Avocado,
    database: Database,
    chromosomes: Sequence[str],
    pairs: Collection[Pair],
    epochs: int | None = None,
    epoch_size: int | None = None,
    sampling: str | None = None,
) -> Iterator[tuple[str, Avocado]]:
    """Learn the genome factors of other chromosomes, one after the other; network, cell types and assays stay.

    Args:
        model: a trained one.
        database: where the tracks are.
        chromosomes: those to learn.
        pairs: tracks to learn from; those without a value on a chromosome are left out there.
        epochs, epoch_size, sampling: instead of the model's settings.
    """
    for number, name in enumerate(chromosomes):
        log.info("chromosome %s (%d of %d): its genome factors", name, number + 1, len(chromosomes))
        every = from_database(
            database, bin=model.bin, chroms=[name], transformation=model.transformation,
            leave_out=_others(database, pairs),
        )  # fmt: skip
        known = [pair for pair, values in zip(every.pairs, every.values, strict=True) if np.isfinite(values).any()]
        if not known:
            raise InputError(
                f"{database.uri}: no track has a value on {name}; leave it out of the database's chromosomes"
            )
        if len(known) < len(every.pairs):
            log.warning("warning: %d tracks have no value on %s", len(every.pairs) - len(known), name)
            every = every.subset(known)
        yield name, model.fit_genome(every, n_epochs=epochs, epoch_size=epoch_size, sampling=sampling)


def _others(database: Database, pairs: Collection[Pair]) -> set[Pair]:
    every = {(track.dataset, track.attribute) for track in database.tracks}
    return every - set(pairs)


def _settings(training: AvocadoTraining) -> dict[str, Any]:
    """``--model_params`` and flags that are settings too; what no model could have is refused here already."""
    from kerasgen.track_models.avocado.settings import from_words, resolve

    chosen = from_words(training.model_params)
    for name in ("batch_size", "learning_rate"):
        if getattr(training, name) is not None:
            chosen[name] = getattr(training, name)
    resolve(training.preset, **chosen)
    return chosen


def _set_aside(database: Database, held_out: HeldOutTracks) -> tuple[list[Pair], list[Pair]]:
    """Tracks to test by and tracks to validate on; none is both."""
    tests = _pairs(database, "--hold_out", held_out.hold_out)
    validates = _pairs(database, "--validate_on", held_out.validate_on)
    twice = [pair for pair in tests if pair in validates]
    if twice:
        raise InputError(f"--hold_out and --validate_on both name {':'.join(twice[0])}; expected it in one of them")
    return tests, validates


def _pairs(database: Database, flag: str, words: Sequence[str] | None) -> list[Pair]:
    """Tracks named as ``CELLTYPE:ASSAY``; names may hold colons themselves."""
    known = {f"{track.dataset}:{track.attribute}": (track.dataset, track.attribute) for track in database.tracks}
    pairs: list[Pair] = []
    for word in words or ():
        if word not in known:
            raise InputError(
                f"{flag} {word}: no such track; expected CELLTYPE:ASSAY, one of {', '.join(list(known)[:8])}"
            )
        if known[word] in pairs:
            raise InputError(f"{flag} {word}: named twice")
        pairs.append(known[word])
    return pairs


def _further_chromosomes(
    database: Database,
    train_chroms: Sequence[str] | None,
    selection: TrackSelection,
    aside: Collection[Pair],
) -> list[str]:
    """Chromosomes beside those of training on which a track that is learned from has values."""
    if not train_chroms:
        raise InputError("--per_chromosome: name the chromosomes that the network is learned from: --train_chroms")
    for name in train_chroms:
        database.genome.index(name)
    further = [name for name in database.genome.names if name not in train_chroms]
    if not further:
        raise InputError("--per_chromosome: --train_chroms names all chromosomes; expected some to be left")
    having = {
        name
        for track in database.tracks
        if (track.dataset, track.attribute) not in aside
        and (selection.celltypes is None or track.dataset in selection.celltypes)
        and (selection.assays is None or track.attribute in selection.assays)
        for name in track.checksums
    }
    empty = [name for name in further if name not in having]
    if empty:
        log.warning("warning: left out, as no track has values there: %s", shorten_names(empty))
    if len(empty) == len(further):
        raise InputError("--per_chromosome: no track has values on any chromosome beside --train_chroms")
    return [name for name in further if name in having]


def _refuse_unlearned(tracks: BinnedTracks, aside: Sequence[Pair]) -> None:
    """Tracks that are set aside can be imputed only by a model that has learned their cell type and their assay."""
    for pair in aside:
        for what, name, known in (("cell type", pair[0], tracks.celltypes), ("assay", pair[1], tracks.assays)):
            if name not in known:
                raise InputError(
                    f"{':'.join(pair)} is held out or validated on, and no other track is left to learn "
                    f"{what} {name!r} from; hold out less, or name it among --celltypes and --assays"
                )


def _one_by_one(database: Database, pairs: Sequence[Pair], like: BinnedTracks) -> BinnedTracks:
    """A few tracks on the bins of others."""
    chroms = [stretch.chromosome for stretch in like.stretches]
    read = [
        from_database(
            database, celltypes=[celltype], assays=[assay], bin=like.bin, chroms=chroms,
            transformation=like.transformation,
        )
        for celltype, assay in pairs
    ]  # fmt: skip
    return dataclasses.replace(read[0], pairs=tuple(pairs), values=np.concatenate([one.values for one in read]))


def _write_log(prefix: str, history: list[EpochMetrics]) -> None:
    from kerasgen.training.loop import write_log

    write_log(prefix, history)


def _result(prefix: str, history: list[EpochMetrics], epochs: int, seconds: float) -> TrainingResult:
    losses = [metrics.get("val_loss", metrics["loss"]) for metrics in history]
    # Without validation the last epoch is kept, whatever its loss.
    best = int(np.nanargmin(losses)) if "val_loss" in history[0] else len(history) - 1
    stopped = "all epochs done" if len(history) == epochs else "no better validation loss"
    return TrainingResult(Path(prefix), best + 1, losses[best], history, stopped, seconds)
