"""Learned latency: on devices that are known because they are made up, and features of real units."""

import random
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from nas.latency import encoding
from nas.latency import learned_networks as learning
from nas.latency.accuracy import PredictionErrors, accuracy, kendall_tau
from nas.latency.choosing import FEWEST, choose
from nas.latency.encoding import SIMILARITIES, Encoder, similarities
from nas.latency.features import Features, unit_features
from nas.latency.filling import FilledTimes, filled
from nas.latency.learned_networks import NetworkModel, fit_networks
from nas.latency.learned_units import fit_units
from search_spaces.costs.latency import DeviceModel
from search_spaces.costs.pieces import unit_cost
from search_spaces.costs.unit_times import UnitTimes
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.space import SearchSpace
from search_spaces.space_units import space_units
from search_spaces.units import units

Array = np.ndarray


class Layer(NamedTuple):
    """A unit of a made-up space: an operator on so many channels."""

    operator: str
    channels: int


OPERATORS = {"skip": 0.0, "depthwise": 9.0, "dense": 1.0, "attention": 3.0}
LAYERS = [Layer(operator, 16 * 2**stage) for stage in range(4) for operator in OPERATORS]


def macs(layer: Layer) -> float:
    return OPERATORS[layer.operator] * layer.channels ** (1 if layer.operator == "depthwise" else 2) / 1000


def describe(layer: Layer) -> Features:
    amounts = {"macs": macs(layer), "channels": float(layer.channels), "calls": 1.0}
    if layer.operator == "skip":
        amounts = dict.fromkeys(amounts, 0.0)
    return Features(amounts, {"operator": layer.operator, "log channels": float(np.log(layer.channels))})


def true_ms(layer: Layer) -> float:
    """No rate per MAC fits all operators."""
    return {"skip": 0.0, "depthwise": 0.5, "dense": 0.02, "attention": 0.004}[layer.operator] * macs(layer)


def networks(count: int, seed: int = 0) -> list[dict[Layer, int]]:
    rng, found = random.Random(seed), []
    for _ in range(count):
        chosen = [
            rng.choice(LAYERS[4 * stage : 4 * stage + 4]) for stage in range(4) for _ in range(rng.choice((2, 3)))
        ]
        found.append({layer: chosen.count(layer) for layer in chosen})
    return found


def additive(network: dict[Layer, int]) -> float:
    return 0.05 + sum(n * true_ms(layer) for layer, n in network.items())


def bound(network: dict[Layer, int]) -> float:
    """Of a device that launches calls while others run: whichever takes longer."""
    launch = 0.02 * sum(n for layer, n in network.items() if layer.operator != "skip")
    return max(launch, sum(n * true_ms(layer) for layer, n in network.items()))


def learned(device: Callable[[dict[Layer, int]], float], count: int, noise: float = 0.0) -> NetworkModel[Layer]:
    some = networks(count)
    wild = 1 + noise * np.random.default_rng(0).standard_normal(count)
    return fit_networks(some, np.array([device(one) for one in some]) * wild, describe)


def held_out(model: NetworkModel[Layer], device: Callable[[dict[Layer, int]], float]) -> PredictionErrors:
    others = networks(200, seed=1)
    return accuracy(model.predict(others), np.array([device(one) for one in others]))


def test_times_that_add_up_are_found() -> None:
    model = learned(additive, 60, noise=0.01)
    assert model.additive
    found = held_out(model, additive)
    assert found.tau > 0.95
    assert found.mape < 0.03
    one = networks(1, seed=5)[0]
    total = model.base + sum(n * model.unit_ms(layer) for layer, n in one.items())
    assert model.predict([one])[0] == pytest.approx(total)
    assert min(map(model.unit_ms, LAYERS)) >= 0
    assert model.unit_ms(Layer("skip", 16)) == 0


def test_cross_validation_tells_the_error() -> None:
    model = learned(additive, 60, noise=0.05)
    others = networks(200, seed=1)
    again = np.random.default_rng(3).standard_normal(200)
    real = accuracy(model.predict(others), np.array([additive(one) for one in others]) * (1 + 0.05 * again))
    assert model.accuracy.count == 60
    assert 0.6 < model.accuracy.mape / real.mape < 1.6
    assert list(model.considered) == ["rates", "sums", "bent sums"]
    assert model.considered[model.name] == model.accuracy


def test_rates_are_worse_where_operators_differ_and_good_where_they_do_not() -> None:
    assert learned(additive, 60).name == "sums"
    model = learned(lambda one: 0.1 + sum(0.3 * n * macs(layer) for layer, n in one.items()), 20)
    assert held_out(model, lambda one: 0.1 + sum(0.3 * n * macs(layer) for layer, n in one.items())).mape < 0.01


def test_times_that_do_not_add_up_are_bent() -> None:
    model = learned(bound, 120)
    assert model.name == "bent sums"
    assert not model.additive
    assert held_out(model, bound).mape < 0.9 * model.considered["sums"].mape
    assert held_out(model, bound).tau > 0.9


def test_a_few_wild_measurements_change_little() -> None:
    some = networks(60)
    ms = np.array([additive(one) for one in some])
    ms[::12] *= 5  # a telephone that was busy with something else
    assert held_out(fit_networks(some, ms, describe), additive).mape < 0.05


def test_units_that_no_network_had_are_predicted() -> None:
    new = Layer("dense", 96)
    assert learned(additive, 60).unit_ms(new) == pytest.approx(true_ms(new), rel=0.25)


