"""Averages of weights: torch's values, what `apply` and `restore` do, and saved state."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from optim.common import SHAPES, gradients, parameters, same, values

EMA, SWA = cr.optim.ExponentialMovingAverage, cr.optim.StochasticWeightAveraging


def walk(params: list[Any], step: int) -> None:
    for p, g in zip(params, gradients(step, params[0].dtype), strict=True):
        p.assign(p.detach().numpy() + g)


@pytest.mark.parametrize("kind", ["ema 0.9", "ema 0.999", "ema 0", "swa"])
@pytest.mark.parametrize("gathered", [False, True])
def test_it_is_torch_s(torch: ModuleType, kind: str, gathered: bool) -> None:
    params = parameters()
    if gathered:  # in an optimizer's vector
        cr.optim.SGD(params, lr=0.1)
    model = torch.nn.ParameterList([torch.tensor(p.detach().numpy()) for p in params])
    name, *decay = kind.split()
    if name == "ema":
        ours: Any = EMA(params, float(decay[0]))
        average = torch.optim.swa_utils.get_ema_multi_avg_fn(float(decay[0]))
        theirs = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=average)
    else:
        ours = SWA(params)
        theirs = torch.optim.swa_utils.AveragedModel(model)
    for step in range(200):
        walk(params, step)
        for p, q in zip(params, model, strict=True):
            q.data = torch.tensor(p.detach().numpy())
        ours.update()
        theirs.update_parameters(model)
    for a, q in zip(ours.averages.values(), theirs.module, strict=True):
        np.testing.assert_allclose(a, q.detach().numpy(), rtol=1e-12, atol=1e-13)
    assert ours.updates == int(theirs.n_averaged)


def test_the_printed_recurrence() -> None:
    params = parameters()
    ema, mean = EMA(params, 0.8, warmup=True), SWA(params)
    seen = []
    expected = None
    for t in range(30):
        walk(params, t)
        seen.append(values(params))
        ema.update()
        mean.update()
        decay = min(0.8, (1 + t) / (10 + t))
        expected = (
            seen[-1]
            if expected is None
            else [decay * a + (1 - decay) * p for a, p in zip(expected, seen[-1], strict=True)]
        )
    for k, name in enumerate(ema.averages):
        np.testing.assert_allclose(ema.averages[name], expected[k], rtol=1e-13)
        np.testing.assert_allclose(
            mean.averages[name], np.mean([s[k] for s in seen], axis=0), rtol=1e-13
        )


def test_apply_and_restore() -> None:
    params = parameters(dtype=np.float32)
    memory = [p._data for p in params]
    ema = EMA(params, 0.5)
    for step in range(3):
        walk(params, step)
        ema.update()
    before, versions = values(params), [p._version for p in params]
    before = [b.copy() for b in before]
    with ema.apply() as applied:
        assert applied is ema
        same(values(params), list(ema.averages.values()))
        with pytest.raises(RuntimeError, match=r"restore\(\) them before update"):
            ema.update()
        with pytest.raises(RuntimeError, match="applied already"):
            ema.apply()
    same(values(params), before)
    assert all(p._data is m for p, m in zip(params, memory, strict=True))  # in place
    assert all(p._version == v + 2 for p, v in zip(params, versions, strict=True))
    with pytest.raises(RuntimeError, match="nothing to restore"):
        ema.restore()
    with pytest.raises(ZeroDivisionError), ema.apply():
        raise ZeroDivisionError
    same(values(params), before)
    ema.keep()
    same(values(params), list(ema.averages.values()))
    walk(params, 9)
    ema.update()  # goes on


def test_a_graph_from_before_is_stale() -> None:
    w = cr.nn.Parameter([2.0])
    ema = EMA([w], 0.5)
    loss = (w * w).sum()
    with ema.apply(), pytest.raises(cr.StaleGraphError):
        loss.backward()


def test_models_ties_types_and_copies() -> None:
    model = cr.nn.Sequential(cr.nn.Dense(2, 2), cr.nn.Dense(2, 2))
    model[1].weight = model[0].weight
    ema = EMA(model, 0.9)
    assert list(ema.averages) == ["0.weight", "0.bias", "1.bias"]
    ema.update()
    model.double()
    model[0].weight.assign(np.ones((2, 2)))
    ema.update()
    assert ema.averages["0.weight"].dtype == np.float64
    assert [a.shape for a in EMA(parameters()).averages.values()] == SHAPES
    twin, twin_ema = copy.deepcopy((model, ema))
    twin_ema.apply()
    np.testing.assert_array_equal(twin_ema.averages["0.weight"], twin[0].weight.detach().numpy())
    np.testing.assert_array_equal(model[0].weight.detach().numpy(), np.ones((2, 2)))


def test_state_goes_on_bit_for_bit() -> None:
    whole, part = parameters(), parameters()
    a, b = EMA(whole, 0.9, warmup=True), EMA(part, 0.9, warmup=True)
    for step in range(10):
        walk(whole, step)
        walk(part, step)
        a.update()
        b.update()
        if step == 4:
            saved = b.state_dict()
            b = EMA(part, 0.9, warmup=True)
            b.load_state_dict(saved)
    same(list(a.averages.values()), list(b.averages.values()))
    other = EMA(parameters()[:2])
    kept = other.state_dict()
    with pytest.raises(ValueError, match="of other parameters: 2, 3 differ"):
        other.load_state_dict(saved)
    wrong = {**saved, "averages": {"0": np.zeros((3, 2)), "1": np.zeros(7)}}
    with pytest.raises(cr.ShapeError, match=r"1 has shape \(7,\) in the state, \(2,\) here"):
        other.load_state_dict(wrong)
    same(list(kept["averages"].values()), list(other.averages.values()))


def test_it_is_captured(executor: str) -> None:
    def run(captured: bool) -> Any:
        params = parameters(dtype=np.float32)
        optimizer = cr.optim.SGD(params, lr=0.1)
        ema = EMA(params, 0.9, warmup=True)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = sum((p * p).sum() for p in params) * cr.tensor(x).sum()
            loss.backward()
            optimizer.step()
            ema.update()
            return loss

        taken = cr.capture(step) if captured else step
        for k in range(8):
            taken(np.full(2, 1 + 0.1 * k, np.float32))
            if k == 5:
                ema.load_state_dict(ema.state_dict())
        if captured:
            assert taken.reason is None
        return [*values(params), *ema.averages.values(), np.array(ema.updates)]

    same(run(False), run(True))


def test_errors() -> None:
    w = cr.nn.Parameter([1.0])
    for decay in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="from 0 to below 1"):
            EMA([w], decay)
    with pytest.raises(TypeError, match=r"write \[p\]"):
        EMA(w)
    with pytest.raises(TypeError, match="only parameters are averaged, not Tensor"):
        EMA([cr.tensor([1.0])])
    with pytest.raises(ValueError, match="no parameters to average"):
        SWA([])
