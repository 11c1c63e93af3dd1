"""L-BFGS against PyTorch, iteration by iteration."""

from __future__ import annotations

import copy
import json
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.optim import LBFGS


def rosenbrock(p: Any) -> Any:
    x, y = p[0], p[1]
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2


def closure_of(optimizer: Any, loss_of: Any) -> Any:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        return loss

    return closure


OPTIONS: list[dict[str, Any]] = [
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "max_iter": 1},
    {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 5},
    {"line_search_fn": "strong_wolfe", "max_eval": 4, "max_iter": 10},
    {"line_search_fn": "strong_wolfe", "lr": 0.1, "max_iter": 3},
    {"lr": 1e-3, "max_iter": 2},
    {"lr": 0.3, "max_iter": 7, "history_size": 3},
    {"lr": 0.5, "max_iter": 4, "max_eval": 2},
]


def path(parameter: Any, optimizer: Any) -> Any:
    """Loss and parameters, step after step."""
    closure = closure_of(optimizer, lambda: rosenbrock(parameter))
    found = []
    for _ in range(12):
        loss = optimizer.step(closure).item()
        found.append([loss, *parameter.detach().numpy()])
        if loss < 1e-12 or loss > 1e6:  # arrived, where only rounding is left; or gone
            break
    return np.array(found)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_rosenbrock_as_in_torch(torch: ModuleType, options: dict[str, Any]) -> None:
    """As near to PyTorch as PyTorch is to itself from a start one ulp away: this valley makes 1e-16
    into 1e-5 within forty iterations.
    """
    start = np.array([-1.5, 2.0])
    p = cr.nn.Parameter(start)
    ours = path(p, LBFGS([p], **options))
    theirs = []
    for begin in (start, start * [1, 1 + 2.3e-16]):
        q = torch.nn.Parameter(torch.tensor(begin))
        theirs.append(path(q, torch.optim.LBFGS([q], **options)))
    steps = min(len(found) for found in (ours, *theirs))
    assert len(ours) == len(theirs[0])
    a, b, c = (found[:steps] for found in (ours, *theirs))
    own = np.maximum.accumulate(np.abs(c / b - 1).max(axis=1))
    assert (np.abs(a / b - 1).max(axis=1) <= 5 * own + 1e-13).all()
    if options.get("line_search_fn") and options.get("max_iter", 20) == 20:
        np.testing.assert_allclose(p.detach().numpy(), [1, 1], atol=1e-5)


@pytest.mark.parametrize("search", ["strong_wolfe", None])
def test_a_small_regression_as_in_torch(torch: ModuleType, search: str | None) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    cr.seed(0)
    model = cr.nn.Sequential(cr.nn.Dense(3, 5), cr.nn.Tanh(), cr.nn.Dense(5, 2)).double()
    twin = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
    twin.double().load_state_dict(
        {k: torch.tensor(np.asarray(v)) for k, v in model.state_dict().items()}
    )
    options: dict[str, Any] = {
        "line_search_fn": search,
        "max_iter": 6,
        "lr": 1.0 if search else 0.1,
    }
    mine = LBFGS(model.parameters(), **options)
    other = torch.optim.LBFGS(twin.parameters(), **options)
    tx, ty = torch.tensor(x), torch.tensor(y)
    one = closure_of(mine, lambda: cr.ops.mse_loss(model(x), y))
    two = closure_of(other, lambda: torch.nn.functional.mse_loss(twin(tx), ty))
    losses = []
    for _ in range(8):
        losses.append(mine.step(one).item())
        assert losses[-1] == pytest.approx(other.step(two).item(), rel=1e-8)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-8)
    assert losses[-1] < (0.6 if search else 0.9) * losses[0]


