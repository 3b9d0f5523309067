"""``catalogue.json``: what a database holds. Replacing it in one step is how a change becomes visible."""

from __future__ import annotations

import dataclasses
import datetime
import json
from dataclasses import dataclass, field
from typing import Any

from db_ingest import storage
from db_ingest.errors import InputError, NoDatabaseError
from db_ingest.genome import Genome, shorten_names

FORMAT = "kerasgen"
FORMAT_VERSION = 1
FILE_NAME = "catalogue.json"


@dataclass(frozen=True)
class Track:
    """One committed track: an attribute of a dataset, and the row that holds it.

    Args:
        attribute, dataset: what it measures, in which sample.
        kind: ``"signal"`` or ``"mask"``.
        type: the ingest type, e.g. ``"bigwig"``.
        row: row in ``signal/<attribute>`` or ``mask/<attribute>`` (and ``intervals/<attribute>``).
        source: ``path``, ``bytes`` and ``sha256`` of the file it came from.
        options: settings that changed how the file was read.
        summary: what the ingest counted; see :mod:`db_ingest.report`.
        committed: UTC time, ISO 8601.
    """

    attribute: str
    dataset: str
    kind: str
    type: str
    row: int
    source: dict[str, Any]
    options: dict[str, Any]
    summary: dict[str, Any]
    committed: str

    @property
    def member(self) -> str:
        """Name of the array that holds the track."""
        return f"{self.kind}/{self.attribute}"


@dataclass
class Catalogue:
    """Contents of ``catalogue.json``.

    Args:
        genome: chromosomes and their places.
        commit: number of the last change, counted from 1.
        tracks: committed tracks, in the order of their first commit.
        next_row: member -> lowest row never handed to a writer.
        sequence: source of the sequence, or None where the database has none.
    """

    genome: Genome
    commit: int = 0
    tracks: list[Track] = field(default_factory=list)
    next_row: dict[str, int] = field(default_factory=dict)
    sequence: dict[str, Any] | None = None

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

    def take_row(self, member: str) -> int:
        """Hand out a fresh row of ``member``; it counts as used once the catalogue is saved."""
        row = self.next_row.get(member, 0)
        self.next_row[member] = row + 1
        return row

    def put(self, track: Track) -> None:
        """Add a track, or let it take the place of the one of the same attribute and dataset."""
        old = self.find(track.attribute, track.dataset)
        if old is None:
            self.tracks.append(track)
        else:
            self.tracks[self.tracks.index(old)] = track

    def to_json(self) -> dict[str, Any]:
        """The document as it is stored."""
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
            "tracks": [dataclasses.asdict(track) for track in self.tracks],
        }

    def save(self, uri: str) -> None:
        """Make this the database's catalogue, in one step, as the next commit."""
        self.commit += 1
        document = json.dumps(self.to_json(), indent=1, allow_nan=False)
        storage.replace_bytes(storage.local_path(storage.join(uri, FILE_NAME)), document.encode())


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
            tracks=[Track(**track) for track in document["tracks"]],
            next_row=document["next_row"],
            sequence=document["sequence"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, NoDatabaseError):
            raise
        raise NoDatabaseError(f"{place}: not a kerasgen catalogue ({type(error).__name__}: {error})") from error


def exists(uri: str) -> bool:
    """Whether a catalogue lies at a local path."""
    return storage.local_path(storage.join(uri, FILE_NAME)).is_file()
