"""Tracks pooled over elements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st
from labelled_tracks import BIN, write_database

from db_ingest.errors import InputError
from db_ingest.layout.genome import Genome
from kerasgen.database import Database
from kerasgen.downstream_tasks.elements import Elements
from kerasgen.downstream_tasks.features import PoolingRegions, feature_sets, pooled, regions_of

BINS = {"chr1": 3000, "chr2": 1000}


@pytest.fixture(scope="module")
def tracks() -> dict[tuple[str, str], dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    made = {}
    for pair in (("A", "x"), ("A", "y"), ("B", "x")):
        made[pair] = {name: rng.gamma(1, 2, size).astype(np.float32) for name, size in BINS.items()}
        for values in made[pair].values():
            values[rng.random(len(values)) < 0.05] = np.nan
            values[200:230] = np.nan
    return made


@pytest.fixture(scope="module")
def database(tracks: dict, tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(write_database(tmp_path_factory.mktemp("pooled"), tracks))


def elements(database: Database, starts: list, ends: list, chromosome: list, reverse: list) -> Elements:
    n = len(starts)
    start, end = np.array(starts).reshape(n, -1), np.array(ends).reshape(n, -1)
    return Elements(
        database.genome, np.array(["."] * n, object), np.array(chromosome), start, end, np.array(reverse),
        np.zeros(n), np.arange(n),
    )  # fmt: skip


def by_hand(values: np.ndarray, start: int, end: int, pool: str) -> float:
    bins = values[start // BIN : -(-end // BIN)].astype(np.float64)
    bins = bins[~np.isnan(bins)]
    return float(getattr(np, pool)(bins)) if len(bins) else np.nan


@pytest.mark.parametrize("at_a_time", [2**22, 512])
def test_pools_equal_a_count_by_hand(database: Database, tracks: dict, at_a_time: int) -> None:
    rng = np.random.default_rng(4)
    chromosome = rng.integers(0, 2, 300)
    size = np.where(chromosome == 0, 3000, 1000) * BIN
    start = (rng.random(300) * size).astype(int)
    end = np.minimum(start + 1 + (rng.random(300) ** 4 * 40_000).astype(int), size)
    # One wholly without values, one that is a whole chromosome.
    start[:2], end[:2], chromosome[:2] = (5010, 0), (5700, 3000 * BIN), (0, 0)
    found = elements(database, start.tolist(), end.tolist(), chromosome.tolist(), [False] * 300)
    spans = regions_of(found, bin=BIN, flank=0, parts=1)
    pools = ("mean", "max", "min", "std")
    chosen = feature_sets(database, ["all=*"])[0].tracks
    values, names = pooled(database, chosen, spans, bin=BIN, pools=pools, threads=2, bins_at_once=at_a_time)
    assert names[:5] == ["x:A.mean", "x:A.max", "x:A.min", "x:A.std", "y:A.mean"]
    for t, track in enumerate(chosen):
        for i in range(300):
            bins = tracks[track.dataset, track.attribute][database.genome.names[chromosome[i]]]
            expected = [by_hand(bins, start[i], end[i], pool) for pool in pools]
            np.testing.assert_allclose(values[i, t * 4 : t * 4 + 4], expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(values[0]).all()


def test_bins_of_another_size_and_arcsinh_before_pooling(database: Database, tracks: dict) -> None:
    found = elements(database, [1000], [2000], [0], [False])
    chosen = feature_sets(database, ["one=x:B"])[0].tracks
    bins = tracks["B", "x"]["chr1"][40:80].astype(np.float64)
    wide = np.array([np.nanmean(bins[i : i + 4]) for i in range(0, 40, 4)])
    spans = regions_of(found, bin=100, flank=0, parts=1)
    values, _ = pooled(database, chosen, spans, bin=100, pools=["mean"], transformation="arcsinh")
    np.testing.assert_allclose(values[0, 0], np.arcsinh(wide).mean(), rtol=1e-5)


def test_parts_run_from_the_five_prime_end(database: Database, tracks: dict) -> None:
    found = elements(database, [1000, 1000], [2000, 2000], [0, 0], [False, True])
    spans = regions_of(found, bin=BIN, flank=200, parts=2)
    chosen = feature_sets(database, ["one=y:A"])[0].tracks
    values, names = pooled(database, chosen, spans, bin=BIN, pools=["mean"])
    assert names == ["y:A.part1.mean", "y:A.part2.mean"]
    left, right = (by_hand(tracks["A", "y"]["chr1"], a, b, "mean") for a, b in ((800, 1500), (1500, 2200)))
    np.testing.assert_allclose(values, [[left, right], [right, left]], rtol=1e-5)


def test_pairs_have_both_anchors_and_what_lies_between(database: Database, tracks: dict) -> None:
    found = elements(database, [[3000, 8000], [400, 300]], [[3100, 8200], [500, 450]], [1, 1], [False, False])
    spans = regions_of(found, bin=BIN, flank=50, parts=1)
    chosen = feature_sets(database, ["one=x:A"])[0].tracks
    values, names = pooled(database, chosen, spans, bin=BIN, pools=["mean"])
    assert names == ["x:A.anchor1.mean", "x:A.anchor2.mean", "x:A.between.mean"]
    bins = tracks["A", "x"]["chr2"]
    expected = [by_hand(bins, a, b, "mean") for a, b in ((2950, 3150), (7950, 8250), (3100, 8000))]
    np.testing.assert_allclose(values[0], expected, rtol=1e-5)
    # These anchors overlap: nothing lies between.
    assert np.isnan(values[1, 2])


def test_a_flank_ends_with_the_chromosome(database: Database, tracks: dict) -> None:
    found = elements(database, [0, 24_900], [10, 25_000], [1, 1], [False, False])
    spans = regions_of(found, bin=BIN, flank=1000, parts=1)
    assert spans.first.tolist() == [[0], [956]]
    assert spans.last.tolist() == [[41], [1000]]


def test_feature_sets_by_attribute_dataset_and_wildcard(database: Database) -> None:
    sets = feature_sets(database, ["x=x", "ab=*:A", "both=y,x:B"], ["arcsinh", "None", "None"])
    assert [(s.name, [(t.attribute, t.dataset) for t in s.tracks], s.transformation) for s in sets] == [
        ("x", [("x", "A"), ("x", "B")], "arcsinh"),
        ("ab", [("x", "A"), ("y", "A")], "None"),
        ("both", [("y", "A"), ("x", "B")], "None"),
    ]
    assert len(feature_sets(database, None)[0].tracks) == 3


@pytest.mark.parametrize(
    ("words", "transformation", "message"),
    [
        (["x"], ["None"], "--features x: expected NAME=attribute"),
        (["x="], ["None"], "a set without tracks"),
        (["x=x", "x=y"], ["None"], "a set named 'x' is there already"),
        (["x=z"], ["None"], "has no track 'z'; its attributes are"),
        (["x=y:B"], ["None"], "has no track 'y:B'"),
        (["x=x"], ["log"], "--transformation log: expected one of arcsinh, None"),
        (["x=x"], ["None", "None"], "--transformation: 2 words; expected one"),
    ],
)
def test_bad_feature_sets_are_refused(database: Database, words: list, transformation: list, message: str) -> None:
    with pytest.raises(InputError) as error:
        feature_sets(database, words, transformation)
    assert message in str(error.value)


def test_a_track_ingested_as_arcsinh_is_not_transformed_again(database: Database) -> None:
    (track,) = feature_sets(database, ["one=x:A"])[0].tracks
    track = replace(track, options={**track.options, "transform": "arcsinh"})
    spans = regions_of(elements(database, [1000], [2000], [0], [False]), bin=BIN, flank=0, parts=1)
    done, _ = pooled(database, [track], spans, bin=BIN, transformation="arcsinh")
    left, _ = pooled(database, [track], spans, bin=BIN, transformation="None")
    np.testing.assert_array_equal(done, left)


@pytest.fixture(scope="module")
def with_embedding(tracks: dict, tmp_path_factory: pytest.TempPathFactory) -> Database:
    from kerasgen.track_models.embed import embed

    folder = tmp_path_factory.mktemp("embedded")
    uri = write_database(folder, tracks)
    embed(uri, pca=2, model_prefix=str(folder / "pca"), train_chroms=["chr1", "chr2"], transformation="None")
    return Database(uri)


def test_an_embedding_is_in_a_feature_set_only_where_it_is_named(with_embedding: Database) -> None:
    sets = feature_sets(with_embedding, ["tracks=*", "of=*:*", "pca=*:pca", "one=pca_01", "x=x"])
    assert [len(one.tracks) for one in sets] == [3, 3, 2, 1, 2]
    assert len(feature_sets(with_embedding, None)[0].tracks) == 3


def test_arcsinh_is_of_tracks_and_not_of_embeddings(with_embedding: Database) -> None:
    spans = regions_of(elements(with_embedding, [1000], [2000], [0], [False]), bin=BIN, flank=0, parts=1)
    (both,) = feature_sets(with_embedding, ["both=x:B,pca_00"], ["arcsinh"])
    changed, plain = (pooled(with_embedding, both.tracks, spans, bin=BIN, transformation=t)[0][0] for t in
                      ("arcsinh", "None"))  # fmt: skip
    assert changed[0] < plain[0]
    assert changed[1] == plain[1]


@given(
    start=st.integers(0, 24_999),
    length=st.integers(1, 25_000),
    flank=st.integers(0, 3000),
    parts=st.integers(1, 9),
    bin=st.sampled_from([1, 10, 25, 300]),
    reverse=st.booleans(),
)
@examples(80)
def test_parts_cover_a_region_in_its_direction(
    start: int, length: int, flank: int, parts: int, bin: int, reverse: bool
) -> None:
    genome = Genome(("chr1", "chr2"), (75_000, 25_000))
    end = min(start + length, 25_000)
    one = Elements(
        genome, np.array(["."], object), np.array([1]), np.array([[start]]), np.array([[end]]), np.array([reverse]),
        np.zeros(1), np.ones(1, int),
    )  # fmt: skip
    spans = regions_of(one, bin=bin, flank=flank, parts=parts)
    low, high = max(start - flank, 0), min(end + flank, 25_000)
    if reverse:
        spans = PoolingRegions(spans.names, spans.chromosome, spans.first[:, ::-1], spans.last[:, ::-1])
    first, last = spans.first[0].tolist(), spans.last[0].tolist()
    assert all(b > a for a, b in zip(first, last, strict=True))
    assert first[0] == low // bin
    assert first == sorted(first)
    if high - low >= parts:
        assert last[-1] == -(-high // bin)
        covered = {i for a, b in zip(first, last, strict=True) for i in range(a, b)}
        assert covered == set(range(low // bin, -(-high // bin)))
