"""Where the networks of an ensemble lie beside each other."""

from __future__ import annotations

from pathlib import Path

from kerasgen import bundle


def network_path(prefix: str | Path, number: int) -> Path:
    """``P.keras`` of the first model, ``P.model2.keras`` of the second; ``P.2.keras`` may be a chromosome's."""
    return bundle.path_of(prefix, "keras" if number == 0 else f"model{number + 1}.keras")


def remove_further(prefix: str | Path, n_models: int) -> None:
    """Remove the networks that an earlier, larger ensemble left."""
    number = max(n_models, 1)
    while (path := network_path(prefix, number)).exists():
        path.unlink()
        number += 1
