"""How many examples of its own making a test tries."""

from __future__ import annotations

from hypothesis import settings


def examples(number: int) -> settings:
    """A number of examples in the suite; of another profile of ``conftest.py`` as many per 100 as it has itself."""
    return settings(max_examples=max(1, number * settings.default.max_examples // 100))
