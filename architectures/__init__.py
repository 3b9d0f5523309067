"""Model families: a config in, an uncompiled ``keras.Model`` out.

A family is one module with a ``Config`` dataclass, whose ``from_data`` derives what the shapes of inputs and outputs
fix, and a function ``build(config) -> keras.Model``.

Example:
    >>> import architectures
    >>> bpnet = architectures.get("bpnet")
    >>> model = bpnet.build(bpnet.Config(filters=32, num_tasks=1))
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ARCHITECTURES = {
    "bpnet": "architectures.bpnet",
    "avocado": "architectures.avocado",
    "epilstm": "architectures.epilstm",
}
"""Families by name."""


def get(name: str) -> ModuleType:
    """Return the module of a family by its name; raises ValueError that lists the known ones."""
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}")
    return importlib.import_module(ARCHITECTURES[name])


def from_file(path: str | Path) -> ModuleType:
    """Return the user's own family from a Python file with ``Config`` and ``build``.

    Raises:
        ValueError: no such file, it cannot be run, or it lacks either name.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected Python with Config and build(config)")
    name = f"kerasgen_architecture_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: not a Python file; expected Config and build(config)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path}: cannot be run ({type(error).__name__}: {error})") from error
    for wanted in ("Config", "build"):
        if not hasattr(module, wanted):
            raise ValueError(f"{path}: defines no {wanted}; expected a Config dataclass and build(config)")
    if not hasattr(module.Config, "from_data"):
        raise ValueError(
            f"{path}: Config has no from_data(inputs, outputs, **params), which makes one from data shapes"
        )
    return module
