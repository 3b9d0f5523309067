"""Train a model of tracks alone from a database: what ``gen_train --architecture_spec avocado`` does."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.layout.genome import shorten_names
from kerasgen import backend, bundle
from kerasgen.database import Database
from kerasgen.track_models.binned import BinnedTracks, Pair, from_database
from kerasgen.track_models.chromosomes import FILE, Learned
from kerasgen.training import params
from kerasgen.training import state as checkpoint
from kerasgen.training.train import TrainingResult

if TYPE_CHECKING:
    from kerasgen.track_models.avocado.model import Avocado

    Learning = Callable[[], tuple[Avocado, list[dict[str, float]]]]

log = logging.getLogger("kerasgen")


def train_avocado(
    tdb_array: str,
    model_prefix: str,
    *,
    architecture_spec: str = "avocado",
    celltypes: Sequence[str] | None = None,
    assays: Sequence[str] | None = None,
    bin: int = 25,
    transformation: str = "arcsinh",
    train_chroms: Sequence[str] | None = None,
    hold_out: Sequence[str] | None = None,
    validate_on: Sequence[str] | None = None,
    preset: str = "default",
    model_params: Sequence[str] | None = None,
    n_models: int = 1,
    epochs: int | None = None,
    epoch_size: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    sampling: str | None = None,
    patience: int | None = None,
    per_chromosome: bool = False,
    seed: int = 1234,
    resume: bool = False,
    overwrite: bool = False,
) -> TrainingResult:
    """Train an Avocado, a model that imputes tracks from tracks, and write it as a bundle.

    Writes ``P.keras``, ``P.npz`` (factors of the genome), ``P.json`` and ``P.log.csv`` (a row an epoch); with
    ``per_chromosome`` the same for each further chromosome, ``P.<chromosome>.keras`` and so on. They appear when all
    chromosomes are learned; until then what is learned lies in ``P.state/``.

    Args:
        tdb_array: path or URI of the database; it needs no sequence.
        model_prefix: ``P``.
        architecture_spec: ``"avocado"``.
        celltypes, assays: datasets and attributes to learn from; all that have a signal when not given.
        bin: bp a bin.
        transformation: ``"arcsinh"`` or ``"None"``, of the mean of a bin's bases; not applied to tracks that were
            ingested with it.
        train_chroms: chromosomes to learn from; all when not given.
        hold_out: tracks, ``CELLTYPE:ASSAY``, that are neither learned from nor chosen by.
        validate_on: tracks, ``CELLTYPE:ASSAY``, that are not learned from; the epoch that imputes them best is kept.
        preset: ``"default"`` or ``"published"``; see :class:`kerasgen.Avocado`.
        model_params: settings of :class:`~kerasgen.track_models.avocado.settings.AvocadoSettings`, ``name=value`` or
            files of two columns.
        n_models: models of an ensemble.
        epochs, epoch_size, batch_size, learning_rate, sampling, patience: instead of the preset's.
        per_chromosome: learn network, cell types and assays from ``train_chroms``, then of each other chromosome its
            genome factors, all else frozen. One chromosome's tracks are in memory at a time.
        seed: of everything random.
        resume: of ``per_chromosome``: go on with an interrupted training; neither the network nor a chromosome that
            was finished is learned again. All flags and the database must be as they were.
        overwrite: replace what an earlier run wrote, and begin an interrupted training anew.

    Raises:
        InputError: wrong flags, names or files, nothing to resume or another training; nothing has been written then.
        RunError: the loss is not a number, or training was interrupted and can be resumed.
    """
    flags: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in locals().items()
    }
    if not storage.is_remote(tdb_array):
        flags["tdb_array"] = str(Path(tdb_array).resolve())
    if resume and not per_chromosome:
        raise InputError("--resume: an Avocado is resumed chromosome by chromosome; expected it with --per_chromosome")
    database = Database(flags["tdb_array"])
    learned = Learned.of(flags, checkpoint.circumstances(database.commit, params.files(model_params or ())))
    held, validating = (_pairs(database, f"--{name}", flags[name]) for name in ("hold_out", "validate_on"))
    twice = [pair for pair in held if pair in validating]
    if twice:
        raise InputError(f"--hold_out and --validate_on both name {':'.join(twice[0])}; expected it in one of them")
    further = []
    if per_chromosome:
        further = _further_chromosomes(database, train_chroms, celltypes, assays, {*held, *validating})
    settings = _settings(flags)
    patience = _patience(patience, validating)
    storage.require_writable(Path(model_prefix).parent)

    backend.load()
    from kerasgen.track_models.avocado.model import Avocado
    from kerasgen.track_models.avocado.settings import resolve

    def learn() -> tuple[Avocado, list[dict[str, float]]]:
        tracks = from_database(
            database, celltypes=celltypes, assays=assays, bin=bin, chroms=train_chroms, transformation=transformation,
            leave_out={*held, *validating},
        )  # fmt: skip
        _refuse_unlearned(tracks, [*held, *validating])
        valid = _one_by_one(database, validating, tracks) if validating else None
        model = Avocado(tracks.celltypes, tracks.assays, preset=preset, n_models=n_models, seed=seed, **settings)
        learned.begin()
        rows = model.fit(tracks, valid, n_epochs=epochs, epoch_size=epoch_size, sampling=sampling, patience=patience)
        return model, rows

    document = {
        "run": flags,
        "architecture": {"name": architecture_spec},
        "chromosomes": database.genome.size_by_name,
        "held_out": held,
        "validated_on": validating,
        "database": {"uri": database.uri, "commit": database.commit},
        "chromosome_models": further,
    }
    if per_chromosome:
        with checkpoint.resumable(model_prefix, FILE):
            _learn_each(learned, learn, database, document)
            rows = learned.rows
            _write_log(learned.prefix, rows)
            learned.publish()
    else:
        model, rows = learn()
        model.save(model_prefix, document)
        _write_log(model_prefix, rows)
    return _result(model_prefix, rows, epochs or resolve(preset, **settings).n_epochs, learned.seconds)


def _learn_each(learned: Learned, learn: Learning, database: Database, document: dict[str, Any]) -> None:
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
        there = [pair for pair, row in zip(every.pairs, every.values, strict=True) if np.isfinite(row).any()]
        if not there:
            raise InputError(
                f"{database.uri}: no track has a value on {name}; leave it out of the database's chromosomes"
            )
        if len(there) < len(every.pairs):
            log.warning("warning: %d tracks have no value on %s", len(every.pairs) - len(there), name)
            every = every.subset(there)
        yield name, model.fit_genome(every, n_epochs=epochs, epoch_size=epoch_size, sampling=sampling)


def _others(database: Database, pairs: Collection[Pair]) -> set[Pair]:
    every = {(track.dataset, track.attribute) for track in database.tracks}
    return every - set(pairs)


def _settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """``--model_params`` and flags that are settings too; what no model could have is refused here already."""
    from kerasgen.track_models.avocado.settings import from_words, resolve

    chosen = from_words(flags["model_params"])
    chosen |= {name: flags[name] for name in ("batch_size", "learning_rate") if flags[name] is not None}
    resolve(flags["preset"], **chosen)
    for name, value in {name: flags[name] for name in ("n_models", "epochs", "epoch_size", "patience")}.items():
        if value is not None and value < 1:
            raise InputError(f"--{name} {value}: expected 1 or more")
    return chosen


def _patience(patience: int | None, validating: Sequence[Pair]) -> int | None:
    if patience is not None and not validating:
        raise InputError("--patience needs tracks to judge by; give --validate_on CELLTYPE:ASSAY")
    return patience


def _pairs(database: Database, flag: str, words: Sequence[str] | None) -> list[Pair]:
    """Tracks named as ``CELLTYPE:ASSAY``; names may hold colons themselves."""
    there = {f"{track.dataset}:{track.attribute}": (track.dataset, track.attribute) for track in database.tracks}
    found = []
    for word in words or ():
        if word not in there:
            raise InputError(
                f"{flag} {word}: no such track; expected CELLTYPE:ASSAY, one of {', '.join(list(there)[:8])}"
            )
        if there[word] in found:
            raise InputError(f"{flag} {word}: named twice")
        found.append(there[word])
    return found


def _further_chromosomes(
    database: Database,
    train_chroms: Sequence[str] | None,
    celltypes: Sequence[str] | None,
    assays: Sequence[str] | None,
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
        and (celltypes is None or track.dataset in celltypes)
        and (assays is None or track.attribute in assays)
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


def _write_log(prefix: str, rows: Sequence[Mapping[str, float]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names), *(",".join(f"{row.get(name, float('nan')):.6g}" for name in names) for row in rows)]
    storage.replace_bytes(bundle.path_of(prefix, "log.csv"), ("\n".join(lines) + "\n").encode())


def _result(prefix: str, rows: list[dict[str, float]], epochs: int, seconds: float) -> TrainingResult:
    losses = [row.get("val_loss", row["loss"]) for row in rows]
    # Without validation the last epoch is kept, whatever its loss.
    best = int(np.nanargmin(losses)) if "val_loss" in rows[0] else len(rows) - 1
    stopped = "all epochs done" if len(rows) == epochs else "no better validation loss"
    return TrainingResult(Path(prefix), best + 1, losses[best], rows, stopped, seconds)
