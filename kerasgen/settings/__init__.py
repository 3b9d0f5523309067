"""The settings of training, prediction and interpretation, each told once: dataclasses of those that go together.

See :mod:`db_ingest.settings` for how flags, keywords, YAML keys, docstrings and tables come from them.
"""

from __future__ import annotations

from kerasgen.settings.data import Counted, Data, Inputs, Outputs, Side, Values
from kerasgen.settings.samples import CENTRES, GC_LEVELS, Background, Folds, Regions, Samples, Sampling
from kerasgen.settings.shared import BatchSize, LoadModel, ModelPrefix, Overwrite, Resume, Seed, TdbArray, Title
from kerasgen.settings.training import Devices, Loading, Losses, Model, Optimisation, Running, Training

__all__ = [
    "CENTRES",
    "GC_LEVELS",
    "Background",
    "BatchSize",
    "Counted",
    "Data",
    "Devices",
    "Folds",
    "Inputs",
    "LoadModel",
    "Loading",
    "Losses",
    "Model",
    "ModelPrefix",
    "Optimisation",
    "Outputs",
    "Overwrite",
    "Regions",
    "Resume",
    "Running",
    "Samples",
    "Sampling",
    "Seed",
    "Side",
    "TdbArray",
    "Title",
    "Training",
    "Values",
]
