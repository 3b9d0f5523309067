"""Blocked gzip against Python's own gzip and htslib's writer."""

from __future__ import annotations

import gzip
import threading

import numpy as np
import pysam
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError
from db_ingest.inputs import bgzf


def write(path, *pieces: bytes):
    with pysam.BGZFile(str(path), "wb") as file:
        for piece in pieces:
            file.write(piece)
            file.flush()
    return path


@examples(60)
@given(pieces=st.lists(st.binary(max_size=3_000), max_size=6), threads=st.integers(1, 3))
def test_content_is_that_of_gzip(tmp_path, pieces, threads):
    path = write(tmp_path / "a.gz", *pieces)
    assert b"".join(bgzf.inflate(path, "text", threads)) == gzip.decompress(path.read_bytes()) == b"".join(pieces)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_file_of_many_blocks(tmp_path, threads):
    content = np.random.default_rng(0).integers(65, 85, 20_000_000, dtype=np.uint8).tobytes()
    path = write(tmp_path / "a.gz", content)
    assert path.stat().st_size > 6 << 20
    assert b"".join(bgzf.inflate(path, "text", threads)) == content


def test_threads_end_with_whoever_takes_no_more(tmp_path):
    path = write(tmp_path / "a.gz", bytes(3_000_000), b"x" * 3_000_000)
    blocks = bgzf.inflate(path, "text", 3)
    next(blocks)
    blocks.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bgzf")]


def test_blocked_gzip_is_told_from_plain(tmp_path):
    assert bgzf.is_bgzf(write(tmp_path / "a.gz", b"some text"))
    for content in (gzip.compress(b"some text"), b"some text", b"", bgzf.END_MARK[:17]):
        (tmp_path / "other").write_bytes(content)
        assert not bgzf.is_bgzf(tmp_path / "other")


def test_end_mark_is_required(tmp_path):
    path = write(tmp_path / "a.gz", b"some text")
    bgzf.require_end(path, "text")
    path.write_bytes(path.read_bytes()[: -len(bgzf.END_MARK)])
    with pytest.raises(InputError, match=r"a\.gz: truncated at \d+ bytes; the end mark of text is missing"):
        bgzf.require_end(path, "text")
