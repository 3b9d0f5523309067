"""``catalogue.json``: what a database holds. Replacing it in one step is how a change becomes visible."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from db_ingest import storage
from db_ingest.errors import InputError, NoDatabaseError
from db_ingest.layout import members
from db_ingest.layout.genome import Genome, shorten_names

FORMAT = "kerasgen"
FORMAT_VERSION = 3
FILE_NAME = "catalogue.json"


@dataclass(frozen=True)
class Level:
    """A signal once more, in bins.

    Args:
        bin: bp per bin.
        aggregation: ``mean``, ``max`` or ``sum``.
        row: row in ``signal/<attribute>@<bin>``.
        checksums: as of the track.
    """

    bin: int
    aggregation: str
    row: int
    checksums: dict[str, str]


class Provenance(NamedTuple):
    """What a track is made from.

    Args:
        type: the ingest type, e.g. ``"bigwig"``.
        source: ``path``, ``bytes`` and ``sha256`` of the file.
        options: settings that changed how the file was read, those with their default left out.
    """

    type: str
    source: dict[str, Any]
    options: dict[str, Any]

    def gives_the_same(self, other: Provenance) -> bool:
        """Whether the same file, read in the same way, stands behind both: they make the same track."""
        return (self.type, self.source["sha256"], _contents(self.options)) == (
            other.type,
            other.source["sha256"],
            _contents(other.options),
        )


def _contents(options: dict[str, Any]) -> dict[str, Any]:
    """Options without the place of a file whose checksum is among them."""
    return {name: value for name, value in options.items() if f"{name}_sha256" not in options}


@dataclass(frozen=True)
class Track:
    """One committed track: an attribute of a dataset, and the row that holds it.

    Args:
        attribute, dataset: what it measures, in which sample.
        kind: ``"signal"`` or ``"mask"``.
        type, source, options: what it is made from; see :class:`Provenance`.
        folder: ``"signal"``, ``"counts"`` or ``"mask"``: where its array lies.
        row: its row there (and in ``intervals/<attribute>``).
        summary: what the ingest counted; see :mod:`db_ingest.layout.summaries` and :mod:`db_ingest.writing.report`.
        checksums: chromosome -> CRC-32 of its cells; those not there hold no value.
        committed: UTC time, ISO 8601.
        bin: bp that a cell stands for.
        levels: the same in bins.
        stored_as: the attribute's name when the row was handed out, where it was renamed since; its members keep it.
    """

    attribute: str
    dataset: str
    kind: str
    type: str
    folder: str
    row: int
    source: dict[str, Any]
    options: dict[str, Any]
    summary: dict[str, Any]
    checksums: dict[str, str]
    committed: str
    bin: int = 1
    levels: tuple[Level, ...] = ()
    stored_as: str | None = None

    @functools.cached_property
    def json(self) -> str:
        """The track as it is stored; kept, since every commit writes all tracks."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @property
    def name(self) -> str:
        """Dataset and attribute, for messages."""
        return f"{self.dataset} {self.attribute}"

    @property
    def provenance(self) -> Provenance:
        """What it is made from."""
        return Provenance(self.type, self.source, self.options)

    @property
    def transform(self) -> str:
        """What the values had been through before they were ingested: ``"None"`` or ``"arcsinh"``."""
        return str(self.options.get("transform", "None"))

    @property
    def unit(self) -> str:
        """What the values are measured in, as whoever ingested them says; often nothing."""
        return str(self.options.get("unit", ""))

    @property
    def member(self) -> str:
        """Name of the array that holds the track."""
        return members.member(self.folder, self.stored_as or self.attribute, self.bin)

    @property
    def intervals(self) -> str:
        """Name of the array that holds the intervals behind a mask."""
        return members.intervals(self.stored_as or self.attribute)

    def level_member(self, level: Level) -> str:
        """Name of the array that holds one of its levels."""
        return members.member("signal", self.stored_as or self.attribute, level.bin)


@dataclass(frozen=True)
class Staged:
    """A row that is being written, or was when its writer ended; nothing of it is visible.

    Args:
        attribute, dataset: what it will be; both ``"sequence"`` for the sequence.
        type, source, options: as of the track.
        row: its row.
    """

    attribute: str
    dataset: str
    type: str
    source: dict[str, Any]
    options: dict[str, Any]
    row: int

    @property
    def provenance(self) -> Provenance:
        """What it will be made from."""
        return Provenance(self.type, self.source, self.options)


