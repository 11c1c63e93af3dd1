"""Activation functions, each one line of mathematics under its equation.

NaN gives NaN; ±inf gives the limit of the value and of the derivative where there is one. The
rest, derivatives at the kinks included, is torch's. This is where they differ from torch, found by
`tests/ops/activation` over a grid with both zeros, kinks, ±1e4, subnormal numbers, ±inf and NaN:

- `gelu`, `silu`, `mish`, `hardswish` and `softsign` have their limits at ±inf, where torch gives
  NaN for some values and derivatives; so has the second derivative of `mish` at 1e4;
- `softplus` is exact everywhere (torch gives x above a threshold of 20);
- derivatives of `sigmoid`, `logsigmoid`, `silu` and `softplus` keep their digits in the tails,
  where torch's ``1 - σ`` is 0, and that of `tanhshrink` keeps them near 0; the second derivative
  of `tanh` near 0 is off by a rounding of 1;
- second derivatives of `elu`, `celu` and `selu` at 0 are those of the piece below, as the first are
  (torch: 0); torch has none of `hardsigmoid`, whose first it rounds to float32;
- NaN passes through the piece above 0, slope included (torch: `leaky_relu` and `rrelu` through the
  one below, `hardsigmoid` with slope 0); the derivative of `hardswish` at NaN is NaN (torch: 1).
"""

from chainrule.ops.activation.gate import (
    gelu,
    glu,
    logistic,
    logsigmoid,
    mish,
    sigmoid,
    silu,
    softplus,
    softsign,
    tanh,
    tanhshrink,
)
from chainrule.ops.activation.hard import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    relu6,
    softshrink,
)
from chainrule.ops.activation.rectifier import (
    celu,
    elu,
    identity,
    leaky_relu,
    prelu,
    relu,
    rrelu,
    selu,
    threshold,
)
from chainrule.ops.activation.softmax import log_softmax, softmax, softmax_jacobian, softmin

__all__ = [
    "celu", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "identity",
    "leaky_relu", "log_softmax", "logistic", "logsigmoid", "mish", "prelu", "relu", "relu6",
    "rrelu", "selu", "sigmoid", "silu", "softmax", "softmax_jacobian", "softmin", "softplus",
    "softshrink", "softsign", "tanh", "tanhshrink", "threshold",
]  # fmt: skip
