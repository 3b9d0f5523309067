"""What tests of models of tracks share."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import pytest

from kerasgen.track_models.epilstm.loop import EpilstmLoop
from kerasgen.track_models.epilstm.stateful import StatefulModel


@pytest.fixture(scope="session", autouse=True)
def _alike_models_are_compiled_once() -> Iterator[None]:
    """Each training of an Epi-LSTM lends its compiled steps to those after it, as the first of an ensemble does."""
    real, lent = EpilstmLoop._compiled, {}

    def compiled(self: EpilstmLoop, model: keras.Model) -> StatefulModel:
        alike = (self._config, self._training.batch_size)
        self._stateful = self._stateful or lent.get(alike)
        lent[alike] = real(self, model)
        return lent[alike]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpilstmLoop, "_compiled", compiled)
        yield
