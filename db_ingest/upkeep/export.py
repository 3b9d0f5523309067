"""Database in, files out: tracks as bigWig, bedGraph or BED, the sequence as FASTA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue, Track
from db_ingest.layout.genome import shorten_names
from db_ingest.settings import Setting, TdbArray, takes_settings

FORMATS = {
    ".bw": ("bigwig", "signal"),
    ".bigWig": ("bigwig", "signal"),
    ".bedGraph": ("bedgraph", "signal"),
    ".bed": ("bed", "mask"),
    ".narrowPeak": ("narrowpeak", "mask"),
    ".broadPeak": ("broadpeak", "mask"),
    ".fa": ("fasta", "sequence"),
    ".fasta": ("fasta", "sequence"),
}
"""Endings of files: the format, and what can be written in it."""

PACKED = (".gz", ".bgz")
"""Further endings of text that is compressed."""


@takes_settings
def export(
    tdb_array: TdbArray,
    out: Annotated[
        str,
        Setting(
            "file to write, by its ending: .bw, .bigWig, .bedGraph of a signal; .bed, .narrowPeak, .broadPeak of a "
            "mask; .fa, .fasta of the sequence; text also .gz or .bgz; written whole or not at all, and replaced if it "
            "is there",
            metavar="FILE",
        ),
    ],
    *,
    attribute: Annotated[
        str | None, Setting("signal or mask to write; with neither this nor --dataset, the sequence", metavar="NAME")
    ] = None,
    dataset: Annotated[
        str | None,
        Setting("dataset of the signal or mask; may be left out where only one has the attribute", metavar="NAME"),
    ] = None,
    chroms: Annotated[Sequence[str] | None, Setting("chromosomes to write (default: all)", metavar="NAME")] = None,
    skip_zeros: Annotated[
        bool,
        Setting(
            "leave out bases of a signal that are 0, as most bigWig files do; ingested with missing: zero, the "
            "default, such a file gives the same cells unless the track has bases without a value on chromosomes that "
            "it covers"
        ),
    ] = False,
    threads: Annotated[
        int, Setting("number of threads that compress; 0: as many as there are cores", unit="threads")
    ] = 0,
) -> str:
    """Write a track, or the sequence, as a file of the format that its ending names.

    Signals become ``.bw``, ``.bigWig`` or ``.bedGraph``, runs of equal values; masks ``.bed``, ``.narrowPeak`` or
    ``.broadPeak``, with the intervals as they came; the sequence ``.fa`` or ``.fasta``. Text may be compressed
    (``.gz`` or ``.bgz``, as blocked gzip). Nothing is lost: the file, ingested again, gives the same cells. Zeros are
    written, so that they can be told from bases without a value, which are not; so is a chromosome only if the track
    covers it. Signals on a grid are written base by base. The case of the sequence's letters is not stored,
    and letters other than A, C, G and T have become N.

    Chromosomes are in the order of their names in bigWig, bedGraph and BED, and in that of the genome in FASTA.

    Returns:
        What was written, in a line.

    Raises:
        InputError: an unknown name or ending, or a format that cannot hold what the track has.
        RunError: a signal or the sequence is damaged: what is stored does not have its checksum.
    """
    if storage.is_uri(out):
        raise InputError(f"--out {out}: expected a file on this machine")
    catalogue = catalogues.load(tdb_array)
    for name in chroms or ():
        catalogue.genome.index(name)
    track = _track(tdb_array, catalogue, attribute, dataset)
    format, packed = _format(out, "sequence" if track is None else track.kind)
    if skip_zeros and (track is None or track.kind != "signal"):
        raise InputError("--skip_zeros: only signals have zeros to leave out")
    from db_ingest.upkeep import exporting

    job = exporting.Job(
        uri=tdb_array,
        genome=catalogue.genome,
        track=track,
        out=out,
        packed=packed,
        chroms=tuple(chroms or ()),
        skip_zeros=skip_zeros,
        threads=threads,
    )
    return exporting.WRITERS[format](job)


def _track(uri: str, catalogue: Catalogue, attribute: str | None, dataset: str | None) -> Track | None:
    if attribute is None:
        if dataset is not None:
            raise InputError(f"--dataset {dataset}: give --attribute as well")
        if catalogue.sequence is None:
            raise InputError(f"{uri}: holds no sequence; name a track with --attribute and --dataset")
        return None
    if dataset is None:
        having = [track.dataset for track in catalogue.tracks if track.attribute == attribute]
        if len(having) > 1:
            raise InputError(f"{len(having)} datasets have {attribute!r}; name one of {shorten_names(having, 12)}")
        dataset = having[0] if having else ""
    return catalogue.track(attribute, dataset)


def _format(out: str, kind: str) -> tuple[str, bool]:
    """Format of a file that is to hold a kind of thing, and whether it is compressed."""
    name = out.lower()
    packed = next((ending for ending in PACKED if name.endswith(ending)), "")
    plain = name.removesuffix(packed)
    for ending, (format, holds) in FORMATS.items():
        if plain.endswith(ending.lower()) and holds == kind and not (packed and format == "bigwig"):
            return format, bool(packed)
    known = [ending for ending, (_, holds) in FORMATS.items() if holds == kind]
    what = {"sequence": "the sequence", "signal": "a signal", "mask": "a mask"}[kind]
    text = "bedGraph" if kind == "signal" else "all of them"
    raise InputError(f"--out {out}: {what} is written as {', '.join(known)}, {text} also as {' or '.join(PACKED)}")
