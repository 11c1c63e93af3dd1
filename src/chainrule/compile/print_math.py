"""A program as equations in MathML, which browsers show without a script or a font from elsewhere.

What is printed is what is computed: guards and all. A value that is used more than once gets a
letter, and its equation comes first.
"""

from __future__ import annotations

import math
import re
from html import escape
from typing import Any

from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr, Program, walk

__all__ = ["equations"]

#: How tightly what is printed holds together: a looser part of a tighter whole gets brackets.
_LOOSE, _COMPARISON, _SUM, _PRODUCT, _SIGN, _POWER, _WHOLE = range(7)

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eps": "ε", "lambd": "λ", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "mu": "μ", "theta": "θ",
}  # fmt: skip
_LETTERS = ("t", "u", "v", "w", "a", "b", "c", "d", "h", "k", "m", "p", "q", "r", "s")
_PI = "<mi>π</mi>"
_KNOWN = {
    math.sqrt(2 / math.pi): f"<msqrt><mfrac><mn>2</mn>{_PI}</mfrac></msqrt>",
    math.sqrt(0.5 / math.pi): f"<mfrac><mn>1</mn><msqrt><mn>2</mn>{_PI}</msqrt></mfrac>",
    2 / math.sqrt(math.pi): f"<mfrac><mn>2</mn><msqrt>{_PI}</msqrt></mfrac>",
    math.sqrt(0.5): "<mfrac><mn>1</mn><msqrt><mn>2</mn></msqrt></mfrac>",
    math.sqrt(2): "<msqrt><mn>2</mn></msqrt>",
    math.log(2): "<mrow><mi>log</mi><mn>2</mn></mrow>",
}
_SIGNS = {
    "less": "&lt;", "less_equal": "≤", "greater": "&gt;", "greater_equal": "≥", "equal": "=",
    "not_equal": "≠", "logical_and": "∧", "logical_or": "∨",
}  # fmt: skip
#: Functions written with a name and brackets.
_NAMED = {
    "log": "log", "log1p": "log1p", "expm1": "expm1", "tanh": "tanh", "sin": "sin", "cos": "cos",
    "sigmoid": "σ", "erf": "erf", "sign": "sign", "maximum": "max", "minimum": "min",
    "isnan": "isnan", "isfinite": "isfinite",
}  # fmt: skip
#: What changes the shape alone, or is a hint: the value is that of the first argument.
_PASSING = ("squeeze", "expand_dims", "broadcast_to", "stop_gradient")


def equations(program: Program, names: tuple[str, ...] | None = None) -> list[str]:
    """MathML elements, an equation each: shared values by letter, then the outputs.

    Arguments:
        program: what `chainrule.compile.trace.trace` or `derive` gives.
        names: of the outputs; y, or y₁, y₂ …

    >>> from chainrule.compile.trace import trace
    >>> p = trace(lambda xp, x: x * xp.sigmoid(x), ["x"], "silu")
    >>> equations(p)[0].count("<mi>x</mi>")
    2
    """
    if names is None:
        many = len(program.outputs) > 1
        names = tuple(f"y_{k + 1}" if many else "y" for k in range(len(program.outputs)))
    return _Printer(program, names).lines


def _equation(left: str, right: str) -> str:
    return f'<math display="block"><mrow>{left}<mo>=</mo>{right}</mrow></math>'


def _name(name: str) -> str:
    head, _, tail = name.partition("_")
    if not tail and (digits := re.fullmatch(r"([A-Za-z]+)(\d+)", name)):
        head, tail = digits.groups()  # beta2
    shown = _GREEK.get(head, head)
    style = ' mathvariant="normal"' if len(shown) > 1 else ""
    letter = f"<mi{style}>{escape(shown)}</mi>"
    if not tail:
        return letter
    kind = "mn" if tail.isdigit() else "mi"
    return f"<msub>{letter}<{kind}>{escape(tail)}</{kind}></msub>"


def _number(value: float) -> tuple[str, int]:
    if isinstance(value, bool):
        return f"<mi>{'true' if value else 'false'}</mi>", _WHOLE
    for known, shown in _KNOWN.items():
        if math.isclose(abs(value), known, rel_tol=1e-15):
            return (shown, _PRODUCT) if value > 0 else (f"<mo>−</mo>{shown}", _SIGN)
    if math.isinf(value):
        text, sign = "∞", value < 0
    else:
        text, sign = f"{abs(value):.17g}", math.copysign(1.0, value) < 0
        short = f"{abs(value):.12g}"
        text = short if float(short) == abs(value) else repr(abs(value))
    if "e" in text:
        digits, _, power = text.partition("e")
        shown = (
            f"<mrow><mn>{digits}</mn><mo>·</mo><msup><mn>10</mn><mn>{int(power)}</mn></msup></mrow>"
        ).replace("<mn>-", "<mn>−")
        return (f"<mo>−</mo>{shown}", _SIGN) if sign else (shown, _PRODUCT)
    return (f"<mo>−</mo><mn>{text}</mn>", _SIGN) if sign else (f"<mn>{text}</mn>", _WHOLE)


