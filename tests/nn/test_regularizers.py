"""Penalties on models: values, choice of parameters, steps by hand against torch and the notes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from tests_common import net

R = cr.regularizers


def weights(model: Any) -> list[Any]:
    return [p.detach().numpy() for p in model.parameters() if p.ndim >= 2]


def norms(w: Any) -> Any:
    return np.linalg.norm(w, axis=1, keepdims=True)


VALUES: dict[str, tuple[Any, Any]] = {
    "l1": (R.L1(0.3), lambda w: 0.3 * abs(w).sum()),
    "l2": (R.L2(0.3), lambda w: 0.15 * (w**2).sum()),
    "keras l2": (R.L2(0.3, half=False), lambda w: 0.3 * (w**2).sum()),
    "elastic net": (
        R.ElasticNet(0.3, 0.2),
        lambda w: 0.3 * abs(w).sum() + 0.1 * (w**2).sum(),
    ),
    "proximal l1": (R.L1(0.3, proximal=True), lambda w: 0.0),
    "proximal net": (R.ElasticNet(0.3, 0.2, proximal=True), lambda w: 0.1 * (w**2).sum()),
    "spectral": (R.SpectralNorm(0.3), lambda w: 0.3 * np.linalg.norm(w, 2)),
    "spectral squared": (
        R.SpectralNorm(0.3, squared=True),
        lambda w: 0.15 * np.linalg.norm(w, 2) ** 2,
    ),
    "spectral by power": (
        R.SpectralNorm(0.3, method="power"),
        lambda w: 0.3 * np.linalg.norm(w, 2),
    ),
    "orthogonality": (
        R.Orthogonality(0.3),
        lambda w: 0.3 * ((w.T @ w - np.eye(w.shape[1])) ** 2).sum(),
    ),
    "max-norm": (R.MaxNorm(0.4, strength=0.3), lambda w: 0.3 * np.maximum(norms(w) - 0.4, 0).sum()),
    "projection": (R.MaxNorm(0.4), lambda w: 0.0),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_on_a_model(name: str, dtype: Any) -> None:
    """All weights, not the biases."""
    made, expected = VALUES[name]
    model = net().to(dtype)
    value = copy.deepcopy(made)(model)
    assert value.shape == ()
    assert value.dtype == dtype
    total = sum(float(expected(w)) for w in weights(model))
    assert value.item() == pytest.approx(total, rel=1e-6 if dtype == np.float32 else 1e-12)
    if value.requires_grad:
        value.backward()
        assert all(p.grad is None for p in model.parameters() if p.ndim == 1)
        assert all(p.grad.dtype == dtype for p in model.parameters() if p.ndim == 2)


def test_the_choice_of_parameters() -> None:
    model = net(sizes=(4, 8, 6, 3))
    first, second, third = (model[k].weight for k in (0, 3, 6))
    half = lambda *ps: sum(float((p.detach().numpy() ** 2).sum()) / 2 for p in ps)  # noqa: E731
    for chosen, ps in (
        ("0.weight", [first]),
        ("[03].*", [first, model[0].bias, second, model[3].bias]),
        (["0.weight", "6.*"], [first, third, model[6].bias]),
        ([second, "*.weight"], [second, first, third]),
        (first, [first]),
        ("*", list(model.parameters())),
    ):
        assert R.L2(1.0, parameters=chosen)(model).item() == pytest.approx(half(*ps), rel=1e-6)
    assert R.L2(1.0)([first, second]).item() == pytest.approx(half(first, second), rel=1e-6)
    assert R.L2(1.0)(first).item() == pytest.approx(half(first), rel=1e-6)


def test_arrays_and_whole_numbers() -> None:
    w = np.array([[3, 0], [0, -4]])
    for made, expected in (
        (R.L1(0.5), 3.5), (R.L2(0.5), 6.25), (R.SpectralNorm(0.5), 2.0),
        (R.MaxNorm(3.5, strength=0.5), 0.25), (R.Orthogonality(0.5), 144.5), (R.MaxNorm(1.0), 0.0),
    ):  # fmt: skip
        for value in (made(w), made(w.astype(float)), made(cr.from_numpy(w)), made([cr.tensor(w)])):
            assert float(np.asarray(value)) == pytest.approx(expected)


def test_tied_weights_count_once() -> None:
    model = cr.nn.Sequential(cr.nn.Dense(3, 3), cr.nn.Dense(3, 3))
    one = R.L2(1.0)(model[0]).item()
    model[1].weight = model[0].weight
    assert R.L2(1.0)(model).item() == one
    assert R.L2(1.0, parameters=["0.weight", model[0].weight])(model).item() == one


def test_errors() -> None:
    model = net()
    with pytest.raises(ValueError, match=r"no parameter is called '0.wieght'; did you mean '0.w"):
        R.L2(parameters="0.wieght")(model)
    with pytest.raises(ValueError, match=r"shape \(4, 4\) is not in this model"):
        R.L2(parameters=cr.nn.Dense(4, 4).weight)(model)
    with pytest.raises(ValueError, match="found no weights, parameters of two or more axes"):
        R.L1()(cr.nn.Sequential(cr.nn.ReLU()))
    with pytest.raises(TypeError, match=r"of a layer: list\(layer.parameters\(\)\)"):
        R.L2(parameters=model[0])
    with pytest.raises(TypeError, match="got 3"):
        R.L2(parameters=[3])
    with pytest.raises(ValueError, match="nothing would be regularized"):
        R.L2(parameters=[])
    with pytest.raises(ValueError, match="L2: l2 must be a finite number from 0, got -1"):
        R.L2(-1)
    with pytest.raises(TypeError, match="MaxNorm: max_norm must be a number, got None"):
        R.MaxNorm(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="strength must be a finite number from 0, got nan"):
        R.Orthogonality(float("nan"))
    with pytest.raises(ValueError, match="'exact' or 'power', got 'svd'"):
        R.SpectralNorm(method="svd")
    with pytest.raises(ValueError, match="iterations is a whole number from 1, got 0"):
        R.SpectralNorm(iterations=0)
    with pytest.raises(ValueError, match=r"after_update\(model, lr\) with the learning rate"):
        R.L1(proximal=True).after_update(model)
    with pytest.raises(TypeError, match="only parameters can be changed, not a Tensor"):
        R.MaxNorm().after_update(cr.tensor([[3.0]]))
    with pytest.raises(NotImplementedError, match=r"must define penalty\(w\)"):
        R.Regularizer()(model)
    with pytest.raises(cr.ShapeError, match="spectral norm is of a weight of two or more axes"):
        R.SpectralNorm(parameters="0.bias")(model)


def test_get() -> None:
    for name, kind in (
        ("l1", R.L1), ("l2", R.L2), ("tikhonov", R.L2), ("elastic_net", R.ElasticNet),
        ("spectral_norm", R.SpectralNorm), ("orthogonality", R.Orthogonality),
        ("max_norm", R.MaxNorm),
    ):  # fmt: skip
        assert type(R.get(name)) is kind
    assert R.Tikhonov is R.L2
    mine = R.L2(0.5)
    assert R.get(mine) is mine
    assert repr(R.ElasticNet(0.1, 0.2)) == "ElasticNet(l1=0.1, l2=0.2)"
    with pytest.raises(ValueError, match="unknown regularizer 'l3'"):
        R.get("l3")
    with pytest.raises(TypeError, match=r"write L2\(…\)"):
        R.get(R.L2)
    with pytest.raises(TypeError, match="not 3"):
        R.get(3)


# -- steps by hand --------------------------------------------------------------------------------


def descend(regularizer: Any, optimizer: Any, steps: int = 50) -> Any:
    """The weight of a small regression after some steps; float64."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    model = cr.nn.Dense(3, 2).double()
    model.weight.assign(rng.normal(size=(2, 3)))
    model.bias.assign(np.zeros(2))
    steps_of = optimizer(model)
    for _ in range(steps):
        steps_of.zero_grad()
        loss = cr.ops.mse_loss(model(x), y)
        if regularizer is not None:
            loss = loss + regularizer(model)
        loss.backward()
        steps_of.step()
        if regularizer is not None:
            regularizer.after_update(model, steps_of.param_groups[0]["lr"])
    return model.weight.detach().numpy()


