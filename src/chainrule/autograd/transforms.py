"""Functions of functions: grad, vjp, jvp, Jacobian, Hessian, all of them uses of the one backward
pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.array.abstract import as_array, copied
from chainrule.array.errors import ShapeError
from chainrule.autograd import tape
from chainrule.autograd.context import enable_grad, is_grad_enabled
from chainrule.autograd.tape import Variable

__all__ = ["grad", "gradients", "hessian", "jacobian", "jvp", "value_and_grad", "vjp"]


def _leaf(x: Any, name: str = "argument") -> Any:
    """A new leaf with the values of x; on the tape of x, where x has one."""
    if isinstance(x, Variable):
        if x.requires_grad:
            return x * 1  # type: ignore[operator]
        t = Variable._wrap(x._data)
    else:
        a = as_array(x)
        if a.dtype == np.float64 and not hasattr(x, "dtype"):
            a = a.astype(np.float32)
        t = Variable._wrap(copied(a))
    if t._data.dtype.kind != "f":
        raise TypeError(f"cannot differentiate by {name}: it is {t._data.dtype}, not a float")
    t.requires_grad = True
    return t


def _release(leaves: Sequence[Any]) -> None:
    """A transformation is done with its leaves: what it returns does not depend on them."""
    for t in leaves:
        if t._node is None:
            t.requires_grad = False


def _ones(y: Any, what: str) -> Any:
    if not isinstance(y, Variable):
        raise TypeError(
            f"{what}: the function returned {type(y).__name__}, not a tensor; compute with "
            "chainrule.ops and tensor operators"
        )
    if y._data.size != 1:
        raise ShapeError(
            f"{what} needs a function with one number as value; it returned shape {y._data.shape}"
        )
    return np.ones_like(y._data)


def gradients(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> Any:
    """The gradient of `outputs` with respect to `inputs`, without touching ``.grad``.

    `inputs` may be anything that was computed, not leaves alone: with respect to a pre-activation z
    this is the error signal, or sensitivity, ``s = ∂c/∂z`` (ledger B-01, B-06, B-08, B-15), and
    that of the layer before is ``s^{l-1} = Jᵀ Wᵀ s^l``, which for element-wise activations is
    ``σ'(z) ⊙ Wᵀ s^l`` (B-02, B-12, B-17, B-18).

    Arguments:
        outputs: a tensor or several; each of one entry unless `grad_outputs` is given.
        inputs: a tensor (gives a tensor) or a sequence (gives a list). An input that the outputs do
            not depend on has gradient zero.
        grad_outputs: the cotangents of the outputs.
        create_graph: keep the result on the tape, so that it can be differentiated again.
        retain_graph: keep the buffers for another pass (default: `create_graph`).

    >>> import chainrule as cr
    >>> x = cr.tensor([3.0], requires_grad=True)
    >>> (g,) = cr.autograd.grad((x ** 3).sum(), [x], create_graph=True)
    >>> cr.autograd.grad(g.sum(), x)
    tensor([18.])
    """
    ys = [outputs] if isinstance(outputs, Variable) else list(outputs)
    xs = [inputs] if isinstance(inputs, Variable) else list(inputs)
    for x in xs:
        if not isinstance(x, Variable) or not x.requires_grad:
            raise RuntimeError("autograd.grad: every input must be a tensor that requires grad")
    if grad_outputs is None:
        gs = [_ones(y, "autograd.grad without grad_outputs") for y in ys]
    else:
        gs = [grad_outputs] if isinstance(outputs, Variable) else list(grad_outputs)
    results = _pull(ys, gs, xs, create_graph, retain_graph)
    return results[0] if isinstance(inputs, Variable) else results


def _pull(
    ys: Sequence[Any],
    gs: Sequence[Any],
    xs: Sequence[Any],
    create_graph: bool,
    retain: bool | None = None,
) -> list[Any]:
    if len(gs) != len(ys):
        raise ValueError(f"{len(gs)} cotangents for {len(ys)} outputs; give one for each")
    starts: list[Any] = []
    for y, g in zip(ys, gs, strict=True):
        raw = g._data if isinstance(g, Variable) else as_array(g)
        if raw.shape != y._data.shape:
            raise ShapeError(
                f"the cotangent of a value of shape {y._data.shape} cannot have shape {raw.shape}"
            )
        if raw.dtype != y._data.dtype:
            cast: Any = g if isinstance(g, Variable) else raw
            g = cast.astype(y._data.dtype)
        if not create_graph:
            g = g._data if isinstance(g, Variable) else as_array(g)
        starts.append(
            g if isinstance(g, Variable) or not create_graph else Variable._wrap(as_array(g))
        )
    pulled = tape.backward(ys, starts, xs, retain_graph=retain, create_graph=create_graph)
    return [
        Variable._wrap(np.zeros_like(x._data))
        if g is None
        else g
        if isinstance(g, Variable)
        else Variable._wrap(copied(g))
        for x, g in zip(xs, pulled, strict=True)
    ]


def _argnums(argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in numbers:
        if not -count <= n < count:
            raise ValueError(f"argnums={n}, but the function was given {count} arguments")
    return tuple(n % count for n in numbers)


def _closes_over_tape(y: Any, xs: Sequence[Any]) -> bool:
    """Whether y also depends on leaves outside xs, such as a model's parameters."""
    own = {id(x) for x in xs}
    return any(
        e is not None and type(e) is not tuple and e.requires_grad and id(e) not in own
        for node in tape._reachable([y])
        for e in node.edges
    )


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns ``(f(x), gradient)``; see `grad`.

    >>> import chainrule as cr
    >>> cr.value_and_grad(lambda x: x**3)(2.0)
    (tensor(8.), tensor(12.))
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        numbers = _argnums(argnums, len(args))
        given = list(args)
        recording = is_grad_enabled()
        with enable_grad():
            for n in numbers:
                given[n] = _leaf(args[n], f"argument {n}")
            xs = [given[n] for n in numbers]
            y = f(*given, **kwargs)
            start = _ones(y, "grad")
            keep = recording and _closes_over_tape(y, xs)
            results = _pull([y], [start], xs, create_graph=keep)
        _release(xs)
        value = y if keep else Variable._wrap(y._data)
        return value, results[0] if isinstance(argnums, int) else tuple(results)

    return wrapped


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The gradient of a function with one number as value, as a function.

    Arguments:
        f: takes tensors, returns a tensor of one entry. NumPy arrays and lists among the arguments
            become tensors where they are differentiated.
        argnums: which argument, or which ones (then a tuple is returned).

    The result stays on the tape when what f closes over requires grad, so ``grad(grad(f))`` and
    gradient penalties work.

    >>> import chainrule as cr
    >>> cr.grad(lambda x: (x ** 3).sum())(cr.tensor([2.0]))
    tensor([12.])
    """
    both = value_and_grad(f, argnums)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return wrapped


def vjp(f: Callable[..., Any], *x: Any) -> tuple[Any, Callable[..., Any]]:
    """``(f(x), pull)``, where ``pull(g)`` gives the cotangents ``Jᵀ g``, a tuple with one for each
    argument (as in JAX and torch.func).

    This is the backward step of any function, with its Jacobian ``J_ik = ∂f_i/∂x_k`` transposed,
    symmetric or not (ledger B-21 to B-23, B-25; erratum E003-16). J itself is never formed: for an
    element-wise function the step is a product of entries, for softmax ``a ⊙ (g - a·g)``, and with
    cross entropy ``a - t`` (B-24). `jacobian` gives the matrix.

    >>> import chainrule as cr
    >>> y, pull = cr.vjp(lambda a, b: a * b, cr.tensor([2.0]), cr.tensor([5.0]))
    >>> pull(cr.tensor([1.0]))
    (tensor([5.]), tensor([2.]))
    """
    with enable_grad():
        xs = [_leaf(a, f"argument {k}") for k, a in enumerate(x)]
        y = f(*xs)
    many = not isinstance(y, Variable)

    def pull(*g: Any) -> Any:
        results = _pull(list(y) if many else [y], list(g), xs, create_graph=False, retain=True)
        return tuple(results)

    detached = tuple(Variable._wrap(t._data) for t in y) if many else Variable._wrap(y._data)
    return detached, pull


def jvp(f: Callable[..., Any], x: Any, v: Any) -> tuple[Any, Any]:
    """``(f(x), J v)``: the derivative of f at x along v (forward mode; ledger W-01 to W-09).

    Every vjp is linear in its cotangent, so its own vjp is the jvp: two backward passes whatever
    the number of parameters. Like that of `grad`, the result stays on the tape when x, v or what f
    closes over requires grad.

    Arguments:
        f: takes tensors, returns a tensor. `chainrule.functional_call` makes a model a function of
            its parameters: the derivative along one weight is ``jvp(lambda W: functional_call(
            model, {"0.weight": W}, x), W, v)`` with a v that is 1 at this weight and 0 elsewhere.
        x: where: an array or tensor, or a tuple of several for a function of several arguments.
        v: along what, of the shape of x; a tuple where x is one.

    Raises:
        ShapeError: for a direction of another shape.
        ValueError: for another number of directions than of arguments.

    >>> import chainrule as cr
    >>> cr.jvp(lambda x: x * x, cr.tensor([3.0]), cr.tensor([1.0]))
    (tensor([9.]), tensor([6.]))
    """
    xs_in = x if isinstance(x, tuple) else (x,)
    vs = v if isinstance(v, tuple) else (v,)
    if len(xs_in) != len(vs):
        raise ValueError(f"jvp: {len(vs)} directions for {len(xs_in)} arguments; give one for each")
    recording = is_grad_enabled()
    with enable_grad():
        xs = [_leaf(a, f"argument {k}") for k, a in enumerate(xs_in)]
        y = f(*xs)
        if not isinstance(y, Variable):
            raise TypeError(f"jvp: the function returned {type(y).__name__}, not a tensor")
        u = _leaf(Variable._wrap(np.zeros_like(y._data)))
        pulled = _pull([y], [u], xs, create_graph=True)
        tangent = None
        for p, d in zip(pulled, vs, strict=True):
            d = d if isinstance(d, Variable) else Variable._wrap(as_array(d, p._data.dtype))
            if d._data.shape != p._data.shape:
                raise ShapeError(
                    f"jvp: the direction for x of shape {p._data.shape} has shape {d._data.shape}"
                )
            term = (p * d).sum()
            tangent = term if tangent is None else tangent + term
        assert tangent is not None
        keep = recording and any(_closes_over_tape(t, [*xs, u]) for t in (y, tangent))
        if tangent.requires_grad:
            start = np.ones_like(tangent._data)
            (result,) = _pull([tangent], [start], [u], create_graph=keep)
        else:
            result = Variable._wrap(np.zeros_like(y._data))
    _release([*xs, u])
    return (y if keep else Variable._wrap(y._data)), result


def jacobian(f: Callable[..., Any]) -> Callable[..., Any]:
    """The matrix of all derivatives: shape ``f(x).shape + x.shape``, row = output, column = input.

    >>> import chainrule as cr
    >>> cr.jacobian(lambda x: x * x)(cr.tensor([1.0, 2.0]))
    tensor([[2., 0.],
           [0., 4.]])
    """

    @functools.wraps(f)
    def wrapped(x: Any) -> Any:
        recording = is_grad_enabled()
        with enable_grad():
            leaf = _leaf(x)
            y = f(leaf)
            if not isinstance(y, Variable):
                raise TypeError(f"jacobian: the function returned {type(y).__name__}, not a tensor")
            keep = recording and _closes_over_tape(y, [leaf])
            rows = []
            for k in range(y._data.size):
                g = np.zeros(y._data.size, y._data.dtype)
                g[k] = 1
                rows += _pull(
                    [y], [g.reshape(y._data.shape)], [leaf], create_graph=keep, retain=True
                )
            _release([leaf])
            shape = (*y._data.shape, *leaf._data.shape)
            if not keep:
                stacked = np.array([r._data for r in rows], leaf._data.dtype)
                return Variable._wrap(stacked.reshape(shape))
            total = (
                tape._recorded.stack(rows)
                if rows
                else Variable._wrap(np.zeros((0, *leaf._data.shape)))
            )
            return total.reshape(shape)

    return wrapped


def hessian(f: Callable[..., Any]) -> Callable[..., Any]:
    """All second derivatives of a function with one number as value: shape ``x.shape + x.shape``.

    >>> import chainrule as cr
    >>> cr.hessian(lambda x: (x ** 3).sum())(cr.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
           [ 0., 12.]])
    """
    return jacobian(grad(f))
