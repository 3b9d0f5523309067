"""The sanity report against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from db_ingest import ingest

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}


@pytest.fixture
def report_on(inputs, uri):
    """Ingest one dataset, attribute -> (type, file), and give its report."""

    def run(**files):
        table = inputs.samples({"k562": {attribute: path for attribute, (_, path) in files.items()}})
        types = inputs.types(**{attribute: kind for attribute, (kind, _) in files.items()})
        sequence = str(inputs.fasta())
        return ingest(uri, str(table), ref_fasta=sequence, attribute_config_file=str(types)).report

    return run


def test_share_of_intervals_with_signal_is_the_count_by_hand(inputs, report_on, read_bigwig):
    values = np.full(3_000, np.nan)
    values[::90] = 1.0
    path = inputs.bigwig("a.bw", {"chr1": values, "chr2": np.array([3.0])})
    rng = np.random.default_rng(3)
    starts, lengths = rng.integers(0, 2_900, 60), rng.integers(1, 99, 60)
    rows = [("chr1", int(start), int(start + n)) for start, n in zip(starts, lengths, strict=True)]
    rows += [("chr2", 0, 1), ("chr2", 1, 900), ("chrM", 0, 400)]
    found = report_on(signal=("bigwig", path), peaks=("bed_no_summit", inputs.bed("p.bed", rows)))
    dense = {name: read_bigwig(path, name) for name in SIZES}
    share = np.mean([dense[name][start:end].sum() > 0 for name, start, end in rows])
    assert 0.2 < share < 0.9
    assert found.shares == {("peaks", "signal", "k562"): pytest.approx(share)}
    assert f"k562 peaks: intervals with signal: signal {share:.1%}" in found.lines


def test_lines_give_coverage_sum_and_intervals(inputs, report_on):
    path = inputs.bigwig("a.bw", {"chr1": np.full(490, 2.0)})
    peaks = inputs.bed("p.bed", [("chr1", 0, 49), ("chr1", 20, 49)])
    found = report_on(signal=("bigwig", path), peaks=("bed_no_summit", peaks))
    assert "k562 signal: 10.00% of bases covered, sum 980" in found.lines
    assert "k562 peaks: 2 intervals over 1.00% of bases" in found.lines
    assert found.warnings == []


def test_intervals_without_a_called_summit_are_counted(inputs, report_on):
    peaks = inputs.bed("p.bed", [("chr1", 0, 49, -1), ("chr1", 60, 99, 5), ("chr2", 60, 99, -1)])
    found = report_on(peaks=("bed_summit_from_last_col", peaks))
    assert any("3 intervals" in line and "2 without a summit (their centre is used)" in line for line in found.lines)


def test_track_without_signal_and_absent_chromosomes_are_warned_of(inputs, report_on):
    path = inputs.bigwig("a.bw", {"chr1": np.zeros(9)}, sizes={"chr1": 3_000})
    warnings = report_on(signal=("bigwig", path)).warnings
    assert warnings == [
        "k562 signal: 2 of 3 chromosomes are not in the file and hold no value: chr2, chrM",
        "k562 signal: no signal at all",
    ]


def test_negative_values_that_are_kept_are_warned_of(inputs, report_on):
    path = inputs.bigwig("a.bw", {"chr1": np.array([-1.5, 2.0])})
    assert report_on(fold=("bigwig", path)).warnings == [
        "k562 fold: holds negative values (minimum -1.5), kept as they are"
    ]


def test_negative_plus_strand_looks_swapped(inputs, report_on):
    plus, minus = inputs.bigwig("p.bw", scale=-1), inputs.bigwig("m.bw")
    warnings = report_on(s_plus=("bigwig", plus), s_minus=("bigwig", minus)).warnings
    assert warnings == ["k562 s_plus: a plus-strand track with negative values only; plus and minus look swapped"]


@pytest.fixture
def report_on_many(inputs, uri):
    """Ingest datasets, dataset -> attribute -> file, with a type an attribute, and give the report."""

    def run(rows, **types):
        sequence = str(inputs.fasta())
        table, kinds = str(inputs.samples(rows)), str(inputs.types(**types))
        return ingest(uri, table, ref_fasta=sequence, attribute_config_file=kinds).report

    return run


def test_intervals_where_a_signal_was_not_measured_do_not_count(inputs, report_on):
    path = inputs.bigwig("a.bw", {"chr1": np.array([np.nan, 2.0])}, sizes={"chr1": 3_000})
    peaks = inputs.bed("p.bed", [("chr1", 0, 9), ("chr1", 20, 49), ("chr1", 60, 70), ("chr2", 0, 9), ("chrM", 0, 9)])
    found = report_on(signal=("bigwig", path), peaks=("bed_no_summit", peaks))
    assert found.shares == {("peaks", "signal", "k562"): pytest.approx(1 / 3)}
    assert "k562 peaks: intervals with signal: signal 33.3% (of 3 on chromosomes that it has)" in found.lines
    assert "k562 signal: 0.03% of bases on 1 of 3 chromosomes covered, sum 2" in found.lines


def test_mask_on_chromosomes_that_a_signal_lacks_has_no_share_of_it(inputs, report_on):
    path = inputs.bigwig("a.bw", {"chr1": np.ones(9)}, sizes={"chr1": 3_000})
    found = report_on(signal=("bigwig", path), peaks=("bed_no_summit", inputs.bed("p.bed", [("chr2", 0, 9)])))
    assert found.shares == {}
    assert len(found.lines) == 2


def test_an_attribute_of_many_datasets_is_one_line_with_its_extremes(inputs, report_on_many):
    rows = {}
    for number in range(1, 15):
        signal = inputs.bigwig(f"{number}.bw", {"chr1": np.full(10 * number, 1.5)})
        peaks = inputs.bed(f"{number}.bed", [("chr1", 0, 49), *[("chr2", 100 * i, 100 * i + 9) for i in range(number)]])
        rows[f"s{number}"] = {"signal": signal, "peaks": peaks}
    found = report_on_many(rows, signal="bigwig", peaks="bed_no_summit")
    assert found.lines == [
        "signal: 14 datasets, 0.20% to 2.86% of bases covered, sum 15 (s1) to 210 (s14), median 112.5; "
        "gen_db info lists each",
        "peaks: 14 datasets, 1.18% to 3.57% of bases covered, intervals 2 (s1) to 15 (s14), median 8.5; "
        "gen_db info lists each",
        "peaks: intervals with signal: signal 6.7% (s14) to 50.0% (s1), median 11.8%",
    ]
    assert len(found.shares) == 14


def test_what_looks_wrong_in_several_datasets_is_said_once(inputs, report_on_many):
    rows = {
        name: {"fold": inputs.bigwig(f"{name}.bw", {"chr1": np.array([low, 2.0])}, sizes={"chr1": 3_000})}
        for name, low in (("a", -1.0), ("b", -2.5), ("c", 1.0))
    }
    assert report_on_many(rows, fold="bigwig").warnings == [
        "fold of a, b, c: 2 of 3 chromosomes are not in the file and hold no value: chr2, chrM",
        "fold of a, b: holds negative values (minimum -2.5), kept as they are",
    ]


@pytest.mark.parametrize("swapped", [False, True])
def test_stranded_peaks_with_the_signal_of_the_other_strand_look_swapped(inputs, report_on, swapped):
    plus, minus = np.full((2, 3_000), np.nan)
    plus[:1_500], minus[1_500:] = 4.0, 4.0
    rows = [("chr1", start, start + 50, "p", 0, "+" if start < 1_500 else "-") for start in range(0, 3_000, 100)]
    tracks = [inputs.bigwig("p.bw", {"chr1": plus}), inputs.bigwig("m.bw", {"chr1": minus})]
    forward, backward = reversed(tracks) if swapped else tracks
    warnings = report_on(
        s_plus=("bigwig", forward), s_minus=("bigwig", backward), peaks=("bed_no_summit", inputs.bed("p.bed", rows))
    ).warnings
    expected = (
        "k562: 30 of 30 stranded peaks intervals hold more signal of the other strand; s_plus and s_minus look swapped"
    )
    assert warnings == ([expected] if swapped else [])


def test_strands_from_one_file_are_warned_of(inputs, report_on):
    path = inputs.bigwig("a.bw")
    assert report_on(s_plus=("bigwig", path), s_minus=("bigwig", path)).warnings == [
        "k562: s_plus and s_minus come from identical files"
    ]


def test_plus_to_the_right_of_minus_in_unstranded_peaks_looks_swapped(tmp_path):
    import numpy as np
    import pyBigWig

    from db_ingest import ingest

    (tmp_path / "sizes").write_text("chr1\t20000\n")
    for name, shift in (("left", -20), ("right", 20)):
        with pyBigWig.open(str(tmp_path / f"{name}.bw"), "w") as file:
            file.addHeader([("chr1", 20000)])
            at = (np.arange(1, 39) * 500 + shift).tolist()
            file.addEntries(["chr1"] * len(at), at, ends=[a + 1 for a in at], values=[50.0] * len(at))
    peaks = "".join(f"chr1\t{c - 100}\t{c + 100}\tp\t0\t.\t1\t-1\t-1\t100\n" for c in range(500, 19500, 500))
    (tmp_path / "peaks.narrowPeak").write_text(peaks)
    header = "dataset\tcount_bigwig_plus_5p\tcount_bigwig_minus_5p\tidr_peak\n"
    (tmp_path / "samples.tsv").write_text(
        header + "good\tleft.bw\tright.bw\tpeaks.narrowPeak\nbad\tright.bw\tleft.bw\tpeaks.narrowPeak\n"
    )
    result = ingest(
        str(tmp_path / "db"),
        str(tmp_path / "samples.tsv"),
        chrom_sizes=str(tmp_path / "sizes"),
        attribute_config="encode_pipeline",
    )
    swapped = [line for line in result.report.warnings if "swapped" in line]
    assert len(swapped) == 1
    assert swapped[0].startswith("bad: in idr_peak, count_bigwig_plus_5p lies 40 bp to the right")