def test_l2_is_weight_decay_of_plain_sgd_and_of_nothing_else() -> None:
    """Ledger R-01, R-02, E004-24: W(1 - ηλ) - η∇L."""
    lr, decay = 0.05, 0.3
    by_penalty = descend(R.L2(decay), lambda m: cr.optim.SGD(m.parameters(), lr=lr))

    def decayed(m: Any, kind: Any) -> Any:
        groups = [{"params": [m.weight], "weight_decay": decay}, {"params": [m.bias]}]
        return kind(groups, lr=lr, weight_decay=0.0)

    np.testing.assert_allclose(
        by_penalty, descend(None, lambda m: decayed(m, cr.optim.SGD)), rtol=1e-12
    )
    adam = descend(R.L2(decay), lambda m: cr.optim.Adam(m.parameters(), lr=lr))
    np.testing.assert_allclose(
        adam, descend(None, lambda m: decayed(m, cr.optim.Adam)), rtol=1e-9, atol=1e-12
    )
    assert abs(adam - descend(None, lambda m: decayed(m, cr.optim.AdamW))).max() > 1e-2


@pytest.mark.parametrize(("rate", "grows"), [(0.5, False), (1.5, False), (2.5, True)])
def test_decay_needs_its_range(rate: float, grows: bool) -> None:
    """E004-25: the factor 1 - ηλ shrinks the weights only for 0 < ηλ < 2."""
    w = cr.nn.Parameter(np.array([[1.0, -2.0]]))
    optimizer = cr.optim.SGD([w], lr=rate)
    R.L2(1.0)(w).backward()
    optimizer.step()
    np.testing.assert_allclose(w.detach().numpy(), (1 - rate) * np.array([[1.0, -2.0]]))
    assert (abs(w.detach().numpy()) > [[1.0, 2.0]]).all() == grows


