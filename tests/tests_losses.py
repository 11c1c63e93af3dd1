"""Losses and PyTorch's side by side: value, gradient, and the gradient of the squared gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr

REDUCTIONS = ["mean", "sum", "none"]


def three(loss: Any, x: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
    """Value, gradient, and the gradient of the squared gradient (zeros if there is none)."""
    t = cr.tensor(x, requires_grad=True)
    y = loss(t, *args, **kwargs)
    u = np.cos(np.arange(y.size)).reshape(y.shape) + 0.5
    (g,) = cr.autograd.grad(y, [t], u.astype(y.dtype), create_graph=True)
    (h,) = cr.autograd.grad((g * g).sum(), [t])
    return y.detach().numpy(), g.detach().numpy(), h.numpy()


def three_torch(torch: Any, loss: Any, x: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
    """The same by PyTorch; arrays become its tensors."""

    def convert(v: Any) -> Any:
        return torch.tensor(v) if isinstance(v, np.ndarray) else v

    t = torch.tensor(x, requires_grad=True)
    y = loss(t, *[convert(a) for a in args], **{k: convert(v) for k, v in kwargs.items()})
    n = y.numel()
    u = (torch.cos(torch.arange(n, dtype=torch.float64)) + 0.5).reshape(y.shape)
    (g,) = torch.autograd.grad(y, t, u, create_graph=True)
    if g.requires_grad:
        (h,) = torch.autograd.grad((g * g).sum(), t, allow_unused=True)
    else:
        h = None
    h = np.zeros(x.shape) if h is None else h.numpy(force=True)
    return y.detach().numpy(), g.detach().numpy(), h


def agree(got: Any, wanted: Any, rtol: float = 1e-11) -> None:
    """Shapes and values of both."""
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)


_RNG = np.random.default_rng(0)
A, B = _RNG.standard_normal((2, 4, 3))
P = _RNG.uniform(0.05, 0.95, (4, 3))
T = _RNG.uniform(0, 1, (4, 3))
HARD = np.array([[0.0, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 0]])
SIGNS = 2 * HARD - 1
COUNTS = np.array([[0.0, 1, 2], [3, 0.5, 1.5], [7, 0, 4], [1, 2, 20]])
POSITIVE = COUNTS + 0.25

#: Every loss per element: input, target, options, and whether torch has it by this name.
POINTWISE: dict[str, tuple[Any, Any, dict[str, Any], bool]] = {
    "binary_cross_entropy": (P, T, {}, True),
    "binary_cross_entropy_with_logits": (3 * A, T, {}, True),
    "gamma_loss": (A, POSITIVE, {}, False),
    "half_squared_error": (A, B, {}, False),
    "hinge_embedding_loss": (3 * A, SIGNS, {"margin": 0.7}, True),
    "hinge_loss": (3 * A, SIGNS, {}, False),
    "huber_loss": (A, B, {"delta": 0.7}, True),
    "kl_div": (np.log(P), T, {}, True),
    "l1_loss": (A, B, {}, True),
    "log_cosh_loss": (3 * A, B, {}, False),
    "mse_loss": (A, B, {}, True),
    "poisson_nll_loss": (A, COUNTS, {}, True),
    "quantile_loss": (A, B, {"tau": 0.8}, False),
    "sigmoid_focal_loss": (3 * A, HARD, {}, False),
    "smooth_l1_loss": (A, B, {"beta": 0.7}, True),
    "soft_margin_loss": (3 * A, SIGNS, {}, True),
    "tweedie_loss": (A, COUNTS, {}, False),
}
