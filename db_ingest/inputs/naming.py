"""Which chromosome of the genome a name in a file means: UCSC, Ensembl and GenBank names, and a table of the user's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from db_ingest.errors import InputError
from db_ingest.inputs.assemblies import recognise
from db_ingest.inputs.files import read_text
from db_ingest.layout.genome import Genome, shorten_names

_PREFIX = re.compile(r"chr(?:omosome)?_?(?=.)", re.IGNORECASE)
_ACCESSION = r"[a-z]{1,6}_?\d{5,}"
_GENBANK = re.compile(rf"({_ACCESSION})(?:\.(\d+))?")
_UCSC_CONTIG = re.compile(rf"[a-z0-9]+_({_ACCESSION})(?:v(\d+))?(?:_(?:random|alt|fix|decoy|hap\d+))?")
_MITOCHONDRION = re.compile(r"m|mt|mito|mtdna|mitochondri(?:on|a|al)|(?:dmel_)?mitochondrion_genome")
_PLASTID = re.compile(r"c|pt|cp|ptdna|chloroplast|plastid")
_ONES = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
_ROMAN = {"x" * (value // 10) + _ONES[value % 10]: value for value in range(1, 40)}
_YEAST = set(range(1, 17))

_TABLE = "a table of chromosome names, synonyms on a line"
_NO_NAME = frozenset(["", "na", "-", "."])
_SOURCES = re.compile(r"(?:(?:assembly|ensembl|genbank|refseq|ncbi|ucsc|flybase|wormbase|sgd|custom)(?:,|$))+")


class Naming:
    """Finds the genome's chromosome by the name that a file gives it.

    In this order: the name itself; the user's table; with ``chr`` put before it or taken away; the same in
    other letter case; the names of the mitochondrion (``M``, ``MT``, ``Mito``…) and the plastid, numbers in Roman or
    Arabic numerals or with leading zeros, and contigs as UCSC (``chr1_KI270706v1_random``) or GenBank
    (``KI270706.1``) writes them. What two chromosomes of the genome could claim means neither.

    Roman ``X`` is 10 where the genome's own Roman numerals go past 8, or its numbers are budding yeast's, 1 to 16;
    otherwise, as in worm and man, it is the chromosome X.

    Args:
        genome: the database's chromosomes.
        aliases: further names, file's name -> genome's name, as of :func:`read_alias_table`.
        takes_aliases: whether the command takes such a table, which an error then says.

    Raises:
        InputError: an alias of a chromosome that the genome lacks.
    """

    def __init__(self, genome: Genome, aliases: Mapping[str, str] | None = None, *, takes_aliases: bool = True) -> None:
        self.genome = genome
        self._way_out = "; --chrom_alias takes a table of names that mean one" if takes_aliases else ""
        self.aliases = dict(aliases or {})
        for alias, name in self.aliases.items():
            if name not in genome:
                raise InputError(
                    f"alias {alias!r}: the genome has no chromosome {name!r}, but {shorten_names(genome.names)}"
                )
        self._numerals = _numerals(genome)
        self._keys: tuple[Callable[[str], str], ...] = (_body, lambda name: _body(name).lower(), self._plain)
        self._by_key = [_unique(key, genome.names) for key in self._keys]
        self._found: dict[str, str | None] = {}

    def find(self, name: str) -> str | None:
        """Return the genome's name of the chromosome that a file calls ``name``, None if the genome lacks it."""
        if name in self.genome:
            return name
        if name not in self._found:
            self._found[name] = self.aliases.get(name) or self._guess(name)
        return self._found[name]

    def match(self, path: str | Path, names: Mapping[str, int | None] | Iterable[str]) -> dict[str, str]:
        """Match all names that a file has; ``{genome's name: file's name}`` in the order of the genome.

        A mitochondrion under another name and of another size is another sequence (``MT`` of GRCh37 and ``chrM`` of
        hg19 are) and is left out.

        Args:
            path: the file, for messages.
            names: the file's names, with sizes in bp where it has them.

        Raises:
            InputError: no chromosome in common, a size that differs, or two names of one chromosome.
        """
        sizes: dict[str, int | None] = dict(names) if isinstance(names, Mapping) else dict.fromkeys(names)
        known: dict[str, str] = {}
        for name, size in sizes.items():
            found = self.find(name)
            if found is None or (size != self.genome.size(found) and self._is_another_mitochondrion(name, size)):
                continue
            if found in known:
                raise InputError(
                    f"{path}: {known[found]} and {name} both mean the genome's {found}; expected one of them"
                )
            known[found] = name
        if not known:
            raise InputError(
                f"{path}: no chromosome in common with the genome; the file has {shorten_names(list(sizes))}, "
                f"the genome {shorten_names(self.genome.names)}{self._way_out}"
            )
        matched = {name: known[name] for name in self.genome.names if name in known}
        for name, files_name in matched.items():
            size = sizes[files_name]
            if size is not None and size != self.genome.size(name):
                raise InputError(f"{path}: {self._difference(name, files_name, sizes)}")
        return matched

    def _guess(self, name: str) -> str | None:
        for key, by_key in zip(self._keys, self._by_key, strict=True):
            known_as = key(name)
            if known_as in by_key:
                return by_key[known_as]
        return None

    def _plain(self, name: str) -> str:
        """One spelling of all names that mean the same in this genome."""
        body = _body(name).lower()
        if _MITOCHONDRION.fullmatch(body):
            return "mt"
        if _PLASTID.fullmatch(body):
            return "pt"
        if body.isdecimal():
            return str(int(body))
        if body in self._numerals:
            return str(self._numerals[body])
        contig = _UCSC_CONTIG.fullmatch(body) or _GENBANK.fullmatch(body)
        return f"{contig[1]}.{contig[2] or 1}" if contig else body

    def _is_another_mitochondrion(self, name: str, size: int | None) -> bool:
        return size is not None and name not in self.genome and name not in self.aliases and self._plain(name) == "mt"

    def _difference(self, name: str, files_name: str, sizes: Mapping[str, int | None]) -> str:
        theirs = recognise(size for size in sizes.values() if size is not None)
        ours = recognise(self.genome.sizes)
        sizes_differ = f"chromosome {files_name} has {sizes[files_name]:,} bp{_looks_like(theirs)}; "
        sizes_differ += f"the genome's {name} has {self.genome.size(name):,} bp{_looks_like(ours)}"
        return sizes_differ if theirs or ours else f"{sizes_differ}; is it another assembly?"


