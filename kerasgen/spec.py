"""What the inputs and outputs of a model are made of, in the words of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from db_ingest.errors import InputError
from db_ingest.inputs.strands import pair_strands
from db_ingest.layout.catalogue import Track
from kerasgen.database import Database
from kerasgen.settings import Data, Outputs, Side
from kerasgen.transforms import AGGREGATIONS, TRANSFORMATIONS

SEQUENCE_SOURCE = "seq"


@dataclass(frozen=True)
class Channels:
    """One input or output: the sequence, or channels of tracks over one window.

    Args:
        attributes: ``("seq",)`` or one attribute per channel.
        datasets: one dataset per channel; empty for the sequence.
        flank: half the window in bp.
        aggregation, transformation: see :mod:`kerasgen.transforms`.
        minimum, maximum: a sample with any value outside, after the transformation, is not used; None: no bound.
        bin: bp per bin, each of which is aggregated by itself; None: the whole window is.
        loss: of an output, a word of ``--loss``; None: the default of its head (:mod:`kerasgen.objectives.heads`).
    """

    attributes: tuple[str, ...]
    datasets: tuple[str, ...]
    flank: int
    aggregation: str | None = None
    transformation: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    bin: int | None = None
    loss: str | None = None

    @property
    def is_sequence(self) -> bool:
        """Whether this is the one-hot sequence."""
        return self.attributes == (SEQUENCE_SOURCE,)

    @property
    def width(self) -> int:
        """Channels: 4 for the sequence, else the number of tracks."""
        return 4 if self.is_sequence else len(self.attributes)

    @property
    def length(self) -> int:
        """Window in bp."""
        return 2 * self.flank

    @property
    def is_per_base(self) -> bool:
        """Whether each base keeps its own value."""
        return self.aggregation is None

    @property
    def positions(self) -> int | None:
        """Positions of one sample: bp, or bins; None where the whole window is aggregated."""
        if self.is_per_base:
            return self.length
        return None if self.bin is None else self.length // self.bin

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: ``(positions, width)``, or ``(width,)`` where the whole window is aggregated."""
        return (self.width,) if self.positions is None else (self.positions, self.width)

    @property
    def is_filtered(self) -> bool:
        """Whether samples are left out by value."""
        return self.minimum is not None or self.maximum is not None

    def tracks(self, database: Database) -> list[Track]:
        """The tracks of the channels; none for the sequence."""
        return [database.track(a, d) for a, d in zip(self.attributes, self.datasets, strict=False)]

    def swap(self, strand_map: dict[str, str | None]) -> list[int]:
        """For each channel, the channel whose values it holds once the window is reverse-complemented.

        Raises:
            InputError: a stranded attribute without its partner among the channels.
        """
        keys = list(zip(self.attributes, self.datasets, strict=True))
        result = []
        for attribute, dataset in keys:
            partner = strand_map.get(attribute, attribute)
            if partner is None or (partner, dataset) not in keys:
                raise InputError(
                    f"reverse complement: {attribute!r} ({dataset}) is stranded but its other strand"
                    f"{f' {partner!r}' if partner else ''} is not a channel of the same input or output; "
                    "add it, or name the pairs with --strand_map"
                )
            result.append(keys.index((partner, dataset)))
        return result


@dataclass(frozen=True)
class DataSpec:
    """All inputs and outputs of a model.

    Args:
        inputs, outputs: in the order of the model's.
        pseudocount: added before a logarithm, in training and prediction alike.
        strand_map: attribute -> its partner on the other strand (None: it has none).
    """

    inputs: tuple[Channels, ...]
    outputs: tuple[Channels, ...]
    pseudocount: float = 1.0
    strand_map: tuple[tuple[str, str | None], ...] = ()

    @property
    def widest_input(self) -> int:
        """Largest flank of an input in bp."""
        return max(channels.flank for channels in self.inputs)

    @property
    def widest_output(self) -> int:
        """Largest flank of an output in bp."""
        return max(channels.flank for channels in self.outputs)

    def with_datasets(self, database: Database, datasets: Sequence[str]) -> DataSpec:
        """The same spec over other datasets: one for all outputs, or one per channel."""
        outputs = tuple(
            replace(o, datasets=_spread("--replicates", list(datasets), len(o.attributes))) for o in self.outputs
        )
        for output in outputs:
            output.tracks(database)
        return replace(self, outputs=outputs)

    def with_losses(self, losses: Sequence[str | None] | None) -> DataSpec:
        """The same spec with a loss for each output, or one for all; None: the default of its head."""
        words = _spread("--loss", losses, len(self.outputs))
        return replace(self, outputs=tuple(replace(o, loss=w) for o, w in zip(self.outputs, words, strict=True)))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> DataSpec:
        """The inverse of :meth:`to_json`."""

        def channels(item: dict[str, Any]) -> Channels:
            if "loss" not in item and item["aggregation"] == "binary_max":
                # Written before there were other losses, which are the default now.
                item = {**item, "loss": "mse"}
            return Channels(**{**item, "attributes": tuple(item["attributes"]), "datasets": tuple(item["datasets"])})

        return cls(
            tuple(channels(item) for item in document["inputs"]),
            tuple(channels(item) for item in document["outputs"]),
            document["pseudocount"],
            tuple((a, b) for a, b in document["strand_map"]),
        )


