"""Scores of profile and count predictions, beside their baselines: what ``gen_score_bpnet`` does."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.settings import Setting, takes_settings
from kerasgen.objectives import heads, metrics
from kerasgen.prediction.files import Predictions, read_predictions
from kerasgen.scoring.agreement import Scores as HeadScores
from kerasgen.scoring.agreement import head_scores, measured
from kerasgen.scoring.agreement import number as _number
from kerasgen.settings import Title

log = logging.getLogger("kerasgen")

_SMOOTHING_SIGMA, _SMOOTHING_WIDTH = 7.0, 81


class Scores(NamedTuple):
    """What a scoring found and wrote.

    Args:
        tasks: one dict per task: ``task``, ``name``, ``n``, and those there are of ``counts``, ``profile``, ``binned``
            and ``labels`` (source -> metric -> value; the sources are ``model`` and the baselines: ``mean``, or
            ``mean_profile`` and ``other_locus`` of profiles, ``shuffled`` and ``replicate``).
        files: paths written.
    """

    tasks: list[dict[str, Any]]
    files: list[Path]


@takes_settings
def score_bpnet(
    predictions: Annotated[str, Setting("P.predictions of gen_predict_tdb", group="files", metavar="FILE")],
    outf: Annotated[
        str,
        Setting(
            "P of the files written: P.json, P.tsv, P.task_N.loci.tsv and P.task_N.png", group="files", metavar="P"
        ),
    ],
    *,
    title: Title = "",
    tasks: Annotated[
        Sequence[int] | None, Setting("tasks (output channels) to score, from 0 (default: all)", unit="")
    ] = None,
    label_min_to_score: Annotated[
        float | None, Setting("lowest log count label in a task; loci with a lower one are not scored in it", unit="")
    ] = None,
    label_max_to_score: Annotated[
        float | None, Setting("highest log count label in a task; loci with a higher one are not scored in it", unit="")
    ] = None,
    replicates: Annotated[
        Sequence[str] | None,
        Setting(
            "two datasets of the database that replicate the experiment: how well they agree is the ceiling",
            metavar="DATASET",
        ),
    ] = None,
    tdb_array: Annotated[
        str | None,
        Setting(
            "path or s3:// URI of the database now, if it has moved; needed with --replicates only",
            group="database",
            metavar="URI",
        ),
    ] = None,
    smooth_observed_profile: Annotated[
        bool, Setting("smooth observed profiles (Gaussian, sigma 7 bp) before scoring")
    ] = False,
    smooth_predicted_profile: Annotated[
        bool, Setting("smooth predicted profiles (Gaussian, sigma 7 bp) before scoring")
    ] = False,
    seed: Annotated[int, Setting("seed of the shuffled baselines", unit="", group="running", least=0)] = 1234,
) -> Scores:
    """Score predicted profiles and counts of each task, each measure beside its baselines.

    Counts: Pearson, Spearman and MSE of log counts. Profiles, one value per locus: Pearson of the predicted
    probabilities with the observed counts; Jensen-Shannon distance (natural log); normalised JSD, 1 - JSD / JSD of a
    flat profile (1 is perfect, 0 no better than flat); multinomial negative log likelihood. Baselines: the mean
    observed profile of the other scored loci, the observed profile with its positions shuffled, another locus's
    prediction, and one replicate taken as the prediction of the other. Counts per bin: Pearson, Spearman and Poisson
    deviance over all bins of all loci; of other values per bin, MSE in place of the deviance. Labels: areas under the
    ROC and precision-recall curves and log loss.

    Raises:
        InputError: not a predictions file, an unknown task or dataset, or a task without loci to score.
    """
    found = read_predictions(predictions)
    if found.attributes.get("held_out") == "False":
        log.warning(
            "warning: %s holds chromosomes the model was not tested on (%s); scores there do not generalise",
            predictions, found.attributes.get("chromosomes", ""),
        )  # fmt: skip
    widths = [o.width for o in found.spec.outputs]
    chosen = list(tasks) if tasks is not None else list(range(max(widths)))
    for task in chosen:
        if not 0 <= task < max(widths):
            raise InputError(f"--tasks {task}: the predictions have tasks 0 to {max(widths) - 1}")
    pair = _replicate_labels(found, replicates, tdb_array) if replicates else None

    from kerasgen.scoring import plots

    results, files = [], []
    rng = np.random.default_rng(seed)
    for task in chosen:
        keep = _kept(found, task, label_min_to_score, label_max_to_score)
        if keep.sum() < 2:
            raise InputError(
                f"{predictions}: task {task} has {int(keep.sum())} loci within the bounds; expected 2 or more"
            )
        result: dict[str, Any] = {"task": task, "name": _name(found, task), "n": int(keep.sum())}
        table = {"chromosome": found.coords[keep, 0], "centre": found.coords[keep, 1], "strand": found.coords[keep, 2]}
        smooth = (smooth_observed_profile, smooth_predicted_profile)
        result |= _output_scores(_Scored(found, task, keep, pair, rng), table, smooth)
        if not heads.in_order(result):
            raise InputError(f"{predictions}: task {task} has fewer than 2 known labels; there is nothing to score")
        results.append(result)
        files.append(_write_table(Path(f"{outf}.task_{task}.loci.tsv"), table))
        files.append(plots.draw_scores(Path(f"{outf}.task_{task}.png"), title or Path(outf).name, result, table))
    document = {
        "title": title,
        "predictions": str(predictions),
        "label_min_to_score": label_min_to_score,
        "label_max_to_score": label_max_to_score,
        "replicates": list(replicates or []),
        "smooth_observed_profile": smooth_observed_profile,
        "smooth_predicted_profile": smooth_predicted_profile,
        "seed": seed,
        "provenance": found.attributes,
        "tasks": results,
    }
    storage.replace_bytes(f"{outf}.json", json.dumps(document, indent=1).encode())
    rows = summary_rows(results)
    storage.replace_bytes(f"{outf}.tsv", "".join("\t".join(map(str, row)) + "\n" for row in rows).encode())
    return Scores(results, [Path(f"{outf}.json"), Path(f"{outf}.tsv"), *files])


def summary_rows(tasks: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The scores as rows of text, a header first: task, measure, what was scored, value (medians over loci)."""
    rows: list[tuple[str, ...]] = [("task", "loci", "head", "measure", "source", "value")]
    for result in tasks:
        for head in heads.in_order(result):
            for source, values in result[head].items():
                for name, value in values.items():
                    shown = "nan" if value is None else f"{value:.4f}"
                    rows.append((f"{result['task']} {result['name']}", str(result["n"]), head, name, source, shown))
    return rows


