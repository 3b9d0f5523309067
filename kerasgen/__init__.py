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
    "Avocado": "kerasgen.imputation.avocado",
    "Database": "kerasgen.database",
    "KerasgenError": "db_ingest.errors",
    "InputError": "db_ingest.errors",
    "RunError": "db_ingest.errors",
    "as_tf_dataset": "kerasgen.feeding",
    "downstream": "kerasgen.elements.downstream",
    "ingest": "db_ingest.ingest",
    "open_bundle": "kerasgen.bundle",
    "predict_tdb": "kerasgen.prediction",
    "report": "kerasgen.reporting",
    "score_bpnet": "kerasgen.scoring.bpnet",
    "shap": "kerasgen.interpretation.shap",
    "simulate": "kerasgen.simulation",
    "train": "kerasgen.training",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # Each name is imported at its first use: Keras and TileDB take seconds.
    if name not in _HOMES:
        raise AttributeError(f"module 'kerasgen' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