def test_equal_seeds_give_equal_models() -> None:
    some = networks(30)
    ms = np.array([additive(one) for one in some])
    one, other, third = (fit_networks(some, ms, describe, seed) for seed in (1, 1, 2))
    assert one.considered == other.considered
    assert (one.predict(some) == other.predict(some)).all()
    assert one.considered != third.considered


def test_many_networks_and_units_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    some = networks(60)
    ms = np.array([additive(one) for one in some])
    whole = fit_networks(some, ms, describe).predict(some)
    monkeypatch.setattr(encoding, "BLOCK", 3)
    assert np.allclose(fit_networks(some, ms, describe).predict(some), whole, rtol=1e-4)
    monkeypatch.setattr(learning, "MOST_NETWORKS", 40)
    model = fit_networks(some, ms, describe)
    assert model.accuracy.count == 40
    assert held_out(model, additive).mape < 0.05


def test_what_cannot_be_learned_is_refused() -> None:
    some = networks(FEWEST)
    with pytest.raises(InputError, match=f"{FEWEST - 1} measured networks"):
        fit_networks(some[:-1], np.ones(FEWEST - 1), describe)
    with pytest.raises(InputError, match=r"all 10 measured networks take 1\.0 ms"):
        fit_networks(some, np.ones(FEWEST), describe)
    with pytest.raises(InputError, match="3 measured units"):
        fit_units(LAYERS[:3], np.ones(3), describe)


def test_the_simplest_of_nearly_equal_kinds() -> None:
    assert choose({"a": 1.0, "b": 0.97}, {"b": 0.95}) == "a"
    assert choose({"a": 1.0, "b": 0.9, "c": 0.89}, {"b": 0.95, "c": 0.95}) == "b"
    assert choose({"a": 1.0, "b": 1.02}, {"b": 1.05}) == "b"


def test_kendalls_tau() -> None:
    rising = np.arange(20.0)
    assert kendall_tau(rising, rising**3) == 1
    assert kendall_tau(rising, -rising) == -1
    assert kendall_tau(rising, np.ones(20)) == 0
    assert kendall_tau(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == pytest.approx(4 / 6)


def test_similarities_are_symmetric_and_nothing_is_like_nothing() -> None:
    features = [describe(layer) for layer in LAYERS]
    units = Encoder(features)(features)
    found = list(similarities(units, units))
    assert len(found) == SIMILARITIES
    idle = [place for place, layer in enumerate(LAYERS) if layer.operator == "skip"]
    for matrix in found:
        assert np.allclose(matrix, matrix.T)
        assert np.linalg.eigvalsh(matrix).min() > -1e-8
        assert not matrix[idle].any()
    assert (found[-1] == np.diag([float(place not in idle) for place in range(len(LAYERS))])).all()


# Real units


def space(name: str = "images32") -> SearchSpace:
    found = load_space(name)
    return found.bind(3, 10, found.resolution)


def test_features_are_what_is_counted() -> None:
    for unit in dict.fromkeys(unit for _, unit in units(space().sample(random.Random(0)))):
        found, counted = unit_features(unit), unit_cost(unit)
        assert (found.amounts["macs"], found.amounts["params"]) == (counted.macs, counted.params)
        assert sum(value for name, value in found.amounts.items() if name.startswith("macs of")) == counted.macs
        assert found.amounts["calls"] >= 1
        assert found.amounts["bytes"] >= 4 * unit.dims[0] * unit.height * unit.width
        again = unit._replace(parts=tuple(unit.parts))
        assert unit_features(again) == found
        assert unit_features(unit._replace(height=2 * unit.height)).amounts["bytes"] > found.amounts["bytes"]


def test_units_of_a_real_space_are_learned() -> None:
    """Times of a device with a time per call, a rate per MAC and a rate per byte, and 2 % of noise."""
    every = space_units(space())
    counted = [unit_features(unit).amounts for unit in every]
    ms = np.array([1e-2 * one["calls"] + 1e-7 * one["macs"] + 1e-7 * one["bytes"] for one in counted])
    ms *= 1 + 0.02 * np.random.default_rng(0).standard_normal(len(ms))
    rng = np.random.default_rng(1).permutation(len(every))
    some, others = rng[: 2 * len(every) // 3], rng[2 * len(every) // 3 :]
    model = fit_units([every[row] for row in some], ms[some], unit_features)
    assert set(model.considered) == {"Gaussian process", "gradient boosting"}
    found = accuracy(model.predict([every[row] for row in others]), ms[others])
    assert found.mape < 0.1
    assert found.tau > 0.9
    device = DeviceModel("pi", UnitTimes({every[row]: float(ms[row]) for row in some}))
    whole = filled(device)
    assert isinstance(whole.times, FilledTimes)
    known, unknown = every[some[0]], next(every[row] for row in others if device.unit_ms(every[row]) is None)
    assert whole.unit_ms(known) == device.unit_ms(known)
    assert whole.unit_ms(unknown) == pytest.approx(float(model.predict([unknown])[0]))
    assert "MAPE" in whole.form


def test_verbs_that_learn_nothing_do_not_import_what_learns() -> None:
    """scikit-learn's models take a second to import, which every command and every process of retraining would spend."""
    code = (
        "import sys, nas.runs.run, nas.searching.conduct, nas.training.retraining; sys.exit('sklearn' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