def test_least_squares_in_one_step() -> None:
    """A quadratic of n parameters needs about n iterations."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(30, 6)), rng.normal(size=30)
    w = cr.nn.Parameter(np.zeros(6))
    optimizer = LBFGS([w], line_search_fn="strong_wolfe", tolerance_change=1e-14)
    optimizer.step(closure_of(optimizer, lambda: ((cr.tensor(a) @ w - b) ** 2).sum()))
    np.testing.assert_allclose(w.detach().numpy(), np.linalg.lstsq(a, b)[0], rtol=1e-5)


def test_float32_stays_float32() -> None:
    cr.seed(0)
    x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    model = cr.nn.Sequential(cr.nn.Dense(1, 8), cr.nn.Tanh(), cr.nn.Dense(8, 1))
    optimizer = LBFGS(model.parameters(), line_search_fn="strong_wolfe")
    closure = closure_of(optimizer, lambda: cr.ops.mse_loss(model(x), x**2))
    for _ in range(6):
        optimizer.step(closure)
    assert closure().item() < 1e-4
    assert all(p.dtype == np.float32 for p in model.parameters())
    arrays = optimizer.state_dict()["state"]
    assert all(a.dtype == np.float32 for name, a in arrays.items() if name != "rho")
    model.double()  # and goes on, with what it knows
    optimizer.step(closure_of(optimizer, lambda: cr.ops.mse_loss(model(x), x**2)))
    assert optimizer.state_dict()["state"]["y"].dtype == np.float64


def fit(steps: int, again: bool) -> tuple[Any, Any]:
    p = cr.nn.Parameter(np.array([-1.5, 2.0]))
    optimizer = LBFGS([p], line_search_fn="strong_wolfe", max_iter=3, lr=0.7)
    for step in range(steps):
        if again and step == 4:
            state = copy.deepcopy(optimizer.state_dict())
            arrays = state.pop("state")
            optimizer = LBFGS([p], max_iter=9)
            optimizer.load_state_dict({**json.loads(json.dumps(state)), "state": arrays})
        optimizer.step(closure_of(optimizer, lambda: rosenbrock(p)))
    return p.detach().numpy(), optimizer


def test_state_resumes_bit_for_bit() -> None:
    (whole, a), (resumed, b) = fit(9, False), fit(9, True)
    np.testing.assert_array_equal(whole, resumed)
    first, second = a.state_dict(), b.state_dict()
    assert first["memory"] == second["memory"]
    assert first["param_groups"] == second["param_groups"]
    for name, value in first["state"].items():
        np.testing.assert_array_equal(value, second["state"][name])
    twin = copy.deepcopy(b)
    assert twin.state_dict()["memory"] == b.state_dict()["memory"]


def test_states_that_do_not_fit_change_nothing() -> None:
    _, optimizer = fit(3, False)
    good = optimizer.state_dict()
    small = LBFGS([cr.nn.Parameter(np.zeros(5))])
    with pytest.raises(cr.ShapeError, match="has 2 entries in the state; the parameters have 5"):
        small.load_state_dict(good)
    assert small.state_dict()["memory"]["iterations"] == 0
    with pytest.raises(ValueError, match="no state of LBFGS: memory missing"):
        small.load_state_dict(cr.optim.SGD([cr.nn.Parameter([1.0])]).state_dict())
    with pytest.raises(ValueError, match="lacks 'direction'"):
        optimizer.load_state_dict(
            {**good, "state": {k: v for k, v in good["state"].items() if k != "direction"}}
        )


def test_parameters_without_gradients_stay_and_new_ones_begin_anew() -> None:
    p, q = cr.nn.Parameter(np.array([-1.5, 2.0])), cr.nn.Parameter(np.array([7.0]))
    optimizer = LBFGS([p, q], line_search_fn="strong_wolfe", max_iter=5, max_eval=99)
    q.grad = np.array([3.0])  # cleared by the closure
    optimizer.step(closure_of(optimizer, lambda: rosenbrock(p)))
    assert q.detach().item() == 7.0
    assert optimizer.state_dict()["memory"]["iterations"] == 5
    q.requires_grad = False
    optimizer.step(closure_of(optimizer, lambda: rosenbrock(p)))
    assert optimizer.state_dict()["memory"]["iterations"] == 5
    assert optimizer.state_dict()["state"]["direction"].shape == (2,)


def test_a_search_that_meets_infinity_turns_back() -> None:
    """-log x beyond its pole, and e^x beyond the largest number."""
    p = cr.nn.Parameter(np.array([0.5]))
    optimizer = LBFGS([p], lr=100.0, line_search_fn="strong_wolfe")
    with np.errstate(all="ignore"):
        optimizer.step(closure_of(optimizer, lambda: (p - cr.ops.log(p)).sum()))
        assert p.detach().item() == pytest.approx(1.0, abs=1e-5)
        p.assign(np.array([-3.0]))
        optimizer = LBFGS([p], lr=1e6, line_search_fn="strong_wolfe", max_eval=200)
        optimizer.step(closure_of(optimizer, lambda: (cr.ops.exp(p) - 2 * p).sum()))
    assert p.detach().item() == pytest.approx(np.log(2), abs=1e-5)


def test_no_way_down_from_nan() -> None:
    p = cr.nn.Parameter(np.array([-1.0]))
    optimizer = LBFGS([p], line_search_fn="strong_wolfe")
    with (
        np.errstate(all="ignore"),
        pytest.raises(cr.NonFiniteError, match="the loss is nan at the"),
    ):
        optimizer.step(closure_of(optimizer, lambda: cr.ops.log(p).sum()))
    p.assign(np.array([0.0]))
    with (
        np.errstate(all="ignore"),
        pytest.raises(cr.NonFiniteError, match="the gradient is not finite"),
    ):
        optimizer.step(closure_of(optimizer, lambda: cr.ops.sqrt(p).sum()))
    assert p.detach().item() == 0.0


def test_a_step_without_search_that_diverges_ends_there() -> None:
    p = cr.nn.Parameter(np.array([2.0]))
    optimizer = LBFGS([p], lr=1e3)
    with np.errstate(all="ignore"):
        optimizer.step(closure_of(optimizer, lambda: cr.ops.exp(p * p).sum()))
        assert np.isfinite(p.detach().numpy()).all()
        with pytest.raises(cr.NonFiniteError):
            optimizer.step(closure_of(optimizer, lambda: cr.ops.exp(p * p).sum()))


def test_converged_is_left_alone() -> None:
    p = cr.nn.Parameter(np.array([1.0, 1.0]))
    optimizer = LBFGS([p])
    assert optimizer.step(closure_of(optimizer, lambda: rosenbrock(p))).item() == 0.0
    assert optimizer.state_dict()["memory"]["iterations"] == 0


def test_misuse() -> None:
    p = cr.nn.Parameter(np.array([1.0]))
    with pytest.raises(TypeError, match="closure"):
        LBFGS([p]).step()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"needs a closure, because .*; got NoneType"):
        LBFGS([p]).step(None)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="this LBFGS has no parameters yet"):
        LBFGS().step(lambda: 0.0)
    with pytest.raises(ValueError, match="one group"):
        LBFGS([{"params": [p]}, {"params": [cr.nn.Parameter([1.0])]}])
    with pytest.raises(ValueError, match="max_iter must be a whole number, 1 or more; got 0"):
        LBFGS([p], max_iter=0)
    with pytest.raises(
        ValueError, match="no line_search_fn 'strongwolfe'; did you mean 'strong_wolfe'"
    ):
        LBFGS([p], line_search_fn="strongwolfe")
    with pytest.raises(ValueError, match="tolerance_grad must be 0 or more"):
        LBFGS([p], tolerance_grad=-1.0)
    mixed = LBFGS([p, cr.nn.Parameter(np.array([1.0], np.float32))])
    with pytest.raises(ValueError, match="parameters of one dtype, got float64, float32"):
        mixed.step(closure_of(mixed, lambda: (p * p).sum()))


def test_a_capture_says_why_it_is_eager() -> None:
    p = cr.nn.Parameter(np.array([-1.5, 2.0]))
    optimizer = LBFGS([p], line_search_fn="strong_wolfe")
    closure = closure_of(optimizer, lambda: rosenbrock(p))
    captured = cr.capture(lambda: optimizer.step(closure))
    with pytest.warns(RuntimeWarning, match="runs eagerly"):
        captured()
    for _ in range(3):
        captured()
    assert "LBFGS decides by the values of the loss" in str(captured.reason)
    np.testing.assert_allclose(p.detach().numpy(), [1, 1], atol=1e-4)


def test_by_name_and_unbound() -> None:
    p = cr.nn.Parameter(np.array([-1.5, 2.0]))
    optimizer = cr.optim.get("lbfgs", [p], line_search_fn="strong_wolfe", max_iter=40)
    assert isinstance(optimizer, LBFGS)
    assert optimizer.param_groups[0]["max_eval"] == 50
    again = cr.optim.get(LBFGS(max_iter=8), [p])
    assert again.param_groups[0]["max_eval"] == 10
