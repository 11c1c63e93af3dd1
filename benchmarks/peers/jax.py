"""JAX: one compiled function for a step, whose state is donated; one for a prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cases import BETA1, BETA2, EPSILON, RATE, VARIANCE, Case, Job, pairs, predicting, training


def dispatch(mode: str) -> None:
    """To wait for another thread costs a prediction 40 µs; training steps gain by it."""
    jax.config.update("jax_cpu_enable_async_dispatch", mode != "now")


def build(case: Case, mode: str) -> Job:
    dispatch(mode)
    weights = [jnp.asarray(w.T) for w in case.weights()]  # W (in, out), as JAX's users have it
    if case.norm:
        weights += [f(m, jnp.float32) for m in case.sizes[1:-1] for f in (jnp.ones, jnp.zeros)]
    output = _network(case)

    if case.kind == "row":
        last = jax.nn.softmax if case.classes else lambda x: x
        predict = jax.jit(lambda x: last(output(weights, x, None)))
        return predicting(lambda row: np.asarray(predict(row)), case.row())

    def loss_of(weights: Any, x: Any, y: Any, key: Any) -> Any:
        if case.kind == "step":
            return cross_entropy(output(weights, x, key), y)
        slope = jax.grad(lambda x: output(weights, x, key).sum())(x)
        return ((jnp.linalg.norm(slope, axis=1) - 1) ** 2).mean()

    def update(state: Any, x: Any, y: Any) -> Any:
        weights, means, squares, k, *random = state
        now = None
        if random:
            key, now = jax.random.split(random[0])
            random = [key]
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, y, now)
        k = k + 1
        root = jnp.sqrt(1 - BETA2**k)
        rate, epsilon = RATE * root / (1 - BETA1**k), EPSILON * root
        means = [BETA1 * m + (1 - BETA1) * g for m, g in zip(means, gradients, strict=True)]
        squares = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(squares, gradients, strict=True)]
        weights = [
            w - rate * m / (jnp.sqrt(v) + epsilon)
            for w, m, v in zip(weights, means, squares, strict=True)
        ]
        return (weights, means, squares, k, *random), loss

    zeros = [[jnp.zeros_like(w) for w in weights] for _ in range(2)]
    # the default generator: rbg and unsafe_rbg take longer on a CPU. As plain numbers, because to
    # pass a jax.random.key to a compiled function costs 8 µs
    random = [jax.random.PRNGKey(0)] if case.dropout else []
    return donated(update, (weights, *zeros, jnp.zeros((), jnp.float32), *random), case)


def donated(update: Callable[..., Any], state: Any, case: Case) -> Job:
    """Compile ``update(state, x, y) -> state, loss`` and let it use the state's memory again."""
    compiled = jax.jit(update, donate_argnums=0)

    def step(x: Any, y: Any) -> Any:
        nonlocal state
        state, loss = compiled(state, x, y)
        return loss

    return training(step, [(jnp.asarray(x), jnp.asarray(y)) for x, y in case.batches()])


def cross_entropy(logits: Any, y: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()


def _network(case: Case) -> Callable[..., Any]:
    axis = 0 if case.norm == "batch" else 1
    count = 2 * (len(case.sizes) - 1)

    def hidden(x: Any, affine: Any, key: Any) -> Any:
        if case.kind == "penalty":
            return jax.nn.silu(x)
        if not case.norm:
            return jax.nn.relu(x)
        d = x - x.mean(axis, keepdims=True)
        weight, bias = affine
        x = d * jax.lax.rsqrt((d * d).mean(axis, keepdims=True) + VARIANCE) * weight + bias
        x = jax.nn.gelu(x, approximate=False)
        if not case.dropout:
            return x
        keep = jax.random.bernoulli(key, 1 - case.dropout, x.shape)
        return jnp.where(keep, x / (1 - case.dropout), 0)

    def output(weights: Any, x: Any, key: Any) -> Any:
        *layers, (W, b) = pairs(weights[:count])
        affine = pairs(weights[count:]) or [None] * len(layers)
        keys = jax.random.split(key, len(layers)) if case.dropout else [None] * len(layers)
        for k, (V, c) in enumerate(layers):
            x = hidden(x @ V + c, affine[k], keys[k])
        return x @ W + b

    return output
