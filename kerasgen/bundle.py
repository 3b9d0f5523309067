"""A model and all that is needed to use it again: ``P.keras``, ``P.json``, ``P.log.csv``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db_ingest import storage
from db_ingest.errors import InputError, MissingFileError
from kerasgen import families
from kerasgen.regions.folds import Split
from kerasgen.spec import DataSpec

if TYPE_CHECKING:
    import keras

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Bundle:
    """A trained model's files and what they say.

    Args:
        prefix: ``P`` of ``P.keras``, ``P.json``, ``P.log.csv`` and ``P.state/``.
        config: contents of ``P.json``: resolved flags, data spec, split, architecture, seeds, versions, best metrics.
    """

    prefix: Path
    config: dict[str, Any]

    @property
    def model_path(self) -> Path:
        """The model with its best weights."""
        return path_of(self.prefix, "keras")

    @property
    def family(self) -> families.Family:
        """Whose functions open it, embed and impute with it."""
        return families.family_of(self.config)

    def require_windows(self) -> None:
        """Raise :class:`InputError` for a model of tracks, which has no inputs and outputs to read from windows."""
        if self.family.learns_from != families.WINDOWS:
            raise InputError(
                f"{self.model_path}: a model of {self.family.title}, which learns from tracks; expected one of windows"
            )

    @property
    def spec(self) -> DataSpec:
        """Inputs and outputs of a model of windows."""
        return DataSpec.from_json(self.config["data_spec"])

    @property
    def split(self) -> Split:
        """Chromosomes it was trained, validated and is to be tested on."""
        return Split(**{part: tuple(names) for part, names in self.config["split"].items()})

    def load_model(self) -> keras.Model:
        """Load the model, uncompiled, on the backend in use.

        Raises:
            InputError: the file is missing or is no Keras model.
        """
        return load_model(self.model_path, self.config["architecture"].get("file"))


def path_of(prefix: str | Path, ending: str) -> Path:
    """``P.ending`` of a prefix ``P``, which may hold dots."""
    return Path(f"{prefix}.{ending}")


def load_model(path: str | Path, architecture_file: str | None = None) -> keras.Model:
    """Load a ``.keras`` file in safe mode, uncompiled, with this package's layers and the user's own known to Keras."""
    import keras

    import architectures
    import architectures.layers
    from kerasgen.objectives import heads

    heads.register_losses()
    if not Path(path).is_file():
        raise MissingFileError(f"{path}: no such model")
    try:
        if architecture_file:
            architectures.from_file(architecture_file)
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise InputError(f"{path}: cannot be loaded as a Keras model ({' '.join(str(error).split())[:200]})") from error


def open_bundle(model: str | Path) -> Bundle:
    """Open a bundle by its ``P.keras`` or by ``P``.

    Raises:
        MissingFileError: ``P.keras`` or ``P.json`` does not exist.
        InputError: ``P.json`` is not a bundle's.
    """
    prefix = Path(str(model).removesuffix(".keras"))
    path = path_of(prefix, "json")
    if not path_of(prefix, "keras").is_file():
        raise MissingFileError(f"{path_of(prefix, 'keras')}: no such model; expected the P.keras of gen_train")
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; a model's data spec lies beside its .keras file")
    try:
        config = json.loads(path.read_text())
        version = config["bundle_version"]
    except (ValueError, KeyError, UnicodeDecodeError, TypeError) as error:
        raise InputError(f"{path}: not the JSON that gen_train writes") from error
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: bundle version {version}; this release reads version {FORMAT_VERSION}")
    return Bundle(prefix, config)


def write_config(prefix: str | Path, config: dict[str, Any]) -> None:
    """Write ``P.json`` whole or not at all."""
    storage.replace_bytes(path_of(prefix, "json"), as_json(config).encode())


def as_json(config: dict[str, Any]) -> str:
    """Contents of ``P.json``."""
    return json.dumps({"bundle_version": FORMAT_VERSION, **config}, indent=1)


def write_model(prefix: str | Path, model: keras.Model) -> None:
    """Write ``P.keras`` whole or not at all."""
    with storage.replacing(path_of(prefix, "keras")) as temporary:
        model.save(temporary)


def versions() -> dict[str, str]:
    """Versions of the packages that decide what a model computes."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("kerasgen", "keras", "tensorflow", "jax", "numpy", "tiledb"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
