"""PyTorch: eager with its fused Adam, or the whole step given to torch.compile."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

from cases import (
    BETA1,
    BETA2,
    EPOCHS,
    EPSILON,
    RATE,
    VARIANCE,
    Case,
    Job,
    fastest,
    fitting,
    predicting,
    training,
)
from harness import Unavailable

THREADS = sorted({1, torch.get_num_threads()})


def network(case: Case) -> Any:
    layers: list[Any] = []
    for n, m in itertools.pairwise(case.sizes):
        layers.append(torch.nn.Linear(n, m))
        if case.norm == "batch":
            layers.append(torch.nn.BatchNorm1d(m, eps=VARIANCE, track_running_stats=False))
        elif case.norm:
            layers.append(torch.nn.LayerNorm(m, eps=VARIANCE))
        if case.norm:
            layers += [torch.nn.GELU(), torch.nn.Dropout(case.dropout)]
        else:
            layers.append(torch.nn.SiLU() if case.kind == "penalty" else torch.nn.ReLU())
    linear = [k for k, layer in enumerate(layers) if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for k, (W, b) in zip(linear, case.layers(), strict=True):
            layers[k].weight.copy_(torch.from_numpy(W))
            layers[k].bias.copy_(torch.from_numpy(b))
    last = [torch.nn.Softmax(1)] if case.kind == "row" and case.classes else []
    return torch.nn.Sequential(*layers[: linear[-1] + 1], *last)


def build(case: Case, mode: str) -> Job:
    """With one thread or with all of them, whichever is faster."""
    if mode == "eager":
        return fastest([_with_threads(n, eager, case) for n in THREADS])
    torch._dynamo.reset()  # what the last case left
    try:
        return fastest([_with_threads(n, compiled, case) for n in THREADS])
    except Exception as error:  # no compiler, or a program that it does not take
        lines = str(error).strip().splitlines() or [""]
        raise Unavailable(f"torch.compile failed: {type(error).__name__}: {lines[0]}") from None


def _with_threads(threads: int, make: Callable[[Case], Job], case: Case) -> Job:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    found, run = make(case)

    def threaded(n: int) -> None:
        torch.set_num_threads(threads)
        run(n)

    return found, threaded


def eager(case: Case) -> Job:
    if case.kind == "fit":
        return fitting(fit)
    model = network(case)
    if case.kind == "row":
        model.eval()
        return predicting(
            lambda row: model(torch.from_numpy(row)).numpy(), case.row(), torch.inference_mode
        )
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    parameters = list(model.parameters())

    def step(x: Any, y: Any) -> Any:
        if case.kind == "step":
            loss = torch.nn.functional.cross_entropy(model(x), y)
        else:
            (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
            loss = ((slope.norm(dim=1) - 1) ** 2).mean()
        optimizer.zero_grad()
        loss.backward(inputs=parameters if x.requires_grad else None)
        optimizer.step()
        return loss

    batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in case.batches()]
    if case.kind == "penalty":
        for x, _ in batches:
            x.requires_grad_()
        parameters.pop()  # the last bias moves no slope
    return training(step, batches, value=lambda loss: loss.item())


def fit(x: Any, y: Any) -> Any:
    """The loop over batches that costs least: the data are one tensor, an epoch one order of it."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(EPOCHS):
        total = torch.zeros(())
        for rows in torch.randperm(len(x)).split(32):
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        total.item()  # the epoch's loss, as all of them report it

    def predict(rows: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(rows)).argmax(1).numpy()

    return predict


def compiled(case: Case) -> Job:
    """One graph of the whole step, with functional gradients and called through C++.

    Measured faster than compiling the forward pass alone, and than compiling forward, `backward()`
    and `optimizer.step()`, which breaks into several graphs. Automatic tuning changes nothing where
    weights change."""
    import torch._inductor.config as settings

    settings.cpp_wrapper = True
    model = network(case)
    names = [name for name, _ in model.named_parameters()]
    parameters = [p.detach() for p in model.parameters()]
    if case.kind == "row":
        settings.freezing = True
        frozen = torch.compile(model.eval(), fullgraph=True)
        return predicting(
            lambda row: frozen(torch.from_numpy(row)).numpy(), case.row(), torch.no_grad
        )

    def output(parameters: Any, x: Any) -> Any:
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (x,))

    def loss_of(parameters: Any, x: Any, y: Any) -> Any:
        if case.kind == "step":
            return torch.nn.functional.cross_entropy(output(parameters, x), y)
        slope = torch.func.grad(lambda x: output(parameters, x).sum())(x)
        return ((slope.norm(dim=1) - 1) ** 2).mean()

    means, squares = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    k = torch.zeros(())

    def update(x: Any, y: Any) -> Any:
        gradients, loss = torch.func.grad_and_value(loss_of)(parameters, x, y)
        k.add_(1)
        root = torch.sqrt(1 - BETA2**k)
        rate, epsilon = RATE * root / (1 - BETA1**k), EPSILON * root
        for p, m, v, g in zip(parameters, means, squares, gradients, strict=True):
            m.lerp_(g, 1 - BETA1)
            v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
            p.sub_(rate * m / (v.sqrt() + epsilon))
        return loss

    whole = torch.compile(update, fullgraph=True)

    def step(x: Any, y: Any) -> Any:
        with torch.no_grad():
            return whole(x, y)

    batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in case.batches()]
    return training(step, batches, value=lambda loss: loss.item())
