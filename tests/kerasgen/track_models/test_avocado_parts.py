"""Parts of the imputation model beside an independent computation: factors, context, scales, steps, batches."""

from __future__ import annotations

import re
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import pytest

from architectures import avocado
from kerasgen.track_models.avocado import sampling
from kerasgen.track_models.avocado.context import Context
from kerasgen.track_models.avocado.genome import GenomeFactors, draw_factors
from kerasgen.track_models.avocado.network import Imputer, Trainer
from kerasgen.track_models.avocado.sampling import Experiments
from kerasgen.track_models.avocado.scales import guess, likeness, measure
from kerasgen.track_models.avocado.settings import AvocadoSettings, resolve
from kerasgen.track_models.binned import Stretch

pytestmark = pytest.mark.backend

TWO = (Stretch("a", 0, 0, 430), Stretch("b", 0, 430, 700))


@pytest.mark.parametrize("falling", [False, True])
def test_rows_move_as_keras_adam_moves_whole_tables(falling: bool, rng: np.random.Generator) -> None:
    genome = GenomeFactors(TWO[:1], (3, 2, 1), rng)
    start = genome.copy_tables()
    tables = [keras.Variable(table) for table in start]
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(tables)
    for step in range(60):
        rate = 0.02 * (1 - step / 60) if falling else 0.01
        optimizer.learning_rate.assign(rate)
        positions = np.sort(rng.integers(0, 430, 25))
        gradient = rng.normal(size=(25, 6)).astype(np.float32)
        rows, factors = genome.begin_step(positions, rate)
        whole = []
        for table, row, span, part in zip(tables, rows, (1, 10, 200), np.split(gradient, [3, 5], axis=1), strict=True):
            np.testing.assert_array_equal(row, positions // span)
            dense = np.zeros(table.shape, np.float32)
            np.add.at(dense, row, part)
            whole.append(dense)
        expected = np.concatenate(
            [keras.ops.convert_to_numpy(t)[row] for t, row in zip(tables, rows, strict=True)], axis=1
        )
        np.testing.assert_allclose(factors, expected, atol=2e-5)
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in whole])
        genome.end_step(rows, gradient)
    genome.settle()
    for mine, theirs, before in zip(genome.tables, tables, start, strict=True):
        np.testing.assert_allclose(mine, keras.ops.convert_to_numpy(theirs), atol=2e-5)
        assert np.abs(mine - before).max() > 0.05


def test_a_coarse_row_does_not_span_two_stretches(rng: np.random.Generator) -> None:
    genome = GenomeFactors(TWO, (1, 2, 3), rng)
    fine, middle, coarse = genome.rows(np.array([0, 429, 430, 699]))
    assert list(fine) == [0, 429, 430, 699]
    assert list(middle) == [0, 42, 43, 43 + 26]
    assert list(coarse) == [0, 2, 3, 4]
    assert [len(table) for table in genome.tables] == [700, 43 + 27, 3 + 2]
    whole = genome.gather(np.arange(700))
    np.testing.assert_array_equal(whole[430:440, 1:3], np.repeat(genome.tables[1][43:44], 10, axis=0))


def test_context_is_what_the_other_tracks_hold_around_a_bin(rng: np.random.Generator) -> None:
    pairs = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 2)]
    values = rng.random((6, 700)).astype(np.float32)
    values[1, 100:140] = np.nan
    celltypes, assays = np.array(pairs).T
    context = Context(values, celltypes, assays, 3, 3, TWO, windows=(0, 4))
    positions = np.array([2, 120, 428, 431, 699])
    found = context(positions, np.zeros(5, np.int64), np.ones(5, np.int64) * 0)
    assert found.shape == (5, context.columns) == (5, 12 + 3 * 5)

    def window(track: int, position: int, half: int) -> float:
        low, high = (0, 430) if position < 430 else (430, 700)
        piece = values[track, max(position - half, low) : min(position + half + 1, high)]
        return float(np.nanmean(piece)) if np.isfinite(piece).any() else float("nan")

    for row, position in zip(found, positions, strict=True):
        for k, half in enumerate((0, 4)):
            others = np.array([window(track, position, half) for track in (1, 2)])
            others = others[np.isfinite(others)]
            expected = [others.mean(), others.min(), others.max(), others.std()]
            np.testing.assert_allclose(row[6 * k : 6 * k + 4], expected, atol=1e-5)
            mean, own = window(4, position, half), window(3, position, half)
            if np.isnan(mean):
                np.testing.assert_allclose(row[17 + 2 * k : 19 + 2 * k], [own, 0], atol=1e-5)
            else:
                np.testing.assert_allclose(row[17 + 2 * k : 19 + 2 * k], [mean, own - mean], atol=1e-5)
            np.testing.assert_allclose(row[22 + 2 * k : 24 + 2 * k], [window(5, position, half), 0], atol=1e-5)
        assert list(row[[16, 21, 26]]) == [0, 1, 0]


