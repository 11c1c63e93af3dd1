"""PyTorch's table of functions (OpInfo): every sample of it through chainrule's counterpart.

A sample is an input with further arguments. In float64 the value, the gradient by every
differentiable input and, where PyTorch has one and the sample is small, the second derivative are
compared; in float32 the value. A wrong input of the table must raise here as well. The mapping from
PyTorch's names and arguments to ours is in `conformance_ops.py` and `conformance_functional.py`.
"""

from __future__ import annotations

import functools
import random
import sys
import types
import unittest
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

import chainrule as cr
import conformance_functional  # noqa: F401 - these two fill in the cases
import conformance_ops  # noqa: F401
from conformance_cases import CASES
from conformance_record import NotApplicable, Row, Table, difference, first, words

#: The tables are private to PyTorch, and change with it.
TORCH = "2.13.0"
NUMBERS = "Python numbers and arrays of one entry are arrays here"
#: Second derivatives are compared where the inputs have no more numbers than this together.
SMALL = 600


def check_version() -> None:
    found = torch.__version__.partition("+")[0]
    if found != TORCH:
        raise SystemExit(
            f"the tables of tests are private to PyTorch; this page is made with those of {TORCH}, "
            f"and {found} is installed: pip install torch=={TORCH}"
        )
    try:
        import expecttest  # noqa: F401
    except ImportError:  # the tables import it, for a base class of tests that are not run here
        module = types.ModuleType("expecttest")
        module.TestCase = unittest.TestCase  # type: ignore[attr-defined]
        sys.modules["expecttest"] = module


def infos() -> dict[str, Any]:
    check_version()
    from torch.testing._internal.common_methods_invocations import op_db

    found: dict[str, Any] = {}
    for info in op_db:
        name = info.name + (f"|{info.variant_test_name}" if info.variant_test_name else "")
        found.setdefault(name, info)
    return found


def to_ours(x: Any, known: dict[int, Any] | None = None) -> Any:
    """PyTorch's arguments as chainrule's: floats as tensors, integers and booleans as arrays.

    What is one tensor there is one here.
    """
    known = {} if known is None else known
    if isinstance(x, torch.Tensor):
        a = x.detach().numpy()
        if not x.is_floating_point():
            return a
        if id(x) not in known:
            t = known[id(x)] = cr.from_numpy(a)
            t.requires_grad = x.requires_grad
        return known[id(x)]
    if isinstance(x, torch.dtype):
        return np.dtype(str(x).removeprefix("torch."))
    if isinstance(x, list):
        return [to_ours(v, known) for v in x]
    if isinstance(x, tuple):
        return tuple(to_ours(v, known) for v in x)
    if isinstance(x, dict):
        return {k: to_ours(v, known) for k, v in x.items()}
    return x


def leaves(x: Any, kind: type) -> list[Any]:
    """The tensors in nested arguments, each once, in order."""
    if isinstance(x, kind):
        return [x]
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, tuple | list) else ()
    found = [t for v in parts for t in leaves(v, kind)]
    return list({id(t): t for t in found}.values())


def outputs(y: Any) -> list[Any]:
    return list(y) if isinstance(y, tuple | list) else [y]


def raw(y: Any) -> Any:
    if isinstance(y, torch.Tensor):
        return y.detach().numpy(force=True)  # a zero without memory, too
    return y.detach().numpy() if isinstance(y, cr.Tensor) else np.asarray(y)


def same_values(a: Sequence[Any], b: Sequence[Any]) -> str | None:
    if len(a) != len(b):
        return f"{len(a)} outputs, theirs {len(b)}"
    return first(
        difference(raw(x), raw(y), "value" if len(a) == 1 else f"output {k}")
        for k, (x, y) in enumerate(zip(a, b, strict=True))
    )


