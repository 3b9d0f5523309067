"""Predictions of each fold by a model that never saw it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from db_ingest.errors import InputError
from kerasgen.downstream_tasks.folds import Folding
from kerasgen.downstream_tasks.settings import TreeSettings

Preparation = Callable[[np.ndarray], np.ndarray]

_FIXED = {"tree_method": "hist", "max_bin": 256, "subsample": 0.8, "colsample_bytree": 0.8, "min_child_weight": 5}


class Predicted(NamedTuple):
    """Predictions of all elements, each by the model of its fold.

    Args:
        values: ``(n,) float64``: probabilities of class 1, or labels.
        rounds: trees of each fold's model; none for a constant.
        importance: feature -> share of the loss that trees took away by splitting on it, mean of the folds.
    """

    values: np.ndarray
    rounds: tuple[int, ...]
    importance: dict[str, float]


def constant(labels: np.ndarray, folding: Folding) -> Predicted:
    """The mean label of what each fold's models learn from."""
    values = np.empty(len(labels))
    for fold in range(folding.count):
        values[folding.tested(fold)] = labels[folding.all_but(fold)].mean()
    return Predicted(values, (), {})


def boosted(
    features: np.ndarray,
    names: list[str],
    labels: np.ndarray,
    folding: Folding,
    *,
    task: str,
    trees: TreeSettings,
    seed: int = 1234,
    threads: int = 1,
    components: int | None = None,
    kept: int = 0,
) -> Predicted:
    """Predict each fold by gradient-boosted trees.

    Trees are added until the loss on the next fold has not fallen for ``patience`` rounds; then the model is learnt
    anew, with as many trees, from all that is not near the fold predicted. Nothing of that fold is seen before: means,
    deviations and principal components too are those of the elements learnt from.

    Args:
        features: ``(n, features) float32``, NaN where there is no value.
        names: ``(features,)``.
        labels: ``(n,) float64``.
        folding: the folds.
        task: ``"classification"`` (logistic loss) or ``"regression"`` (squared loss).
        trees: settings of the trees.
        seed: seed of the share of elements and features that each tree sees.
        threads: threads of XGBoost.
        components: learn from so many principal components of the standardised features, a missing value taken for
            the feature's mean; None: from the features.
        kept: so many of the last features stand beside the components as they are.
    """
    values = np.empty(len(labels))
    rounds, gains = [], []
    for fold in range(folding.count):
        learn, stop = folding.learning(fold), folding.stopping(fold)
        prepare = fit_preparation(features[learn], components, kept)
        settings = _settings(task, trees, labels[learn], seed, threads)
        watched = prepare(features[stop]), labels[stop]
        count = _rounds_until_stop(prepare(features[learn]), labels[learn], *watched, settings, trees)
        rows, tested = folding.all_but(fold), folding.tested(fold)
        prepare = fit_preparation(features[rows], components, kept)
        settings = _settings(task, trees, labels[rows], seed, threads)
        booster = _train(prepare(features[rows]), labels[rows], settings, count)
        values[tested] = booster.inplace_predict(prepare(features[tested]))
        rounds.append(count)
        gains.append(_gains(booster, names, components, kept))
    everything = sorted({name for gain in gains for name in gain})
    importance = {name: float(np.mean([gain.get(name, 0.0) for gain in gains])) for name in everything}
    return Predicted(values, tuple(rounds), importance)


def check_learnable(labels: np.ndarray, folding: Folding, task: str) -> None:
    """Raise :class:`InputError` if too little is left to learn from once the neighbours of each fold are left out."""
    for fold in range(folding.count):
        for part, rows in (("to learn from", folding.learning(fold)), ("to stop by", folding.stopping(fold))):
            left = labels[rows]
            if len(left) < 2 or (task == "classification" and len(np.unique(left)) < 2):
                raise InputError(
                    f"fold {fold + 1} of {folding.count}: {len(left)} element(s) are left {part}"
                    f"{' of one class' if len(left) else ''}; expected "
                    f"{'both classes' if task == 'classification' else '2 or more'}: a smaller --gap, other --folds, "
                    "or more elements"
                )


def _settings(task: str, trees: TreeSettings, labels: np.ndarray, seed: int, threads: int) -> dict[str, Any]:
    """What XGBoost is told to learn these labels by."""
    return {
        **_FIXED,
        "objective": "binary:logistic" if task == "classification" else "reg:squarederror",
        "eval_metric": "logloss" if task == "classification" else "rmse",
        "base_score": float(labels.mean()),
        "max_depth": trees.max_depth,
        "learning_rate": trees.learning_rate,
        "seed": seed,
        "nthread": threads,
        "verbosity": 0,
    }


def _rounds_until_stop(
    features: np.ndarray,
    labels: np.ndarray,
    other: np.ndarray,
    other_labels: np.ndarray,
    settings: dict[str, Any],
    trees: TreeSettings,
) -> int:
    """Trees at the lowest loss on the other elements; 0 if the mean label is as good."""
    import xgboost

    data = xgboost.QuantileDMatrix(features, labels, nthread=settings["nthread"])
    watched = xgboost.DMatrix(other, other_labels, nthread=settings["nthread"])
    history: dict[str, Any] = {}
    booster = xgboost.train(
        settings, data, trees.rounds, evals=[(watched, "stop")], early_stopping_rounds=trees.patience,
        evals_result=history, verbose_eval=False,
    )  # fmt: skip
    mean = float(labels.mean())
    if settings["eval_metric"] == "logloss":
        without = -np.mean(np.where(other_labels == 1, np.log(mean), np.log1p(-mean)))
    else:
        without = np.sqrt(np.mean((other_labels - mean) ** 2))
    return booster.best_iteration + 1 if booster.best_score < without else 0


def _train(features: np.ndarray, labels: np.ndarray, settings: dict[str, Any], rounds: int) -> Any:
    import xgboost

    data = xgboost.QuantileDMatrix(features, labels, nthread=settings["nthread"])
    return xgboost.train(settings, data, rounds)


def _gains(booster: Any, names: list[str], components: int | None, kept: int) -> dict[str, float]:
    if components is not None:
        names = [f"component{i + 1}" for i in range(components)] + names[len(names) - kept :]
    gain = booster.get_score(importance_type="total_gain")
    total = sum(gain.values())
    if not total:
        return {}
    # XGBoost calls them f0, f1, ...
    return {names[int(key[1:])]: value / total for key, value in gain.items()}


def fit_preparation(features: np.ndarray, components: int | None, kept: int) -> Preparation:
    """What is done to features before trees see them, with numbers that come from these rows alone."""
    if components is None:
        return lambda rows: rows
    from sklearn.decomposition import PCA

    end = features.shape[1] - kept
    features = features[:, :end]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # A feature without any value has no mean.
        mean = np.nan_to_num(np.nanmean(features, axis=0, dtype=np.float64))
        deviation = np.nan_to_num(np.nanstd(features, axis=0, dtype=np.float64))
    deviation[deviation == 0] = 1

    def standardised(rows: np.ndarray) -> np.ndarray:
        return np.nan_to_num((rows[:, :end] - mean) / deviation)

    pca = PCA(components, svd_solver="full").fit(standardised(features))
    return lambda rows: np.hstack([pca.transform(standardised(rows)), rows[:, end:]]).astype(np.float32)
