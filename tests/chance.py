"""How many examples of its own making a test tries."""

from __future__ import annotations

from hypothesis import settings


def examples(number: int) -> settings:
    """A number of examples in the suite, where they are always the same; ten times as many where new ones are sought.

    See the profiles in ``conftest.py``.
    """
    return settings(max_examples=number if settings.default.derandomize else 10 * number)
