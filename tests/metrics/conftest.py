"""scikit-learn as the oracle of the metrics: skipped where absent, but never in CI."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def sk() -> ModuleType:
    try:
        return importlib.import_module("sklearn.metrics")
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail("the oracle scikit-learn is absent in CI")
        pytest.skip("the oracle scikit-learn is absent")
