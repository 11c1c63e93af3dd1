"""Groups, gathering, state and errors: everything that is the same for all optimizers."""

from __future__ import annotations

import copy
import json
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from optim.common import give, gradients, parameters, same, train, values

# -- against the oracle --------------------------------------------------------------------------


def torch_twin(torch: ModuleType, params: list[Any]) -> list[Any]:
    return [torch.nn.Parameter(torch.tensor(p.detach().numpy())) for p in params]


def torch_train(optimizer: Any, params: list[Any], steps: range, skip: Any) -> None:
    import torch

    for step in steps:
        optimizer.zero_grad()
        for k, (p, g) in enumerate(zip(params, gradients(step), strict=True)):
            p.grad = None if skip(step, k) else torch.tensor(g)
        optimizer.step()


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        ("SGD", "SGD", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
        ("AdamW", "AdamW", {"amsgrad": True}),
    ],
)
def test_parameters_without_gradients_are_skipped_as_in_torch(
    torch: ModuleType, ours: str, theirs: str, options: dict[str, Any]
) -> None:
    def skip(step: int, k: int) -> bool:
        return (step * 7 + k * 3) % 5 < 2 or (k == 2 and step < 20)

    params = parameters()
    twins = torch_twin(torch, params)
    mine = getattr(cr.optim, ours)(params, lr=0.01, **options)
    other = getattr(torch.optim, theirs)(twins, lr=0.01, **options)
    train(mine, params, range(60), skip)
    torch_train(other, twins, range(60), skip)
    for p, q in zip(params, twins, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-13)
    counts = mine.state_dict()["steps"]
    assert counts == [sum(not skip(s, k) for s in range(60)) for k in range(4)]
    assert len(set(counts)) > 1


def test_groups_have_options_of_their_own(torch: ModuleType) -> None:
    params = parameters()
    twins = torch_twin(torch, params)
    groups = [{"lr": 0.1, "weight_decay": 0.2}, {"betas": (0.5, 0.9), "eps": 1e-3}]
    mine = cr.optim.Adam(
        [{"params": params[:2], **groups[0]}, {"params": params[2:], **groups[1]}], lr=0.02
    )
    other = torch.optim.Adam(
        [{"params": twins[:2], **groups[0]}, {"params": twins[2:], **groups[1]}], lr=0.02
    )
    for step in range(40):  # options may change at any time
        for optimizer in (mine, other):
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
            optimizer.param_groups[1]["weight_decay"] = 0.1 * (step > 20)
        train(mine, params, range(step, step + 1))
        torch_train(other, twins, range(step, step + 1), lambda step, k: False)
    for p, q in zip(params, twins, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-13)


# -- stepping -------------------------------------------------------------------------------------


def test_closure_gives_the_loss() -> None:
    w = cr.nn.Parameter([3.0])
    optimizer = cr.optim.SGD([w], lr=0.5)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with cr.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert w.detach().item() == 0.0


def test_zero_grad() -> None:
    params = parameters()
    optimizer = cr.optim.SGD(params, lr=1.0, momentum=0.5)
    train(optimizer, params, range(1))
    before = values(params)
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)
    optimizer.step()
    same(values(params), before)
    give(params, gradients(1))
    optimizer.zero_grad(set_to_none=False)
    optimizer.step()  # momentum goes on
    same(values(params), [b - 0.5 * g for b, g in zip(before, gradients(0), strict=True)])


def test_infinite_gradients_propagate_without_warnings() -> None:
    w = cr.nn.Parameter(np.array([1.0, 1.0, 1.0]))
    optimizer = cr.optim.Adam([w], lr=0.1)
    w.grad = np.array([np.inf, np.nan, 1.0])
    optimizer.step()
    np.testing.assert_array_equal(np.isnan(w.detach().numpy()), [True, True, False])


def test_rosenbrock() -> None:
    p = cr.nn.Parameter(np.array([-1.5, 2.0]))
    for optimizer in (
        cr.optim.Adam([p], lr=0.05),
        cr.optim.SGD([p], lr=2e-4, momentum=0.99, nesterov=True),
    ):
        p.assign([-1.5, 2.0])
        for _ in range(2500):
            optimizer.zero_grad()
            x, y = p[0], p[1]
            ((1 - x) ** 2 + 100 * (y - x * x) ** 2).backward()
            optimizer.step()
        np.testing.assert_allclose(p.detach().numpy(), [1, 1], atol=2e-3)


# -- state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("SGD", {"momentum": 0.9, "dampening": 0.2}),
        ("SGD", {}),
        ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
        ("AdamW", {}),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_resumes_bit_for_bit(kind: str, options: dict[str, Any], dtype: Any) -> None:
    make = getattr(cr.optim, kind)

    def skip(step: int, k: int) -> bool:
        return step == 2 and k == 1

    params = parameters(dtype=dtype)
    optimizer = make(params, lr=0.1, **options)
    optimizer.param_groups[0]["lr"] = 0.03
    train(optimizer, params, range(5), skip)
    state = optimizer.state_dict()
    arrays = state.pop("state")
    assert all(isinstance(a, np.ndarray) and a.dtype == dtype for a in arrays.values())
    text = json.dumps(state)
    saved = values(params)
    train(optimizer, params, range(5, 9))

    params2 = parameters(5, dtype)
    for p, value in zip(params2, saved, strict=True):
        p.assign(value)
    optimizer2 = make(params2, lr=0.9, **options)
    optimizer2.load_state_dict({**json.loads(text), "state": arrays})
    assert optimizer2.param_groups[0]["lr"] == 0.03
    train(optimizer2, params2, range(5, 9))
    same(values(params), values(params2))
    again = optimizer2.state_dict()
    assert again["param_groups"] == optimizer.state_dict()["param_groups"]
    for name, a in optimizer.state_dict()["state"].items():
        np.testing.assert_array_equal(a, again["state"][name])