class _Printer:
    def __init__(self, program: Program, names: tuple[str, ...]) -> None:
        order = walk(program.outputs)
        uses: dict[Any, int] = {}
        for e in order:
            for a in set(e.args if e.op not in ("input", "call") else e.args[:1]):
                uses[a] = uses.get(a, 0) + 1
        taken = {str(x) for x in program.inputs} | {"y", "g", "σ", *names}
        free = iter([*[n for n in _LETTERS if n not in taken], *(f"z_{k}" for k in range(1, 500))])
        called = dict(zip(reversed(program.outputs), reversed(names), strict=True))
        self.letters: dict[Any, str] = {}
        self.lines: list[str] = []
        for e in order:
            if (uses.get(e, 0) > (e not in called)) and _worth(e):
                shown = self.show(e)
                self.letters[e] = called.pop(e) if e in called else next(free)
                self.lines.append(_equation(_name(self.letters[e]), shown))
        for name, output in zip(names, program.outputs, strict=True):
            if self.letters.get(output) != name:
                self.lines.append(_equation(_name(name), self.show(output)))

    def show(self, e: Any, least: int = _LOOSE) -> str:
        """MathML of an expression, in brackets where it holds together less than `least`."""
        text, tightness = self._print(e)
        return text if tightness >= least else _brackets(text)

    def _print(self, e: Any) -> tuple[str, int]:
        if not isinstance(e, Expr):
            return _number(e)
        if e in self.letters:
            return _name(self.letters[e]), _WHOLE
        special = getattr(self, f"on_{e.op}", None)
        if special is not None:
            return special(e)  # type: ignore[no-any-return]
        if e.op in _PASSING:
            return self._print(e.args[0])
        if e.op in _SIGNS:
            a, b = e.args
            return self._join(a, _SIGNS[e.op], b, _SUM), _COMPARISON
        if e.op in _NAMED:
            return self._call(_NAMED[e.op], e.args), _WHOLE
        return self._call(e.op, e.args), _WHOLE

    def _call(self, name: str, args: tuple[Any, ...]) -> str:
        inside = "<mo>,</mo>".join(self.show(a) for a in args)
        return f"<mrow>{_name(name)}<mo>&#x2061;</mo>{_brackets(inside)}</mrow>"

    def _join(self, a: Any, sign: str, b: Any, least: int, right: int | None = None) -> str:
        right = least if right is None else right
        return f"<mrow>{self.show(a, least)}<mo>{sign}</mo>{self.show(b, right)}</mrow>"

    def on_input(self, e: Expr) -> tuple[str, int]:
        return _name(str(e.args[0])), _WHOLE

    def on_call(self, e: Expr) -> tuple[str, int]:
        return self._print(e.args[0])

    def on_add(self, e: Expr) -> tuple[str, int]:
        a, b = e.args
        if isinstance(b, Expr) and b.op == "negative" and b not in self.letters:
            return self._join(a, "−", b.args[0], _SUM, _PRODUCT), _SUM
        if not isinstance(b, Expr) and b < 0:
            return self._join(a, "−", -b, _SUM, _PRODUCT), _SUM
        return self._join(a, "+", b, _SUM), _SUM

    def on_subtract(self, e: Expr) -> tuple[str, int]:
        return self._join(e.args[0], "−", e.args[1], _SUM, _PRODUCT), _SUM

    def on_multiply(self, e: Expr) -> tuple[str, int]:
        a, b = e.args
        if a is b:
            return f"<msup>{self.show(a, _WHOLE)}<mn>2</mn></msup>", _POWER
        inner = a if isinstance(a, Expr) and a.op == "multiply" and a not in self.letters else None
        if inner is not None and inner.args[0] is inner.args[1] is b:
            return f"<msup>{self.show(b, _WHOLE)}<mn>3</mn></msup>", _POWER
        if inner is not None and inner.args[1] is b:  # (c x) x
            factor, square = self.show(inner.args[0], _PRODUCT), self.show(b, _WHOLE)
            square = f"<msup>{square}<mn>2</mn></msup>"
            return f"<mrow>{factor}<mo>&#x2062;</mo>{square}</mrow>", _PRODUCT
        left, right = self.show(a, _PRODUCT), self.show(b, _PRODUCT)
        # before a letter or a bracket nothing need be seen
        sign = "·" if re.match(r"(<m(row|frac|sup)>)*<(mn|mfrac)>", right) else "&#x2062;"
        return f"<mrow>{left}<mo>{sign}</mo>{right}</mrow>", _PRODUCT

    def on_divide(self, e: Expr) -> tuple[str, int]:
        a, b = (f"<mrow>{self.show(x)}</mrow>" for x in e.args)
        return f"<mfrac>{a}{b}</mfrac>", _PRODUCT

    def on_negative(self, e: Expr) -> tuple[str, int]:
        text, tightness = self._print(e.args[0])
        if tightness < _PRODUCT or text.startswith(("<mrow><mo>−", "<mrow><mrow><mo>−")):
            text = _brackets(text)
        return f"<mrow><mo>−</mo>{text}</mrow>", _SIGN

    def on_pow(self, e: Expr) -> tuple[str, int]:
        a, b = e.args
        return f"<msup>{self.show(a, _WHOLE)}<mrow>{self.show(b)}</mrow></msup>", _POWER

    def on_exp(self, e: Expr) -> tuple[str, int]:
        return f"<msup><mi>e</mi><mrow>{self.show(e.args[0])}</mrow></msup>", _POWER

    def on_sqrt(self, e: Expr) -> tuple[str, int]:
        return f"<msqrt><mrow>{self.show(e.args[0])}</mrow></msqrt>", _WHOLE

    def on_abs(self, e: Expr) -> tuple[str, int]:
        return f"<mrow><mo>|</mo>{self.show(e.args[0])}<mo>|</mo></mrow>", _WHOLE

    def on_floor(self, e: Expr) -> tuple[str, int]:
        return f"<mrow><mo>⌊</mo>{self.show(e.args[0])}<mo>⌋</mo></mrow>", _WHOLE

    def on_lgamma(self, e: Expr) -> tuple[str, int]:
        gamma = self._call("Γ", e.args)
        return f"<mrow><mi>log</mi><mo>&#x2061;</mo>{gamma}</mrow>", _PRODUCT

    def on_polygamma(self, e: Expr) -> tuple[str, int]:
        order = dict(e.attrs)["n"]
        psi = f"<msup><mi>ψ</mi><mrow><mo>(</mo><mn>{order}</mn><mo>)</mo></mrow></msup>"
        psi = psi if order else "<mi>ψ</mi>"
        return f"<mrow>{psi}{_brackets(self.show(e.args[0]))}</mrow>", _WHOLE

    def on_logical_not(self, e: Expr) -> tuple[str, int]:
        return f"<mrow><mo>¬</mo>{self.show(e.args[0], _WHOLE)}</mrow>", _SIGN

    def on_where(self, e: Expr) -> tuple[str, int]:
        rows = []
        rest: Any = e
        while isinstance(rest, Expr) and rest.op == "where" and rest not in self.letters:
            condition, yes, rest = rest.args
            rows.append((self.show(yes), f"<mtext>where&#xa0;</mtext>{self.show(condition)}"))
        rows.append((self.show(rest), "<mtext>elsewhere</mtext>"))
        cells = "".join(f"<mtr><mtd>{a}</mtd><mtd>{b}</mtd></mtr>" for a, b in rows)
        return f'<mtable columnalign="left left" class="cases">{cells}</mtable>', _LOOSE

    def on_sum(self, e: Expr) -> tuple[str, int]:
        return self._over("∑", e), _PRODUCT

    def on_max(self, e: Expr) -> tuple[str, int]:
        return self._over("max", e), _PRODUCT

    def _over(self, sign: str, e: Expr) -> str:
        axis = dict(e.attrs)["axis"]
        what = "" if axis is None else _axes(axis)
        head = f"<mo>{sign}</mo>" if not what else f"<munder><mo>{sign}</mo>{what}</munder>"
        return f"<mrow>{head}{self.show(e.args[0], _PRODUCT)}</mrow>"

    def on_sum_to(self, e: Expr) -> tuple[str, int]:
        return self._print(e.args[0])  # what the tape does with every cotangent

    def on_size(self, e: Expr) -> tuple[str, int]:
        axis = dict(e.attrs)["axis"]
        return ("<mi>n</mi>" if axis is None else f"<msub><mi>n</mi>{_axes(axis)}</msub>"), _WHOLE

    def on_one_hot(self, e: Expr) -> tuple[str, int]:
        return (
            f"<mrow><mo>[</mo>{self.show(e.args[0])}<mo>=</mo><mi>k</mi><mo>]</mo></mrow>",
            _WHOLE,
        )

    def on_ones_like(self, e: Expr) -> tuple[str, int]:
        return "<mn>1</mn>", _WHOLE

    def on_zeros_like(self, e: Expr) -> tuple[str, int]:
        return "<mn>0</mn>", _WHOLE


def _axes(axis: Any) -> str:
    axes = axis if isinstance(axis, tuple) else (axis,)
    return f"<mtext>{', '.join(f'axis {a}' for a in axes)}</mtext>".replace("-", "−")


def _brackets(inside: str) -> str:
    return f"<mrow><mo>(</mo>{inside}<mo>)</mo></mrow>"


def _worth(e: Any) -> bool:
    """Whether a letter says less than the thing itself."""
    while e.op in (*_PASSING, "call", "negative", "sum_to"):
        e = e.args[0]
        if not isinstance(e, Expr):
            return False
    if e.op in PRIMITIVES and PRIMITIVES[e.op].kind == "test":  # short ones are clearer in place
        return any(isinstance(a, Expr) and a.op != "input" for a in e.args)
    return e.op not in ("input", "ones_like", "zeros_like", "size")