@dataclass
class Catalogue:
    """Contents of ``catalogue.json``.

    Args:
        genome: chromosomes and their places.
        commit: number of the last change, counted from 1.
        tracks: committed tracks, in the order of their first commit.
        staged: rows in the making.
        next_row: attribute -> lowest row never handed to a writer.
        sequence: source, row and checksums of the sequence, or None where the database has none.
    """

    genome: Genome
    commit: int = 0
    tracks: list[Track] = field(default_factory=list)
    staged: list[Staged] = field(default_factory=list)
    next_row: dict[str, int] = field(default_factory=dict)
    sequence: dict[str, Any] | None = None

    def rows(self) -> dict[str, set[int]]:
        """Rows that tracks, their levels and the sequence use, by member."""
        rows: dict[str, set[int]] = {}
        for track in self.tracks:
            rows.setdefault(track.member, set()).add(track.row)
            if track.kind == "mask":
                rows.setdefault(track.intervals, set()).add(track.row)
            for level in track.levels:
                rows.setdefault(track.level_member(level), set()).add(level.row)
        if self.sequence is not None:
            rows[members.SEQUENCE] = {self.sequence["row"]}
        return rows

    def find(self, attribute: str, dataset: str) -> Track | None:
        """The committed track, or None."""
        return next((t for t in self.tracks if (t.attribute, t.dataset) == (attribute, dataset)), None)

    @property
    def attributes(self) -> list[str]:
        """Attributes with at least one track, in order of first commit."""
        return list(dict.fromkeys(track.attribute for track in self.tracks))

    @property
    def datasets(self) -> list[str]:
        """Datasets with at least one track, in order of first commit."""
        return list(dict.fromkeys(track.dataset for track in self.tracks))

    def track(self, attribute: str, dataset: str) -> Track:
        """The committed track; raises :class:`InputError` that lists the known names."""
        found = self.find(attribute, dataset)
        if found is not None:
            return found
        if attribute not in self.attributes:
            raise InputError(
                f"no attribute {attribute!r} in the database; it has {shorten_names(self.attributes, 12) or 'none'}"
            )
        if dataset not in self.datasets:
            raise InputError(f"no dataset {dataset!r} in the database; it has {shorten_names(self.datasets, 12)}")
        having = [track.dataset for track in self.tracks if track.attribute == attribute]
        raise InputError(
            f"dataset {dataset!r} has no {attribute!r}; datasets that have it: {shorten_names(having, 12)}"
        )

    def take_row(self, attribute: str) -> int:
        """Hand out a fresh row of all members of ``attribute``; it counts as used once the catalogue is saved."""
        row = self.next_row.get(attribute, 0)
        self.next_row[attribute] = row + 1
        return row

    def stage(self, attribute: str, dataset: str, provenance: Provenance) -> Staged:
        """The row to write a track to: the one that an interrupted writer had begun with the same, or a fresh one."""
        for staged in [item for item in self.staged if (item.attribute, item.dataset) == (attribute, dataset)]:
            if staged.provenance.gives_the_same(provenance):
                return staged
            self.staged.remove(staged)
        fresh = Staged(attribute, dataset, **provenance._asdict(), row=self.take_row(attribute))
        self.staged.append(fresh)
        return fresh

    def unstage(self, attribute: str, dataset: str) -> None:
        """Forget a row in the making."""
        self.staged = [item for item in self.staged if (item.attribute, item.dataset) != (attribute, dataset)]

    def put(self, track: Track) -> None:
        """Add a track, or let it take the place of the one of the same attribute and dataset."""
        old = self.find(track.attribute, track.dataset)
        if old is None:
            self.tracks.append(track)
        else:
            self.tracks[self.tracks.index(old)] = track
        self.unstage(track.attribute, track.dataset)

    def to_json(self) -> dict[str, Any]:
        """The document as it is stored."""
        return {**self._head(), "tracks": [dataclasses.asdict(track) for track in self.tracks]}

    def _head(self) -> dict[str, Any]:
        genome = self.genome
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "commit": self.commit,
            "genome": {
                "tile": genome.tile,
                "chromosomes": [
                    {"name": name, "size": size, "offset": int(offset)}
                    for name, size, offset in zip(genome.names, genome.sizes, genome.offsets, strict=False)
                ],
            },
            "sequence": self.sequence,
            "next_row": self.next_row,
            "staged": [dict(vars(staged)) for staged in self.staged],
        }

    def save(self, uri: str) -> None:
        """Make this the database's catalogue, in one step, as the next commit."""
        self.commit += 1
        head = [f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in self._head().items()]
        tracks = ",\n".join(f"  {track.json}" for track in self.tracks)
        document = "{\n" + ",\n".join([*head, f' "tracks": [\n{tracks}\n ]']) + "\n}\n"
        try:
            storage.replace_bytes(storage.join(uri, FILE_NAME), document.encode())
        except OSError as error:
            raise storage.explain(uri, error) from error


def now() -> str:
    """Current UTC time as ISO 8601 to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def load(uri: str) -> Catalogue:
    """Read the catalogue of the database at a path or URI.

    Raises:
        NoDatabaseError: nothing there, or not a database of a format version this release reads.
    """
    place = storage.join(uri, FILE_NAME)
    try:
        text = storage.read_bytes(place)
    except NoDatabaseError:
        raise
    except OSError as error:
        reason = f" ({error})" if storage.is_remote(uri) else ""
        raise NoDatabaseError(f"{uri}: no kerasgen database here; expected {FILE_NAME} in it{reason}") from None
    try:
        document = json.loads(text)
        if document.get("format") != FORMAT:
            raise KeyError("format")
        version = document["format_version"]
        if version != FORMAT_VERSION:
            raise NoDatabaseError(f"{place}: format version {version}; this release reads version {FORMAT_VERSION}")
        chromosomes = document["genome"]["chromosomes"]
        genome = Genome(
            tuple(c["name"] for c in chromosomes), tuple(c["size"] for c in chromosomes), document["genome"]["tile"]
        )
        if [c["offset"] for c in chromosomes] != genome.offsets[:-1].tolist():
            raise NoDatabaseError(f"{place}: chromosome offsets are not those of format version {FORMAT_VERSION}")
        return Catalogue(
            genome=genome,
            commit=document["commit"],
            tracks=[_track(entry) for entry in document["tracks"]],
            staged=[Staged(**entry) for entry in document["staged"]],
            next_row=document["next_row"],
            sequence=document["sequence"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, NoDatabaseError):
            raise
        raise NoDatabaseError(f"{place}: not a kerasgen catalogue ({type(error).__name__}: {error})") from error


def _track(entry: dict[str, Any]) -> Track:
    return Track(**{**entry, "levels": tuple(Level(**level) for level in entry["levels"])})


def exists(uri: str) -> bool:
    """Whether a catalogue lies at a path or URI."""
    return storage.exists(storage.join(uri, FILE_NAME))