def _name(found: Predictions, task: int) -> str:
    places = [found.profile, found.counts, *range(len(found.spec.outputs))]
    outputs = [found.spec.outputs[place] for place in places if place is not None]
    output = next((each for each in outputs if task < each.width), outputs[0])
    task = min(task, output.width - 1)
    return f"{output.datasets[task]} {output.attributes[task]}"


def _log_counts(found: Predictions, place: int, task: int) -> tuple[np.ndarray, np.ndarray]:
    """Observed and predicted counts of an output's channel, as logarithms, ``(n,)``."""
    head, pseudocount = heads.of(found.spec.outputs[place]), found.spec.pseudocount
    label, expected = found.labels[place][:, task], head.expected(found.outputs[place][:, task])
    return head.log_counts(label, pseudocount), head.log_counts(expected, pseudocount)


def _kept(found: Predictions, task: int, low: float | None, high: float | None) -> np.ndarray:
    keep = np.ones(len(found.coords), bool)
    if found.counts is not None and task < found.labels[found.counts].shape[1]:
        label = _log_counts(found, found.counts, task)[0]
        keep &= ~np.isnan(label)
        keep &= label >= low if low is not None else True
        keep &= label <= high if high is not None else True
    elif low is not None or high is not None:
        raise InputError(f"--label_min_to_score, --label_max_to_score: task {task} has no counts output to judge by")
    return keep


def _count_agreement(label: np.ndarray, other: np.ndarray) -> dict[str, float | None]:
    return measured(heads.KINDS["counts"].metrics, label, other)


class _Scored(NamedTuple):
    """What of a predictions file is scored together.

    Args:
        found: the file.
        task: channel of the outputs.
        keep: ``(n,) bool``, the loci.
        pair: labels of two replicates, each one array per output.
        rng: of the shuffled baselines.
    """

    found: Predictions
    task: int
    keep: np.ndarray
    pair: list[list[np.ndarray]] | None
    rng: np.random.Generator


def _count_scores(
    scored: _Scored,
    place: int,
    table: dict[str, np.ndarray],
) -> dict[str, dict[str, float | None]]:
    found, task, keep, pair, rng = scored
    label, predicted = (values[keep] for values in _log_counts(found, place, task))
    table["observed_log_count"], table["predicted_log_count"] = label, predicted
    scores = {
        "model": _count_agreement(label, predicted),
        "mean": _count_agreement(label, np.full(len(label), label.mean())),
        "shuffled": _count_agreement(label, rng.permutation(predicted)),
    }
    if pair is not None:
        head = heads.of(found.spec.outputs[place])
        each = [head.log_counts(labels[place][keep, task], found.spec.pseudocount) for labels in pair]
        scores["replicate"] = _count_agreement(*each)
    return scores


