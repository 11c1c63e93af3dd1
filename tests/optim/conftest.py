"""PyTorch as the oracle: skipped where absent, but never in CI."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    try:
        return importlib.import_module("torch")
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail("the oracle torch is absent in CI")
        pytest.skip("the oracle torch is absent")
