"""A schedule by name, class, function or object."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import chainrule as cr
from chainrule.optim import lr_scheduler
from optim.schedules import optimizer, rates


def test_names_and_lengths() -> None:
    one = lr_scheduler.get("one_cycle", optimizer(0.3), epochs=3, steps_per_epoch=5)
    assert isinstance(one, lr_scheduler.OneCycleLR)
    assert (one.total_steps, one.interval) == (15, "step")
    assert one.optimizer.param_groups[0]["max_lr"] == 0.3
    cosine = lr_scheduler.get("cosine", optimizer(), total_steps=11, steps_per_epoch=5)
    assert isinstance(cosine, lr_scheduler.CosineAnnealingLR)
    assert (cosine.T_max, cosine.interval) == (3, "epoch")
    step = lr_scheduler.get("step", optimizer(), epochs=10)
    assert isinstance(step, lr_scheduler.StepLR)
    assert step.step_size == 4
    plateau = lr_scheduler.get("plateau", optimizer(), epochs=10, patience=3)
    assert isinstance(plateau, lr_scheduler.ReduceLROnPlateau)
    assert plateau.patience == 3
    falling = lr_scheduler.get("exponential", optimizer(1.0), epochs=10)
    for _ in range(10):
        falling.step()
    assert falling.get_last_lr()[0] == pytest.approx(0.01)
    assert isinstance(lr_scheduler.get("linear", optimizer(), epochs=10), lr_scheduler.LinearLR)


def test_objects() -> None:
    a = optimizer()
    schedule = lr_scheduler.StepLR(a, 3)
    assert lr_scheduler.get(schedule, a) is schedule
    partial = functools.partial(lr_scheduler.OneCycleLR, max_lr=0.7)
    one = lr_scheduler.get(partial, a, total_steps=9)
    assert a.param_groups[0]["max_lr"] == 0.7
    assert one.total_steps == 9  # type: ignore[attr-defined]
    by_hand = lr_scheduler.get(lambda o: lr_scheduler.StepLR(o, 5), a, epochs=9)
    assert by_hand.step_size == 5  # type: ignore[attr-defined]


def test_a_name_begins_anew() -> None:
    a = optimizer(0.2)
    for name in ("cosine", "one_cycle", "exponential"):
        schedule = lr_scheduler.get(name, a, epochs=4, steps_per_epoch=2)
        for _ in range(4):
            schedule.step()
        assert a.param_groups[0]["lr"] < 0.2
    lr_scheduler.get("cosine", a, epochs=4)
    assert a.param_groups[0]["lr"] == 0.2


def test_errors() -> None:
    a = optimizer()
    with pytest.raises(ValueError, match="no schedule 'cosin'; did you mean 'cosine'"):
        lr_scheduler.get("cosin", a, epochs=3)
    with pytest.raises(ValueError, match="known: 'cosine', 'cosine_restarts'"):
        lr_scheduler.check("zzz")
    with pytest.raises(ValueError, match="CosineAnnealingLR needs T_max, or the number of epochs"):
        lr_scheduler.get("cosine", a)
    with pytest.raises(ValueError, match="needs total_steps, or epochs and steps_per_epoch"):
        lr_scheduler.get("one_cycle", a, epochs=3)
    with pytest.raises(TypeError, match="takes no options"):
        lr_scheduler.get(lr_scheduler.StepLR(a, 3), a, gamma=0.1)
    with pytest.raises(TypeError, match=r"a schedule was expected from .* got list"):
        lr_scheduler.get(lambda o: [o], a)
    with pytest.raises(TypeError, match="changes an optimizer's rates; got float"):
        lr_scheduler.StepLR(0.1, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bind it first"):
        lr_scheduler.StepLR(cr.optim.SGD(lr=0.1), 3)


def test_names_of_the_others() -> None:
    for epochs in (1, 2, 10):
        a = optimizer(0.2)
        poly = lr_scheduler.get("polynomial", a, epochs=epochs)
        for _ in range(epochs):
            assert rates(a)[0] > 0
            poly.step()
        assert rates(a) == [0.0]
    many = lr_scheduler.get("multi_step", optimizer(), epochs=10)
    assert isinstance(many, lr_scheduler.MultiStepLR)
    assert many.milestones == [5, 8]
    again = lr_scheduler.get("cosine_restarts", optimizer(), epochs=10)
    assert isinstance(again, lr_scheduler.CosineAnnealingWarmRestarts)
    assert (again.T_0, again.T_mult) == (4, 1)
    with pytest.raises(ValueError, match="PolynomialLR needs total_iters, or the number of epochs"):
        lr_scheduler.get("polynomial", optimizer())


@pytest.mark.parametrize("epochs", [1, 3, 10])
@pytest.mark.parametrize("per_epoch", [1, 7, 100])
@pytest.mark.parametrize("name", ["warmup", "warmup_cosine", "warmup_linear"])
def test_warm_ups_by_name(name: str, epochs: int, per_epoch: int) -> None:
    a = optimizer(0.2)
    schedule = lr_scheduler.get(name, a, epochs=epochs, steps_per_epoch=per_epoch)
    assert isinstance(schedule, lr_scheduler.WarmupLR)
    assert schedule.interval == "step"
    assert schedule.warmup_steps == max(1, epochs * per_epoch // 10)
    seen = []
    for _ in range(max(2, epochs * per_epoch)):
        seen += rates(a)
        schedule.step()
    assert max(seen) == 0.2
    assert min(seen) > 0
    if name != "warmup":
        assert rates(a) == [pytest.approx(0.0, abs=1e-15)]


def test_warm_ups_need_a_length() -> None:
    a = optimizer()
    with pytest.raises(ValueError, match="WarmupLR needs warmup_steps and total_steps, or epochs"):
        lr_scheduler.get("warmup_cosine", a, epochs=3)
    made = lr_scheduler.get("warmup", a, warmup_steps=5)
    assert made.warmup_steps == 5  # type: ignore[attr-defined]
    made = lr_scheduler.get("warmup_cosine", a, warmup_steps=5, epochs=3, steps_per_epoch=4)
    assert (made.warmup_steps, made.total_steps) == (5, 12)  # type: ignore[attr-defined]
    made = lr_scheduler.get("warmup_cosine", a, total_steps=50, eta_min=0.01)
    assert (made.warmup_steps, made.eta_min) == (5, 0.01)  # type: ignore[attr-defined]


def test_a_trainer_by_name() -> None:
    x = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
    for name in ("warmup_cosine", "warmup", "polynomial", "cosine_restarts", "multi_step"):
        model = cr.nn.Sequential(cr.nn.Dense(1, 4), cr.nn.Tanh(), cr.nn.Dense(4, 1))
        trainer = cr.Trainer(
            model, loss="mse", optimizer=cr.optim.NAdam(lr=0.1), metrics=[], schedule=name, seed=0
        )
        history = trainer.fit((x, x), epochs=4, batch_size=10, verbose=False)
        lrs = history["lr"]
        assert max(lrs) == pytest.approx(0.1, rel=0.1)
        assert lrs[-1] < 0.1 or name == "warmup"


def test_one_cycle_by_name_needs_no_momentum() -> None:
    a = cr.optim.Adagrad([cr.nn.Parameter([1.0])], lr=0.2)
    one = lr_scheduler.get("one_cycle", a, total_steps=10)
    one.step()
    assert isinstance(one, lr_scheduler.OneCycleLR)
    assert not one.cycle_momentum
    assert rates(a) > [0.2 / 25]