def test_windows_over_many_runs_are_as_exact_as_a_direct_mean(rng: np.random.Generator) -> None:
    values = rng.gamma(0.5, 60, (2, 5000)).astype(np.float32)
    values[:, rng.random(5000) < 0.2] = np.nan
    values[:, 640:1700] = np.nan
    scale = np.array([[30.0, 4.0], [25.0, 3.0]], np.float32)
    stretch = [Stretch("a", 0, 0, 5000)]
    context = Context(values, np.array([0, 1]), np.array([0, 0]), 2, 1, stretch, windows=(0, 31, 1000), scales=scale)
    positions = np.array([0, 63, 64, 65, 1000, 1100, 2048, 4999])
    found = context(positions, np.zeros(8, np.int64), np.zeros(8, np.int64))
    units = (values[1].astype(np.float64) - 25) / 3
    for row, position in zip(found, positions, strict=True):
        for k, half in enumerate((0, 31, 1000)):
            piece = units[max(position - half, 0) : position + half + 1]
            expected = np.nanmean(piece) if np.isfinite(piece).any() else 0.0
            assert row[6 * k] == pytest.approx(expected, abs=2e-4)


def test_factors_drawn_some_rows_at_a_time_are_those_drawn_at_once() -> None:
    made = GenomeFactors(TWO, (3, 2, 1), np.random.default_rng(5))
    rng, other = np.random.default_rng(5), np.random.default_rng(5)
    for table in made.tables:
        np.testing.assert_array_equal(table, rng.uniform(-0.05, 0.05, table.shape).astype(np.float32))
        np.testing.assert_array_equal(table, draw_factors(other, *table.shape, rows_at_once=64))


def test_context_never_looks_at_the_track_asked_for(rng: np.random.Generator) -> None:
    values = rng.random((4, 300)).astype(np.float32)
    indices = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    here, ask = np.arange(300), np.zeros(300, np.int64)
    stretch = [Stretch("a", 0, 0, 300)]
    before = Context(values, *indices, 2, 2, stretch)(here, ask, ask)
    values[0] = 1e6
    np.testing.assert_array_equal(Context(values, *indices, 2, 2, stretch)(here, ask, ask), before)
    kept = np.tile([True, False, True, True], (300, 1))
    without = Context(values, *indices, 2, 2, stretch)(here, ask, ask, kept)
    fewer = Context(values[[0, 2, 3]], indices[0][[0, 2, 3]], indices[1][[0, 2, 3]], 2, 2, stretch)(here, ask, ask)
    np.testing.assert_array_equal(without, fewer)


def test_a_cell_type_that_looks_alike_around_the_bin_counts_more(rng: np.random.Generator) -> None:
    pairs = np.array([(c, a) for c in range(3) for a in range(3) if (c, a) != (0, 2)]).T
    values = rng.random((8, 300)).astype(np.float32)
    context = Context(values, *pairs, 3, 3, [Stretch("a", 0, 0, 300)], windows=(0, 3))
    found = context(np.array([50]), np.array([0]), np.array([2]))[0]
    tracks = {pair: track for pair, track in zip(zip(*pairs, strict=True), values, strict=True)}
    for k, half in enumerate((0, 3)):
        here = {pair: float(track[50 - half : 51 + half].mean()) for pair, track in tracks.items()}
        distances = [np.mean([(here[c, b] - here[0, b]) ** 2 for b in (0, 1)]) for c in (1, 2)]
        weights = np.exp(-2 * np.array(distances) / np.mean(distances))
        expected = [np.average([here[c, 2] for c in (1, 2)], weights=weights)]
        expected += [np.average([tracks[c, 2][50] for c in (1, 2)], weights=weights)]
        np.testing.assert_allclose(found[6 * k + 4 : 6 * k + 6], expected, rtol=1e-5)