def test_keras_l2_is_twice_as_strong() -> None:
    """X-09, K-10."""
    sgd = lambda m: cr.optim.SGD(m.parameters(), lr=0.05)  # noqa: E731
    keras = descend(R.L2(0.3, half=False), sgd)
    np.testing.assert_allclose(keras, descend(R.L2(0.6), sgd), rtol=1e-12)
    assert abs(keras - descend(R.L2(0.3), sgd)).max() > 0.01


def test_keras_s_own_numbers() -> None:
    """Golden, of Keras 3.15: its L1 is ours, its L2 and L1L2 lack the ½ (K-10), and its MaxNorm of
    axis 0 on (in, out) is ours of rows of (out, in), but for an epsilon of 1e-7."""
    kernel = np.array([[0.5, -1.5, 2.0], [3.0, -0.25, 1.0]])  # (in, out)
    w = cr.nn.Parameter(kernel.T)
    assert R.L1(0.3)(w).item() == pytest.approx(2.475)
    assert R.L2(0.3, half=False)(w).item() == pytest.approx(4.96875)
    assert R.ElasticNet(0.3, 2 * 0.2)(w).item() == pytest.approx(5.7875)
    R.MaxNorm(2.0).after_update(w)
    keras = [
        [0.32879799604415894, -1.4999998807907104, 1.7888543605804443],
        [1.9727879762649536, -0.2499999850988388, 0.8944271802902222],
    ]
    np.testing.assert_allclose(w.detach().numpy().T, keras, rtol=3e-7)


def test_the_proximal_step_gives_zeros() -> None:
    """E004-54: the subgradient never does. At the end, the lasso's conditions hold."""
    sgd = lambda m: cr.optim.SGD(m.parameters(), lr=0.1)  # noqa: E731
    by_slope = descend(R.L1(0.2), sgd, 2000)
    by_prox = descend(R.L1(0.2, proximal=True), sgd, 2000)
    assert 0 < (by_prox == 0).sum() < 6
    assert not (by_slope == 0).any()
    np.testing.assert_allclose(by_prox, by_slope, atol=0.05)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    # of the minimum over the bias too: centred data
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    slope = 2 / y.size * (by_prox @ x.T - y.T) @ x
    np.testing.assert_allclose(
        slope[by_prox != 0], -0.2 * np.sign(by_prox[by_prox != 0]), atol=1e-9
    )
    assert (abs(slope[by_prox == 0]) <= 0.2).all()


