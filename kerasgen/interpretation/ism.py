"""In-silico mutagenesis: the prediction for every single substitution of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.interpretation.explainers import Attributions
from kerasgen.interpretation.targets import Target
from kerasgen.prediction.predict import outputs_of
from kerasgen.sequence import codes_of

if TYPE_CHECKING:
    import keras


class Mutagenesis:
    """Predicts each sequence with each base at each position.

    A hypothetical score is the prediction with that base less the mean over the four. There is no reference, so
    there is no difference to add up to: ``delta`` and ``difference`` are None.

    Args:
        model: its first input is the sequence; other inputs are held fixed.
        target: what is explained; what it holds fixed is held at the example's.
        batch_size: sequences predicted at a time.
        n_references: unused; there are no references.
    """

    complete = False
    references = None
    batch_size = 64
    one_size = False

    def __init__(self, model: keras.Model, target: Target, *, batch_size: int, n_references: int) -> None:
        self.model, self.target, self.batch_size = model, target, batch_size

    def __call__(self, X: np.ndarray, others: Sequence[np.ndarray], references: np.ndarray | None) -> Attributions:
        """See :class:`kerasgen.interpretation.explainers.Explainer`."""
        held = self.target.held_of(self.model, (X, *others))
        values = np.stack(
            [
                self._mutants(codes, [x[i : i + 1] for x in others], None if held is None else held[i : i + 1])
                for i, codes in enumerate(codes_of(X))
            ]
        )
        hypothetical = (values - values.mean(axis=-1, keepdims=True)).astype(np.float32)
        return Attributions(hypothetical * X, hypothetical, None, None)

    def _mutants(self, codes: np.ndarray, others: Sequence[np.ndarray], held: np.ndarray | None) -> np.ndarray:
        """The target with each base at each position of one sequence, ``(length, 4) float64``."""
        length = len(codes)
        values = np.empty(4 * length)
        for first in range(0, 4 * length, self.batch_size):
            number = np.arange(first, min(first + self.batch_size, 4 * length))
            mutants = np.repeat(codes[None], len(number), axis=0)
            mutants[np.arange(len(number)), number // 4] = number % 4
            inputs = (mutants, *(np.repeat(x, len(number), axis=0) for x in others))
            outputs = outputs_of(self.model, inputs, self.batch_size)
            values[number] = self.target.of(outputs, None if held is None else np.repeat(held, len(number), axis=0))
        return values.reshape(length, 4)
