"""How far rounding may take a traced program from the exact value: to first order, in float64.

Every step of a program rounds its value ``v``, and the output ``y`` moves with it by ``∂y/∂v``. So
an executor whose steps are each within a few ulp stays within a few ``eps * S`` of the exact value,
where

    S = Σ |∂y/∂v · v|    over all values v that a step rounds

is *the sum of the magnitudes of the terms of y*. Constants that float32 does not hold are rounded
too. Steps that only choose, negate or copy round nothing, and do not count again what they pass on.
The terms of a sum count one by one. Below the smallest normal number the distance between numbers
no longer shrinks: there a value counts as that number.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import numpy as np

from chainrule.array.namespace import NUMPY
from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.derivative import cotangents_of, fresh_symbols
from chainrule.compile.expression import Expr, Program, walk

EPS = 2.0**-23  # between 1 and the next float32
TINY = 2.0**-126  # the smallest normal float32
HUGE = float(np.finfo(np.float32).max)
#: What no rounding of float32 may exceed, in eps * S.
BOUND = 4.0

_PASS_ON = frozenset(
    {"abs", "broadcast_to", "call", "expand_dims", "floor", "max", "maximum", "minimum"}
    | {"negative", "ones_like", "sign", "size", "squeeze", "stop_gradient", "where", "zeros_like"}
) | {name for name, row in PRIMITIVES.items() if row.kind == "test"}
_SUMS = ("sum", "sum_to")
_EXACT_WHEN_SMALL = ("add", "subtract")  # never inexact where their result is subnormal


def pulled(program, wanted):
    """The program of the cotangents of the inputs in `wanted`, from the inputs and cotangents."""
    _, gs = fresh_symbols(program)
    outputs = cotangents_of(program, gs, wanted)
    return Program(f"{program.name}'", (*program.inputs, *gs), tuple(outputs))


@dataclass
class Finding:
    """The exact outputs of a program at some inputs, and what float32 may make of them."""

    exact: np.ndarray
    terms: np.ndarray  # S of every entry looked at; NaN where none is said
    entries: np.ndarray  # the flat positions looked at
    crossing: np.ndarray  # of each: whether rounding may cross a branch
    beyond: np.ndarray  # of each: whether a step on the way overflows, or its slope is infinite


class Analysis:
    """A program evaluated in float64.

    Arguments:
        elementwise: entry k of the output depends on entry k of every input alone.
        entries: how many entries of each output to look at otherwise.
    """

    def __init__(self, program, inputs, elementwise, entries=8):
        self.program, self.elementwise, self.count = program, elementwise, entries
        self.order = walk(program.outputs)
        self.values = dict(zip(program.inputs, map(_double, inputs), strict=True))
        with np.errstate(all="ignore"):
            for e in self.order:
                if e.op != "input":
                    self.values[e] = np.asarray(self._value(e))
            self.partial = {e: self._partials(e) for e in self.order if self._is_function(e)}
            self.crossings = self._crossings()

    def of(self, a):
        return self.values[a] if isinstance(a, Expr) else a

    def _rounds(self, e):
        """Whether a step gives a number that is none of those it got."""
        copies = e.op in _SUMS and self.values[e].shape == self.of(e.args[0]).shape
        return e.op not in _PASS_ON and not copies

    def _value(self, e):
        args, attrs = [self.of(a) for a in e.args], dict(e.attrs)
        match e.op:
            case "call" | "stop_gradient":
                return args[0]
            case "size":
                shape, axis = args[0].shape, attrs["axis"]
                axes = range(len(shape)) if axis is None else np.atleast_1d(axis)
                return float(math.prod(shape[i] for i in axes))
            case "ones_like" | "zeros_like":
                return np.full(args[0].shape, float(e.op == "ones_like"))
        if e.op == "one_hot":
            return NUMPY.one_hot(args[0].astype(np.int64), *args[1:], **attrs)
        return getattr(NUMPY, e.op)(*args, **attrs)

    # -- how an argument moves the result ---------------------------------------------------------

    @staticmethod
    def _is_function(e):
        row = PRIMITIVES.get(e.op)
        return (row is not None and row.kind == "elementwise") or e.op == "polygamma"

    def _partials(self, e):
        """The derivative of an element-wise step by each of its arguments."""
        row, y = PRIMITIVES[e.op], self.values[e]
        if row.vjp is None:
            return [None] * len(e.args)
        return row.vjp(NUMPY, y, np.ones_like(y), *[self.of(a) for a in e.args], **dict(e.attrs))

    def _crossings(self):
        """Where rounding may change what a test, a step or a choice says."""
        errors, found = {}, []
        for e in self.order:
            errors[e] = self._error(e, errors)
            if e.op == "input":
                continue
            arg = [self.of(a) for a in e.args]
            err = [self._error_of(a, errors) for a in e.args]
            apart = None
            if len(arg) == 2 and _is_test(e) and not e.op.startswith("logical"):
                apart = np.abs(arg[0] - arg[1]) if e.op != "one_hot" else None
            elif e.op in ("maximum", "minimum"):
                apart = np.abs(arg[0] - arg[1])
            elif e.op == "sign":
                apart = np.abs(arg[0])
            elif e.op == "floor":
                apart = np.abs(arg[0] - np.round(arg[0]))
            elif e.op == "pow":  # NaN for a negative base unless the exponent is whole
                apart = np.where(arg[0] < 0, np.abs(arg[1] - np.round(arg[1])), np.inf)
                err = err[1:]
            if apart is not None:
                reach = sum(err)
                found.append((reach > 0) & ~(apart > reach))
        return found

    def _error_of(self, a, errors):
        if isinstance(a, Expr):
            return errors[a]
        return abs(float(np.float32(a)) - a) if math.isfinite(a) else 0.0

    def _error(self, e, errors):
        """A bound on the error of a value, for the tests it goes into."""
        v = np.abs(np.where(np.isfinite(self.values[e]), self.values[e], 0.0))
        if e.op == "input" or e.op in ("size", "ones_like", "zeros_like"):
            return np.zeros_like(v)
        arg = [self._error_of(a, errors) for a in e.args]
        if e.op in ("call", "stop_gradient"):
            return arg[0]
        own = (
            0.0
            if not self._rounds(e)
            else BOUND * EPS * (v if e.op in _EXACT_WHEN_SMALL else np.maximum(v, TINY))
        )
        if e in self.partial:
            for d, a in zip(self.partial[e], arg, strict=True):
                if d is not None:
                    own = own + np.where(np.equal(a, 0), 0.0, np.abs(d) * a)
            return np.broadcast_to(own, v.shape)
        if _is_test(e):
            return np.zeros(v.shape)
        if self._rounds(e):  # a sum: every term, one by one
            arg[0] = arg[0] + BOUND * EPS * np.abs(self.of(e.args[0]))
        return getattr(NUMPY, e.op)(arg[0], *[self.of(a) for a in e.args[1:]], **dict(e.attrs))

    # -- how a value moves an output --------------------------------------------------------------

    def findings(self):
        """A `Finding` for every output."""
        with np.errstate(all="ignore"):
            return [self._finding(o) for o in self.program.outputs]

    def _finding(self, o):
        y = self.values[o]
        if self.elementwise:
            entries = np.arange(y.size)
            terms, beyond = self._terms(o, np.ones_like(y))
            terms, beyond = np.broadcast_to(terms, y.shape), np.broadcast_to(beyond, y.shape)
            crossing = np.zeros(y.shape, bool)
            for c in self.crossings:
                crossing = crossing | c
            return Finding(y, terms, entries, crossing, beyond)
        entries = np.unique(np.linspace(0, y.size - 1, min(y.size, self.count)).astype(int))
        found = []
        for k in entries:
            one = np.zeros(y.size)
            one[k] = 1.0
            terms, beyond = self._terms(o, one.reshape(y.shape), whole=True)
            row = k // y.shape[-1] if y.ndim > 1 else None
            crossing = any(
                bool((c[row] if row is not None and c.shape[:1] == y.shape[:1] else c).any())
                for c in self.crossings
            )
            found.append((terms, crossing, beyond))
        terms, crossing, beyond = (np.array(part) for part in zip(*found, strict=True))
        return Finding(y, terms, entries, crossing, beyond)

    def _terms(self, o, start, whole=False):
        """(S, whether a step overflows) for the entries that `start` marks."""
        adjoint = {o: start}
        total, beyond = np.zeros(() if whole else start.shape), np.zeros(())
        for e in reversed(self.order):
            g = adjoint.get(e)
            if g is None or e.op == "input":
                continue
            v = np.abs(self.values[e])
            if self._rounds(e):
                size = v if e.op in _EXACT_WHEN_SMALL else np.maximum(v, TINY)
                if e.op in _SUMS:
                    terms = np.abs(self.of(e.args[0]))
                    size = self._reduced(e, np.maximum(terms, TINY))
                weight = np.where(np.equal(g, 0), 0.0, np.abs(g) * size)
                for c, d in self._constants(e):
                    weight = weight + np.where(np.equal(g, 0), 0.0, np.abs(g * d * c))
                over = ~np.equal(g, 0) & (v > HUGE) & (e is not o)
                total = total + (weight.sum() if whole else weight)
                beyond = beyond + (over.sum() if whole else over)
            for a, c in self._back(e, g):
                adjoint[a] = adjoint[a] + c if a in adjoint else c
        y = self.values[o][start == 1].reshape(total.shape)
        # a finite number by way of an infinite slope: nothing is said of it
        return total, (beyond > 0) | (np.isfinite(y) & ~np.isfinite(total))

    def _constants(self, e):
        """The constants of a step that float32 rounds, with the derivative by each."""
        for c, d in zip(e.args, self.partial.get(e, ()), strict=False):
            if not isinstance(c, Expr) and d is not None and self._error_of(c, {}) > 0:
                yield c, d

    def _reduced(self, e, terms):
        return getattr(NUMPY, e.op)(terms, *[self.of(a) for a in e.args[1:]], **dict(e.attrs))

    def _back(self, e, g):
        """What the arguments of a step get of the cotangent of its value."""
        if e.op in ("call", "stop_gradient"):
            yield e.args[0], g
        elif e in self.partial:
            for a, d in zip(e.args, self.partial[e], strict=True):
                if isinstance(a, Expr) and d is not None:
                    c = np.where(np.equal(g, 0), 0.0, g * d)  # nothing leaks from 0 * inf
                    yield a, NUMPY.sum_to(c, self.values[a])
        elif PRIMITIVES.get(e.op) is not None and PRIMITIVES[e.op].vjp is not None:
            given = [self.of(a) for a in e.args]
            back = PRIMITIVES[e.op].vjp(NUMPY, self.values[e], g, *given, **dict(e.attrs))
            yield e.args[0], back[0]


def _is_test(e):
    row = PRIMITIVES.get(e.op)
    return row is not None and row.kind == "test"


def _double(a):
    a = np.asarray(a)
    return a.astype(np.float64) if a.dtype.kind == "f" else a


def ratios(y, found):
    """|error| / (eps S) of the entries looked at; infinite for a wrong NaN or infinity."""
    y = y.ravel()[found.entries].astype(np.float64)
    exact = found.exact.ravel()[found.entries]
    with np.errstate(all="ignore"):
        ratio = np.abs(y - exact) / (EPS * found.terms.ravel())
        same = (y == exact) | (np.isnan(y) & np.isnan(exact))
        # beyond the largest number infinity is right
        same |= np.isinf(y) & (np.sign(y) == np.sign(exact)) & (np.abs(exact) > HUGE)
    ratio = np.where(same | found.crossing | found.beyond, 0.0, ratio)
    return np.where(np.isnan(ratio), np.inf, ratio)


# -- the same with many digits --------------------------------------------------------------------


def exactly(e, values, mp):
    """The value of an element-wise expression of numbers, by mpmath; `values` of its inputs."""
    if not isinstance(e, Expr):
        return mp.mpf(e)
    if e not in values:
        if e.op == "where":  # the branch not taken may have no value
            values[e] = exactly(e.args[1 if exactly(e.args[0], values, mp) else 2], values, mp)
        elif e.op in ("call", "stop_gradient", "sum_to", "broadcast_to"):
            values[e] = exactly(e.args[0], values, mp)
        elif e.op == "polygamma":
            values[e] = mp.psi(dict(e.attrs)["n"], exactly(e.args[0], values, mp))
        elif e.op == "lgamma":
            values[e] = mp.re(mp.loggamma(exactly(e.args[0], values, mp)))
        elif e.op == "sigmoid":
            values[e] = 1 / (1 + mp.exp(-exactly(e.args[0], values, mp)))
        else:
            args = [exactly(a, values, mp) for a in e.args]
            values[e] = _EXACTLY[e.op](*args) if e.op in _EXACTLY else getattr(mp, e.op)(*args)
    value = values[e]
    return value if isinstance(value, bool) else mp.mpf(value)


_EXACTLY = {
    "abs": abs,
    "add": operator.add,
    "divide": operator.truediv,
    "equal": operator.eq,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "isnan": lambda a: False,
    "less": operator.lt,
    "less_equal": operator.le,
    "logical_and": lambda a, b: a and b,
    "logical_or": lambda a, b: a or b,
    "logical_not": operator.not_,
    "maximum": max,
    "minimum": min,
    "multiply": operator.mul,
    "negative": operator.neg,
    "ones_like": lambda a: 1,
    "pow": operator.pow,
    "subtract": operator.sub,
    "zeros_like": lambda a: 0,
}
