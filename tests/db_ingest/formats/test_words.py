"""Numbers of words against a dictionary."""

from __future__ import annotations

import numpy as np
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.formats.text.words import UNKNOWN, Words


def fields(words: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    encoded = [word.encode() for word in words]
    last = np.cumsum([len(word) for word in encoded], dtype=np.int64)
    first = last - [len(word) for word in encoded]
    return np.frombuffer(b"".join(encoded) + b"\n", np.uint8).copy(), first, last


WORDS = st.lists(st.text(max_size=6), min_size=1, max_size=80)


@examples(100)
@given(WORDS, WORDS)
def test_words_are_numbered_as_they_come_and_found_again(known, asked):
    words = Words()
    order = {word: i for i, word in enumerate(dict.fromkeys(known))}
    assert words.number(*fields(known), add=True).tolist() == [order[word] for word in known]
    assert [words[i] for i in range(len(words))] == list(order)
    assert words.number(*fields(asked)).tolist() == [order.get(word, UNKNOWN) for word in asked]
    assert Words(word.encode() for word in order).number(*fields(known)).tolist() == [order[word] for word in known]


def test_many_words(rng):
    known = ["".join(letters) for letters in rng.choice(list("ACGT"), (20_000, 12))]
    words = Words(word.encode() for word in dict.fromkeys(known))
    found = words.number(*fields(known))
    assert [words[i] for i in found[:500]] == known[:500]
    assert len(words) == len(set(known)) == len(set(found.tolist()))