def test_spectral_and_orthogonality_reach_what_they_are_for() -> None:
    sgd = lambda m: cr.optim.SGD(m.parameters(), lr=0.05)  # noqa: E731
    free = np.linalg.norm(descend(None, sgd, 200), 2)
    exact = descend(R.SpectralNorm(0.3), sgd, 200)
    assert np.linalg.norm(exact, 2) < 0.8 * free
    power = descend(R.SpectralNorm(0.3, method="power", iterations=2), sgd, 200)
    assert np.linalg.norm(power, 2) == pytest.approx(np.linalg.norm(exact, 2), abs=0.02)
    w = descend(R.Orthogonality(2.0), sgd, 200)
    np.testing.assert_allclose(w @ w.T, np.eye(2), atol=0.1)


def test_max_norm_holds_after_each_update() -> None:
    """R-08; a frozen layer is left alone."""
    sgd = lambda m: cr.optim.SGD(m.parameters(), lr=0.3)  # noqa: E731
    w = descend(R.MaxNorm(0.05), sgd)
    np.testing.assert_allclose(norms(w), 0.05, rtol=1e-14)
    assert norms(descend(None, sgd)).min() > 0.1
    model = net()
    model[0].freeze()
    before = model.state_dict()
    R.MaxNorm(0.01).after_update(model)
    np.testing.assert_array_equal(model.state_dict()["0.weight"], before["0.weight"])
    assert norms(model.state_dict()["3.weight"]).max() <= 0.01001
    np.testing.assert_array_equal(model.state_dict()["3.bias"], before["3.bias"])
    # E004-33: with the penalty alone the slope λ w/‖w‖ is in the gradient
    penalty = R.MaxNorm(0.05, strength=1.0)
    kept = model[3].weight.detach().numpy() * 100
    model[3].weight.assign(kept)
    penalty.after_update(model[3])  # one or the other
    np.testing.assert_array_equal(model[3].weight.detach().numpy(), kept)
    penalty(model[3]).backward()
    np.testing.assert_allclose(model[3].weight.grad.numpy(), kept / norms(kept), rtol=1e-5)


def test_the_vectors_of_power_iteration_follow_their_weights() -> None:
    model = net().double()
    regularizer = R.SpectralNorm(1.0, method="power")
    rng = np.random.default_rng(0)
    for _ in range(30):  # a slow drift, one iteration a step
        for p in model.parameters():
            p.assign(p.detach().numpy() + 0.002 * rng.normal(size=p.shape))
        value = regularizer(model).item()
    exact = sum(np.linalg.norm(w, 2) for w in weights(model))
    assert value == pytest.approx(exact, rel=1e-3)
    assert value <= exact
    saved = regularizer.state()
    assert sorted(saved) == ["0.weight.u", "0.weight.v", "3.weight.u", "3.weight.v"]
    other = R.SpectralNorm(1.0, method="power")
    other.load_state(saved)
    assert other(model).item() == regularizer(model).item()
    assert R.SpectralNorm(1.0).state() == {}
    # another type or shape starts anew
    assert regularizer(model.float()).item() == pytest.approx(exact, rel=1e-3)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        cr.autograd.grad(regularizer(model), list(model.parameters())[:1], create_graph=True)


def test_numbers_are_live_in_a_captured_step(executor: str) -> None:
    """Set between the steps; and the learning rate of a proximal step, which a schedule changes."""
    changes = [("l1", 0.02), ("l2", 0.5), ("l1", 0.0)]

    def run(captured: bool) -> Any:
        model, net_ = net(), R.ElasticNet(0.01, 0.1, proximal=True)
        hold = R.MaxNorm(1.0)
        optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
        x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean() + net_(model) + hold(model)
            loss.backward()
            optimizer.step()
            net_.after_update(model, lambda p: optimizer.param_groups[0]["lr"])
            hold.after_update(model)
            return loss

        taken = cr.capture(step) if captured else step
        for k in range(12):
            taken(x)
            optimizer.param_groups[0]["lr"] *= 0.95
            if k % 4 == 3:
                setattr(net_, *changes[k // 4])
                hold.max_norm = 0.9 - 0.05 * k
        if captured:
            assert taken.reason is None
            assert len(list(taken.programs())) == 1
        return model.state_dict()

    eager, captured = run(False), run(True)
    for name, v in eager.items():
        np.testing.assert_array_equal(captured[name], v)
    assert (eager["0.weight"] == 0).any()
