"""A gradient penalty through a two-layer critic, beside PyTorch, for every activation.

    python benchmarks/gradient_penalty.py

The critic is ``w₂ f(W₁ x + b₁) + b₂`` in float64, the penalty ``mean (‖∂critic/∂x‖ - 1)²``
(WGAN-GP); its gradient needs the second derivative of f. Printed for each activation: the largest
difference from PyTorch in the penalty and in its gradient with respect to every parameter and to x.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr
import harness

ACTIVATIONS: dict[str, Any] = {
    "relu": {}, "leaky_relu": {"negative_slope": 0.2}, "elu": {"alpha": 0.7}, "gelu": {},
    "silu": {}, "tanh": {}, "sigmoid": {}, "softmax": {}, "log_softmax": {}, "softplus": {},
    "selu": {},
}  # fmt: skip
LIMIT = 1e-10


def inputs(seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """x, W₁, b₁, w₂, b₂."""
    rng = np.random.default_rng(seed)
    shapes = ((64, 8), (32, 8), (32,), (1, 32), (1,))
    return [rng.normal(size=s) for s in shapes]


def ours(name: str, options: dict[str, float]) -> list[Any]:
    x, w1, b1, w2, b2 = (cr.tensor(a, requires_grad=True) for a in inputs())
    activation = getattr(cr.ops, name)
    critic = cr.ops.dense(cr.ops.dense(x, w1, b1, activation=activation, **options), w2, b2)
    (slope,) = cr.autograd.grad(critic.sum(), [x], create_graph=True)
    penalty = ((cr.ops.norm(slope, axis=1) - 1) ** 2).mean()
    gradients = cr.autograd.grad(penalty, [x, w1, b1, w2])
    return [penalty.detach().numpy(), *(g.numpy() for g in gradients)]


def theirs(name: str, options: dict[str, float]) -> list[Any]:
    import torch

    x, w1, b1, w2, b2 = (torch.tensor(a, requires_grad=True) for a in inputs())
    activation = getattr(torch.nn.functional, name)
    more: dict[str, Any] = {"dim": 1} if "softmax" in name else options
    linear = torch.nn.functional.linear
    critic = linear(activation(linear(x, w1, b1), **more), w2, b2)
    (slope,) = torch.autograd.grad(critic.sum(), [x], create_graph=True)
    penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
    gradients = torch.autograd.grad(penalty, [x, w1, b1, w2], allow_unused=True)
    found = [
        np.zeros(i.shape) if g is None else g.numpy()
        for g, i in zip(gradients, inputs(), strict=False)
    ]
    return [penalty.detach().numpy(), *found]


def difference(name: str, options: dict[str, float]) -> tuple[float, float]:
    """The largest absolute difference in the penalty and in its gradients."""
    pairs = zip(ours(name, options), theirs(name, options), strict=True)
    errors = [float(np.abs(a - b).max()) for a, b in pairs]
    return errors[0], max(errors[1:])


def main() -> None:
    args = harness.options(__doc__).parse_args()
    rows, worst = [], 0.0
    for name, options in ACTIVATIONS.items():
        value, gradients = difference(name, options)
        worst = max(worst, value, gradients)
        rows.append((name, f"{value:.1e}", f"{gradients:.1e}"))
    table = harness.table(("activation", "penalty", "its gradients"), rows)
    verdict = "within" if worst <= LIMIT else "OUTSIDE"
    text = f"{table}\n\nThe largest difference is {worst:.1e}, {verdict} the limit of {LIMIT:g}."
    harness.publish(args, harness.section("float64, differences from PyTorch", text), rows)
    raise SystemExit(worst > LIMIT)


if __name__ == "__main__":
    main()
