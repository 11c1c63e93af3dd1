"""The report: the text and the numbers of scikit-learn's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import metrics as m
from tests_metrics import classes, indicators


@settings(max_examples=20, deadline=None)
@given(data=st.data(), zero=st.sampled_from(["warn", 0, 1, np.nan]))
def test_equals_the_oracle(sk: Any, data: Any, zero: Any):
    true, pred, w, known = data.draw(classes() | indicators())
    # Labels that are whole floats have the names of integers here, there "0.0".
    true, pred = (np.asarray(y).astype(int) if _is_float(y) else y for y in (true, pred))
    labels = None
    if isinstance(known, list):
        labels = data.draw(st.none() | st.lists(st.sampled_from(known), min_size=1, unique=True))
    options: dict[str, Any] = {"labels": labels, "sample_weight": w, "zero_division": zero}
    if labels is not None:
        options["target_names"] = [f"class {label}" for label in labels]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = (
            f.classification_report(true, pred, output_dict=True, **options) for f in (m, sk)
        )
        assert list(ours) == list(theirs)
        for name, row in theirs.items():
            if name == "accuracy":
                assert ours[name] == pytest.approx(row, rel=1e-12)
            else:
                assert ours[name] == pytest.approx(row, rel=1e-12, nan_ok=True)
        # The text of a sum of weights shows its last bit, and where nothing is right
        # scikit-learn writes a support of 1.0 for 1.
        if w is None and (np.ravel(true) == np.ravel(pred)).any() and np.ndim(true) == 1:
            digits = data.draw(st.sampled_from([2, 5]))
            ours, theirs = (
                f.classification_report(true, pred, digits=digits, **options) for f in (m, sk)
            )
            assert ours == theirs


def _is_float(y: Any) -> bool:
    return np.asarray(y).dtype.kind == "f"


def test_names():
    with pytest.raises(ValueError, match=r"3 labels.*2 target_names"):
        m.classification_report([0, 1, 2], [0, 1, 2], target_names=["a", "b"])
    with pytest.warns(UserWarning, match="only as many as both have"):
        text = m.classification_report(
            [0, 1], [0, 1], labels=[0, 1], target_names=["no", "yes", "maybe"]
        )
    assert "yes" in text
    assert "maybe" not in text
