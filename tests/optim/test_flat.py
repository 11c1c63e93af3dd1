"""The flat vector through everything that may happen to a parameter."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.optim import optimizer as module
from chainrule.optim.flat import Flat
from optim.common import give, gradients, parameters, same, train, values


def test_parameters_are_gathered_and_backward_writes_into_the_vector() -> None:
    params = parameters()
    optimizer = cr.optim.Adam(params)
    before = values(params)
    ((_, flat),) = optimizer._flats
    assert all(np.shares_memory(p._data, flat.data) for p in params)
    same(before, values(params))
    give(params, gradients(0))
    assert all(p._grad is p._slot and np.shares_memory(p._grad, flat.grad) for p in params)
    np.testing.assert_array_equal(flat.grad, np.concatenate([g.ravel() for g in gradients(0)]))


def test_one_kernel_call_for_a_whole_group_and_runs_otherwise() -> None:
    params = parameters()
    optimizer = cr.optim.SGD(params, momentum=0.9)
    calls: list[tuple[int, int]] = []
    advance = optimizer._advance
    optimizer._advance = lambda group, flat, a, b: (
        calls.append((a, b)),
        advance(group, flat, a, b),
    )
    train(optimizer, params, range(2))
    assert calls == [(0, 4), (0, 4)]
    calls.clear()
    train(optimizer, params, range(2, 3), lambda step, k: k == 1)
    assert calls == [(0, 1), (2, 4)]
    calls.clear()
    train(optimizer, params, range(3, 4))  # step counts differ now
    assert calls == [(0, 1), (1, 2), (2, 4)]


def test_tied_parameters_appear_once() -> None:
    w = cr.nn.Parameter(np.array([2.0, 3.0]))
    other = cr.nn.Parameter(np.array([1.0]))
    optimizer = cr.optim.SGD([w, other, w], lr=0.5)
    assert [p is w for p in optimizer.param_groups[0]["params"]] == [True, False]
    ((_, flat),) = optimizer._flats
    assert flat.data.size == 3
    (w * w).sum().backward()
    optimizer.step()
    same(values([w, other]), [np.zeros(2), np.ones(1)])


def test_each_dtype_has_its_vector() -> None:
    params = [*parameters(dtype=np.float32), *parameters(1, np.float64)]
    optimizer = cr.optim.AdamW(params, lr=0.1)
    assert [flat.dtype for _, flat in optimizer._flats] == [np.float32, np.float64]
    give(params[:4], gradients(0, np.float32))
    give(params[4:], gradients(0))
    optimizer.step()
    for a, b in zip(params[:4], parameters(dtype=np.float32), strict=True):
        assert a.dtype == np.float32
        assert not np.array_equal(a.detach().numpy(), b.detach().numpy())


def test_frozen_parameters_are_left_out_and_come_back_with_their_state() -> None:
    params = parameters()
    params[1].requires_grad = False
    optimizer = cr.optim.Adam(params, lr=0.1)
    assert sum(flat.data.size for _, flat in optimizer._flats) == 11
    give([params[0], params[2], params[3]], [g for k, g in enumerate(gradients(0)) if k != 1])
    optimizer.step()
    np.testing.assert_array_equal(params[1].detach().numpy(), parameters()[1].detach().numpy())
    params[1].requires_grad = True
    train(optimizer, params, range(1, 3))
    assert optimizer.state_dict()["steps"] == [3, 2, 3, 3]

    params[0].requires_grad = False  # even with a gradient left over
    kept, state = params[0].detach().numpy(), optimizer.state_dict()
    optimizer.step()
    np.testing.assert_array_equal(params[0].detach().numpy(), kept)
    assert params[0]._data.base is None  # it does not hold the vector
    np.testing.assert_array_equal(optimizer.state_dict()["state"]["0.m"], state["state"]["0.m"])
    params[0].requires_grad = True
    train(optimizer, params, range(3, 4))
    assert optimizer.state_dict()["steps"] == [4, 4, 5, 5]


def test_a_second_optimizer_on_the_same_parameters() -> None:
    """Two optimizers take turns; the values and each one's state are as if computed apart."""
    params, plain = parameters(), parameters()
    first, second = cr.optim.Adam(params, lr=0.1), cr.optim.SGD(params, lr=0.1, momentum=0.9)
    m = [np.zeros(p.shape) for p in plain]
    v, b = copy.deepcopy(m), copy.deepcopy(m)
    now = values(plain)
    for step in range(6):
        optimizer = first if step % 2 == 0 else second
        train(optimizer, params, range(step, step + 1))
        for k, g in enumerate(gradients(step)):
            t = step // 2 + 1
            if optimizer is first:
                m[k], v[k] = 0.9 * m[k] + 0.1 * g, 0.999 * v[k] + 0.001 * g * g
                root = np.sqrt(v[k] / (1 - 0.999**t)) + 1e-8
                now[k] = now[k] - 0.1 * m[k] / (1 - 0.9**t) / root
            else:
                b[k] = 0.9 * b[k] + g
                now[k] = now[k] - 0.1 * b[k]
    for p, value in zip(params, now, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), value, rtol=1e-12, atol=1e-13)


