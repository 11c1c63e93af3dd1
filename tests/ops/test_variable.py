from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import chainrule as cr


def test_it_takes_values_in_its_own_type():
    v = cr.Variable([1.0, 2.0])
    assert v.dtype == np.float32
    v.assign(np.array([3.0, 4.0]))
    assert v.numpy().tolist() == [3.0, 4.0]
    assert v.dtype == np.float32
    with pytest.raises(cr.ShapeError, match=r"a variable of shape \(2,\) cannot take .* \(3,\)"):
        v.assign([1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="holds numbers"):
        v.assign(["a", "b"])


def test_a_change_makes_a_graph_stale():
    v, x = cr.Variable([2.0]), cr.tensor([3.0], requires_grad=True)
    y = (v * x).sum()
    v.assign([5.0])
    with pytest.raises(cr.StaleGraphError, match="was updated after the forward pass"):
        y.backward()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_a_copy_has_memory_of_its_own(copied):
    v = cr.Variable(np.array([1.0, 2.0]))
    w = copied(v)
    w.assign([0.0, 0.0])
    assert v.numpy().tolist() == [1.0, 2.0]
    assert repr(v) == "variable([1., 2.], dtype=float64)"


@pytest.mark.parametrize("mode", ["0", "always"])
def test_a_captured_step_reads_it_at_each_replay(mode, monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", mode)
    beta, total = cr.Variable(1.0), cr.Variable(np.zeros(3, np.float32))

    @cr.capture
    def step(x):
        y = cr.tensor(x) * beta
        total.assign(total.detach() + y)
        return y

    x, expected = np.arange(3, dtype=np.float32), np.zeros(3, np.float32)
    for k in range(6):
        beta.assign(k / 2)
        np.testing.assert_array_equal(step(x).numpy(), x * np.float32(k / 2))
        expected += x * np.float32(k / 2)
    np.testing.assert_array_equal(total.numpy(), expected)
    assert step.reason is None
    assert len(list(step.programs())) == 1
