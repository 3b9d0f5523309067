"""The commands that the package installs, and the module of each; ``gen_db`` is a group with a table of its own."""

from __future__ import annotations

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"]

PLACES: dict[str, str] = _PROJECT["scripts"]
"""``MODULE:FUNCTION`` of each command."""

MODULES = {name: place.partition(":")[0] for name, place in PLACES.items() if name != "gen_db"}