def test_a_gradient_from_before_a_second_optimizer_still_counts() -> None:
    w = cr.nn.Parameter(np.array([2.0]))
    cr.optim.SGD([w], lr=1.0)
    (w * w).sum().backward()
    cr.optim.SGD([w], lr=0.25).step()
    assert w.detach().item() == 1.0


def test_load_state_dict_of_the_model() -> None:
    model = cr.nn.Sequential(cr.nn.Dense(2, 3), cr.nn.Dense(3, 1))
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    state = {k: np.ones_like(v) for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    x = np.ones((4, 2), np.float32)
    model(x).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(model.state_dict()["1.bias"], [0.6], rtol=1e-6)
    np.testing.assert_allclose(model.state_dict()["0.bias"], [0.6, 0.6, 0.6], rtol=1e-6)


def test_double_keeps_state_and_values() -> None:
    model = cr.nn.Sequential(cr.nn.Dense(4, 3), cr.nn.Dense(3, 1))
    optimizer = cr.optim.Adam(model.parameters(), lr=0.1)
    x = np.random.default_rng(0).normal(size=(8, 4))
    model(x).sum().backward()
    optimizer.step()
    before, state = model.state_dict(), optimizer.state_dict()
    model.double()
    same(list(model.state_dict().values()), [v.astype(np.float64) for v in before.values()])
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()
    after = optimizer.state_dict()
    assert after["steps"] == [2] * 4
    assert all(a.dtype == np.float64 for a in after["state"].values())
    assert [flat.dtype for _, flat in optimizer._flats] == [np.float64]
    for p in model.parameters():
        assert p.dtype == np.float64
    # the moments went on from the old ones
    g = dict(model.named_parameters())["0.weight"]._grad
    m = state["state"]["0.m"].astype(np.float64)
    np.testing.assert_allclose(after["state"]["0.m"], 0.9 * m + 0.1 * g, rtol=1e-12)


def test_deepcopy_of_the_model_is_free_of_the_optimizer() -> None:
    model = cr.nn.Sequential(cr.nn.Dense(2, 2), cr.nn.Dense(2, 1))
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    average = copy.deepcopy(model)
    before = average.state_dict()
    model(np.ones((3, 2), np.float32)).sum().backward()
    optimizer.step()
    same(list(average.state_dict().values()), list(before.values()))
    assert not np.array_equal(model.state_dict()["1.bias"], before["1.bias"])
    assert all(p._slot is None for p in average.parameters())


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_model_and_optimizer_go_on_alike(copier: Any) -> None:
    params = parameters()
    optimizer = cr.optim.Adam(params, lr=0.1, amsgrad=True)
    train(optimizer, params, range(3), lambda step, k: step == 1 and k == 0)
    params2, optimizer2 = copier((params, optimizer))
    assert optimizer2.param_groups[0]["params"][0] is params2[0]
    assert params2[0] is not params[0]
    train(optimizer, params, range(3, 6))
    train(optimizer2, params2, range(3, 6))
    same(values(params), values(params2))
    assert optimizer2.state_dict()["steps"] == [5, 6, 6, 6]


def test_replacing_a_layer() -> None:
    model = cr.nn.Sequential(cr.nn.Dense(2, 3), cr.nn.Dense(3, 1))
    optimizer = cr.optim.Adam(model.parameters(), lr=0.1)
    x = np.ones((4, 2), np.float32)
    model(x).sum().backward()
    optimizer.step()
    old = model[1]
    kept = old.state_dict()
    model[1] = cr.nn.Dense(3, 1)
    fresh = model[1].state_dict()
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()  # the new layer is not trained yet, the old one has no gradient
    same(list(old.state_dict().values()), list(kept.values()))
    same(list(model[1].state_dict().values()), list(fresh.values()))
    optimizer.add_param_group({"params": model[1].parameters(), "lr": 0.5})
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()
    assert optimizer.state_dict()["steps"] == [3, 3, 1, 1, 1, 1]
    np.testing.assert_allclose(model[1].bias.detach().numpy(), fresh["bias"] - 0.5, rtol=1e-5)


def test_gradients_set_by_hand_or_recorded() -> None:
    params = parameters()
    optimizer = cr.optim.SGD(params, lr=1.0)
    before = values(params)
    for p, g in zip(params, gradients(0), strict=True):
        p.grad = g
    optimizer.step()
    same(values(params), [b - g for b, g in zip(before, gradients(0), strict=True)])
    w = cr.nn.Parameter(np.array([2.0]))
    optimizer = cr.optim.SGD([w], lr=0.1)
    (w * w * w).sum().backward(create_graph=True)
    assert isinstance(w._grad, cr.Tensor)
    optimizer.step()
    assert isinstance(w._grad, cr.Tensor)  # still on the tape
    np.testing.assert_allclose(w.detach().numpy(), [0.8], rtol=1e-12)


def test_versions_count_up_for_updated_parameters_only() -> None:
    params = parameters()
    optimizer = cr.optim.SGD(params, lr=0.1)
    before = [p._version for p in params]
    train(optimizer, params, range(1), lambda step, k: k == 2)
    assert [p._version - v for p, v in zip(params, before, strict=True)] == [1, 1, 0, 1]
    w = cr.nn.Parameter([2.0])
    optimizer = cr.optim.SGD([w], lr=0.1)
    loss = (w * w).sum()
    (w * 1.0).sum().backward()
    optimizer.step()
    with pytest.raises(cr.StaleGraphError):
        loss.backward()


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_float32_stays_float32(kind: str) -> None:
    params = parameters(dtype=np.float32)
    options = {"momentum": 0.9, "dampening": 0.1} if kind == "SGD" else {"amsgrad": True}
    optimizer = getattr(cr.optim, kind)(params, lr=0.1, weight_decay=0.1, **options)
    train(optimizer, params, range(3), lambda step, k: step == 1 and k == 1)
    ((_, flat),) = optimizer._flats
    assert {a.dtype for a in (flat.data, flat.grad, flat.scalars, *flat.state.values())} == {
        np.dtype(np.float32)
    }
    assert all(p.dtype == np.float32 for p in params)


def test_large_vectors_run_in_blocks_and_agree_with_small_ones() -> None:
    rng = np.random.default_rng(0)
    large = rng.normal(size=150_000)
    g = rng.normal(size=150_000)
    whole, parts = cr.nn.Parameter(large), [cr.nn.Parameter(a) for a in np.split(large, 10)]
    first = cr.optim.AdamW([whole], lr=0.1)
    seconds = [cr.optim.AdamW([p], lr=0.1) for p in parts]
    for _ in range(3):
        whole.grad = g
        first.step()
        for p, a, optimizer in zip(parts, np.split(g, 10), seconds, strict=True):
            p.grad = a
            optimizer.step()
    np.testing.assert_allclose(
        whole.detach().numpy(), np.concatenate(values(parts)), rtol=1e-14, atol=1e-15
    )


def test_changing_options_does_not_trace_again(monkeypatch: pytest.MonkeyPatch) -> None:
    params = parameters()
    optimizer = cr.optim.AdamW(params, lr=0.1)
    train(optimizer, params, range(1))
    traced, planned = [], []
    trace, plan = module.trace, module.Kernel._plan
    monkeypatch.setattr(module, "trace", lambda *a, **k: traced.append(a) or trace(*a, **k))
    monkeypatch.setattr(module.Kernel, "_plan", lambda k, s: planned.append(s) or plan(k, s))
    for step in range(1, 10):
        optimizer.param_groups[0].update(lr=0.1 / step, betas=(0.8 + step / 100, 0.99), eps=1e-7)
        train(optimizer, params, range(step, step + 1))
    assert traced == []
    assert planned == []
    module._compiled.cache_clear()
    optimizer.param_groups[0]["weight_decay"] = 0.0  # another text: traced once
    train(optimizer, params, range(10, 12))
    assert len(traced) == 1


def test_empty_and_scalar_parameters() -> None:
    params = [cr.nn.Parameter(np.zeros((0, 3))), cr.nn.Parameter(np.array(2.0))]
    optimizer = cr.optim.SGD(params, lr=0.5)
    (params[0].sum() + params[1] * params[1]).backward()
    optimizer.step()
    assert params[1].shape == ()
    assert params[1].detach().item() == 0.0


def test_flat_runs() -> None:
    params = parameters()
    flat = Flat(params)
    assert flat.runs() == []
    for p in params[1:]:
        p._grad = p._slot
    assert flat.runs() == [(1, 4)]
    flat.steps[3] = 1
    assert flat.runs() == [(1, 3), (3, 4)]
    assert not flat.ready()
    params[0]._grad = params[0]._slot
    assert flat.ready()