def compare(
    ours: Any,
    theirs: Any,
    own: Sequence[Any],
    their: Sequence[Any],
    gradients: bool,
    second: bool,
    rounded: tuple[float, float] | None = None,
) -> str | None:
    """What differs between two results, their gradients by the leaves, and those of the
    gradients."""
    a, b = outputs(ours), outputs(theirs)
    found = same_values(a, b)
    if found is not None:
        return found
    pairs = [
        (x, y)
        for x, y in zip(a, b, strict=True)
        if isinstance(y, torch.Tensor) and y.requires_grad and y.is_floating_point()
    ]
    if not gradients or not pairs or not their:
        return None
    for x, _ in pairs:
        if not isinstance(x, cr.Tensor) or not x.requires_grad:
            return "the value is not on the tape"
    rng = np.random.default_rng(7)
    vs = [rng.uniform(0.5, 1.5, tuple(y.shape)).astype(raw(y).dtype) for _, y in pairs]
    gs = cr.autograd.grad([x for x, _ in pairs], list(own), vs, create_graph=second)
    try:
        ts = torch.autograd.grad(
            [y for _, y in pairs],
            list(their),
            [torch.from_numpy(v) for v in vs],
            create_graph=second,
            allow_unused=True,
            materialize_grads=True,
        )
    except RuntimeError as error:
        raise NotApplicable("PyTorch has no gradient here: it raises") from error
    found = first(
        difference(raw(g), raw(t), f"gradient {k}", rounded)
        for k, (g, t) in enumerate(zip(gs, ts, strict=True))
    )
    if found is not None or not second:
        return found
    pairs = [(g, t) for g, t in zip(gs, ts, strict=True) if t.requires_grad]
    us = [rng.uniform(0.5, 1.5, tuple(t.shape)).astype(raw(t).dtype) for _, t in pairs]
    if not pairs:
        return None
    try:
        hs = torch.autograd.grad(
            [t for _, t in pairs],
            list(their),
            [torch.from_numpy(u) for u in us],
            allow_unused=True,
            materialize_grads=True,
        )
    except RuntimeError as error:
        if "is not implemented" in str(error):  # PyTorch has no second derivative here
            return None
        raise
    kept = [(g, u) for (g, _), u in zip(pairs, us, strict=True) if g.requires_grad]
    if kept:
        own_second = cr.autograd.grad([g for g, _ in kept], list(own), [u for _, u in kept])
    else:
        own_second = [cr.tensor(np.zeros_like(raw(x))) for x in own]
    return first(
        difference(raw(g), raw(h), f"second derivative {k}", rounded)
        for k, (g, h) in enumerate(zip(own_second, hs, strict=True))
    )


def describe(x: Any) -> str:
    if isinstance(x, torch.Tensor):
        return f"{str(x.dtype).removeprefix('torch.')}{list(x.shape)}"
    if isinstance(x, tuple | list):
        return "(" + ", ".join(map(describe, x)) + ")"
    return repr(x)


def sample_text(sample: Any, dtype: str) -> str:
    parts = [describe(sample.input), *map(describe, sample.args)]
    parts += [f"{k}={describe(v)}" for k, v in sample.kwargs.items()]
    return f"{dtype} ({', '.join(parts)})"


