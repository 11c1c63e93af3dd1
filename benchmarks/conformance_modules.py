"""PyTorch's table of modules: the same module here, with the same arguments and state dict.

In training and in evaluation mode, in float64 the output, the gradient by the inputs and by every
parameter, and their derivatives; in float32 the output. What is refused of losses is what their
functions refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import chainrule as cr
import conformance_torch as ct
from conformance_cases import CASES, renamed
from conformance_record import NotApplicable, Row, Table

CAST = "weights of another floating type: they are cast to the input's"
THRESHOLD = "threshold of softplus: chainrule's is exact everywhere and has none"
#: PyTorch's modules whose class has another name here, or is a function
LOSSES = {
    "CosineEmbeddingLoss": "cosine_embedding_loss", "L1Loss": "l1_loss",
    "SmoothL1Loss": "smooth_l1_loss", "KLDivLoss": "kl_div", "MSELoss": "mse_loss",
    "MarginRankingLoss": "margin_ranking_loss", "MultiLabelMarginLoss": "multilabel_margin_loss",
    "MultiMarginLoss": "multi_margin_loss", "SoftMarginLoss": "soft_margin_loss",
    "MultiLabelSoftMarginLoss": "multilabel_soft_margin_loss", "NLLLoss": "nll_loss",
    "GaussianNLLLoss": "gaussian_nll_loss", "PoissonNLLLoss": "poisson_nll_loss",
    "HingeEmbeddingLoss": "hinge_embedding_loss", "HuberLoss": "huber_loss",
    "BCELoss": "binary_cross_entropy", "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "CrossEntropyLoss": "cross_entropy",
}  # fmt: skip


def construct(name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    args = ct.to_ours(tuple(args))
    kwargs = ct.to_ours({k: v for k, v in kwargs.items() if k not in ("device", "dtype")})
    if name == "Softplus" and len(args) > 1:
        raise NotApplicable(THRESHOLD)
    return getattr(cr.nn, name)(*args, **renamed(kwargs, {}))


def refuse(name: str, made: Any, called: Any) -> None:
    """Raise NotApplicable where the function of a loss does."""
    case = CASES.get(f"nn.functional.{LOSSES.get(name)}")
    if case is not None and case.present:
        args, kwargs = ct.to_ours((tuple(called.args), dict(called.kwargs)))
        options = {k: v for k, v in made.kwargs.items() if k not in ("device", "dtype")}
        case.call(*args, *ct.to_ours(tuple(made.args)), **kwargs, **ct.to_ours(options))


def one_input(name: str, info: Any, given: Any, dtype: torch.dtype, training: bool) -> str | None:
    made, called = given.constructor_input, given.forward_input
    theirs = info.module_cls(*made.args, **made.kwargs).to(dtype)
    theirs.train(training)
    refuse(name, made, called)
    ours: Any = construct(name, made.args, made.kwargs)
    ours = ours.double() if dtype == torch.float64 else ours
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    ours.train(training)
    their_in = (tuple(called.args), dict(called.kwargs))
    ours_in = ct.to_ours(their_in)
    their = [t for t in ct.leaves(their_in, torch.Tensor) if t.requires_grad]
    own = [t for t in ct.leaves(ours_in, cr.Tensor) if t.requires_grad]
    mine = dict(ours.named_parameters())
    for key, p in theirs.named_parameters():
        their.append(p)
        own.append(mine[key])
    y = ours(*ours_in[0], *ours_in[1].values())
    z = theirs(*their_in[0], **their_in[1])
    exact = dtype == torch.float64
    second = exact and info.supports_gradgrad and sum(t.numel() for t in their) <= ct.SMALL
    rounded = CASES[f"nn.functional.{LOSSES[name]}"].rounded if name in LOSSES else None
    return ct.compare(y, z, own, their, exact, second, rounded)


def must_raise(name: str, error: Any) -> str | None:
    given = error.module_error_input
    if "expected scalar type" in error.error_regex:
        raise NotApplicable(CAST)
    made, called = given.constructor_input, given.forward_input
    try:
        ours = construct(name, made.args, made.kwargs)
        if called is not None:
            args, kwargs = ct.to_ours((tuple(called.args), dict(called.kwargs)))
            ours(*args, *kwargs.values())
        elif name in LOSSES:  # at the latest
            ours(np.ones((2, 3)), np.ones((2, 3)))
    except NotApplicable:
        raise
    except (ValueError, TypeError, IndexError):
        return None
    return "no error"


def rows(only: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    ct.check_version()
    from torch.testing._internal.common_modules import module_db

    for info in module_db:
        name = info.name.removeprefix("nn.")
        if not hasattr(cr.nn, name) or not only(info.name):
            continue
        row = Row(f"torch.{info.name}", info.name)
        for dtype, label in ((torch.float64, "float64"), (torch.float32, "float32")):
            for training in (True, False):
                torch.manual_seed(0)
                more = {"device": "cpu", "dtype": dtype, "requires_grad": True}
                for given in info.module_inputs_func(info, training=training, **more):
                    if given.forward_input is None:
                        continue
                    case = lambda g=given, d=dtype, t=training: one_input(name, info, g, d, t)  # noqa: E731, B023
                    text = f"{label} {given.desc or 'plain'}"
                    row.count(text, ct.attempt(case))
        if info.module_error_inputs_func is not None:
            more = {"device": "cpu", "dtype": torch.float64, "requires_grad": True}
            for error in info.module_error_inputs_func(info, training=True, **more):
                row.count(
                    f"wrong input, {error.error_regex[:60]}",
                    ct.attempt(lambda e=error: must_raise(name, e)),  # type: ignore[misc]  # noqa: B023
                )
        yield row


def tables(only: Callable[[str], bool], show: Callable[[Row], None]) -> Iterator[Table]:
    table = Table(
        "PyTorch's modules",
        "Built with the same arguments, with PyTorch's state dict; output, and the gradients by "
        "inputs and parameters.",
    )
    for row in rows(only):
        show(row)
        table.rows.append(row)
    yield table
