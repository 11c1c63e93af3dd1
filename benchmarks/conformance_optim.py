"""Optimizers beside PyTorch's table of options and beside Keras: trajectories in float64.

Both start from the same weights of a small network and get the same gradients in every step, those
at the other library's weights; every weight is compared after every step.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import chainrule as cr
import conformance_torch as ct
from conformance_record import NotApplicable, Row, Table, difference

STEPS = 150
IMPLEMENTATION = "foreach, fused, capturable and differentiable choose an implementation"
TENSOR_OPTION = "tensors as options other than lr: options are numbers here"
COMPLEX = "complex numbers"
TWICE = "a parameter twice in one group: it counts once here, PyTorch warns"
NAMES = "groups with and without names: chainrule does not keep them"
#: Rounding differs in the last digits, and 150 steps add it up.
TOLERANCE = (1e-9, 1e-11)


def problem() -> tuple[list[np.ndarray[Any, Any]], Any, Any]:
    """Weights of a network 4-5-2 and its data."""
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=s) * 0.7 for s in ((5, 4), (5,), (2, 5), (2,))]
    return weights, rng.normal(size=(16, 4)), rng.normal(size=(16, 2))


def their_loss(p: Any, x: Any, y: Any) -> Any:
    h = torch.tanh(torch.nn.functional.linear(x, p[0], p[1]))
    return torch.nn.functional.mse_loss(torch.nn.functional.linear(h, p[2], p[3]), y)


def our_loss(p: Any, x: Any, y: Any) -> Any:
    h = cr.ops.tanh(cr.ops.linear(x, p[0], p[1]))
    return cr.ops.mse_loss(cr.ops.linear(h, p[2], p[3]), y)


def their_bowl(p: Any, x: Any, y: Any) -> Any:
    z = torch.nn.functional.linear(x, p[0], p[1]) - y
    return (torch.nn.functional.softplus(z) + torch.nn.functional.softplus(-z)).mean() + 0.05 * (
        p[0] * p[0]
    ).sum()


def our_bowl(p: Any, x: Any, y: Any) -> Any:
    """A convex loss, for L-BFGS, which looks at losses and gradients where it likes: what rounding
    makes different then shrinks, and does not grow."""
    z = cr.ops.linear(x, p[0], p[1]) - y
    return (cr.ops.softplus(z) + cr.ops.softplus(-z)).mean() + 0.05 * (p[0] * p[0]).sum()


def trajectory(ours: type, theirs: type, kwargs: dict[str, Any], steps: int = STEPS) -> str | None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # in which some keep their step sizes
    try:
        return _trajectory(ours, theirs, kwargs, steps)
    finally:
        torch.set_default_dtype(before)


def _trajectory(ours: type, theirs: type, kwargs: dict[str, Any], steps: int) -> str | None:
    weights, x, y = problem()
    free = theirs is torch.optim.LBFGS
    if free:
        weights = [weights[0][:2], weights[3]]
    own = [cr.nn.Parameter(w) for w in weights]
    their = [torch.nn.Parameter(torch.from_numpy(w.copy())) for w in weights]
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    a = ours(own, **{k: option(v, k) for k, v in kwargs.items()})
    b = theirs(their, **kwargs)

    def our_step() -> Any:
        a.zero_grad()
        loss = (our_bowl if free else our_loss)(own, x, y)
        loss.backward()
        return loss

    def their_step() -> Any:
        b.zero_grad()
        loss = (their_bowl if free else their_loss)(their, tx, ty)
        loss.backward()
        return loss

    for step in range(steps):
        if free:
            a.step(our_step)
            b.step(their_step)
        else:
            their_step()
            for p, q in zip(own, their, strict=True):
                p.grad = cr.tensor(ct.raw(q.grad))
            a.step()
            b.step()
        for k, (p, q) in enumerate(zip(own, their, strict=True)):
            found = difference(ct.raw(p), ct.raw(q), f"weight {k} after step {step + 1}", TOLERANCE)
            if found:
                return found
    return None


def option(value: Any, name: str) -> Any:
    """A tensor with one number as this number."""
    if isinstance(value, torch.Tensor):
        if name != "lr":
            raise NotApplicable(TENSOR_OPTION)
        return float(value) if value.numel() == 1 else value.numpy()
    if isinstance(value, tuple) and any(isinstance(v, torch.Tensor) for v in value):
        raise NotApplicable(TENSOR_OPTION)
    return value


def our_params(params: Any) -> Any:
    """Parameters as PyTorch's error table gives them, as ours."""
    if isinstance(params, torch.Tensor):
        if params.is_complex():
            raise NotApplicable(COMPLEX)
        known = _KNOWN.setdefault(id(params), None)
        if known is None:
            known = _KNOWN[id(params)] = cr.nn.Parameter(params.detach().numpy())
        return known
    if isinstance(params, tuple):
        return tuple(map(our_params, params))
    if isinstance(params, list):
        return [our_params(p) for p in params]
    if isinstance(params, dict):
        return {k: our_params(v) if k == "params" else option(v, k) for k, v in params.items()}
    return params