def test_the_spread_of_a_missing_track_is_guessed_from_its_cell_type_and_assay() -> None:
    of_celltype, of_assay = {"a": 1.0, "b": 2.0, "c": 0.5}, {"x": 0.4, "y": 0.8, "z": 1.2}
    scales = {
        (c, a): (0.5 * of_celltype[c] * of_assay[a], of_celltype[c] * of_assay[a])
        for c in of_celltype
        for a in of_assay
        if (c, a) != ("b", "z")
    }
    of_mean = abs(np.log(np.sqrt(1.2 * 0.6) / 2.4))
    mean, spread = guess(scales, "b", "z")
    assert abs(np.log(spread / 2.4)) < of_mean / 2
    assert mean == pytest.approx(0.5 * spread, rel=0.01)
    alike = {(one, other): 0.4 for one in of_assay for other in of_assay}
    assert abs(np.log(guess(scales, "b", "z", alike)[1] / 2.4)) < abs(np.log(spread / 2.4))
    # A track that looks like the one wanted says more than one that doesn't.
    scales["b", "x"] = (0.5, 3.0)
    towards = guess(scales, "b", "z", {("z", "x"): 0.5})[1]
    assert towards > guess(scales, "b", "z", {("z", "y"): 0.5})[1]
    assert measure(np.array([1, 3, np.nan], np.float32)) == (2.0, 1.0)
    assert measure(np.ones(3, np.float32)) == (1.0, 1.0)