def one_sample(
    case: Any, info: Any, sample: Any, *, exact: bool, orders: int = 2, known: bool = False
) -> str | None:
    """What differs for one sample, in derivatives up to an order."""
    theirs_in = fresh((sample.input, tuple(sample.args), dict(sample.kwargs)), {})
    their = [t for t in leaves(theirs_in, torch.Tensor) if t.requires_grad]
    if any(t.dtype in (torch.float16, torch.bfloat16) for t in leaves(theirs_in, torch.Tensor)):
        raise NotApplicable("half precision")
    ours_in = to_ours(theirs_in)
    own = [t for t in leaves(ours_in, cr.Tensor) if t.requires_grad]
    before = [raw(t).copy() for t in leaves(ours_in, cr.Tensor)]
    ours = case.call(ours_in[0], *ours_in[1], **ours_in[2])
    if case.check is not None:
        checked = case.check(ours, ours_in[0], *ours_in[1], **ours_in[2])
        if checked is not NotImplemented:
            return checked  # type: ignore[no-any-return]
    theirs = info(theirs_in[0], *theirs_in[1], **theirs_in[2])
    if theirs is NotImplemented:
        raise NotApplicable(NUMBERS)
    if any(t.is_complex() for t in leaves(theirs, torch.Tensor)):
        raise NotApplicable("complex numbers")
    size = sum(t.numel() for t in their)
    finite = all(np.isfinite(a).all() for a in before)
    gradients = exact and info.supports_autograd and finite
    second = gradients and info.supports_gradgrad and size <= SMALL and orders == 2
    found = compare(ours, theirs, own, their, gradients, second, case.rounded)
    if found is not None and not exact:  # unless PyTorch's float32 is the less exact of the two
        wide = widened(theirs_in)
        wide = outputs(info(wide[0], *wide[1], **wide[2]))
        narrow = [raw(w).astype(raw(t).dtype) for w, t in zip(wide, outputs(theirs), strict=True)]
        if same_values(outputs(ours), narrow) is None:
            found = None
    if found is not None and case.apart is not None and not known:
        reason, where = case.apart
        t = sample.input.detach()
        at = torch.from_numpy(np.asarray(where(t.numpy())))
        if at.any():  # the other entries must agree
            rest = torch.where(at, 0.5, t).requires_grad_(sample.input.requires_grad)
            rest = type(sample)(rest, args=sample.args, kwargs=sample.kwargs)
            if one_sample(case, info, rest, exact=exact, orders=orders, known=True) is None:
                raise NotApplicable(reason)
    if found is None:
        after = [raw(t) for t in leaves(ours_in, cr.Tensor)]
        if any(
            not np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True)
        ):
            found = "an input was written to"
    return found


def fresh(x: Any, known: dict[int, Any]) -> Any:
    """The arguments with leaves of their own, in the same layout."""
    if isinstance(x, torch.Tensor):
        if not x.is_floating_point():
            return x
        if id(x) not in known:
            known[id(x)] = x.detach().requires_grad_(x.requires_grad)
        return known[id(x)]
    if type(x) in (list, tuple):
        return type(x)(fresh(v, known) for v in x)
    return {k: fresh(v, known) for k, v in x.items()} if isinstance(x, dict) else x


def widened(x: Any) -> Any:
    """The same numbers in float64."""
    if isinstance(x, torch.Tensor):
        return x.detach().double() if x.is_floating_point() else x
    if isinstance(x, tuple | list):
        return type(x)(map(widened, x)) if type(x) in (tuple, list) else x
    return {k: widened(v) for k, v in x.items()} if isinstance(x, dict) else x


