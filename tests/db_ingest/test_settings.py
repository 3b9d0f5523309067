"""Settings told once: flat keywords and dataclasses, what help() says, and what is refused."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest

from db_ingest.errors import InputError
from db_ingest.settings import Changes, Overrides, Setting, Settings, parameters, require_new, takes_settings

Seed = Annotated[int, Setting("seed of everything random", unit="", least=0)]


@dataclass(frozen=True, kw_only=True)
class Side(Settings):
    """Inputs or outputs."""

    flag_prefix: ClassVar[str] = "in_"
    flag_words: ClassVar[Mapping[str, str]] = {"side": "input"}
    flank: Annotated[Sequence[int], Setting("half the window of each {side}", unit="bp", group="data")]
    kinds: Annotated[Sequence[str | None] | None, Setting("kind of each {side}", group="data")] = None


@dataclass(frozen=True, kw_only=True)
class Speed(Settings):
    """How fast."""

    epochs: Annotated[int, Setting("largest number of epochs", unit="epochs", least=1, may_change=True)] = 40
    rate: Annotated[float, Setting("learning rate", unit="", above=0)] = 1e-3
    share: Annotated[float, Setting("share of N", unit="share", least=0, most=1)] = 0.5
    way: Annotated[str, Setting("how it falls", choices=("plateau", "cosine"))] = "plateau"
    table: Annotated[str | None, Setting("file that is read, see --epochs", path=True)] = None


@dataclass(frozen=True, kw_only=True)
class Whole(Settings):
    """Both."""

    side: Side
    speed: Speed = field(default_factory=Speed)
    seed: Seed = 7


@takes_settings
def train(
    db: Annotated[str, Setting("the database")], *, whole: Whole, quick: Annotated[bool, Setting("hurry")] = False
) -> Any:
    """Train a model.

    It takes a while.

    Raises:
        InputError: something is wrong.
    """
    return db, whole, quick


@takes_settings
def predict(
    model: Annotated[str, Setting("the model")],
    *,
    seed: Seed | None = None,
    changes: Annotated[Changes, Overrides(Side, Speed, without=["table"])],
) -> Any:
    """Predict."""
    return model, seed, changes


def test_keywords_and_dataclasses_are_the_same_call() -> None:
    flat = train("db", in_flank=[5], epochs=3, rate=0.1, seed=1, quick=True)
    assert flat == train("db", whole=Whole(side=Side(flank=[5]), speed=Speed(epochs=3, rate=0.1), seed=1), quick=True)
    assert flat == train("db", side=Side(flank=[5]), epochs=3, rate=0.1, seed=1, quick=True)
    assert flat == train(db="db", in_flank=[5], speed=Speed(epochs=3, rate=0.1), seed=1, quick=True)
    assert flat[1].speed.epochs == 3
    assert train("db", in_flank=[5])[1] == Whole(side=Side(flank=[5]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_flank": [5], "epoch": 3}, r"train\(\): 'epoch' is not a parameter.*did you mean 'epochs'"),
        ({}, r"train\(\): 'in_flank' is missing"),
        ({"side": Side(flank=[5]), "in_flank": [5]}, "'in_flank' is not a parameter, or given twice"),
        ({"side": Speed()}, "side is a Speed; expected Side"),
        ({"in_flank": [5], "db": "x"}, "'db' is given twice"),
    ],
)
def test_unknown_missing_and_twice_given_keywords_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        train("db", **arguments)


def test_more_by_position_than_there_is_are_refused() -> None:
    with pytest.raises(TypeError, match="takes 1 arguments by position, 2 given"):
        train("db", [5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "--epochs 0: expected 1 or more"),
        ({"rate": 0.0}, "--rate 0: expected more than 0"),
        ({"share": 2.0}, "--share 2: expected a share from 0 to 1"),
        ({"way": "fast"}, "--way fast: expected one of plateau, cosine"),
        ({"seed": -1}, "--seed -1: expected 0 or more"),
        ({"rate": float("nan")}, "--rate nan: expected a number"),
    ],
)
def test_values_out_of_bounds_are_refused_in_words_of_the_command_line(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train("db", in_flank=[5], **arguments)


def test_help_of_a_setting_may_be_another_where_it_is_given_in_place_of_one() -> None:
    given = Overrides(Speed, help={"epochs": "epochs until it stops"}).parameters
    assert {p.name: p.setting.help for p in given}["epochs"] == "epochs until it stops"
    assert {p.name for p in given} == set(Speed.parameters())


def test_dataclass_checks_its_values_when_it_is_made() -> None:
    with pytest.raises(InputError, match="--epochs -3: expected 1 or more"):
        Speed(epochs=-3)


def test_signature_is_flat_and_has_plain_types_and_defaults() -> None:
    found = inspect.signature(train).parameters
    assert list(found) == ["db", "in_flank", "in_kinds", "epochs", "rate", "share", "way", "table", "seed", "quick"]
    assert found["in_flank"].default is inspect.Parameter.empty
    assert (found["epochs"].default, found["epochs"].annotation) == (40, int)
    assert found["in_kinds"].annotation == Sequence[str | None] | None
    assert found["db"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert found["epochs"].kind is inspect.Parameter.KEYWORD_ONLY


def test_docstring_explains_every_parameter_between_summary_and_errors() -> None:
    text = inspect.getdoc(train)
    summary, arguments, errors = (text.index(part) for part in ("Train a model.", "Args:", "Raises:"))
    assert summary < arguments < errors
    assert "    in_flank: half the window of each input (bp)." in text
    assert "    epochs: largest number of epochs." in text
    assert "    way: how it falls (one of plateau, cosine)." in text
    assert "    table: file that is read, see epochs." in text
    assert all(f"    {name}: " in text for name in parameters(train))


def test_words_become_values_of_the_types() -> None:
    found = parameters(train)
    assert found["in_flank"].many
    assert found["in_flank"].parse("5") == 5
    assert found["in_kinds"].parse("None") is None
    assert found["db"].parse("None") == "None"
    assert found["quick"].switch
    assert [found[name].placeholder for name in ("in_flank", "epochs", "rate", "way", "quick")] == [
        "BP", "N", "X", None, None,
    ]  # fmt: skip


def test_flat_record_is_plain_and_comes_back() -> None:
    whole = Whole(side=Side(flank=(5, 6)), speed=Speed(epochs=3))
    record = whole.flat()
    assert record["in_flank"] == [5, 6]
    assert Whole.from_flat({**record, "of_another": 1}) == Whole(side=Side(flank=[5, 6]), speed=Speed(epochs=3))
    assert Whole.from_flat({"in_flank": [5]}) == Whole(side=Side(flank=[5]))
    assert {name for name, each in Whole.parameters().items() if each.setting.may_change} == {"epochs"}


def test_paths_become_absolute_and_uris_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Speed(table="a/b").absolute().table == str(tmp_path / "a/b")
    assert Speed(table="s3://a/b").absolute().table == "s3://a/b"
    assert Speed().absolute() == Speed()
    assert Whole(side=Side(flank=[5]), speed=Speed(table="x")).paths() == ["x"]


def test_overrides_are_all_optional_and_go_onto_what_there_was() -> None:
    found = inspect.signature(predict).parameters
    assert list(found) == ["model", "seed", "in_flank", "in_kinds", "epochs", "rate", "share", "way"]
    assert all(found[name].default is None for name in list(found)[1:])
    assert found["epochs"].annotation == int | None
    model, seed, changes = predict("m", epochs=9, way="cosine")
    assert (model, seed) == ("m", None)
    before = Whole(side=Side(flank=[5]), speed=Speed(rate=0.5))
    assert changes.onto(before) == Whole(side=Side(flank=[5]), speed=Speed(epochs=9, rate=0.5, way="cosine"))
    assert changes.touches(Speed)
    assert not changes.touches(Side)
    assert "epochs" in changes
    assert predict("m", changes=Changes({"epochs": 9}))[2].onto(Speed()) == Speed(epochs=9)
    with pytest.raises(InputError, match="--epochs 0: expected 1 or more"):
        predict("m", epochs=0)


def test_two_settings_of_one_name_and_one_without_words_are_refused() -> None:
    def twice(epochs: Seed, *, speed: Speed) -> None:
        """Do nothing."""

    def silent(seed: int) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match="two parameters are named epochs"):
        takes_settings(twice)
    with pytest.raises(TypeError, match="seed: its annotation .* has no Setting"):
        takes_settings(silent)


def test_file_that_is_there_is_replaced_only_when_told(tmp_path: Path) -> None:
    require_new(tmp_path / "none", overwrite=False)
    require_new(tmp_path, overwrite=True)
    with pytest.raises(InputError, match=f"{tmp_path}: exists; --overwrite replaces it"):
        require_new(tmp_path, overwrite=False)