_KNOWN: dict[int, Any] = {}


def must_raise(ours: type, error: Any) -> str | None:
    given = error.optimizer_error_input
    if {"foreach", "fused", "capturable", "differentiable"} & set(given.kwargs):
        raise NotApplicable(IMPLEMENTATION)
    if "a parameter group with duplicate parameters" in error.error_regex:
        raise NotApplicable(TWICE)
    if "with/without names" in error.error_regex:
        raise NotApplicable(NAMES)
    _KNOWN.clear()
    kwargs = {k: option(v, k) for k, v in given.kwargs.items()}
    params = given.params
    params = [cr.nn.Parameter(np.ones(2))] if params is None else our_params(params)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            ours(params, **kwargs)
        except (ValueError, TypeError, UserWarning):
            return None
    return f"no error for {given.desc}"


def torch_rows(only: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    ct.check_version()
    from torch.testing._internal.common_optimizers import optim_db

    for info in optim_db:
        ours = getattr(cr.optim, info.name, None)
        if ours is None or not only(f"optim.{info.name}"):
            continue
        row = Row(f"torch.optim.{info.name}", f"optim.{info.name}")
        for given in info.optim_inputs_func("cpu"):
            steps = 12 if info.name == "LBFGS" else STEPS
            case = lambda k=given.kwargs, n=steps: trajectory(ours, info.optim_cls, k, n)  # noqa: E731, B023
            row.count(given.desc, ct.attempt(case))
        for error in info.optim_error_inputs_func("cpu", torch.float64):
            case = lambda e=error: must_raise(ours, e)  # type: ignore[misc]  # noqa: E731, B023
            row.count("wrong: " + error.optimizer_error_input.desc, ct.attempt(case))
        yield row


# -- Keras ---------------------------------------------------------------------------------------

#: Keras's optimizer: (ours, the options that make it Keras's, the entries). An entry has Keras's
#: options and ours. Where Keras stands apart (K-rows of the errata), options say so: epsilon inside
#: the root (K-01, K-02), before the correction (K-05), outside the maximum (K-06), 0.96^t (K-04).
KERAS: dict[str, tuple[str, dict[str, Any], list[tuple[dict[str, Any], dict[str, Any]]]]] = {
    "SGD": ("SGD", {}, [
        ({"learning_rate": 0.05}, {"lr": 0.05}),
        ({"learning_rate": 0.05, "momentum": 0.9}, {"lr": 0.05, "momentum": 0.9}),
        ({"learning_rate": 0.05, "momentum": 0.9, "nesterov": True},
         {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ]),
    "RMSprop": ("RMSprop", {"eps": 1e-7, "alpha": 0.9, "eps_inside": True}, [
        ({"learning_rate": 0.01}, {"lr": 0.01}),
        ({"learning_rate": 0.01, "rho": 0.8, "epsilon": 1e-3},
         {"lr": 0.01, "alpha": 0.8, "eps": 1e-3}),
        ({"learning_rate": 0.01, "momentum": 0.9}, {"lr": 0.01, "momentum": 0.9}),
        ({"learning_rate": 0.01, "centered": True}, {"lr": 0.01, "centered": True}),
        ({"learning_rate": 0.01, "centered": True, "momentum": 0.9},
         {"lr": 0.01, "centered": True, "momentum": 0.9}),
    ]),
    "Adagrad": ("Adagrad", {"eps": 1e-7, "initial_accumulator_value": 0.1, "eps_inside": True}, [
        ({"learning_rate": 0.1}, {"lr": 0.1}),
        ({"learning_rate": 0.1, "initial_accumulator_value": 0.0, "epsilon": 1e-2},
         {"lr": 0.1, "initial_accumulator_value": 0.0, "eps": 1e-2}),
    ]),
    "Adadelta": ("Adadelta", {"eps": 1e-7, "rho": 0.95}, [
        ({"learning_rate": 1.0}, {"lr": 1.0}),
        ({"learning_rate": 0.5, "rho": 0.8, "epsilon": 1e-4}, {"lr": 0.5, "rho": 0.8, "eps": 1e-4}),
    ]),
    "Adam": ("Adam", {"eps": 1e-7, "eps_hat": True}, [
        ({"learning_rate": 0.01}, {"lr": 0.01}),
        ({"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
         {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3}),
        ({"learning_rate": 0.01, "amsgrad": True}, {"lr": 0.01, "amsgrad": True}),
    ]),
    "AdamW": ("AdamW", {"eps": 1e-7, "eps_hat": True}, [
        ({"learning_rate": 0.01, "weight_decay": 0.1}, {"lr": 0.01, "weight_decay": 0.1}),
        ({"learning_rate": 0.01, "weight_decay": 0.1, "amsgrad": True},
         {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
    ]),
    "Adamax": ("Adamax", {"eps": 1e-7, "eps_inside": False}, [
        ({"learning_rate": 0.01}, {"lr": 0.01}),
        ({"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
         {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3}),
    ]),
    "Nadam": ("NAdam", {"eps": 1e-7, "momentum_decay": 1.0}, [
        ({"learning_rate": 0.01}, {"lr": 0.01}),
        ({"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
         {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3}),
    ]),
}  # fmt: skip


def keras_trajectory(theirs: Any, ours: Any, options: dict[str, Any]) -> str | None:
    import keras

    weights, x, y = problem()
    own = [cr.nn.Parameter(w) for w in weights]
    their = [keras.Variable(w, dtype="float64") for w in weights]
    optimizer = ours(own, **options)
    theirs.build(their)
    for step in range(STEPS):
        values = [keras.ops.convert_to_numpy(v.value) for v in their]
        leaves = [cr.tensor(np.asarray(v), requires_grad=True) for v in values]
        gradients = cr.autograd.grad(our_loss(leaves, x, y), leaves)
        for p, g in zip(own, gradients, strict=True):
            p.grad = g
        theirs.apply([torch.from_numpy(np.array(ct.raw(g))) for g in gradients], their)
        optimizer.step()
        for k, (p, q) in enumerate(zip(own, their, strict=True)):
            value = np.asarray(keras.ops.convert_to_numpy(q.value))
            found = difference(ct.raw(p), value, f"weight {k} after step {step + 1}", TOLERANCE)
            if found:
                return found
    return None


def keras_rows(only: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    os.environ["KERAS_BACKEND"] = "torch"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
    keras.config.set_floatx("float64")
    for name, (ours, base, entries) in KERAS.items():
        if not only(f"keras.optimizers.{name}") or not hasattr(cr.optim, ours):
            continue
        row = Row(f"keras.optimizers.{name}", f"optim.{ours}")
        for theirs_options, ours_options in entries:
            case = lambda t=theirs_options, o=ours_options: keras_trajectory(  # noqa: E731
                getattr(keras.optimizers, name)(**t),  # noqa: B023
                getattr(cr.optim, ours),  # noqa: B023
                {**base, **o},  # noqa: B023
            )
            row.count(str(theirs_options), ct.attempt(case))
        yield row


def tables(only: Callable[[str], bool], show: Callable[[Row], None]) -> Iterator[Table]:
    table = Table(
        "PyTorch's optimizers",
        f"{STEPS} steps with every set of options (L-BFGS: 12 of up to 20 iterations), and what "
        "their construction must refuse.",
    )
    for row in torch_rows(only):
        show(row)
        table.rows.append(row)
    yield table
    table = Table(
        "Keras's optimizers",
        f"{STEPS} steps; where Keras places ε elsewhere, with the option for it.",
    )
    for row in keras_rows(only):
        show(row)
        table.rows.append(row)
    yield table
