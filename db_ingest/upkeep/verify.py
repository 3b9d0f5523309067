"""Read a database again, all of it, and compare it with its catalogue, and with the files it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.members import SEQUENCE
from db_ingest.layout.selection import choose_tracks
from db_ingest.settings import Setting, TdbArray, takes_settings


@dataclass
class Verification:
    """What was found.

    Args:
        checked: members of the database that were read: tracks, levels of tracks and the sequence.
        damage: a line for each difference between what is stored and what should be.
        damaged: names of the tracks that those lines are about.
        sources: a line for each source that is not there any more, has changed or could not be compared.
    """

    checked: int = 0
    damage: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


@takes_settings
def verify(
    tdb_array: TdbArray,
    *,
    sources: Annotated[
        bool, Setting("also read the files that tracks came from again and compare them base for base")
    ] = False,
    attributes: Annotated[
        Sequence[str] | None,
        Setting(
            "check the tracks of these attributes alone; the sequence is checked when neither attributes nor datasets "
            "are named",
            metavar="NAME",
        ),
    ] = None,
    datasets: Annotated[
        Sequence[str] | None, Setting("check the tracks of these datasets alone", metavar="NAME")
    ] = None,
    chrom_alias: Annotated[
        str | None, Setting("with --sources: the table of chromosome names that gen_ingest was given", metavar="FILE")
    ] = None,
    cache_dir: Annotated[
        str | None, Setting("with --sources: folder where files from URIs are kept", metavar="FOLDER")
    ] = None,
    threads: Annotated[
        int, Setting("number of chunks or files worked on at a time; 0: as many as there are cores", unit="chunks")
    ] = 0,
) -> Verification:
    """Read every track of a database again and compare it with what the catalogue says was written.

    Compared are the CRC-32 of each chromosome of the sequence, signals, masks and binned levels, the sums of signals,
    and the number of intervals and of bases in them. Chromosomes without values must hold none. No lock is taken;
    tracks that are replaced or dropped while this runs are not reported.

    With ``sources``, each file that a track came from must still have the checksum that it had; it is then read again
    and compared with what is stored, base for base. Pooled and imported tracks are compared with the tracks and the
    array that they came from. A source that is gone or has changed is no damage.

    Raises:
        InputError: no database there, or unknown names.
    """
    from db_ingest.upkeep.provenance import check_sources
    from db_ingest.upkeep.stored import check_stored

    catalogue = catalogues.load(tdb_array)
    tracks = choose_tracks(catalogue, attributes, datasets)
    with_sequence = catalogue.sequence is not None and attributes is None and datasets is None
    found, checked = check_stored(tdb_array, catalogue, tracks, with_sequence, threads)
    result = Verification(checked)
    if sources:
        broken = {item.name for item in found if not item.readable}
        tracks = [track for track in tracks if track.name not in broken]
        with_sequence = with_sequence and SEQUENCE not in broken
        more, result.sources = check_sources(
            tdb_array, catalogue, tracks, with_sequence, chrom_alias=chrom_alias, cache_dir=cache_dir, threads=threads
        )
        found += more
    if found:
        now = {(track.member, track.row) for track in catalogues.load(tdb_array).tracks}
        found = [item for item in found if item.track is None or (item.track.member, item.track.row) in now]
    result.damage = [f"{item.name}: {item.what}" for item in found]
    result.damaged = list(dict.fromkeys(item.name for item in found))
    return result
