"""Encoding, reverse complement and shuffles."""

from __future__ import annotations

import numpy as np
from chance import examples
from deeplift.dinuc_shuffle import dinuc_shuffle
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.formats.fasta import encode
from kerasgen import sequence

codes = st.lists(st.integers(0, 4), min_size=3, max_size=80).map(lambda c: np.array(c, np.uint8))


def dinucleotides(values: np.ndarray) -> np.ndarray:
    return np.bincount(values[:-1].astype(int) * 5 + values[1:], minlength=25)


def test_encoding_reads_both_cases_and_calls_the_rest_unknown() -> None:
    assert encode("ACGTacgtNnRx-").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 4, 4, 4, 4]
    assert sequence.to_text(encode("acgtn")) == "ACGTN"


def test_one_hot_of_unknown_is_zeros() -> None:
    encoded = sequence.one_hot(np.array([[0, 3, 4]], np.uint8))
    np.testing.assert_array_equal(encoded, [[[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]])
    assert encoded.dtype == np.float32


@given(codes)
def test_one_hot_round_trips_and_reverse_complement_is_its_own_inverse(values: np.ndarray) -> None:
    np.testing.assert_array_equal(sequence.codes_of(sequence.one_hot(values)), values)
    np.testing.assert_array_equal(sequence.reverse_complement(sequence.reverse_complement(values)), values)
    text = sequence.to_text(values)
    complement = text[::-1].translate(str.maketrans("ACGTN", "TGCAN"))
    assert sequence.to_text(sequence.reverse_complement(values)) == complement


@examples(60)
@given(codes, st.integers(0, 2**31))
def test_shuffle_keeps_every_dinucleotide_and_both_ends(values: np.ndarray, seed: int) -> None:
    for shuffled in sequence.dinucleotide_shuffle(values, 3, seed):
        np.testing.assert_array_equal(dinucleotides(shuffled), dinucleotides(values))
        assert shuffled[0] == values[0]
        assert shuffled[-1] == values[-1]


def test_shuffle_is_a_function_of_the_seed() -> None:
    values = np.random.default_rng(1).integers(0, 4, 300).astype(np.uint8)
    np.testing.assert_array_equal(
        sequence.dinucleotide_shuffle(values, 4, 5), sequence.dinucleotide_shuffle(values, 4, 5)
    )
    assert (sequence.dinucleotide_shuffle(values, 4, 5) != sequence.dinucleotide_shuffle(values, 4, 6)).any()


def test_every_euler_path_is_equally_likely() -> None:
    values = encode("ACAGACGA")
    found: dict[str, int] = {}
    count = 20_000
    for shuffled in sequence.dinucleotide_shuffle(values, count, 3):
        text = sequence.to_text(shuffled)
        found[text] = found.get(text, 0) + 1
    # Distinct paths, counted by walking all edges.
    paths = set()

    def walk(path: str, edges: list[str]) -> None:
        if not edges:
            paths.add(path)
        for edge in set(edges):
            if edge[0] == path[-1]:
                rest = list(edges)
                rest.remove(edge)
                walk(path + edge[1], rest)

    text = sequence.to_text(values)
    walk(text[0], [text[i : i + 2] for i in range(len(text) - 1)])
    assert set(found) == paths
    share = np.array(list(found.values())) / count
    np.testing.assert_allclose(share, 1 / len(paths), atol=5 * np.sqrt(1 / len(paths) / count))


def test_shuffle_scrambles_as_deeplift_does() -> None:
    values = np.random.default_rng(2).choice(4, 400, p=(0.3, 0.2, 0.2, 0.3)).astype(np.uint8)
    ours = sequence.one_hot(sequence.dinucleotide_shuffle(values, 400, 1))
    theirs = dinuc_shuffle(sequence.one_hot(values), 400, rng=np.random.RandomState(1))
    # Away from the ends, positions have the composition of the sequence in both.
    np.testing.assert_allclose(ours[:, 50:350].mean(axis=(0, 1)), theirs[:, 50:350].mean(axis=(0, 1)), atol=5e-3)
    same = [float((s.argmax(-1) == values).mean()) for s in (ours, np.asarray(theirs))]
    assert abs(same[0] - same[1]) < 0.02