def read_alias_table(path: str | Path, genome: Genome) -> dict[str, str]:
    """Read names that mean the same, one chromosome per line; ``{alias: genome's name}``.

    Columns are separated by tabs or spaces, in any order; the name that the genome has is what all others of its line
    mean. UCSC's ``chromAlias.txt`` and NCBI's ``assembly_report.txt`` are such tables. Lines that start with ``#`` and
    those on other chromosomes are skipped.

    Raises:
        InputError: a line of one column, one that names two chromosomes of the genome, a name given two meanings, or
            no line that names a chromosome of the genome.
    """
    naming = Naming(genome)
    aliases: dict[str, tuple[str, int]] = {}
    named = False
    for number, names in _synonyms(path):
        targets = [name for name in names if name in genome] or [found for n in names if (found := naming.find(n))]
        targets = list(dict.fromkeys(targets))
        if len(targets) > 1:
            raise InputError(f"{path}:{number}: {targets[0]} and {targets[1]} are two chromosomes of the genome")
        named = named or bool(targets)
        for name in names:
            if not targets or name == targets[0]:
                continue
            meaning, first = aliases.setdefault(name, (targets[0], number))
            if meaning != targets[0]:
                raise InputError(f"{path}:{number}: {name} means {targets[0]} here and {meaning} in line {first}")
    if not named:
        raise InputError(f"{path}: names no chromosome of the genome, which has {shorten_names(genome.names)}")
    return {name: meaning for name, (meaning, _) in aliases.items()}


def _synonyms(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    text = read_text(path, _TABLE)
    is_report = any(line.startswith("# Sequence-Name\t") for line in text.splitlines())
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = [column.strip() for column in line.split("\t")] if "\t" in line else line.split()
        if len(columns) < (10 if is_report else 2):
            wanted = "the 10 columns of an assembly report" if is_report else "two or more names"
            raise InputError(f"{path}:{number}: {len(columns)} column(s); expected {wanted} of one chromosome")
        if is_report:
            # Scaffolds carry the molecule that they belong to, which is no name of theirs.
            whole = columns[1] == "assembled-molecule"
            columns = [columns[0], columns[4], columns[6], columns[9], *(columns[2:3] if whole else [])]
        elif len(columns) == 3 and _SOURCES.fullmatch(columns[2]):
            columns = columns[:2]
        yield number, list(dict.fromkeys(column for column in columns if column not in _NO_NAME))


def _body(name: str) -> str:
    return _PREFIX.sub("", name, count=1) if _PREFIX.match(name) else name


def _unique(key: Callable[[str], str], names: Iterable[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in names:
        known_as = key(name)
        found[known_as] = None if known_as in found else name
    return found


def _numerals(genome: Genome) -> dict[str, int]:
    """Roman numerals, in lower case, that count chromosomes in this genome."""
    bodies = {_body(name).lower() for name in genome.names}
    numbers = {int(body) for body in bodies if body.isdecimal()}
    roman = {body: _ROMAN[body] for body in bodies & set(_ROMAN)}
    if numbers:
        counts = ten = numbers == _YEAST and not roman
    else:
        # I, V and X alone may be letters.
        counts = any(len(body) > 1 for body in roman)
        ten = any(value > 8 for body, value in roman.items() if body != "x")
    return {body: value for body, value in _ROMAN.items() if body != "x" or ten} if counts else {}


def _looks_like(assembly: str | None) -> str:
    return f" (looks like {assembly})" if assembly else ""
