"""Steps of training with our loader, and on one batch again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from child import peak_bytes

if TYPE_CHECKING:
    import keras

__all__ = ["bpnet", "measure"]


class Trained(NamedTuple):
    """A compiled model, the batches of an epoch by its number, and as many times one batch."""

    model: keras.Model
    epoch: Callable[[int], Any]
    fixed: Any


def bpnet(job: SimpleNamespace) -> Callable[[], Trained]:
    """The published BPNet on Keras's backend of the environment."""
    import keras
    from ours_loader import generators

    import architectures
    from kerasgen.objectives.masked import MaskedMSE
    from kerasgen.objectives.profile import MultinomialNLL

    class Fixed(keras.utils.PyDataset):
        def __init__(self, batches: Any) -> None:
            super().__init__()
            self.batch, self.many = batches[0], len(batches)

        def __len__(self) -> int:
            return self.many

        def __getitem__(self, index: int) -> Any:
            return self.batch

    def start() -> Trained:
        epoch = generators(job)
        fixed = Fixed(epoch(0))
        sequence, (profile, counts) = fixed.batch
        family = architectures.get("bpnet")
        config = family.Config.from_data([sequence.shape[1:]], [profile.shape[1:], counts.shape[1:]])
        model = family.build(config)
        model.compile(keras.optimizers.Adam(1e-3), loss=[MultinomialNLL(), MaskedMSE()])
        return Trained(model, epoch, fixed)

    return start


def measure(start: Callable[[], Trained], job: SimpleNamespace) -> dict[str, Any]:
    """Seconds a step, by turns with the loader and without, each of several rounds but the first, which compiles."""
    trained = start()
    taken: dict[str, list[float]] = {"loader": [], "fixed": []}
    for number in range(job.rounds + 1):
        for name, batches in (("loader", trained.epoch(number)), ("fixed", trained.fixed)):
            began = time.perf_counter()
            trained.model.fit(batches, epochs=1, shuffle=False, verbose=0)
            if number:
                taken[name].append((time.perf_counter() - began) / len(batches))
    return {**taken, "peak": peak_bytes()}