def test_likeness_is_the_mean_correlation_of_assays_of_one_cell_type(rng: np.random.Generator) -> None:
    values = rng.random((4, 500)).astype(np.float32)
    values[1] += values[0]
    found = likeness(values, [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")])
    expected = (np.corrcoef(values[0], values[1])[0, 1] + np.corrcoef(values[2], values[3])[0, 1]) / 2
    assert found["x", "y"] == pytest.approx(expected, abs=1e-5)
    assert found["y", "x"] == pytest.approx(expected, abs=1e-5)
    assert len(found) == 2


def network(**params) -> keras.Model:
    keras.utils.set_random_seed(3)
    return avocado.build(avocado.Config(**{"n_celltypes": 3, "n_assays": 4, "n_nodes": 8, "n_layers": 2, **params}))


def batch(rng: np.random.Generator, n: int = 40, context: int = 0) -> list[np.ndarray]:
    indices = [rng.integers(0, most, (n, 1)).astype(np.int32) for most in (3, 4)]
    more = [rng.random((n, context)).astype(np.float32)] if context else []
    return [*indices, *more, rng.random(n).astype(np.float32), np.ones(n, np.float32)]


def test_a_step_is_a_step_of_keras_adam(rng: np.random.Generator) -> None:
    ours, theirs = network(n_genome_factors=5), network(n_genome_factors=5)
    trainer = Trainer(ours, lambda path: True)
    theirs.compile(keras.optimizers.Adam(0.01), "mse")
    for _ in range(5):
        given, factors = batch(rng), rng.random((40, 5)).astype(np.float32)
        loss, _ = trainer(given, factors, 0.01)
        expected = theirs.train_on_batch([*given[:2], factors], given[2])
        assert float(loss) == pytest.approx(float(expected), rel=1e-4) or theirs.metrics
    trainer.store()
    for mine, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(mine), keras.ops.convert_to_numpy(other), atol=2e-4, err_msg=mine.path
        )


def test_the_gradient_of_the_factors_is_that_of_the_loss(rng: np.random.Generator) -> None:
    model = network(n_genome_factors=5)
    given, factors = batch(rng), rng.random((40, 5)).astype(np.float32)
    given[-1][7] = 0

    def loss(factors: np.ndarray) -> float:
        out = keras.ops.convert_to_numpy(model([*given[:2], factors]))[:, 0].astype(np.float64)
        return float((given[-1] * (out - given[-2]) ** 2).sum() / given[-1].sum())

    _, gradient = Trainer(model, lambda path: True)(given, factors, 0.0)
    gradient = keras.ops.convert_to_numpy(gradient)
    assert (gradient[7] == 0).all()
    for row, column in ((0, 0), (3, 4), (39, 2)):
        moved = factors.copy()
        moved[row, column] += 0.05
        back = factors.copy()
        back[row, column] -= 0.05
        assert gradient[row, column] == pytest.approx((loss(moved) - loss(back)) / 0.1, rel=0.05, abs=1e-4)


def test_frozen_weights_and_rows_stay(rng: np.random.Generator) -> None:
    model = network(n_genome_factors=5)
    place = "celltype_product/embeddings"
    before = {v.path: np.array(keras.ops.convert_to_numpy(v)) for v in model.variables}
    trainer = Trainer(model, lambda path: path == place, {place: np.array([False, False, True])}, weight_decay=0.1)
    for _ in range(3):
        trainer(batch(rng), rng.random((40, 5)).astype(np.float32), 0.01)
    trainer.store()
    for variable in model.variables:
        after = keras.ops.convert_to_numpy(variable)
        if variable.path == place:
            np.testing.assert_array_equal(after[:2], before[place][:2])
            assert (after[2] != before[place][2]).all()
        else:
            np.testing.assert_array_equal(after, before[variable.path])


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("factors", [(2, 3, 1), (0, 0, 0)])
def test_imputing_is_the_network_called_plainly(factors: tuple, residual: bool, rng: np.random.Generator) -> None:
    model = network(n_genome_factors=sum(factors), n_context=6, residual=residual)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    genome = GenomeFactors(TWO, factors, rng)
    positions = np.arange(420, 445)
    rows = genome.rows(positions)
    imputer = Imputer(model, factors)
    tables = [table[row[0] : row[-1] + 1] for table, row in zip(genome.tables, rows, strict=True)]
    part = imputer.genome_part(tables, [(row - row[0]).astype(np.int32) for row in rows]) if sum(factors) else None
    context = rng.random((25, 6)).astype(np.float32)
    given = [np.full((25, 1), 2, np.int32), np.full((25, 1), 3, np.int32)]
    given += [genome.gather(positions)] if sum(factors) else []
    expected = keras.ops.convert_to_numpy(model([*given, context]))[:, 0]
    np.testing.assert_allclose(imputer(2, 3, part, context), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", ["sequential", "permuted"])
def test_a_pass_sees_each_bin_once(how: str) -> None:
    rng = np.random.default_rng(0)
    seen = np.concatenate(list(islice(sampling.draw_positions(1000, 100, how, rng), 10)))
    assert sorted(seen) == list(range(1000))
    assert (list(seen) == list(range(1000))) == (how == "sequential")


def test_random_positions_are_drawn_on_their_own() -> None:
    first = next(sampling.draw_positions(1000, 200, "random", np.random.default_rng(0)))
    assert len(np.unique(first)) < 200
    assert np.diff(np.sort(first)).max() > 5


def test_values_of_a_batch_are_in_the_units_of_their_tracks() -> None:
    values = np.arange(20, dtype=np.float32).reshape(2, 10)
    scales = np.array([[1, 2], [10, 4]], np.float32)
    experiments = Experiments(values, np.array([0, 1]), np.array([0, 0]), scales)
    made = next(
        sampling.batches(experiments, AvocadoSettings(batch_size=10), "sequential", 1, np.random.default_rng(1), None)
    )
    track = made.inputs[0][:, 0]
    assert set(track) == {0, 1}
    np.testing.assert_array_equal(
        made.inputs[-2], (values[track, made.positions] - scales[track, 0]) / scales[track, 1]
    )


def test_a_missing_value_counts_nothing_and_a_high_one_more() -> None:
    values = np.array([[1, np.nan, 3], [np.nan, np.nan, 6]], np.float32)
    experiments = Experiments(values, np.array([0, 1]), np.array([1, 0]))
    rng = np.random.default_rng(0)
    settings = AvocadoSettings(batch_size=3, peak_weight=0.5)
    for made in sampling.batches(experiments, settings, "sequential", 5, rng, None):
        celltype, assay, observed, counted = made.inputs
        row = celltype[:, 0]
        np.testing.assert_array_equal(assay[:, 0], 1 - row)
        drawn = values[row, made.positions]
        np.testing.assert_array_equal(counted, np.where(np.isnan(drawn), 0, 1 + drawn / 2))
        np.testing.assert_array_equal(observed, np.nan_to_num(values[row, made.positions]))


def test_the_settings_in_the_docs_are_those_of_the_presets() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "imputation.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \| .", text, re.MULTILINE)
    presets = [asdict(resolve(name)) for name in ("published", "default")]
    assert {name: tuple(values) for name, *values in rows} == {
        name: tuple(str(preset[name]) for preset in presets) for name in presets[0]
    }
