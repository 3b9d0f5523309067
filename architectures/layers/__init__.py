"""Layers that Keras lacks, registered so that saved models load with ``safe_mode``."""

from architectures.layers.building import alone, full_precision, make_metrics
from architectures.layers.factors import FactorProduct
from architectures.layers.pooling import LogSumExp, log
from architectures.layers.sequence import OneHot

__all__ = ["FactorProduct", "LogSumExp", "OneHot", "alone", "full_precision", "log", "make_metrics"]
