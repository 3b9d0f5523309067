"""The house: no module imports itself by way of others, not even from within a function."""

from __future__ import annotations

import grimp
import pytest


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules that import each other, by Tarjan (1972), SIAM J. Comput. 1:146."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        path.append(module)
        for other in imports[module]:
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in path:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            circle = path[path.index(module) :]
            del path[path.index(module) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for module in imports:
        if module not in number:
            visit(module)
    return found


def test_circles_are_found():
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}, "g": set()}
    assert sorted(circles(imports)) == [["a", "b", "c"], ["d", "e"]]


@pytest.mark.parametrize("package", ["db_ingest", "architectures", "kerasgen"])
def test_no_module_imports_itself_by_way_of_others(package):
    graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    assert circles({module: graph.find_modules_directly_imported_by(module) for module in sorted(graph.modules)}) == []
