"""Names of chromosomes in files, the tables that say what they mean, and assemblies known by their sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError, MissingFileError
from db_ingest.inputs.assemblies import ASSEMBLIES, recognise
from db_ingest.inputs.naming import Naming, read_alias_table
from db_ingest.layout.genome import Genome

ROMAN = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV", "XV", "XVI"]


def genome(*names: str) -> Genome:
    return Genome(names, tuple(range(100, 100 + len(names))))


def find_all(genome: Genome, names: str) -> list[str | None]:
    naming = Naming(genome)
    return [naming.find(name) for name in names.split()]


YEAST = genome(*(f"chr{number}" for number in ROMAN), "chrM")
YEAST_SGD = genome(*ROMAN, "Mito")
YEAST_ARABIC = genome(*(f"chr{i}" for i in range(1, 17)), "chrM")
WORM = genome("chrI", "chrII", "chrIII", "chrIV", "chrV", "chrX", "chrM")
HUMAN = genome(
    *(f"chr{i}" for i in range(1, 23)),
    "chrX",
    "chrY",
    "chrM",
    "chr1_KI270706v1_random",
    "chrUn_GL000220v1",
    "chr11_KI270721v1_random",
    "chr19_KI270938v1_alt",
)
HUMAN_ENSEMBL = genome(*map(str, range(1, 23)), "X", "Y", "MT", "KI270706.1", "GL000220.1")


@pytest.mark.parametrize(
    ("of", "names", "expected"),
    [
        (HUMAN, "chr1 1 Chr1 CHR1 01 22 X chrX MT M", "chr1 chr1 chr1 chr1 chr1 chr22 chrX chrX chrM chrM"),
        (HUMAN_ENSEMBL, "1 chr1 chrX chrM M MT chr22", "1 1 X MT MT MT 22"),
        (HUMAN, "KI270706.1 GL000220.1 KI270938.1", "chr1_KI270706v1_random chrUn_GL000220v1 chr19_KI270938v1_alt"),
        (HUMAN_ENSEMBL, "chr1_KI270706v1_random chrUn_GL000220v1", "KI270706.1 GL000220.1"),
        (genome("chr1", "chr1_gl000191_random"), "GL000191.1", "chr1_gl000191_random"),
        (genome("chr1", "chrUn_NW_020109761v1"), "NW_020109761.1", "chrUn_NW_020109761v1"),
        (YEAST, "I IV XVI X chrX Mito MT", "chrI chrIV chrXVI chrX chrX chrM chrM"),
        (YEAST, "1 4 16 10 chr10 chr05", "chrI chrIV chrXVI chrX chrX chrV"),
        (YEAST_SGD, "chrI chrX 9 chrM chrmt", "I X IX Mito Mito"),
        (YEAST_ARABIC, "chrI IX X chrXVI MT", "chr1 chr9 chr10 chr16 chrM"),
        (WORM, "I X 5 chrV CHROMOSOME_I MtDNA", "chrI chrX chrV chrV chrI chrM"),
        (genome("Chr1", "Chr2", "ChrM", "ChrC"), "1 chr2 CHR2 Mt Pt", "Chr1 Chr2 Chr2 ChrM ChrC"),
        (genome("chr2L", "chrX", "chrM"), "2L 2l mitochondrion_genome", "chr2L chr2L chrM"),
        (genome("I", "II", "III", "MT"), "chrII 3 chrM", "II III MT"),
        (genome("chr1", "chrM", "chrMT"), "M MT", "chrM chrMT"),
    ],
)
def test_name_means_the_chromosome_that_people_mean(of, names, expected):
    assert find_all(of, names) == expected.split()


@pytest.mark.parametrize(
    ("of", "names"),
    [
        (HUMAN, "V IX chrXVI 23 NC_000001.11 CM000663.2 GL000220.2 KI270707.1 chrUn chr chr1_random"),
        (HUMAN_ENSEMBL, "chrI chrV"),
        (WORM, "6 10 chrVI 0"),
        (YEAST, "17 chrXVII 2micron"),
        (genome("chr1", "chr2", "chr10"), "X II"),
        (genome("1", "chr1", "2"), "Chr1 01"),
        (genome("chrM", "chrMT"), "Mito"),
        (genome("chrI", "chrX"), "1 10"),
    ],
)
def test_name_that_could_mean_two_or_none_means_none(of, names):
    assert find_all(of, names) == [None] * len(names.split())


@given(
    st.lists(
        st.one_of(
            st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=6),
            st.sampled_from([*ROMAN, "1", "2", "10", "X", "M", "MT", "GL000220.1", "chrUn_GL000220v1"]),
            st.sampled_from(["chr1", "Chr1", "CHR1", "chr01", "chrI", "chrX", "chrM"]),
        ),
        min_size=1,
        max_size=8,
        unique=True,
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=6),
)
def test_every_chromosome_is_found_by_its_own_name_and_any_other_finds_at_most_one(names, other):
    of = genome(*names)
    naming = Naming(of)
    assert [naming.find(name) for name in names] == names
    found = naming.find(other)
    assert found is None or found in of
    # Other genomes' order changes nothing.
    assert Naming(genome(*reversed(names))).find(other) == found


def test_names_of_the_user_come_before_guesses_but_not_before_the_genome():
    naming = Naming(genome("chr1", "chr2"), {"1": "chr2", "NC_1": "chr1", "chr1": "chr2"})
    assert [naming.find(name) for name in ("1", "NC_1", "chr1", "2")] == ["chr2", "chr1", "chr1", "chr2"]
    with pytest.raises(InputError, match=r"alias 'a': the genome has no chromosome 'chr3', but chr1, chr2"):
        Naming(genome("chr1", "chr2"), {"a": "chr3"})


def test_match_gives_names_in_the_order_of_the_genome_and_leaves_out_strangers():
    of = Genome(("chr1", "chr2", "chrM"), (100, 200, 30))
    assert Naming(of).match("a.bw", {"MT": 30, "chrUn": 7, "2": 200}) == {"chr2": "2", "chrM": "MT"}
    assert list(Naming(of).match("a.bw", ["M", "chr1"])) == ["chr1", "chrM"]
    assert Naming(of).match("a.bw", {"chr2": None}) == {"chr2": "chr2"}


def test_match_of_another_size_says_which_assemblies_they_look_like():
    hg38 = Naming(Genome(("chr1", "chr2"), (248_956_422, 242_193_529)))
    with pytest.raises(InputError) as caught:
        hg38.match("/x/a.bw", {"1": 249_250_621, "2": 243_199_373})
    assert str(caught.value) == (
        "/x/a.bw: chromosome 1 has 249,250,621 bp (looks like hg19); "
        "the genome's chr1 has 248,956,422 bp (looks like hg38)"
    )
    with pytest.raises(InputError, match=r"chr1 has 5 bp; the genome's chr1 has 248,956,422 bp \(looks like hg38\)$"):
        hg38.match("/x/a.bw", {"chr1": 5})
    with pytest.raises(InputError, match=r"chr1 has 5 bp; the genome's chr1 has 6 bp; is it another assembly\?$"):
        Naming(Genome(("chr1",), (6,))).match("/x/a.bw", {"chr1": 5})


def test_match_without_common_names_names_both_sides_and_the_way_out():
    with pytest.raises(InputError) as caught:
        Naming(genome("chr1", "chr2")).match("/x/a.bw", {"NC_000001.11": 9, "NC_000002.12": 9})
    assert str(caught.value) == (
        "/x/a.bw: no chromosome in common with the genome; the file has NC_000001.11, NC_000002.12, "
        "the genome chr1, chr2; --chrom_alias takes a table of names that mean one"
    )


def test_match_of_two_names_for_one_chromosome_is_refused():
    with pytest.raises(InputError, match=r"a\.bw: 1 and chr1 both mean the genome's chr1"):
        Naming(genome("chr1", "chr2")).match("a.bw", ["1", "2", "chr1"])


def test_mitochondrion_of_another_name_and_size_is_another_sequence():
    # chrM of hg19 is not the revised Cambridge sequence that GRCh37 calls MT.
    hg19 = Naming(Genome(("chr1", "chrM"), (249_250_621, 16_571)))
    assert hg19.match("a.bam", {"1": 249_250_621, "MT": 16_569}) == {"chr1": "1"}
    assert hg19.match("a.bam", {"chr1": 249_250_621, "chrM": 16_571, "chrMT": 16_569}) == {
        "chr1": "chr1",
        "chrM": "chrM",
    }
    with pytest.raises(InputError, match=r"chrM has 16,569 bp.*the genome's chrM has 16,571 bp"):
        hg19.match("a.bam", {"chr1": 249_250_621, "chrM": 16_569})


def test_alias_table_of_ucsc_in_its_three_forms(inputs):
    of = genome("chr1", "chrUn_KI270302v1", "chrM")
    expected = {"NC_000001.11": "chr1", "CM000663.2": "chr1", "1": "chr1", "KI270302.1": "chrUn_KI270302v1"}
    wide = "# ucsc\tassembly\tgenbank\trefseq\nchr1\t1\tCM000663.2\tNC_000001.11\nchrUn_KI270302v1\t\tKI270302.1\t\n"
    old = (
        "1\tchr1\tassembly,ensembl\nCM000663.2\tchr1\tgenbank\nNC_000001.11\tchr1\trefseq\n"
        "KI270302.1\tchrUn_KI270302v1\tensembl,genbank\nfoo\tchr9\tucsc\n"
    )
    loose = "1 CM000663.2 chr1 NC_000001.11\n\nKI270302.1  chrUn_KI270302v1\n"
    for name, text in {"a.txt": wide, "b.txt.gz": old, "c.txt": loose}.items():
        assert read_alias_table(inputs.text(name, text), of) == expected


def test_assembly_report_of_ncbi(inputs):
    text = (
        "# Assembly name:  GRCh38.p14\r\n"
        "# Sequence-Name\tSequence-Role\tAssigned-Molecule\tAssigned-Molecule-Location/Type\tGenBank-Accn\t"
        "Relationship\tRefSeq-Accn\tAssembly-Unit\tSequence-Length\tUCSC-style-name\r\n"
        "1\tassembled-molecule\t1\tChromosome\tCM000663.2\t=\tNC_000001.11\tPrimary Assembly\t248956422\tchr1\r\n"
        "HSCHR1_CTG1\tunlocalized-scaffold\t1\tChromosome\tKI270706.1\t=\tNT_187361.1\tPrimary Assembly\t175055\t"
        "chr1_KI270706v1_random\r\n"
        "MT\tassembled-molecule\tMT\tMitochondrion\tJ01415.2\t=\tNC_012920.1\tnon-nuclear\t16569\tna\r\n"
    )
    path = inputs.text("report.txt", text)
    assert read_alias_table(path, genome("chr1", "chr1_KI270706v1_random", "chrM")) == {
        "1": "chr1",
        "CM000663.2": "chr1",
        "NC_000001.11": "chr1",
        "HSCHR1_CTG1": "chr1_KI270706v1_random",
        "KI270706.1": "chr1_KI270706v1_random",
        "NT_187361.1": "chr1_KI270706v1_random",
        "MT": "chrM",
        "J01415.2": "chrM",
        "NC_012920.1": "chrM",
    }
    assert read_alias_table(path, genome("CM000663.2", "x"))["chr1"] == "CM000663.2"
    with pytest.raises(InputError, match=r"short\.txt:3: 4 column\(s\); expected the 10 columns"):
        read_alias_table(inputs.text("short.txt", "\n".join(text.split("\r\n")[:2]) + "\na\tb\tc\td\n"), genome("a"))


@pytest.mark.parametrize(
    ("text", "expects"),
    [
        ("a\tchr1\nchr2\n", r":2: 1 column\(s\); expected two or more names of one chromosome"),
        ("a\tchr1\nb\tchr2\na\tchr2\n", ":3: a means chr2 here and chr1 in line 1"),
        ("x\tchr1\tchr2\n", ":1: chr1 and chr2 are two chromosomes of the genome"),
        ("a\tb\nc\td\n", ": names no chromosome of the genome, which has chr1, chr2"),
        ("#a\tchr1\n", ": names no chromosome of the genome"),
        ("", ": empty file; expected a table of chromosome names"),
    ],
)
def test_alias_table_that_says_no_or_two_things_is_refused(inputs, text, expects):
    with pytest.raises(InputError, match=rf"a\.tsv{expects}"):
        read_alias_table(inputs.text("a.tsv", text), genome("chr1", "chr2"))


def test_missing_alias_table_is_refused(inputs):
    with pytest.raises(MissingFileError, match=r"none\.tsv: no such file"):
        read_alias_table(inputs.folder / "none.tsv", genome("chr1"))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([248_956_422, 16_569], "hg38"),
        ([58_617_616], "hg38"),
        ([61_431_566, 16_299], "mm10"),
        ([230_218, 813_184], "sacCer3"),
        ([784_333], None),
        ([784_333, 230_208], "sacCer2"),
        ([248_956_422, 249_250_621], None),
        ([5], None),
        ([], None),
    ],
)
def test_assembly_is_the_one_that_most_sizes_are_of(sizes, expected):
    assert recognise(sizes) == expected


@pytest.mark.parametrize(
    ("name", "total", "count"),
    [
        # Sums over the assembled chromosomes, from the assemblies' own statistics.
        ("hg19", 3_095_677_412, 24),
        ("hg38", 3_088_269_832, 24),
        ("mm10", 2_725_521_370, 21),
        ("sacCer3", 12_157_105 - 85_779, 16),
        ("TAIR10", 119_146_348, 5),
        ("ce11", 100_286_401 - 13_794, 6),
    ],
)
def test_sizes_of_assemblies_add_up(name, total, count):
    assert (len(ASSEMBLIES[name]), sum(ASSEMBLIES[name])) == (count, total)
