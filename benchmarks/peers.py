"""The same net in six libraries, as their users write it: steps of training, one-row predictions.

Every peer starts from the same weights and sees the same batches, and gives first what the driver
compares: the losses of its first steps, or the probabilities it predicts.

A training step is forward, cross-entropy loss, backward and Adam (learning rate 1e-3), in float32.
Batches wait in the library's own array type; a prediction takes a NumPy row and gives NumPy
probabilities.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Job = tuple[list[float], Callable[[int], None]]
RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Case:
    """What is measured on which net."""

    title: str
    sizes: tuple[int, ...]
    batch: int  # 0: predict one row

    def weights(self) -> list[Any]:
        """W (out, in) and b (out,), layer by layer, He-normal."""
        random = np.random.default_rng(0)
        found: list[Any] = []
        for n, m in itertools.pairwise(self.sizes):
            found.append(random.normal(0, math.sqrt(2 / n), (m, n)).astype(np.float32))
            found.append(np.zeros(m, np.float32))
        return found

    def batches(self) -> list[tuple[Any, Any]]:
        """Sixteen batches of the same rows under changing labels, so that the loss stays far from
        zero however long the measurement lasts: vanishing gradients are subnormal, and slow."""
        random = np.random.default_rng(1)
        rows = random.random((self.batch, self.sizes[0]), np.float32)
        order = [random.integers(0, self.batch, self.batch) for _ in range(16)]
        return [(rows[i], random.integers(0, self.sizes[-1], self.batch)) for i in order]

    def row(self) -> Any:
        return np.random.default_rng(2).random((1, self.sizes[0]), np.float32)


SMALL, LARGE = (64, 100, 10), (784, 512, 256, 10)
CASES = {
    "step-small": Case("Training step, MLP 64-100-10, batch 32", SMALL, 32),
    "step-large": Case("Training step, MLP 784-512-256-10, batch 128", LARGE, 128),
    "row-small": Case("One-row prediction, MLP 64-100-10", SMALL, 0),
    "row-large": Case("One-row prediction, MLP 784-512-256-10", LARGE, 0),
}


def training(
    step: Callable[[Any, Any], Any], batches: Any, value: Callable[[Any], float] = float
) -> Job:
    """`value` waits for a step to be done, and gives its loss as a number."""
    losses = [value(step(x, y)) for x, y in batches]
    feed = itertools.cycle(batches)

    def run(n: int) -> None:
        loss = None
        for x, y in itertools.islice(feed, n):
            loss = step(x, y)
        value(loss)

    return losses, run


def predicting(predict: Callable[[Any], Any], row: Any) -> Job:
    def run(n: int) -> None:
        for _ in range(n):
            predict(row)

    return predict(row).ravel().tolist(), run


# ---------------------------------------------------------------------------- chainrule


def chainrule(case: Case) -> Job:
    import chainrule as cr

    layers: list[Any] = []
    for n, m in itertools.pairwise(case.sizes):
        layers += [cr.nn.Dense(n, m), cr.nn.ReLU()]
    model = cr.nn.Sequential(*layers[:-1])
    for p, w in zip(model.parameters(), case.weights(), strict=True):
        p.assign(w)

    if not case.batch:

        def predict(row: Any) -> Any:
            with cr.no_grad():
                return cr.ops.softmax(model(row)).numpy()

        model.eval()
        return predicting(predict, case.row())

    optimizer = cr.optim.Adam(model.parameters(), lr=RATE)

    def step(x: Any, y: Any) -> Any:
        loss = cr.ops.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return training(step, case.batches(), value=lambda loss: loss.item())


# ---------------------------------------------------------------------------- NumPy, by hand


class NumpyNet:
    """What a careful person writes: one flat vector of parameters and of each state, updated in
    place, and no array made where one of the last step can be used again."""

    def __init__(self, case: Case) -> None:
        weights = case.weights()
        self.p = np.concatenate([w.T.ravel() for w in weights])  # W (in, out)
        self.g, self.m, self.v, self.t = (np.zeros_like(self.p) for _ in range(4))
        self.steps = 0
        self.layers, self.gradients = self._views(self.p, case), self._views(self.g, case)

    @staticmethod
    def _views(flat: Any, case: Case) -> list[tuple[Any, Any]]:
        found, at = [], 0
        for n, m in itertools.pairwise(case.sizes):
            W = flat[at : at + n * m].reshape(n, m)
            b = flat[at + n * m : at + n * m + m]
            found.append((W, b))
            at += n * m + m
        return found

    def forward(self, x: Any) -> list[Any]:
        """The input of every layer, and the logits."""
        found = [x]
        for W, b in self.layers:
            z = found[-1] @ W
            z += b
            found.append(z)
            if len(found) <= len(self.layers):
                np.maximum(z, 0, out=z)
        return found

    def predict(self, row: Any) -> Any:
        z = self.forward(row)[-1]
        z -= z.max(1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(1, keepdims=True)
        return z

    def step(self, x: Any, y: Any) -> float:
        *inputs, d = self.forward(x)
        rows = np.arange(len(y))
        d -= d.max(1, keepdims=True)
        right = d[rows, y]
        np.exp(d, out=d)
        total = d.sum(1, keepdims=True)
        loss = np.log(total).mean() - right.mean()
        d /= total
        d[rows, y] -= 1
        d *= 1 / len(y)
        for i in reversed(range(len(inputs))):
            np.matmul(inputs[i].T, d, out=self.gradients[i][0])
            np.sum(d, 0, out=self.gradients[i][1])
            if i:
                d = d @ self.layers[i][0].T
                d *= inputs[i] > 0
        self.adam()
        return loss

    def adam(self) -> None:
        g, m, v, t = self.g, self.m, self.v, self.t
        self.steps += 1
        np.subtract(g, m, out=t)
        t *= 1 - BETA1
        m += t
        np.multiply(g, g, out=t)
        t -= v
        t *= 1 - BETA2
        v += t
        np.sqrt(v, out=t)
        t *= 1 / math.sqrt(1 - BETA2**self.steps)
        t += EPSILON
        np.divide(m, t, out=t)
        t *= RATE / (1 - BETA1**self.steps)
        self.p -= t


def numpy(case: Case) -> Job:
    net = NumpyNet(case)
    return training(net.step, case.batches()) if case.batch else predicting(net.predict, case.row())


# ---------------------------------------------------------------------------- PyTorch


def torch(case: Case) -> Job:
    import torch

    layers: list[Any] = []
    for n, m in itertools.pairwise(case.sizes):
        layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for p, w in zip(model.parameters(), case.weights(), strict=True):
            p.copy_(torch.from_numpy(w))

    if not case.batch:

        def predict(row: Any) -> Any:
            with torch.inference_mode():
                return torch.softmax(model(torch.from_numpy(row)), 1).numpy()

        model.eval()
        return predicting(predict, case.row())

    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)

    def step(x: Any, y: Any) -> Any:
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in case.batches()]
    return training(step, batches, value=lambda loss: loss.item())


# ---------------------------------------------------------------------------- JAX


def jax(case: Case) -> Job:
    import jax
    import jax.numpy as jnp

    weights = [jnp.asarray(w.T) for w in case.weights()]  # W (in, out), as JAX's users have it

    def logits(weights: Any, x: Any) -> Any:
        *hidden, (W, b) = _pairs(weights)
        for V, c in hidden:
            x = jax.nn.relu(x @ V + c)
        return x @ W + b

    if not case.batch:
        probabilities = jax.jit(lambda weights, x: jax.nn.softmax(logits(weights, x)))
        return predicting(lambda row: np.asarray(probabilities(weights, row)), case.row())

    def loss_of(weights: Any, x: Any, y: Any) -> Any:
        logs = jax.nn.log_softmax(logits(weights, x))
        return -jnp.take_along_axis(logs, y[:, None], 1).mean()

    def update(state: Any, x: Any, y: Any) -> Any:
        weights, means, squares, k = state
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
        k = k + 1
        c1, c2 = 1 - BETA1**k, 1 - BETA2**k
        means = [BETA1 * m + (1 - BETA1) * g for m, g in zip(means, gradients, strict=True)]
        squares = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(squares, gradients, strict=True)]
        weights = [
            w - RATE * (m / c1) / (jnp.sqrt(v / c2) + EPSILON)
            for w, m, v in zip(weights, means, squares, strict=True)
        ]
        return (weights, means, squares, k), loss

    compiled = jax.jit(update, donate_argnums=0)
    zeros = [[jnp.zeros_like(w) for w in weights] for _ in range(2)]
    state: Any = (weights, *zeros, jnp.zeros((), jnp.float32))

    def step(x: Any, y: Any) -> Any:
        nonlocal state
        state, loss = compiled(state, x, y)
        return loss

    batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in case.batches()]
    return training(step, batches)


def _pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(values[::2], values[1::2], strict=True))


# ---------------------------------------------------------------------------- scikit-learn


def sklearn(case: Case) -> Job:
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(
        case.sizes[1:-1], batch_size=case.batch or 1, learning_rate_init=RATE, alpha=0.0
    )
    row, classes = case.row(), np.arange(case.sizes[-1])
    x = row.repeat(case.batch or 1, axis=0)  # its weights exist only after a first fit
    net.partial_fit(x, np.zeros(len(x), np.int64), classes=classes)
    for (W, b), V, c in zip(_pairs(case.weights()), net.coefs_, net.intercepts_, strict=True):
        V[...], c[...] = W.T, b
    del net._optimizer  # the state of that first fit

    if not case.batch:
        return predicting(net.predict_proba, row)

    def step(x: Any, y: Any) -> float:
        net.partial_fit(x, y)
        return float(net.loss_)

    return training(step, case.batches())


# ---------------------------------------------------------------------------- what they run on


def facts(name: str) -> dict[str, Any]:
    """Threads and kernels of this worker's matrix products."""
    if name == "torch":
        import torch

        kernel = torch.backends.cpu.get_cpu_capability()
        library = "MKL" if torch.backends.mkl.is_available() else "own BLAS"
        return {"products": f"{library}, {kernel}", "threads": torch.get_num_threads()}
    if name == "jax":
        return {"products": "XLA (Eigen)", "threads": len(os.sched_getaffinity(0))}
    from chainrule.array.blas import blas_info

    info = blas_info()
    return {"products": f"{info['library']}, {info['kernel']}", "threads": info["threads"]}