def test_state_is_a_copy() -> None:
    params = parameters()
    optimizer = cr.optim.Adam(params)
    train(optimizer, params, range(1))
    state = optimizer.state_dict()
    before = copy.deepcopy(state)
    train(optimizer, params, range(1, 3))
    optimizer.load_state_dict(state)
    train(optimizer, params, range(3, 5))
    for name, a in before["state"].items():
        np.testing.assert_array_equal(a, state["state"][name])
    assert before["steps"] == state["steps"]


def test_states_that_do_not_fit_change_nothing() -> None:
    params = parameters()
    optimizer = cr.optim.Adam(params, lr=0.1)
    train(optimizer, params, range(2))
    good = optimizer.state_dict()

    def broken(**changes: Any) -> dict[str, Any]:
        return {**copy.deepcopy(good), **changes}

    sgd = cr.optim.SGD(parameters()).state_dict()
    other = cr.optim.Adam(parameters()[:2]).state_dict()
    arrays = good["state"]
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        (sgd, ValueError, "no betas, eps, amsgrad, .*; it is of another optimizer than Adam"),
        (other, ValueError, r"groups of \[2\] parameters, this Adam of \[4\]"),
        ({"param_groups": []}, ValueError, "state, steps missing"),
        (broken(state={**arrays, "0.m": np.zeros(7)}), cr.ShapeError, r"0.m has shape \(7,\)"),
        (broken(state={k: v for k, v in arrays.items() if k != "2.v"}), ValueError, "lacks 2.v"),
        (broken(state={**arrays, "9.m": np.zeros(7)}), ValueError, "parameter 9; this Adam has 4"),
        (
            broken(param_groups=[{**good["param_groups"][0], "lr": -1.0}]),
            ValueError,
            "lr must be 0 or more",
        ),
    ]
    for state, error, message in cases:
        with pytest.raises(error, match=message):
            optimizer.load_state_dict(state)
        now = optimizer.state_dict()
        assert now["param_groups"] == good["param_groups"]
        assert now["steps"] == good["steps"]
        for name, a in arrays.items():
            np.testing.assert_array_equal(a, now["state"][name])


def test_names_are_kept() -> None:
    model = cr.nn.Sequential(cr.nn.Dense(2, 1))
    optimizer = cr.optim.SGD(model.named_parameters())
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["0.weight", "0.bias"]


# -- errors ---------------------------------------------------------------------------------------


def test_what_is_not_a_list_of_parameters() -> None:
    p = cr.nn.Parameter([1.0])
    model = cr.nn.Dense(1, 1)
    with pytest.raises(TypeError, match=r"write model.parameters"):
        cr.optim.SGD(model)
    with pytest.raises(TypeError, match=r"write \[p\]"):
        cr.optim.SGD(p)
    with pytest.raises(ValueError, match="no parameters"):
        cr.optim.SGD([])
    with pytest.raises(TypeError, match=r"not Tensor; wrap it: cr.nn.Parameter"):
        cr.optim.SGD([cr.tensor([1.0], requires_grad=True)])
    with pytest.raises(TypeError, match="not ndarray"):
        cr.optim.SGD([np.ones(1)])
    with pytest.raises(ValueError, match=r"shape \(1,\) is in two groups of SGD"):
        cr.optim.SGD([{"params": [p]}, {"params": [p]}])
    with pytest.raises(TypeError, match="did you mean 'momentum'"):
        cr.optim.SGD([{"params": [p], "momentun": 0.9}])
    with pytest.raises(TypeError, match="key 'params'"):
        cr.optim.SGD([{"lr": 0.9}])


def test_an_optimizer_without_parameters_is_a_configuration() -> None:
    configuration = cr.optim.AdamW(lr=0.5, betas=(0.8, 0.9))
    with pytest.raises(RuntimeError, match=r"use optimizer.bind"):
        configuration.step()
    one, two = configuration.bind(parameters()), configuration.bind(parameters(1))
    assert one.param_groups[0]["betas"] == two.param_groups[0]["betas"] == (0.8, 0.9)
    assert one.param_groups[0]["lr"] == 0.5
    assert configuration.param_groups == []
    assert "lr=0.5" in repr(configuration)
    assert "4 parameters: lr=0.5, betas=(0.8, 0.9)" in repr(one)


def test_a_rule_must_be_defined() -> None:
    bare = cr.optim.Optimizer(parameters(), {"lr": 0.1})
    give(bare.param_groups[0]["params"], gradients(0))
    with pytest.raises(NotImplementedError, match="rule"):
        bare.step()
