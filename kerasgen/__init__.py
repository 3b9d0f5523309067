"""kerasgen: genomic tracks, peaks and sequence in one TileDB database, and sequence models trained from it.

Example:
    >>> import kerasgen
    >>> db = kerasgen.Database("db")                                                   # doctest: +SKIP
    >>> db.sequence(["chr1"], [10_000], 2114).shape                                    # doctest: +SKIP
    (1, 2114)
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Avocado": "kerasgen.track_models.avocado.model",
    "Database": "kerasgen.database",
    "KerasgenError": "db_ingest.errors",
    "InputError": "db_ingest.errors",
    "RunError": "db_ingest.errors",
    "as_tf_dataset": "kerasgen.loader.prefetch",
    "attribute": "kerasgen.interpretation.attribute",
    "downstream": "kerasgen.downstream_tasks.downstream",
    "embed": "kerasgen.track_models.embed",
    "impute": "kerasgen.track_models.impute",
    "ingest": "db_ingest.writing.ingest",
    "open_bundle": "kerasgen.bundle",
    "predict": "kerasgen.prediction.predict",
    "predict_tdb": "kerasgen.prediction.predict_tdb",
    "report": "kerasgen.reports.page",
    "score_bpnet": "kerasgen.scoring.profile_counts",
    "shap": "kerasgen.interpretation.explain_tdb",
    "simulate": "kerasgen.simulation",
    "train": "kerasgen.training.train",
    "train_avocado": "kerasgen.track_models.avocado.train",
    "train_epilstm": "kerasgen.track_models.epilstm.train",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # Each name is imported at its first use: Keras and TileDB take seconds.
    if name not in _HOMES:
        raise AttributeError(f"module 'kerasgen' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
