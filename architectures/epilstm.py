"""Epi-LSTM: a recurrent autoencoder of all tracks, bin after bin along a chromosome.

An encoder LSTM reads the tracks of a bin and what came before and gives a few numbers, the code of the bin; a decoder
LSTM reads the codes and gives the tracks back. The states are inputs and outputs of the model, so that whoever calls
it carries them from one frame of bins to the next.

References:
    The Epi-LSTM of Dsouza et al. 2022, IEEE/ACM Transactions on Computational Biology and Bioinformatics 19:2313. Its
    cell, and a code that is the encoder's hidden state itself, are options; the defaults depart from it: see
    ``docs/decisions.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from architectures.layers import alone

CELLS = {"tanh": "tanh", "softsign": "softsign"}
"""What squashes a cell's candidate and output: the usual, and that of the published cell."""

CODES = ("projected", "state")


@dataclass(frozen=True)
class Config:
    """What an Epi-LSTM is built from.

    Args:
        tracks: number of values per bin.
        bottleneck: number of values in the code of one bin; 24 as published.
        units: number of units of each of the two LSTMs; 0 leaves them out, and with ``direct`` the rest is linear.
        frame: number of bins per call; 100 as published.
        look_ahead: number of bins after a bin that its code may see, and that its reconstruction from codes may see.
        cell: ``"tanh"``, or ``"softsign"`` as published.
        code: ``"projected"``, a linear map of the encoder's hidden state; ``"state"``, as published, that state itself,
            for which ``units`` must be ``bottleneck``.
        direct: whether a bin's tracks also reach its code, and its code its reconstruction, by a linear map of its own.
        mask: whether the input also says which tracks have a value in the bin, as a second half of its channels.
    """

    tracks: int = 1030
    bottleneck: int = 24
    units: int = 64
    frame: int = 100
    look_ahead: int = 8
    cell: str = "tanh"
    code: str = "projected"
    direct: bool = True
    mask: bool = False

    def __post_init__(self) -> None:
        for name, least in (("tracks", 1), ("bottleneck", 1), ("units", 0), ("frame", 1), ("look_ahead", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}; expected {least} or more")
        if self.cell not in CELLS:
            raise ValueError(f"cell {self.cell!r}; expected one of {', '.join(CELLS)}")
        if self.code not in CODES:
            raise ValueError(f"code {self.code!r}; expected one of {', '.join(CODES)}")
        if self.code == "state" and (self.units != self.bottleneck or self.direct):
            raise ValueError(f"code=state; expected direct=false and units={self.bottleneck}, as many as bottleneck")
        if self.units == 0 and (not self.direct or self.look_ahead):
            raise ValueError("units=0 leaves a linear map; expected direct=true and look_ahead=0")

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return self.tracks * (2 if self.mask else 1)

    @property
    def states(self) -> list[tuple[int, ...]]:
        """Shapes of what is carried: of encoder and decoder the hidden and the cell state; the last codes."""
        recurrent: list[tuple[int, ...]] = [(self.units,)] * 4 if self.units else []
        return recurrent + ([(self.look_ahead, self.bottleneck)] if self.look_ahead else [])

    @property
    def inputs(self) -> list[tuple[int, ...]]:
        """Shapes of the model's inputs."""
        return [(self.frame + self.look_ahead, self.channels), *self.states]

    @property
    def outputs(self) -> list[tuple[int, ...]]:
        """Shapes of the model's outputs."""
        return [(self.frame, self.tracks), (self.frame, self.bottleneck), *self.states]

    @classmethod
    def from_data(cls, inputs: Sequence[tuple[int, ...]], outputs: Sequence[tuple[int, ...]], **params: Any) -> Config:
        """Derive sizes from the shapes of one sample; see :func:`build` for what they are.

        Raises:
            ValueError: shapes an Epi-LSTM does not have.
        """
        if len(outputs) < 2 or not inputs or any(len(shape) != 2 for shape in (inputs[0], *outputs[:2])):
            raise ValueError(
                "an Epi-LSTM takes (bins, tracks) and states, and gives (bins, tracks), (bins, code) and states; got "
                f"inputs {list(inputs)}, outputs {list(outputs)}"
            )
        (frame, tracks), (_, bottleneck) = outputs[:2]
        sizes: dict[str, Any] = {
            "tracks": tracks,
            "bottleneck": bottleneck,
            "frame": frame,
            "look_ahead": inputs[0][0] - frame,
            "units": inputs[1][0] if len(inputs) > 4 else 0,
            "mask": inputs[0][1] == 2 * tracks,
        }
        config = cls(**{**params, **sizes})
        if config.inputs != list(inputs) or config.outputs != list(outputs):
            raise ValueError(
                f"an Epi-LSTM of these sizes has inputs {config.inputs} and outputs {config.outputs}; got "
                f"{list(inputs)} and {list(outputs)}"
            )
        return config


def build(config: Config) -> keras.Model:
    """Build an uncompiled Epi-LSTM.

    Inputs, in order: ``frame (batch, frame + look_ahead, channels)``, the bins of a frame and those after it; then the
    states, zeros at the start of a chromosome: ``encoder_h``, ``encoder_c``, ``decoder_h``, ``decoder_c``
    ``(batch, units)`` and ``codes_before (batch, look_ahead, bottleneck)``. Outputs, in order: ``reconstruction
    (batch, frame, tracks)`` of the bins that lie ``look_ahead`` before those of the frame, ``code (batch, frame,
    bottleneck)`` of the frame's bins, and the states after them. Inputs and outputs whose size is 0 are left out.
    """
    frame = keras.Input((config.frame + config.look_ahead, config.channels), name="frame")
    states = [keras.Input(shape, name=name) for name, shape in zip(_state_names(config), config.states, strict=True)]
    code, after_encoder = _part(config, frame, states[:2], "code", config.bottleneck)
    codes = code
    if config.look_ahead:
        codes = layers.Concatenate(axis=1, name="codes")([states[-1], code])
    reconstruction, after_decoder = _part(config, codes, states[2:4], "reconstruction", config.tracks)
    after = [*after_encoder, *after_decoder]
    if config.look_ahead:
        after.append(layers.Cropping1D((config.frame, 0), name="codes_after")(codes))
    return keras.Model(alone([frame, *states]), [reconstruction, code, *after], name="epilstm")


def encoder(model: keras.Model) -> keras.Model:
    """The part that makes codes: ``frame`` and the encoder's states in, ``code`` and the states after it out.

    Args:
        model: what :func:`build` made, or the same loaded from a file.
    """
    recurrent = len(model.inputs) > 4
    states = model.inputs[1:3] if recurrent else []
    outputs = [model.outputs[1], *(model.outputs[2:4] if recurrent else [])]
    return keras.Model(alone([model.inputs[0], *states]), alone(outputs), name="encoder")


def _state_names(config: Config) -> list[str]:
    recurrent = ["encoder_h", "encoder_c", "decoder_h", "decoder_c"] if config.units else []
    return recurrent + (["codes_before"] if config.look_ahead else [])


def _part(config: Config, steps: Any, states: list[Any], name: str, width: int) -> tuple[Any, list[Any]]:
    """Encoder or decoder: ``width`` numbers for each bin of a frame, and the states after the last."""
    terms, after = [], []
    if config.direct:
        here = layers.Cropping1D((0, config.look_ahead), name=f"{name}_here")(steps) if config.look_ahead else steps
        last = f"{name}_direct" if config.units else name
        terms.append(layers.Dense(width, use_bias=not config.units, name=last)(here))
    if config.units:
        seen = steps
        if config.look_ahead:
            seen = layers.Conv1D(config.units, config.look_ahead + 1, activation="gelu", name=f"{name}_ahead")(steps)
        hidden, *after = layers.LSTM(
            config.units,
            activation=CELLS[config.cell],
            return_sequences=True,
            return_state=True,
            name=f"{name}_lstm",
        )(seen, initial_state=states)
        if config.code == "state" and name == "code":
            return hidden, after
        # Beside a direct path the context begins as nothing, so that training begins with what the path gives.
        begin = "zeros" if config.direct else "glorot_uniform"
        last = f"{name}_context" if config.direct else name
        terms.append(layers.Dense(width, kernel_initializer=begin, name=last)(hidden))
    return (layers.Add(name=name)(terms) if len(terms) > 1 else terms[0]), after
