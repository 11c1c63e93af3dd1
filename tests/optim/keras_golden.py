"""Keras's trajectories, which `test_keras` compares with ours where the meanings agree.

The values in `keras_golden.json` were printed by

    KERAS_BACKEND=torch python tests/optim/keras_golden.py > tests/optim/keras_golden.json
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

STEPS = 20
START = [1.0, -2.0, 0.5]

#: row -> Keras's class and arguments, ours and its arguments
ROWS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "K-01 RMSprop": (
        "RMSprop", {"rho": 0.9, "epsilon": 1e-2},
        "RMSprop", {"alpha": 0.9, "eps": 1e-2, "eps_inside": True},
    ),
    "K-01 RMSprop centered": (
        "RMSprop", {"rho": 0.8, "epsilon": 1e-3, "centered": True},
        "RMSprop", {"alpha": 0.8, "eps": 1e-3, "eps_inside": True, "centered": True},
    ),
    "K-02 Adagrad": (
        "Adagrad", {"epsilon": 1e-2},
        "Adagrad", {"initial_accumulator_value": 0.1, "eps": 1e-2, "eps_inside": True},
    ),
    "K-03 Adadelta": (
        "Adadelta", {"rho": 0.95, "epsilon": 1e-3},
        "Adadelta", {"rho": 0.95, "eps": 1e-3},
    ),
    "K-04 Nadam": (
        "Nadam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        "NAdam", {"betas": (0.8, 0.95), "eps": 1e-3, "momentum_decay": 1.0},
    ),
    "K-05 Adam": (
        "Adam", {"epsilon": 1e-2},
        "Adam", {"eps": 1e-2, "eps_hat": True},
    ),
    "K-05 Adam amsgrad": (
        "Adam", {"epsilon": 1e-3, "amsgrad": True, "beta_2": 0.9},
        "Adam", {"eps": 1e-3, "eps_hat": True, "amsgrad": True, "betas": (0.9, 0.9)},
    ),
    "K-05 AdamW": (
        "AdamW", {"epsilon": 1e-3, "weight_decay": 0.1},
        "AdamW", {"eps": 1e-3, "eps_hat": True, "weight_decay": 0.1},
    ),
    "K-06 Adamax": (
        "Adamax", {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2},
        "Adamax", {"betas": (0.8, 0.9), "eps": 1e-2, "eps_inside": False},
    ),
    "K-07 SGD": (
        "SGD", {"momentum": 0.9},
        "Momentum", {"momentum": 0.9, "form": "velocity"},
    ),
    "K-07 SGD nesterov": (
        "SGD", {"momentum": 0.8, "nesterov": True},
        "Momentum", {"momentum": 0.8, "form": "nesterov"},
    ),
}  # fmt: skip


def gradient(step: int) -> Any:
    """Not of any function; small at times, so that the place of ε shows."""
    return np.array([1.0, 0.1, 0.01]) * np.cos(0.7 * step + np.arange(3.0))


def rate(step: int) -> float:
    """It falls in the middle, so that the place of the rate shows."""
    return 0.1 if step < STEPS // 2 else 0.02


def main() -> None:
    """Run Keras and print its trajectories."""
    import keras

    keras.config.set_floatx("float64")
    found: dict[str, Any] = {"keras": keras.__version__, "backend": keras.backend.backend()}
    for row, (name, options, _, _) in ROWS.items():
        optimizer = getattr(keras.optimizers, name)(learning_rate=rate(0), **options)
        variable = keras.Variable(np.array(START), dtype="float64")
        optimizer.build([variable])
        seen = []
        for step in range(STEPS):
            optimizer.learning_rate = rate(step)
            g = keras.ops.convert_to_tensor(gradient(step), dtype="float64")
            optimizer.apply([g], [variable])
            seen.append([float(v) for v in keras.ops.convert_to_numpy(variable)])
        found[row] = [seen[0], seen[STEPS // 2], seen[-1]]
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in found.items()]
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