def attempt(f: Callable[[], str | None]) -> str | NotApplicable | None:
    """The outcome of a case; an error is one, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with np.errstate(all="ignore"):
            try:
                return f()
            except NotApplicable as reason:
                return reason
            except Exception as error:
                return words(error)


def samples(info: Any, dtype: torch.dtype, reference: bool = False) -> Iterator[Any]:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - some samples draw from it
    random.seed(0)
    source = info.reference_inputs if reference else info.sample_inputs
    try:  # some make booleans, too, which cannot require gradients
        given = source("cpu", dtype, requires_grad=info.supports_autograd)
        yield from _quietly(given)
    except ValueError as error:
        if "requires_grad" not in str(error):
            raise
        yield from _quietly(source("cpu", dtype, requires_grad=False))


def _quietly(given: Iterator[Any]) -> Iterator[Any]:
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                sample = next(given)
            except StopIteration:
                return
        yield sample


def must_raise(case: Any, info: Any, error: Any) -> str | None:
    from torch.testing._internal.opinfo.core import BinaryUfuncInfo

    sample = error.sample_input
    numbers = isinstance(info, BinaryUfuncInfo) and not isinstance(sample.args[0], torch.Tensor)
    if numbers or isinstance(sample.input, int | float):
        raise NotApplicable(NUMBERS)
    if any(t.dim() > 64 for t in leaves(sample.input, torch.Tensor)):
        raise NotApplicable("more axes than NumPy has: 64")
    ours_in = to_ours((sample.input, tuple(sample.args), dict(sample.kwargs)))
    try:
        y = case.call(ours_in[0], *ours_in[1], **ours_in[2])
    except NotApplicable:
        raise
    except (ValueError, TypeError, IndexError):  # among them all of chainrule's
        return None
    return f"no error, but {type(y).__name__} of shape {getattr(y, 'shape', None)}"


def reference_rows(only: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    """The further inputs of functions that have some: extreme values, layouts, shapes."""
    table = infos()
    from torch.testing._internal.opinfo.core import OpInfo

    for name, case in CASES.items():
        info = table[name]
        own = (
            info.reference_inputs_func or type(info).reference_inputs is not OpInfo.reference_inputs
        )
        if not (only(name) and case.present and case.check is None and own):
            continue
        row = Row(f"torch.{name}", case.name)
        for dtype, label in ((torch.float64, "float64"), (torch.float32, "float32")):
            if dtype not in info.dtypes:
                continue
            for sample in samples(info, dtype, reference=True):
                run = functools.partial(
                    one_sample, case, info, sample, exact=label == "float64", orders=1
                )
                row.count(sample_text(sample, label), attempt(run))
        yield row


def op_rows(only: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    table = infos()
    for name, case in CASES.items():
        if not only(name) or not case.present:
            continue
        info = table[name]
        row, changed = Row(f"torch.{name}", case.name), Row(f"torch.{name}, labels ±1", case.name)
        for dtype, label in ((torch.float64, "float64"), (torch.float32, "float32")):
            if dtype not in info.dtypes:
                continue
            for sample in samples(info, dtype):
                run = functools.partial(one_sample, case, info, exact=label == "float64")
                row.count(sample_text(sample, label), attempt(functools.partial(run, sample)))
                if case.labels is not None:
                    sample = with_labels(sample, case.labels)
                    text = sample_text(sample, label)
                    changed.count(text, attempt(functools.partial(run, sample)))
        yield row
        if case.labels is not None:
            yield changed


def with_labels(sample: Any, at: int) -> Any:
    """The sample with the signs of argument `at` in place of any numbers."""
    args = list(sample.args)
    t = args[at].detach()
    args[at] = torch.where(t >= 0, torch.ones_like(t), -torch.ones_like(t))
    return type(sample)(sample.input, args=tuple(args), kwargs=sample.kwargs)


def error_rows(only: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    table = infos()
    for name, case in CASES.items():
        info = table[name]
        if not (only(name) and case.present and case.direct and info.error_inputs_func):
            continue
        row = Row(f"torch.{name}", case.name)
        for error in info.error_inputs("cpu"):
            text = "wrong input " + sample_text(error.sample_input, "")
            row.count(text, attempt(functools.partial(must_raise, case, info, error)))
        if row.passed or row.failures or row.excluded:
            yield row


def tables(only: Callable[[str], bool], show: Callable[[Row], None]) -> Iterator[Table]:
    for title, about, rows in (
        (
            "PyTorch's functions: OpInfo samples",
            "Value, gradient and second derivative in float64, value in float32.",
            op_rows,
        ),
        (
            "PyTorch's functions: further inputs",
            "The reference inputs of element-wise functions, reductions and some others: extreme "
            "values, memory layouts, types mixed, many shapes. Value and gradient in float64, the "
            "value in float32.",
            reference_rows,
        ),
        (
            "PyTorch's functions: wrong inputs",
            "What PyTorch refuses must be refused here, too.",
            error_rows,
        ),
    ):
        table = Table(title, about)
        for row in rows(only):
            show(row)
            table.rows.append(row)
        yield table
