"""What the inputs and outputs of a model are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from db_ingest.settings import Setting, Settings

_SourceAttribute = Annotated[
    Sequence[str],
    Setting(
        "{what}; a space between {side}s, a comma between channels of one {side}; in this group, a single word serves "
        "all {side}s",
        group="inputs and outputs",
        metavar="ATTRIBUTE[,ATTRIBUTE...]",
    ),
]
_Flank = Annotated[
    Sequence[int], Setting("half the window of each {side}", unit="bp", group="inputs and outputs")
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Side(Settings):
    """What the inputs, or the outputs, of a model are made of: one word for each, or a single word for all."""

    source_attribute: _SourceAttribute
    datasets: Annotated[
        Sequence[str | None] | None,
        Setting(
            "datasets of each {side}: one for all its channels, or one per channel, joined by commas; may be left out "
            "where only one dataset has the attribute",
            group="inputs and outputs",
            metavar="DATASET[,DATASET...]",
        ),
    ] = None
    flank: _Flank
    aggregation: Annotated[
        Sequence[str | None] | None,
        Setting(
            "aggregation of each {side} over its positions: None (a profile), sum, average, max or binary_max",
            group="inputs and outputs",
            metavar="NAME",
        ),
    ] = None
    transformation: Annotated[
        Sequence[str | None] | None,
        Setting(
            "transformation of each {side} after its aggregation: None, log, log10, asinh or counts_to_logit",
            group="inputs and outputs",
            metavar="NAME",
        ),
    ] = None
    min: Annotated[
        Sequence[float | None] | None,
        Setting(
            "use no sample with a lower value in this {side}, after its transformation",
            unit="",
            group="inputs and outputs",
            metavar="VALUE",
        ),
    ] = None
    max: Annotated[
        Sequence[float | None] | None,
        Setting(
            "use no sample with a higher value in this {side}, after its transformation",
            unit="",
            group="inputs and outputs",
            metavar="VALUE",
        ),
    ] = None

    @property
    def side(self) -> str:
        """``input`` or ``output``."""
        return self.flag_words["side"]


@dataclass(frozen=True, kw_only=True)
class Inputs(Side):
    """What the inputs of a model are made of."""

    flag_prefix: ClassVar[str] = "tdb_input_"
    flag_words: ClassVar[Mapping[str, str]] = {
        "side": "input",
        "what": "what each input is made of: seq (the sequence) or attributes",
    }
    source_attribute: _SourceAttribute = ("seq",)
    flank: _Flank = (1057,)


@dataclass(frozen=True, kw_only=True)
class Outputs(Side):
    """What the outputs of a model predict."""

    flag_prefix: ClassVar[str] = "tdb_output_"
    flag_words: ClassVar[Mapping[str, str]] = {"side": "output", "what": "what each output predicts: attributes"}
    flank: _Flank = (500,)
    bin: Annotated[
        Sequence[int | None] | None,
        Setting(
            "size of the bins of each output, each of which is aggregated by itself; None: the whole window is",
            unit="bp",
            group="inputs and outputs",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Values(Settings):
    """How the values of inputs and outputs are read."""

    tdb_transformation_pseudocount: Annotated[
        float,
        Setting("number added before a logarithm; kept with the model", unit="", group="inputs and outputs", least=0),
    ] = 1.0
    strand_map: Annotated[
        Sequence[str] | None,
        Setting(
            "pairs of attributes that are each other's strand; names that differ only in plus/minus pair up by "
            "themselves",
            group="inputs and outputs",
            metavar="PLUS,MINUS",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Counted(Settings):
    """How many inputs, outputs and channels the caller expects; only checked."""

    num_inputs: Annotated[
        int | None,
        Setting("number of inputs, checked against those described", unit="inputs", group="inputs and outputs"),
    ] = None
    num_outputs: Annotated[
        int | None,
        Setting("number of outputs, checked against those described", unit="outputs", group="inputs and outputs"),
    ] = None
    num_tasks: Annotated[
        int | None,
        Setting(
            "number of channels per output, checked against those described (2 for a stranded sample)",
            unit="channels",
            group="inputs and outputs",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Data(Settings):
    """All that describes the inputs and outputs of a model."""

    inputs: Inputs = field(default_factory=Inputs)
    outputs: Outputs
    values: Values = field(default_factory=Values)
    counted: Counted = field(default_factory=Counted)
