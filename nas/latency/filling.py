"""Times of the units that were not measured, learned from those that were."""

from collections.abc import Mapping

import numpy as np

from nas.latency.features import unit_features
from nas.latency.learned_units import UnitModel, fit_units
from search_spaces.costs.latency import DeviceModel
from search_spaces.costs.unit_times import UnitTimes
from search_spaces.errors import InputError
from search_spaces.units import Unit


class FilledTimes(UnitTimes):
    """Milliseconds of every unit: measured or composed where that is possible, else learned.

    Args:
        measured: as for `UnitTimes`.
        seed: of the cross-validation.

    Raises:
        InputError: too few units were measured to learn from.
    """

    def __init__(self, measured: Mapping[Unit, float], seed: int = 0) -> None:
        super().__init__(measured)
        self.model: UnitModel[Unit] = fit_units(
            list(self.measured), np.array(list(self.measured.values())), unit_features, seed
        )
        self._guessed: dict[Unit, float] = {}

    def __call__(self, unit: Unit) -> float:
        found = super().__call__(unit)
        if found is not None:
            return found
        if unit not in self._guessed:
            self._guessed[unit] = float(self.model.predict([unit])[0])
        return self._guessed[unit]


def filled(model: DeviceModel, seed: int = 0) -> DeviceModel:
    """The same device with a time for every unit.

    Raises:
        InputError: too few units were measured to learn from, or the device's model was itself learned from whole networks.
    """
    if model.is_learned:
        raise InputError(
            f"{model.name} was learned from whole networks, and search.fill=true learns from units that were measured alone",
            "search.fill=true with profiles and tables of measured units",
            "search.fill=false, or nas profile space=SPACE units=all out=FILE on the device",
        )
    times = FilledTimes(model.times.measured, seed)
    form = f"{model.form}; units that were not measured by {times.model.name} ({times.model.accuracy})"
    return DeviceModel(model.device, times, model.base, model.weights, form, model.about)