def _output_scores(
    scored: _Scored,
    table: dict[str, np.ndarray],
    smooth: tuple[bool, bool],
) -> dict[str, HeadScores]:
    """Scores of every output that has the task, by its name; adds the values of the loci to the table."""
    found, task, keep, pair, rng = scored
    outputs = found.spec.outputs
    places = {name: place for place, name in enumerate(heads.names_of(outputs)) if task < outputs[place].width}
    scores: dict[str, HeadScores] = {}
    for name in heads.in_order(places):
        place, kind = places[name], heads.name_of_kind(name)
        columns: dict[str, np.ndarray] = {}
        if kind == "counts":
            scores[name] = _count_scores(scored, place, columns)
        elif kind == "profile":
            scores[name] = _profile_scores(scored, place, columns, smooth)
        else:
            labels, predicted = (each[place][keep, ..., task] for each in (found.labels, found.outputs))
            replicates = None if pair is None else [each[place][keep, ..., task] for each in pair]
            scores[name] = head_scores(heads.of(outputs[place]), labels, predicted, rng, replicates)
        table.update((column if name == kind else f"{name}.{column}", values) for column, values in columns.items())
    return {name: each for name, each in scores.items() if each}


def _profile_scores(
    scored: _Scored,
    place: int,
    table: dict[str, np.ndarray],
    smooth: tuple[bool, bool],
) -> dict[str, dict[str, float | None]]:
    from scipy.special import softmax

    found, task, keep, pair, rng = scored
    counts = found.labels[place][keep, :, task].astype(np.float64)
    logits = found.outputs[place][keep, :, task].astype(np.float64)
    has_counts = np.nan_to_num(counts).sum(axis=1) > 0
    observed = _smoothed(counts) if smooth[0] else counts
    predicted = softmax(logits, axis=1)
    predicted = _smoothed(predicted) if smooth[1] else predicted
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = observed / observed.sum(axis=1, keepdims=True)
    # Each locus is left out of the mean it is compared with.
    known = np.where(has_counts[:, None], np.nan_to_num(shares), 0.0)
    mean = (known.sum(axis=0) - known) / max(has_counts.sum() - 1, 1)
    sources = {
        "model": (observed, predicted),
        "mean_profile": (observed, mean),
        "other_locus": (observed, np.roll(predicted, 1, axis=0)),
        "shuffled": (observed, rng.permuted(np.nan_to_num(shares), axis=1)),
    }
    if pair is not None:
        first, second = (labels[place][keep, :, task].astype(np.float64) for labels in pair)
        sources["replicate"] = (_smoothed(first), _smoothed(second)) if smooth[0] else (first, second)
    scores: dict[str, dict[str, float | None]] = {}
    for source, (label, profile) in sources.items():
        usable = has_counts & (np.nan_to_num(label).sum(axis=1) > 0) & (profile.sum(axis=1) > 0)
        values = _locus_scores(label[usable], profile[usable])
        scores[source] = {name: _number(np.nanmedian(v)) if len(v) else None for name, v in values.items()}
        for name in heads.KINDS["profile"].metrics:
            column = np.full(len(counts), np.nan)
            column[usable] = values[name]
            table[f"{name}.{source}"] = column
    return scores


def _locus_scores(label: np.ndarray, profile: np.ndarray) -> dict[str, np.ndarray]:
    shares = profile / profile.sum(axis=1, keepdims=True)
    # A thousandth of a flat profile keeps the likelihood of a zero finite.
    logits = np.log(0.999 * shares + 0.001 / shares.shape[1])
    return {
        name: metrics.METRICS[name](label, logits if name == "mnll" else profile)
        for name in heads.KINDS["profile"].metrics
    }


def _smoothed(profiles: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(profiles, _SMOOTHING_SIGMA, axis=1, radius=_SMOOTHING_WIDTH // 2, mode="nearest")


def _replicate_labels(found: Predictions, replicates: Sequence[str], tdb_array: str | None) -> list[list[np.ndarray]]:
    """Labels of the same windows from each of two datasets."""
    from kerasgen.database import Database
    from kerasgen.loader.builder import BatchBuilder
    from kerasgen.regions.windows import Windows

    if len(replicates) != 2:
        raise InputError(f"--replicates {' '.join(replicates)}: expected two datasets")
    database = Database(tdb_array or found.attributes["database"])
    windows = Windows(
        np.array([database.genome.index(name) for name in found.coords[:, 0]]),
        found.coords[:, 1].astype(np.int64),
        found.coords[:, 2] == "-",
        np.zeros(len(found.coords), bool),
    )
    result = []
    for name in replicates:
        builder = BatchBuilder(database, found.spec.with_datasets(database, [name]))
        parts = [builder.outputs(windows.take(slice(i, i + 256))) for i in range(0, len(found.coords), 256)]
        result.append([np.concatenate(columns) for columns in zip(*parts, strict=True)])
    return result


def _write_table(path: Path, table: dict[str, np.ndarray]) -> Path:
    lines = ["\t".join(table)]
    for row in zip(*table.values(), strict=True):
        lines.append("\t".join(f"{v:.6g}" if isinstance(v, (float, np.floating)) else str(v) for v in row))
    storage.replace_bytes(path, ("\n".join(lines) + "\n").encode())
    return path
