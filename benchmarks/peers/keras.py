"""Keras on JAX: its stateless calls, compiled as one step, which costs least (`train_on_batch` and
`predict_on_batch` do the same inside loops that take longer than a small step)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from cases import BETA1, BETA2, EPSILON, RATE, VARIANCE, Case, Job, predicting
from peers.jax import cross_entropy, dispatch, donated


def network(case: Case) -> Any:
    activation = "silu" if case.kind == "penalty" else "relu"
    layers: list[Any] = [keras.layers.Input(case.sizes[:1])]
    for m in case.sizes[1:-1]:
        layers.append(keras.layers.Dense(m, None if case.norm else activation))
        if case.norm:
            name = "BatchNormalization" if case.norm == "batch" else "LayerNormalization"
            layers.append(getattr(keras.layers, name)(epsilon=VARIANCE))
            layers.append(keras.layers.Activation("gelu"))
        if case.dropout:
            layers.append(keras.layers.Dropout(case.dropout))
    last = "softmax" if case.kind == "row" and case.classes else None
    model = keras.Sequential([*layers, keras.layers.Dense(case.sizes[-1], last)])
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for layer, (W, b) in zip(dense, case.layers(), strict=True):
        layer.set_weights([W.T, b])
    return model


def build(case: Case, mode: str) -> Job:
    dispatch(mode)
    model = network(case)
    trainable = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]
    if case.kind == "row":
        call = model.stateless_call
        predict = jax.jit(lambda x: call(trainable, others, x, training=False)[0])
        return predicting(lambda row: np.asarray(predict(row)), case.row())

    optimizer = keras.optimizers.Adam(RATE, BETA1, BETA2, EPSILON)
    optimizer.build(model.trainable_variables)

    def output(weights: Any, others: Any, x: Any) -> Any:
        return model.stateless_call(weights, others, x, training=True)

    def loss_of(weights: Any, others: Any, x: Any, y: Any) -> Any:
        if case.kind == "step":
            logits, others = output(weights, others, x)
            return cross_entropy(logits, y), others
        slope = jax.grad(lambda x: output(weights, others, x)[0].sum())(x)
        return ((jnp.linalg.norm(slope, axis=1) - 1) ** 2).mean(), others

    def update(state: Any, x: Any, y: Any) -> Any:
        weights, others, moments = state
        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, others, x, y)
        weights, moments = optimizer.stateless_apply(moments, gradients, weights)
        return (weights, others, moments), loss

    return donated(update, (trainable, others, [v.value for v in optimizer.variables]), case)
