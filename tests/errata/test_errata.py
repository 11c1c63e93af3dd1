"""Every erratum that can be measured: the form as printed fails, the library's does not."""

from __future__ import annotations

import math

import pytest

from errata import activations, layers, losses, optimizers, training
from errata.measured import SHAPE, Errors, Measurement, erratum, error, gathered

MEASURED = gathered([layers, activations, losses, optimizers, training])


@pytest.mark.parametrize("id", sorted(MEASURED))
def test_the_printed_form_fails_and_the_librarys_does_not(id: str) -> None:
    measurement = MEASURED[id]
    for name in measurement.needs:
        pytest.importorskip(name)
    printed, library = measurement()
    assert library <= measurement.within
    if printed is None:  # a gap: there is no printed form
        return
    assert printed == SHAPE or math.isnan(float(printed)) or printed >= measurement.at_least  # type: ignore[operator]


def test_limits_are_apart() -> None:
    for id, measurement in MEASURED.items():
        assert 0 < measurement.within < measurement.at_least, id
        assert measurement.about.endswith("."), id


def test_what_is_measured_twice_is_noticed() -> None:
    @erratum("E000-00")
    def one() -> Errors:
        """One."""
        return 1.0, 0.0

    module = type(layers)("made_up")
    module.one, module.two = one, Measurement("E000-00", one.measure, 1, 1, ())  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="E000-00 is measured twice"):
        gathered([module])


def test_errors_are_told_apart() -> None:
    assert error([1.0, 2.0], [1.0, 2.5]) == 0.5
    assert error([1.0], [[1.0]]) == SHAPE
    assert math.isnan(error([math.inf], [math.inf]))  # type: ignore[arg-type]
    assert error([], []) == 0
