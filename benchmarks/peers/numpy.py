"""NumPy by hand: what a careful person writes, every derivative worked out on paper."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from cases import BETA1, BETA2, EPSILON, RATE, Case, Job, predicting, training
from harness import Unavailable


class Net:
    """One flat vector of parameters and of each state, updated in place, and no array made where
    one of the last step can be used again."""

    def __init__(self, case: Case) -> None:
        self.p = np.concatenate([w.T.ravel() for w in case.weights()])  # W (in, out)
        self.g, self.m, self.v, self.t = (np.zeros_like(self.p) for _ in range(4))
        self.steps = 0
        self.layers, self.gradients = self._views(self.p, case), self._views(self.g, case)
        self.classes = case.classes

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
        """The input of every layer, and the net's output."""
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
        if self.classes:
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
        return float(loss)

    def penalty_step(self, x: Any, _: Any) -> float:
        """mean (‖∂score/∂x‖ - 1)² of a critic with two hidden layers of SiLU, f."""
        (W1, b1), (W2, b2), (w3, _b3) = self.layers
        z1 = x @ W1
        z1 += b1
        h1, f1, ff1 = _silu(z1)
        z2 = h1 @ W2
        z2 += b2
        _, f2, ff2 = _silu(z2)
        d2 = f2 * w3[:, 0]  # the slope of the score: back through both layers
        u1 = d2 @ W2.T
        d1 = u1 * f1
        slope = d1 @ W1.T
        norm = np.sqrt(np.einsum("ij,ij->i", slope, slope))
        loss = np.mean((norm - 1) ** 2)
        slope *= ((norm - 1) / norm * (2 / len(x)))[:, None]  # now the gradient of the slope
        (gW1, gb1), (gW2, gb2), (gw3, _) = self.gradients
        e1 = slope @ W1  # of d1
        np.matmul(slope.T, d1, out=gW1)
        g1 = e1 * u1
        g1 *= ff1
        e1 *= f1  # of u1
        e2 = e1 @ W2  # of d2
        np.matmul(e1.T, d2, out=gW2)
        np.sum(e2 * f2, 0, out=gw3[:, 0])
        e2 *= w3[:, 0]
        e2 *= ff2  # of z2
        gW2 += h1.T @ e2
        np.sum(e2, 0, out=gb2)
        back = e2 @ W2.T
        back *= f1
        g1 += back  # of z1
        gW1 += x.T @ g1
        np.sum(g1, 0, out=gb1)
        self.adam()
        return float(loss)

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


def _silu(z: Any) -> tuple[Any, Any, Any]:
    """f = z σ, f' = σ + z σ', f'' = σ' (2 + z (1 - 2 σ)), with σ = σ(z), σ' = σ (1 - σ)."""
    s = np.negative(z)
    np.exp(s, out=s)
    s += 1
    np.reciprocal(s, out=s)
    slope = 1 - s
    slope *= s
    first = z * slope
    first += s
    second = s * -2
    second += 1
    second *= z
    second += 2
    second *= slope
    return z * s, first, second


def build(case: Case, mode: str) -> Job:
    if case.norm:
        raise Unavailable("NumPy has no erf")
    net = Net(case)
    if case.kind == "row":
        return predicting(net.predict, case.row())
    return training(net.penalty_step if case.kind == "penalty" else net.step, case.batches())