def parse_strand_map(pairs: Sequence[str] | None) -> dict[str, str]:
    """Pairs given as ``plus_attribute,minus_attribute`` words."""
    result = {}
    for pair in pairs or ():
        names = pair.split(",")
        if len(names) != 2 or not all(names):
            raise InputError(f"--strand_map {pair}: expected two attributes joined by a comma")
        result[names[0]] = names[1]
    return result


def from_settings(database: Database, data: Data) -> DataSpec:
    """What the settings of inputs and outputs say about a database.

    Raises:
        InputError: with the flag, for a wrong number of words or an unknown name.
    """
    given = parse_strand_map(data.values.strand_map)
    for name in (*given, *given.values()):
        if name not in database.attributes:
            raise InputError(f"--strand_map: no attribute {name!r}; the database has {', '.join(database.attributes)}")
    strands = pair_strands([t.attribute for t in database.tracks if t.kind == "signal"], given)
    spec = DataSpec(
        inputs=_channels(database, data.inputs),
        outputs=_channels(database, data.outputs),
        pseudocount=data.values.tdb_transformation_pseudocount,
        strand_map=tuple(strands.items()),
    )
    counted = data.counted
    for flag, number, side in (
        ("num_inputs", counted.num_inputs, spec.inputs),
        ("num_outputs", counted.num_outputs, spec.outputs),
    ):
        if number not in (None, len(side)):
            raise InputError(f"--{flag} {number}: the --tdb flags describe {len(side)}")
    widths = {channels.width for channels in spec.outputs}
    if counted.num_tasks is not None and widths != {counted.num_tasks}:
        raise InputError(f"--num_tasks {counted.num_tasks}: the outputs have {', '.join(map(str, widths))} channels")
    return spec


def _channels(database: Database, given: Side) -> tuple[Channels, ...]:
    flag, count = given.flag_prefix, len(given.source_attribute)

    def spread(name: str, values: Sequence[Any] | None) -> tuple[Any, ...]:
        return _spread(f"--{flag}{name}", values, count)

    names, flanks = spread("datasets", given.datasets), spread("flank", given.flank)
    minima, maxima = spread("min", given.min), spread("max", given.max)
    aggregations = spread("aggregation", given.aggregation)
    transformations = spread("transformation", given.transformation)
    bins = spread("bin", given.bin) if isinstance(given, Outputs) else (None,) * count
    result = []
    for i, source in enumerate(given.source_attribute):
        _known(f"--{flag}aggregation", aggregations[i], AGGREGATIONS)
        _known(f"--{flag}transformation", transformations[i], TRANSFORMATIONS)
        if flanks[i] is None or flanks[i] < 1:
            raise InputError(f"--{flag}flank {flanks[i]}: expected a number of bp above 0")
        attributes = tuple(source.split(","))
        if attributes == (SEQUENCE_SOURCE,):
            if given.side == "output":
                raise InputError("--tdb_output_source_attribute seq: the sequence can be an input only")
            if aggregations[i] or transformations[i]:
                raise InputError("--tdb_input_aggregation, --tdb_input_transformation: expected None for seq")
            if not database.has_sequence:
                raise InputError(f"{database.uri}: holds no sequence; ingest one with gen_ingest --ref_fasta")
            result.append(Channels(attributes, (), flanks[i]))
            continue
        attributes, chosen = _datasets(database, given.side, attributes, names[i])
        if transformations[i] == "counts_to_logit" and aggregations[i]:
            raise InputError("counts_to_logit turns a profile into logits; expected aggregation None with it")
        _check_bin(bins[i], flanks[i], aggregations[i])
        channels = Channels(
            attributes, chosen, flanks[i], aggregations[i], transformations[i], minima[i], maxima[i], bins[i]
        )
        channels.tracks(database)
        result.append(channels)
    return tuple(result)


def _spread(flag: str, values: Sequence[Any] | None, count: int) -> tuple[Any, ...]:
    values = tuple(values) if values else (None,)
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise InputError(f"{flag}: {len(values)} values; expected 1 or {count}")
    return values


def _check_bin(size: int | None, flank: int, aggregation: str | None) -> None:
    if size is None:
        return
    if size < 1 or 2 * flank % size:
        raise InputError(f"--tdb_output_bin {size}: expected a divisor of the window, {2 * flank} bp (2 x flank)")
    if aggregation is None:
        raise InputError(
            f"--tdb_output_bin {size}: expected --tdb_output_aggregation {', '.join(AGGREGATIONS)} for what is in a bin"
        )


def _known(flag: str, name: str | None, known: Any) -> None:
    if name is not None and name not in known:
        raise InputError(f"{flag} {name}: unknown; expected None or one of {', '.join(known)}")


def _datasets(
    database: Database, side: str, attributes: tuple[str, ...], names: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Pair attributes with datasets: one of either serves all of the other, else they go in pairs."""
    if names is None:
        return attributes, tuple(database.track(attribute).dataset for attribute in attributes)
    chosen = tuple(names.split(","))
    if len(attributes) == 1:
        attributes = attributes * len(chosen)
    if len(chosen) == 1:
        chosen = chosen * len(attributes)
    if len(chosen) != len(attributes):
        raise InputError(
            f"--tdb_{side}_datasets {names}: {len(chosen)} datasets for {len(attributes)} attributes; "
            "expected one for all or one per channel"
        )
    return attributes, chosen
