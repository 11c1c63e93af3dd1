"""PyTorch as the oracle: skipped where absent, but never in CI."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
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


@pytest.fixture
def double(torch: ModuleType) -> Iterator[None]:
    """PyTorch keeps the numbers of some optimizers in its default type, whatever the parameters."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
