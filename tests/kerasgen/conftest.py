"""A small database with N and uneven GC content."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from small_database import Small, make


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    made = make(tmp_path_factory.mktemp("small"))
    yield made
    made.database.close()
