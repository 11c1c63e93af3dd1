"""The rows with the largest losses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.array.errors import DataError
from chainrule.diagnose import worst


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(-1, 35))
def test_as_a_stable_sort(losses: list[int], k: int) -> None:
    expected = sorted(range(len(losses)), key=lambda i: (-losses[i], i))[: max(k, 0)]
    assert worst(losses, k).tolist() == expected


def test_extremes() -> None:
    assert worst([1.0, np.inf, 2.0], 2).tolist() == [1, 2]
    with pytest.raises(DataError, match="row 1 is nan"):
        worst([0.0, np.nan])
    with pytest.raises(DataError, match="one number per row"):
        worst([[0.0]])
