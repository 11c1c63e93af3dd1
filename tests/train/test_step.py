"""One update: the notes' loops by hand, regularizers, and optimizers that evaluate the loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.array.errors import NonFiniteError
from chainrule.array.random import Stream, use_stream
from chainrule.train.step import needs_closure
from tests_common import blobs, net

R = cr.regularizers


def same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name, v in a.items():
        np.testing.assert_array_equal(v, b[name], err_msg=name)


# -- the notes' loops -----------------------------------------------------------------------------


def by_hand(model: Any, x: Any, t: Any, size: int, lr: float, epochs: int) -> dict[str, Any]:
    """Note 001's loop over samples, or batches of them, in plain NumPy: two layers, tanh between.

    I forward, II the error, III backpropagation, IV gradients, V gradient descent; repeated for
    every sample, and all of it for every epoch.
    """
    state = {n: v.astype(np.float64) for n, v in model.state_dict().items()}
    W1, b1, W2, b2 = (state[n] for n in ("0.weight", "0.bias", "2.weight", "2.bias"))
    for _ in range(epochs):
        for i in range(0, len(x), size):
            a0, target = x[i : i + size], t[i : i + size]
            a1 = np.tanh(a0 @ W1.T + b1)  # I
            a2 = a1 @ W2.T + b2
            error = a2 - target  # II, of ½ Σ (a2 - t)², summed over the batch
            d2 = error  # III
            d1 = (d2 @ W2) * (1 - a1**2)
            gW2, gb2, gW1, gb1 = d2.T @ a1, d2.sum(0), d1.T @ a0, d1.sum(0)  # IV
            W1, b1 = W1 - lr * gW1, b1 - lr * gb1  # V
            W2, b2 = W2 - lr * gW2, b2 - lr * gb2
    return {"0.weight": W1, "0.bias": b1, "2.weight": W2, "2.bias": b2}


@pytest.mark.parametrize("size", [1, 7, 30])
def test_the_loops_of_the_notes(size: int) -> None:
    """Ledger S-01 (a sample at a time), S-02 (epochs), S-05 (the whole set), S-06 (a batch's sum),
    S-07 (updated weights in the next pass); the last batch is ragged."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    cr.seed(1)
    model = cr.nn.Sequential(cr.nn.Dense(4, 5), cr.nn.Tanh(), cr.nn.Dense(5, 2)).double()
    expected = by_hand(model, x, t, size, 0.02, 3)

    def half_squares(output: Any, target: Any) -> Any:
        """Summed over samples, as the notes do: the mean is X-08's other convention."""
        return 0.5 * ((output - cr.tensor(target)) ** 2).sum()

    trainer = cr.Trainer(model, loss=half_squares, optimizer=cr.optim.SGD(lr=0.02), seed=0)
    history = trainer.fit((x, t), epochs=3, batch_size=size, shuffle=False)
    assert trainer.step == 3 * math.ceil(30 / size)
    assert history.stopped == "epochs"  # S-03
    for name, v in model.state_dict().items():
        np.testing.assert_allclose(v, expected[name], rtol=1e-11, atol=1e-13)


def test_the_guard_is_the_fused_pair() -> None:
    """S-08: -t/a of a probability that underflowed is infinite or NaN; of the logits it is not."""
    x = np.array([[1e4, 0.0], [0.0, 1e4]])
    probabilities = np.exp(x - 1e4)
    with np.errstate(divide="ignore", invalid="ignore"):
        assert not np.isfinite(-np.eye(2)[[1, 0]] / probabilities).all()
    model = cr.nn.Dense(2, 2, bias=False).double()
    model.weight.assign(np.eye(2))
    trainer = cr.Trainer(model, optimizer=cr.optim.SGD(lr=1e-4), metrics=[], seed=0)
    history = trainer.fit((x, np.array([1, 0])), epochs=1)  # every label the unlikely one
    assert history["loss"] == [1e4]
    assert np.isfinite(model.state_dict()["weight"]).all()
    assert not np.array_equal(model.state_dict()["weight"], np.eye(2))


# -- regularizers ---------------------------------------------------------------------------------

KINDS: dict[str, Any] = {
    "l2 and max-norm": lambda: [R.L2(0.05), R.MaxNorm(0.6)],
    "elastic net, proximal": lambda: [R.ElasticNet(0.02, 0.05, proximal=True)],
    "spectral by power, and a penalty on long rows": lambda: [
        R.SpectralNorm(0.1, method="power"),
        R.MaxNorm(0.6, strength=0.5),
    ],
    "names": lambda: ["orthogonality", "l1", "max_norm"],
}


def trained(regularizers: Any, captured: bool = True, **options: Any) -> Any:
    x, y = blobs(110)
    accumulate = options.pop("accumulate", 1)
    trainer = cr.Trainer(
        net(p=0.2),
        optimizer=cr.optim.SGD(lr=0.1, momentum=0.9),
        schedule="cosine",
        regularizers=regularizers,
        accumulate=accumulate,
        metrics=[],
        seed=3,
    )
    if not captured:
        trainer.captured = trainer._step
    trainer.fit((x, y), **{"epochs": 3, "batch_size": 32, "shuffle": False, **options})
    return trainer


@pytest.mark.parametrize("name", KINDS)
def test_captured_steps_with_regularizers_equal_eager_ones(name: str, executor: str) -> None:
    captured, eager = trained(KINDS[name]()), trained(KINDS[name](), captured=False)
    assert captured.captured.reason is None
    assert all(p.checked == 2 for p in captured.captured.programs())
    same(captured.model.state_dict(), eager.model.state_dict())
    assert captured.history["loss"] == eager.history["loss"]
    free = trained([])
    assert not np.array_equal(
        free.model.state_dict()["0.weight"], captured.model.state_dict()["0.weight"]
    )


def test_the_projection_holds_after_every_update() -> None:
    longest: list[float] = []

    class Look(cr.callbacks.Callback):
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            w = trainer.model[0].weight.detach().numpy()
            longest.append(float(np.linalg.norm(w, axis=1).max()))

    x, y = blobs(110)
    trainer = cr.Trainer(
        net(), optimizer=cr.optim.Adam(lr=0.05), regularizers=[R.MaxNorm(0.5)],
        callbacks=[Look()], seed=0,
    )  # fmt: skip
    trainer.fit((x, y), epochs=3, batch_size=16)
    assert len(longest) == 21
    assert max(longest) <= 0.5 * (1 + 1e-6)
    assert min(longest) > 0.49


def test_it_is_the_loop_by_hand_with_the_exact_norm() -> None:
    """Singular values cannot be captured: the steps run eagerly, with the same result."""
    x, y = blobs(110)
    made = [R.SpectralNorm(0.1, squared=True), R.ElasticNet(0.02, proximal=True)]
    trainer = trained(made)
    assert "spectral_norm computes singular values" in trainer.captured.reason
    model, again = (
        net(p=0.2),
        [R.SpectralNorm(0.1, squared=True), R.ElasticNet(0.02, proximal=True)],
    )
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = cr.optim.lr_scheduler.get("cosine", optimizer, epochs=3, steps_per_epoch=4)
    with use_stream(Stream(3)):
        for _ in range(3):
            for i in range(0, 110, 32):
                loss = cr.ops.cross_entropy(model(x[i : i + 32]), y[i : i + 32])
                (loss + again[0](model) + again[1](model)).backward()
                optimizer.step()
                for r in again:
                    r.after_update(model, optimizer.param_groups[0]["lr"])
                optimizer.zero_grad()
                if scheduler.interval == "step":
                    scheduler.step()
            if scheduler.interval == "epoch":
                scheduler.step()
    same(trainer.model.state_dict(), model.state_dict())


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_batches_carry_one_penalty(accumulate: int) -> None:
    """Weighted and ragged: the update is that of the joint batch, penalty and projection too."""
    w = np.random.default_rng(0).uniform(0, 2, 110).astype(np.float32)
    states, losses = [], []
    for size, acc in ((16, accumulate), (16 * accumulate, 1)):
        trainer = cr.Trainer(
            net().double(),
            optimizer=cr.optim.SGD(lr=0.1),
            regularizers=[R.L2(0.05), R.MaxNorm(0.8), R.ElasticNet(0.01, proximal=True)],
            accumulate=acc,
            metrics=[],
            seed=0,
        )
        trainer.fit(blobs(110), epochs=3, batch_size=size, shuffle=False, sample_weight=w)
        states.append(trainer.model.state_dict())
        losses.append(trainer.history["loss"])
    for name, v in states[0].items():
        np.testing.assert_allclose(v, states[1][name], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-2)  # measured at other weights


def test_the_history_has_the_loss_of_the_data_alone() -> None:
    x, y = blobs(64)
    trainer = cr.Trainer(
        net(), optimizer=cr.optim.SGD(lr=0.0), regularizers=[R.L2(10.0)], metrics=[], seed=0
    )
    history = trainer.fit((x, y), epochs=4, batch_size=64, validation_data=(x, y))
    np.testing.assert_allclose(history["loss"], history["val_loss"], rtol=1e-6)


CHANGES: dict[str, Any] = {
    "strength": lambda r: setattr(r[0], "l2", 0.5),
    "to zero": lambda r: setattr(r[0], "l2", 0.0),
    "another form": lambda r: setattr(r[0], "half", False),
    "a penalty instead of the projection": lambda r: setattr(r[1], "strength", 0.3),
    "another axis": lambda r: setattr(r[1], "axis", 0),
    "bound": lambda r: setattr(r[1], "max_norm", 0.4),
    "parameters": lambda r: setattr(r[0], "parameters", "0.*"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_callback_changes_in_a_regularizer_holds(name: str) -> None:
    class Change(cr.callbacks.Callback):
        def on_epoch_start(self, trainer: Any, epoch: int) -> None:
            if epoch == 3:
                CHANGES[name](trainer.regularizers)

    states = []
    for captured, change in ((True, True), (False, True), (True, False)):
        trainer = cr.Trainer(
            net(), optimizer=cr.optim.SGD(lr=0.1), regularizers=[R.L2(0.05), R.MaxNorm(0.7)],
            callbacks=[Change()] if change else [], metrics=[], seed=3,
        )  # fmt: skip
        if not captured:
            trainer.captured = trainer._step
        trainer.fit(blobs(96), epochs=5)
        states.append(trainer.model.state_dict())
    same(states[0], states[1])
    assert not np.array_equal(states[0]["0.weight"], states[2]["0.weight"])


def test_penalties_that_are_not_finite() -> None:
    trainer = cr.Trainer(net(), optimizer="sgd", regularizers=[R.L2(1e30)], metrics=[], seed=0)
    trainer.model[0].weight.assign(np.full((16, 4), 1e5))
    before = trainer.model.state_dict()
    with pytest.raises(NonFiniteError, match=r"penalties became inf at step 1 .* L2\(l2=1e\+30\)"):
        trainer.fit(blobs(60), epochs=1)
    same(trainer.model.state_dict(), before)


def test_regularizers_that_are_none() -> None:
    with pytest.raises(TypeError, match=r"write regularizers=\[…\]"):
        cr.Trainer(net(), regularizers=R.L2())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write L2\(…\)"):
        cr.Trainer(net(), regularizers=[R.L2])
    with pytest.raises(ValueError, match="did you mean 'max_norm'"):
        cr.Trainer(net(), regularizers=["max_nrom"])

    def vector(model: Any) -> Any:
        return (model[0].weight ** 2).sum(axis=1)

    for wrong, got in ((vector, r"shape \(16,\)"), (lambda model: None, "NoneType")):
        trainer = cr.Trainer(net(), regularizers=[wrong], seed=0)
        with pytest.raises(TypeError, match=rf"gave {got}; a penalty is one number"):
            trainer.fit(blobs(30), epochs=1)


# -- optimizers that evaluate the loss ------------------------------------------------------------


class Backtracking(cr.optim.Optimizer):
    """Gradient descent with a rate halved until the loss falls."""

    def __init__(self, params: Any = None, lr: float = 10.0) -> None:
        super().__init__(params, {"lr": lr})
        self.evaluations = 0

    def step(self, closure: Any) -> Any:  # type: ignore[override]
        first = closure()
        params = [p for group in self.param_groups for p in group["params"]]
        start = [(p.detach().numpy().copy(), p.grad.numpy().copy()) for p in params]
        rate = self.param_groups[0]["lr"]
        self.evaluations += 1
        while True:
            for p, (w, g) in zip(params, start, strict=True):
                p.assign(w - rate * g)
            self.evaluations += 1
            if closure().item() < first.item() or rate < 1e-12:
                return first
            rate /= 2


def test_an_optimizer_that_evaluates_the_loss() -> None:
    assert needs_closure(Backtracking())
    assert not needs_closure(cr.optim.SGD())
    trainer = cr.Trainer(
        net(), optimizer=Backtracking(), regularizers=[R.L2(1e-3), R.MaxNorm(3.0)], seed=0
    )
    x, y = blobs(120)
    history = trainer.fit((x, y), epochs=60, batch_size=120, shuffle=False)
    assert trainer.step == 60
    assert trainer.optimizer.evaluations > 120
    assert all(b < a for a, b in zip(history["loss"], history["loss"][1:], strict=False))
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert all(p.grad is None for p in trainer.model.parameters())
    # points along the line may be infinite; the first may not
    wild = cr.Trainer(net(), optimizer=Backtracking(lr=1e38), metrics=[], seed=0)
    wild.fit((x, y), epochs=1, batch_size=120)
    assert wild.history["loss"][0] > wild.evaluate((x, y))["loss"]
    wild.model[0].weight.assign(np.full((16, 4), np.nan))
    with pytest.raises(NonFiniteError, match="the loss became nan at step 2"):
        wild.fit((x, y), epochs=1, batch_size=120)


def _lbfgs(stop: int = -1, path: Any = None, every: int = 1) -> Any:
    class Stop(cr.callbacks.Callback):
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            if step == stop:
                trainer.stop = "test"

    callbacks: list[Any] = [Stop()]
    if path is not None:
        callbacks.insert(0, cr.callbacks.Checkpoint(path, every_steps=every))
    model = cr.nn.Dense(4, 3).double()
    model.weight.assign(np.zeros((3, 4)))
    model.bias.assign(np.zeros(3))
    return cr.Trainer(
        model,
        optimizer=cr.optim.LBFGS(
            line_search_fn="strong_wolfe", tolerance_grad=1e-10, tolerance_change=1e-14
        ),
        regularizers=[R.L2(0.01)],
        callbacks=callbacks,
        metrics=[],
        seed=0,
    )


def test_l_bfgs_finds_the_minimum_of_loss_and_penalty() -> None:
    """Scikit-learn's logistic regression, whose C is 1 / (n λ). A search by values of the loss ends
    where its gain is below their rounding: a slope of 1e-8, here and in scikit-learn's own."""
    x, y = blobs(120)
    x = x.astype(np.float64)
    trainer = _lbfgs()
    trainer.fit((x, y), epochs=15, batch_size=120)
    linear = pytest.importorskip("sklearn.linear_model")
    theirs = linear.LogisticRegression(C=1 / 1.2, tol=1e-12, solver="newton-cg").fit(x, y)
    np.testing.assert_allclose(trainer.model.state_dict()["weight"], theirs.coef_, atol=1e-6)
    p = trainer.model.weight
    (cr.ops.cross_entropy(trainer.model(x), y) + R.L2(0.01)(trainer.model)).backward()
    assert abs(p.grad.numpy()).max() < 1e-7


def test_l_bfgs_in_the_trainer_is_the_loop_by_hand_and_resumes(tmp_path: Any) -> None:
    x, y = blobs(96)
    x = x.astype(np.float64)
    whole = _lbfgs()
    whole.fit((x, y), epochs=3, batch_size=48, shuffle=False)
    again = _lbfgs()
    model, optimizer = again.model, again.optimizer
    for _ in range(3):
        for i in (0, 48):

            def closure(i: int = i) -> Any:
                optimizer.zero_grad()
                loss = cr.ops.cross_entropy(model(x[i : i + 48]), y[i : i + 48])
                loss = loss + R.L2(0.01)(model)
                loss.backward()
                return loss

            optimizer.step(closure)
    same(whole.model.state_dict(), model.state_dict())
    path = tmp_path / "part.ckpt"
    _lbfgs(3, path).fit((x, y), epochs=3, batch_size=48, shuffle=False)
    resumed = _lbfgs(path=path)
    resumed.fit((x, y), epochs=3, batch_size=48, shuffle=False, resume=path)
    same(whole.model.state_dict(), resumed.model.state_dict())


def test_the_same_units_drop_out_at_every_point_of_a_search() -> None:
    """Else the loss falls and rises by chance; and the stream goes on as after one evaluation."""
    losses: list[list[float]] = []

    class Twice(cr.optim.Optimizer):
        def __init__(self, params: Any = None, lr: float = 0.0) -> None:
            super().__init__(params, {"lr": lr})

        def step(self, closure: Any) -> Any:  # type: ignore[override]
            losses.append([closure().item() for _ in range(3)])

    trainer = cr.Trainer(net(p=0.5), optimizer=Twice(), metrics=[], seed=0)
    trainer.fit(blobs(32), epochs=5, batch_size=32, shuffle=False)
    assert all(len(set(step)) == 1 for step in losses)
    plain = cr.Trainer(net(p=0.5), optimizer=cr.optim.SGD(lr=0.0), metrics=[], seed=0)
    history = plain.fit(blobs(32), epochs=5, batch_size=32, shuffle=False)
    assert len(set(history["loss"])) == 5
    np.testing.assert_allclose([step[0] for step in losses], history["loss"], rtol=1e-6)


def test_what_such_an_optimizer_cannot_do() -> None:
    with pytest.raises(ValueError, match=r"Backtracking evaluates .* leave accumulate at 1"):
        cr.Trainer(net(), optimizer=Backtracking(), accumulate=2).fit(blobs(60), epochs=1)
    with pytest.raises(ValueError, match="leave out clip_norm and clip_value"):
        cr.Trainer(net(), optimizer=Backtracking(), clip_norm=1.0).fit(blobs(60), epochs=1)
