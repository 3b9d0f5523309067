"""Strands told by the names of attributes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.inputs.strands import is_minus, pair_strands, partner_name

PAIRS = [
    ("count_bigwig_plus_5p", "count_bigwig_minus_5p"),
    ("control_count_bigwig_plus_5p", "control_count_bigwig_minus_5p"),
    ("procap.fwd", "procap.rev"),
    ("PLUS", "MINUS"),
    ("signal_Pos", "signal_Neg"),
    ("rna.+", "rna.-"),
    ("rna_+_raw", "rna_-_raw"),
    ("rna+", "rna-"),
    ("CD8+_rna.+", "CD8+_rna.-"),
]


@pytest.mark.parametrize(("plus", "minus"), PAIRS)
def test_partner_of_each_strand_is_the_other(plus, minus):
    assert partner_name(plus) == minus
    assert partner_name(minus) == plus


@pytest.mark.parametrize(("plus", "minus"), PAIRS)
def test_only_the_minus_strand_is_minus(plus, minus):
    assert is_minus(minus)
    assert not is_minus(plus)


@pytest.mark.parametrize("name", ["idr_peak", "surplus", "H3K4me3", "review", "positive", "fc_bigwig", "nonplussed"])
def test_name_that_only_contains_the_letters_has_no_strand(name):
    assert partner_name(name) is None
    assert not is_minus(name)
    assert name not in pair_strands([name])


@given(
    st.sampled_from(["plus", "minus", "fwd", "rev", "forward", "reverse", "pos", "neg"]),
    st.sampled_from([str.lower, str.upper, str.capitalize]),
    st.from_regex(r"([A-Za-z0-9]{0,4}[0-9_.])?", fullmatch=True),
    st.from_regex(r"([0-9_.][A-Za-z0-9]{0,4})?", fullmatch=True),
)
def test_partner_of_the_partner_is_the_name_itself(word, case, before, after):
    name = before + case(word) + after
    partner = partner_name(name)
    assert partner is not None
    assert partner_name(partner) == name
    assert is_minus(name) != is_minus(partner)


def test_pairs_map_both_ways_and_a_strand_without_partner_to_none():
    pairs = pair_strands(["a_plus", "a_minus", "b_plus", "peaks"])
    assert pairs == {"a_plus": "a_minus", "a_minus": "a_plus", "b_plus": None}


def test_given_pairs_overrule_the_names():
    pairs = pair_strands(["watson", "crick"], {"watson": "crick"})
    assert pairs == {"watson": "crick", "crick": "watson"}
