"""BPNet: base-resolution profiles and total counts from sequence; its trunk carries binned and label heads as well.

References:
    Avsec et al. 2021, Nature Genetics 53:354. The trunk is the pre-activation one of the released Kundaje-lab models
    (ENCODE BPNet and ChromBPNet): the first convolution and every sum stay linear, and a ReLU precedes each dilated
    convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from architectures import heads
from architectures.heads import OutputShape
from architectures.layers import alone, full_precision


@dataclass(frozen=True)
class Config:
    """What a BPNet is built from; the defaults are those of the released models.

    Args:
        input_length: bp of sequence.
        output_length: bp of profile.
        num_tasks: channels of the profile head (2 for one stranded sample); 0 for none.
        num_counts: channels of the counts head; 0 for none.
        control_profiles: channels of the control profile input; 0 for none.
        control_counts: channels of the control log counts input; 0 for none.
        filters: channels of the trunk.
        n_dil_layers: dilated convolutions, with dilation 2, 4, 8, ...
        conv1_kernel_size: width of the first convolution, bp.
        dilated_kernel_size: width of the dilated convolutions, positions.
        profile_kernel_size: width of the profile head's convolution, bp.
        padding: ``"valid"`` crops what a convolution cannot see whole, as the released models; ``"same"`` pads by 0.
        control_counts_pooling: ``"logsumexp"`` takes the total of the control counts, ``"none"`` each channel.
        dropout: share of trunk channels dropped, whole along the sequence, before each dilated convolution.
        trunk_length: bp of the input's middle that the trunk sees; 0 for all of it.
        counts_pooling: ``"average"`` takes a dense layer over the mean of the trunk, as the released models;
            ``"rates"`` adds up a rate at each position of the output window, as the logarithm of their mean, which
            learns from far fewer regions; ``"bins"`` has a convolution of its own over the whole input, averaged
            in bins, so that counts see composition far beyond the trunk.
        counts_filters, counts_kernel_size, counts_bin: with ``"bins"``, its channels, its width and the bp per bin.
        counts_dropout: share of pooled channels dropped before the counts, binned and label heads.
        num_binned: channels of the binned head (counts or labels per bin); 0 for none.
        bins, bin_size: number of bins of the binned head, in the middle of the input, and bp per bin.
        num_labels: channels of the label head; 0 for none.
    """

    input_length: int = 2114
    output_length: int = 1000
    num_tasks: int = 2
    num_counts: int = 2
    control_profiles: int = 0
    control_counts: int = 0
    filters: int = 64
    n_dil_layers: int = 8
    conv1_kernel_size: int = 21
    dilated_kernel_size: int = 3
    profile_kernel_size: int = 75
    padding: str = "valid"
    control_counts_pooling: str = "logsumexp"
    trunk_length: int = 0
    counts_pooling: str = "average"
    counts_filters: int = 64
    counts_kernel_size: int = 7
    counts_bin: int = 100
    dropout: float = 0.0
    counts_dropout: float = 0.0
    num_binned: int = 0
    bins: int = 0
    bin_size: int = 0
    num_labels: int = 0

    def __post_init__(self) -> None:
        if self.padding not in ("valid", "same"):
            raise ValueError(f"padding {self.padding!r}; expected valid or same")
        if self.control_counts_pooling not in ("logsumexp", "none"):
            raise ValueError(f"control_counts_pooling {self.control_counts_pooling!r}; expected logsumexp or none")
        if self.counts_pooling not in ("average", "rates", "bins"):
            raise ValueError(f"counts_pooling {self.counts_pooling!r}; expected average, rates or bins")
        if not 0 <= self.trunk_length <= self.input_length:
            raise ValueError(f"trunk_length {self.trunk_length}; expected 0 to the input's {self.input_length}")
        if max(self.num_tasks, self.num_counts, self.num_binned, self.num_labels) < 1:
            raise ValueError("a BPNet needs a profile head, a counts head, a binned head or a label head")
        for name in ("conv1_kernel_size", "dilated_kernel_size", "profile_kernel_size"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} {getattr(self, name)}; expected an odd number")
        if self.looks_at_positions and self.profile_positions < self.output_length:
            raise ValueError(
                f"an input of {self.trunk_bases} bp leaves {self.profile_positions} of the {self.output_length} bp of "
                "profile; lengthen the input, or take fewer dilated layers, a shorter profile_kernel_size or "
                "padding=same"
            )
        if self.num_binned and not 0 < self.bins * self.bin_size <= self.trunk_positions:
            raise ValueError(
                f"an input of {self.trunk_bases} bp leaves {max(self.trunk_positions, 0)} of the {self.bins} bins of "
                f"{self.bin_size} bp; lengthen the input, or take fewer dilated layers or padding=same"
            )
        if self.trunk_positions < 1:
            raise ValueError(f"an input of {self.trunk_bases} bp is too short for {self.n_dil_layers} dilated layers")

    @property
    def trunk_bases(self) -> int:
        """Bases that enter the trunk."""
        return self.trunk_length or self.input_length

    @property
    def trunk_positions(self) -> int:
        """Positions that leave the trunk."""
        if self.padding == "same":
            return self.trunk_bases
        dilated = (self.dilated_kernel_size - 1) * (2 ** (self.n_dil_layers + 1) - 2)
        return self.trunk_bases - (self.conv1_kernel_size - 1) - dilated

    @property
    def looks_at_positions(self) -> bool:
        """Whether a head has an output at each position."""
        return self.num_tasks > 0 or self.counts_pooling == "rates"

    @property
    def profile_positions(self) -> int:
        """Positions of the profile before it is cropped to its output length."""
        return self.trunk_positions - (self.profile_kernel_size - 1 if self.padding == "valid" else 0)

    @classmethod
    def from_data(cls, inputs: Sequence[tuple[int, ...]], outputs: Sequence[tuple[int, ...]], **params: Any) -> Config:
        """Derive lengths and channels from the shapes of one sample.

        Args:
            inputs: ``(length, 4)`` of the sequence, then perhaps ``(length, channels)`` of a control profile and
                ``(channels,)`` of control log counts.
            outputs: ``(length, tasks)`` of the profile, ``(tasks,)`` of the log counts, then, as
                :class:`architectures.heads.OutputShape` of their kinds, ``(bins, channels)`` of counts or labels per
                bin and ``(channels,)`` of labels per window, in this order; any may lack.
            params: all other settings.

        Raises:
            ValueError: shapes a BPNet does not have.
        """
        sequence, *controls = inputs
        if len(sequence) != 2 or sequence[1] != 4:
            raise ValueError(f"a BPNet's first input is the sequence; got an input of shape {sequence}")
        profiles, counts = ([s for s in controls if len(s) == n] for n in (2, 1))
        found = [(_HEADS.index(_head_of(shape)), OutputShape(shape)) for shape in outputs]
        profile_heads, count_heads, binned_heads, label_heads = (
            [shape for place, shape in found if place == wanted] for wanted in range(len(_HEADS))
        )
        if any(len(s) > 1 for s in (profiles, counts, profile_heads, count_heads, binned_heads, label_heads)):
            raise ValueError(
                "a BPNet has at most one control profile and one control counts; one profile, one counts, one binned "
                "and one label output"
            )
        if [*profiles, *counts] != controls or sorted(place for place, _ in found) != [place for place, _ in found]:
            raise ValueError(
                "a BPNet's order is profile before counts, in the inputs and in the outputs, then binned before labels"
            )
        if profiles and profile_heads and profiles[0][0] != profile_heads[0][0]:
            raise ValueError(
                f"control profile of {profiles[0][0]} bp, profile of {profile_heads[0][0]}; expected equal"
            )
        return cls(
            input_length=sequence[0],
            output_length=profile_heads[0][0] if profile_heads else 1,
            num_tasks=profile_heads[0][1] if profile_heads else 0,
            num_counts=count_heads[0][0] if count_heads else 0,
            control_profiles=profiles[0][1] if profiles else 0,
            control_counts=counts[0][0] if counts else 0,
            num_binned=binned_heads[0][1] if binned_heads else 0,
            bins=binned_heads[0][0] if binned_heads else 0,
            bin_size=binned_heads[0].bin if binned_heads else 0,
            num_labels=label_heads[0][0] if label_heads else 0,
            **params,
        )


_HEADS = ("profile", "counts", "binned", "labels")
"""Heads in the order of their outputs."""


def _head_of(shape: tuple[int, ...]) -> str:
    """The head that makes an output."""
    kind = OutputShape(shape).kind
    if len(shape) == 2:
        return "profile" if kind == "profile" else "binned"
    return "labels" if kind == "labels" else "counts"


def build(config: Config) -> keras.Model:
    """Build an uncompiled BPNet.

    Inputs, in order: ``sequence (batch, input_length, 4)``, then those configured of ``control_profile
    (batch, output_length, control_profiles)`` and ``control_logcounts (batch, control_counts)``. Outputs, those
    configured, in order: ``profile_predictions`` logits ``(batch, output_length, num_tasks)``, ``logcount_predictions
    (batch, num_counts)``, ``binned_predictions (batch, bins, num_binned)``, logarithms of counts or logits of labels,
    and ``label_predictions`` logits ``(batch, num_labels)``.
    """
    sequence = keras.Input((config.input_length, 4), name="sequence")
    inputs = [sequence]
    x = sequence
    if config.trunk_bases < config.input_length:
        surplus = config.input_length - config.trunk_bases
        x = layers.Cropping1D((surplus // 2, surplus - surplus // 2), name="trunk_crop")(x)
    x = layers.Conv1D(config.filters, config.conv1_kernel_size, padding=config.padding, name="conv_1")(x)
    for number in range(1, config.n_dil_layers + 1):
        dilation = 2**number
        h = layers.Activation("relu", name=f"relu_{number}")(x)
        if config.dropout:
            h = layers.SpatialDropout1D(config.dropout, name=f"dropout_{number}")(h)
        h = layers.Conv1D(
            config.filters,
            config.dilated_kernel_size,
            dilation_rate=dilation,
            padding=config.padding,
            name=f"dilated_{number}",
        )(h)
        if config.padding == "valid":
            x = layers.Cropping1D(dilation * (config.dilated_kernel_size - 1) // 2, name=f"crop_{number}")(x)
        x = layers.Add(name=f"sum_{number}")([x, h])
    x = layers.Activation("relu", name="relu_last")(x)

    with full_precision():
        outputs = _heads(config, inputs, x)
    return keras.Model(alone(inputs), alone(outputs), name="bpnet")


def _heads(config: Config, inputs: list[Any], x: Any) -> list[Any]:
    """The outputs, in order; adds the inputs of the controls."""
    outputs = []
    if config.num_tasks:
        control = None
        if config.control_profiles:
            control = keras.Input((config.output_length, config.control_profiles), name="control_profile")
            inputs.append(control)
        outputs.append(
            heads.profile(
                x,
                config.num_tasks,
                config.output_length,
                control=control,
                kernel_size=config.profile_kernel_size,
                padding=config.padding,
            )
        )
    if config.num_counts:
        counts = _counts(config, inputs[0], x, "counts" if config.control_counts else "logcount_predictions")
        if config.control_counts:
            control = keras.Input((config.control_counts,), name="control_logcounts")
            inputs.append(control)
            counts = heads.counts_with_control(
                counts, control, config.num_counts, pooling=config.control_counts_pooling
            )
        outputs.append(counts)
    if config.num_binned:
        outputs.append(
            heads.binned(x, config.num_binned, config.bins, pool_size=config.bin_size, dropout=config.counts_dropout)
        )
    if config.num_labels:
        outputs.append(heads.classification(x, config.num_labels, dropout=config.counts_dropout))
    return outputs


def _counts(config: Config, sequence: Any, x: Any, last: str) -> Any:
    """Log counts from the sequence or the trunk: ``(batch, num_counts)``."""
    if config.counts_pooling == "bins":
        h = layers.Conv1D(
            config.counts_filters, config.counts_kernel_size, padding="same", activation="relu", name="counts_conv"
        )(sequence)
        h = layers.AveragePooling1D(config.counts_bin, name="pool")(h)
        # Bins differ little between regions: without a common scale, the dense layer barely moves.
        h = layers.Flatten(name="counts_bins")(layers.BatchNormalization(name="counts_scale")(h))
        if config.counts_dropout:
            h = layers.Dropout(config.counts_dropout, name="counts_dropout")(h)
        return layers.Dense(config.num_counts, name=last)(h)
    if config.counts_pooling == "rates":
        if config.counts_dropout:
            x = layers.SpatialDropout1D(config.counts_dropout, name="counts_dropout")(x)
        rates = heads.at_positions(
            x,
            config.num_counts,
            config.output_length,
            kernel_size=config.profile_kernel_size,
            padding=config.padding,
            name="counts_conv",
            last="counts_crop",
        )
        return heads.counts_from_rates(rates, last)
    return heads.counts(x, config.num_counts, last, dropout=config.counts_dropout)
