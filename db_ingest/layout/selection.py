"""Which tracks of a database are meant by names of attributes and datasets."""

from __future__ import annotations

from collections.abc import Sequence

from db_ingest.errors import InputError
from db_ingest.layout.catalogue import Catalogue, Track
from db_ingest.layout.genome import shorten_names

_MOST_NAMES = 12


def choose_tracks(
    catalogue: Catalogue, attributes: Sequence[str] | None = None, datasets: Sequence[str] | None = None
) -> list[Track]:
    """Tracks of some attributes and some datasets, in the order of the catalogue.

    Args:
        catalogue: the catalogue.
        attributes, datasets: None: all.

    Raises:
        InputError: a name that the database lacks, or one of which no track is left.
    """
    for names, known, what in (
        (attributes, catalogue.attributes, "attribute"),
        (datasets, catalogue.datasets, "dataset"),
    ):
        for name in names or ():
            if name not in known:
                raise InputError(
                    f"no {what} {name!r} in the database; it has {shorten_names(known, _MOST_NAMES) or 'none'}"
                )
    chosen = [
        track
        for track in catalogue.tracks
        if (attributes is None or track.attribute in attributes) and (datasets is None or track.dataset in datasets)
    ]
    for name in attributes or ():
        if name not in [track.attribute for track in chosen]:
            raise InputError(f"none of the datasets named has {name!r}")
    for name in datasets or ():
        if name not in [track.dataset for track in chosen]:
            raise InputError(f"dataset {name!r} has none of the attributes named")
    return chosen
