"""Loaders that hold all windows in memory and give batches through PyTorch's ``DataLoader``, each its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from loader import BATCH, INPUT, JITTER, OUTPUT, Batch, Stream, chromosome, measure, peaks

__all__ = ["bpnet_lite", "cherimoya", "measure"]


def _settings(job: SimpleNamespace) -> dict[str, Any]:
    import pandas as pd

    centres = peaks(job)
    return {
        "peaks": pd.DataFrame({"chrom": chromosome(job), "start": centres, "end": centres + 1}),
        "sequences": job.fasta,
        "in_window": INPUT,
        "out_window": OUTPUT,
        "max_jitter": JITTER,
        "reverse_complement": True,
        "random_state": 1,
        "batch_size": BATCH,
        "num_workers": 0 if job.workers == 1 else job.workers,
        "pin_memory": False,
    }


def _batches(loader: Any) -> Iterator[Batch]:
    """Its batches, with what its models do first: numbers as float32, and the counts."""
    import torch

    while True:
        for sequence, profile, _ in loader:
            if len(sequence) == BATCH:
                counts = torch.log1p(profile.sum(dim=-1))
                yield sequence.float().numpy(), profile.float().numpy(), counts.numpy()


def cherimoya(job: SimpleNamespace) -> Callable[[], Stream]:
    import torch
    from cherimoya.io import PeakGenerator

    torch.set_num_threads(job.threads)
    pairs = [job.files[i : i + 2] for i in range(0, len(job.files), 2)]

    def start() -> Stream:
        return Stream(_batches(PeakGenerator(negatives=None, negative_ratio=0, signals=pairs, **_settings(job))))

    return start


def bpnet_lite(job: SimpleNamespace) -> Callable[[], Stream]:
    """It flips channels, so the minus strands come last and in the opposite order."""
    import torch
    from bpnetlite.io import PeakGenerator

    torch.set_num_threads(job.threads)
    tracks = len(job.files)
    order = [*range(0, tracks, 2), *range(tracks - 1, 0, -2)] if tracks > 1 else [0]

    def start() -> Stream:
        settings = _settings(job)
        # It cannot do without background; it draws none of it at this ratio.
        settings |= {"negatives": settings["peaks"].iloc[:1], "negative_ratio": 1e-12}
        loader = PeakGenerator(signals=[job.files[track] for track in order], **settings)
        return Stream(_batches(loader), np.array(order).tolist())

    return start
