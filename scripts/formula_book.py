"""The formula book: a page of every formula, made from the registry when the site is built.

A page has the docstring, the equation and the derivative as the traced program has them, the text
as it stands in the source, a plot of the value and its derivatives, and what float32 makes of it on
each executor. MkDocs calls this file (``hooks`` in mkdocs.yml); nothing it makes is kept.
"""

from __future__ import annotations

import ast
import inspect
import io
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # for the measure of rounding, which the tests use too

from chainrule.compile import eager, native  # noqa: E402
from chainrule.compile.expression import Program  # noqa: E402
from chainrule.compile.kernel import Kernel  # noqa: E402
from chainrule.compile.print_math import equations  # noqa: E402
from chainrule.compile.trace import trace  # noqa: E402
from chainrule.ops.formula import FORMULAS, Compiled, Formula  # noqa: E402
from tests_rounding import Analysis, pulled, ratios  # noqa: E402
from tests_steps import build_at_once  # noqa: E402

_X = np.linspace(-6, 6, 481)
_CHECKED = 20_001  # numbers at which rounding is measured


class Entry(NamedTuple):
    """A formula of the book: what documents it, its text, and its program."""

    family: str
    name: str
    documented: Any
    text: Callable[..., Any]
    program: Program
    formula: Formula[Any] | None = None
    outputs: tuple[str, ...] | None = None

    @property
    def path(self) -> str:
        return f"formulas/{self.family.lower().replace(' ', '_')}/{self.name}"


@cache
def entries() -> tuple[Entry, ...]:
    return (*_activations(), *_losses(), *_penalties(), *_optimizers())


def _activations() -> Iterator[Entry]:
    for name, f in sorted(FORMULAS.items()):
        yield Entry("Activations", name, f, f.text, f.trace(), f)


def _losses() -> Iterator[Entry]:
    from chainrule.ops import loss

    for name, f in sorted(loss.LOSSES.items()):
        yield Entry("Losses", name, getattr(loss, name), f.text, f.trace(), f)


def _penalties() -> Iterator[Entry]:
    from chainrule.ops import regularization

    for name in regularization.__all__:
        f = getattr(regularization, name)
        if isinstance(f, Formula):
            yield Entry("Penalties", name, f, f.text, f.trace(), f)


def _optimizers() -> Iterator[Entry]:
    from chainrule.optim.registry import RULES

    for name, rule in sorted(RULES.items()):
        arguments = [*inspect.signature(rule.text).parameters][1:]
        outputs = tuple(f"{a}_new" for a in ("p", *rule.states))
        program = trace(rule.text, arguments, name)
        yield Entry("Optimizers", name, rule.text, rule.text, program, None, outputs)


# -- the parts of a page --------------------------------------------------------------------------


def page(entry: Entry) -> str:
    """The page in Markdown."""
    parts = [f"# {entry.name}", _documentation(entry.documented)]
    if entry.family == "Optimizers":
        kind = _optimizer(entry)
        parts += [f"## cr.optim.{kind.__name__}", _documentation(kind)]
    shown = equations(entry.program, entry.outputs)
    parts += ["## Equation", "As it is computed, guards included:", _math(shown), "## Text",
              _code(entry.text)]  # fmt: skip
    if entry.formula is not None:
        parts += _derivative(entry.formula)
    drawn = curve(entry)
    if drawn is not None:
        parts += ["## Plot", f"![{entry.name} and its derivatives]({entry.name}.svg)"]
        parts += [f"Of {drawn.what}."] if drawn.what else []
    elif entry.family == "Optimizers":
        parts += ["## Plot", f"![{entry.name} on a parabola]({entry.name}.svg)",
                  "The parameter p on its way down the parabola ½ p² from 1."]  # fmt: skip
    parts += ["## Rounding", *_rounding(entry)]
    return "\n\n".join(parts) + "\n"


def _optimizer(entry: Entry) -> type:
    """The class that uses an update."""
    from chainrule.optim.registry import OPTIMIZERS

    return OPTIMIZERS[entry.name.partition("_")[0]]


def _documentation(documented: Any) -> str:
    text = (inspect.getdoc(documented) or "").replace(":math:`", "`").replace("::\n", ":\n")
    lines: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        if block.lstrip().startswith(">>>"):
            lines.append(f"```pycon\n{textwrap.dedent(block)}\n```")
        elif re.match(r"(Arguments|Args|Returns|Raises):", block):
            head, _, rest = block.partition("\n")
            lines.append(f"**{head}**\n\n{_items(textwrap.dedent(rest))}")
        else:
            lines.append(block)
    return _linked(re.sub(r"(?<!`)``([^`]+)``(?!`)", r"`\1`", "\n\n".join(lines), flags=re.DOTALL))


def _items(text: str) -> str:
    """Arguments as a list: a line that is not indented begins the next."""
    items: list[str] = []
    for line in text.splitlines():
        if line[:1].isspace() and items:
            items[-1] += " " + line.strip()
        else:
            name, colon, rest = line.partition(":")
            items.append(f"- `{name}`:{rest}" if colon else f"- {line}")
    return "\n".join(items)


def _linked(text: str) -> str:
    """Row ids of the ledger and of the errata lead to their pages."""
    text = re.sub(r"\b([A-Z]{1,2}-\d\d)\b", r"[\1](../../ledger.md)", text)
    return re.sub(r"\b(E\d{3}-\d\d)\b", lambda m: f"[{m[1]}](../../errata.md#{m[1].lower()})", text)


def _math(lines: list[str]) -> str:
    return '<div class="equations">' + "".join(lines) + "</div>"


def _code(text: Callable[..., Any]) -> str:
    """The source without its docstring."""
    source = textwrap.dedent(inspect.getsource(text))
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    lines = source.splitlines()
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.end_lineno:
        del lines[first.lineno - 1 : first.end_lineno]
    return "```python\n" + "\n".join(lines) + "\n```"


def _derivative(f: Formula[Any]) -> list[str]:
    wanted = tuple(name not in ("labels", "target", "keep") for name in f.arrays)
    names = tuple(f"g_{name}" for name, w in zip(f.arrays, wanted, strict=True) if w)

    def shown(compiled: Any) -> str:
        derived, _ = compiled.derivative(wanted)
        return _math(equations(derived.program, names))

    parts = ["## Derivative", "With the cotangent g of the output, the vector-Jacobian product "
             "that follows from the text:", shown(f.underived())]  # fmt: skip
    if f.saves:
        parts += [
            f"In its place stands one that is better conditioned, from the {_saved(f.saves)}; "
            "a test proves the two equal:", shown(f.compiled()), _code(f._vjp),
        ]  # fmt: skip
    return parts


def _saved(saves: str) -> str:
    return {"x": "input", "y": "output"}.get(saves, "input and the output")


class Curve(NamedTuple):
    """What of a formula can be drawn: a function of numbers x, and what it is of."""

    x: Any
    f: Callable[[Any], Any]
    what: str = ""
    #: its values, where f gives their sum
    value: Any = None


#: Targets of the losses that are drawn; 1 where nothing is said.
_TARGETS = {"kl_div": 0.7, "poisson_nll_loss": 2.0, "tweedie_loss": 2.0, "quantile_loss": 0.5}
_OF_PROBABILITIES = ("binary_cross_entropy",)
_AMONG_OTHERS = ("softmax", "log_softmax", "softmin")
_OF_CLASSES = ("cross_entropy", "focal_loss", "multi_margin_loss", "nll_loss")


def curve(entry: Entry) -> Curve | None:
    """What is drawn on the page of an entry; None for what has no curve."""
    from chainrule import ops

    f = entry.formula
    if f is None:
        return None
    if entry.name in _AMONG_OTHERS:
        return Curve(_X, lambda x: f(_beside(x, 1))[:, 0], "the first of two entries x and 0")
    if entry.name == "prelu":
        return Curve(_X, lambda x: f(x, np.full(1, 0.25)), "a slope of 0.25")
    if entry.name == "glu":
        gate = "the gate x beside the value 1"
        return Curve(_X, lambda x: ops.glu(ops.stack([x * 0.0 + 1.0, x], 1))[:, 0], gate)
    if entry.family == "Activations" and len(f.arrays) == 1:
        return Curve(_X, f)
    public = entry.documented
    if entry.name in _OF_CLASSES:
        labels = np.zeros(len(_X), int)
        what = "the score x of the right class beside two of 0"
        return Curve(_X, lambda x: public(_beside(x, 2), labels, reduction="none"), what)
    if entry.family == "Losses" and f.arrays == ("input", "target"):
        x = np.linspace(0.01, 0.99, 481) if entry.name in _OF_PROBABILITIES else _X / 2
        target = _TARGETS.get(entry.name, 1.0)
        whole = np.full(len(x), target)
        if entry.name == "multilabel_soft_margin_loss":
            return Curve(
                x,
                lambda x: public(x.reshape(-1, 1), whole[:, None], reduction="none"),
                f"the target {target:g}",
            )
        return Curve(x, lambda x: public(x, whole, reduction="none"), f"the target {target:g}")
    return _other_curve(entry.name, public)


def _other_curve(name: str, f: Callable[..., Any]) -> Curve | None:
    """Curves of losses of two things, of distributions and of vectors, and of penalties."""
    from chainrule import ops

    share = np.linspace(0.01, 0.99, 481)
    x, one, zero = _X / 2, np.ones(len(_X)), np.zeros(len(_X))

    def two(p: Any) -> Any:
        return ops.stack([p, 1.0 - p], axis=1)

    fixed = np.tile([0.7, 0.3], (len(share), 1))
    match name:
        case "categorical_cross_entropy":
            labels = np.zeros(len(share), int)
            what = "the probability x of the right class of two"
            return Curve(share, lambda x: f(two(x), labels, reduction="none"), what)
        case "kl_divergence" | "distribution_cross_entropy":
            what = "q = (x, 1 − x), with p = (0.7, 0.3)"
            return Curve(share, lambda x: f(fixed, two(x), reduction="none"), what)
        case "gaussian_nll_loss":
            return Curve(x, lambda x: f(x, zero, one, reduction="none"), "the target 0, variance 1")
        case "margin_ranking_loss":
            what = "the first score x, the second 0, where the first should be higher"
            return Curve(x, lambda x: f(x, zero, one, margin=1.0, reduction="none"), what)
        case "cosine_embedding_loss":
            other = np.tile([1.0, 0.0], (len(x), 1))
            what = "the vectors (1, x) and (1, 0), which should be alike"
            return Curve(
                x, lambda x: f(ops.stack([x * 0.0 + 1.0, x], 1), other, one, reduction="none"), what
            )
        case "triplet_margin_loss":
            what = "an anchor at x, a positive at 0 and a negative at 1"
            return Curve(
                x,
                lambda x: f(x.reshape(-1, 1), zero[:, None], one[:, None], reduction="none"),
                what,
            )
        case "l1_penalty" | "l2_penalty" | "elastic_net_penalty":
            more = (0.5, 0.5) if name == "elastic_net_penalty" else ()
            each = Curve(x, lambda x: f(x, *more), "one weight x")
            return each._replace(
                value=np.array([float(f(x[k : k + 1], *more)) for k in range(481)])
            )
    return None


#: The options that lead to an update of another name than its optimizer's.
_OPTIONS: dict[str, dict[str, Any]] = {
    "sgd_dampened": {"momentum": 0.9, "dampening": 0.5}, "sgd_momentum": {"momentum": 0.9},
    "sgd_nesterov": {"momentum": 0.9, "nesterov": True}, "adam_amsgrad": {"amsgrad": True},
    "rmsprop_momentum": {"momentum": 0.9}, "rmsprop_centered": {"centered": True},
    "rmsprop_centered_momentum": {"centered": True, "momentum": 0.9},
    **{f"momentum_{f}": {"form": f} for f in
       ("velocity", "ema", "polyak", "nesterov", "printed_polyak")},
}  # fmt: skip


def descent(entry: Entry) -> bytes:
    """How an update goes down a parabola from 1: SVG."""
    import chainrule as cr

    kind, paths = _optimizer(entry), {}
    for rate in (0.01, 0.1) if entry.name != "adadelta" else (1.0, 10.0):
        w = cr.nn.Parameter(np.array([1.0]))
        optimizer = kind([w], lr=rate, **_OPTIONS.get(entry.name, {}))
        path = [1.0]
        for _ in range(100):
            optimizer.zero_grad()
            (0.5 * w * w).sum().backward()
            optimizer.step()
            path.append(w.detach().item())
        paths[f"lr = {rate:g}"] = np.array(path)
    return _figure(entry.name, np.arange(101), paths, "update")


def _beside(x: Any, zeros: int) -> Any:
    """Rows of x and zeros."""
    from chainrule import ops

    return ops.stack([x, *[x * 0.0] * zeros], axis=1)


def plot(drawn: Curve, name: str) -> bytes:
    """Value, first and second derivative as SVG."""
    import chainrule as cr

    with np.errstate(all="ignore"):
        lines = [drawn.f(drawn.x) if drawn.value is None else drawn.value]
        derivative = drawn.f
        for _ in range(2):
            derivative = _summed(derivative)
            lines.append(derivative(cr.tensor(drawn.x)).numpy())
    labels = ("value", "first derivative", "second derivative")
    return _figure(name, drawn.x, dict(zip(labels, lines, strict=True)), "x")


def _figure(name: str, x: Any, lines: dict[str, Any], along: str) -> bytes:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": name}):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.subplots()
        for (label, y), style in zip(lines.items(), ("-", "--", ":"), strict=False):
            axes.plot(x, y, style, label=label)
        highest = np.max(np.abs(next(iter(lines.values()))))
        axes.set_ylim(*np.clip(axes.get_ylim(), -3 * highest, 3 * highest))
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.set_xlabel(along)
        axes.legend()
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _summed(f: Any) -> Any:
    import chainrule as cr

    return cr.grad(lambda x: f(x).sum())


def _rounding(entry: Entry) -> list[str]:
    """The largest error of each executor, in eps times the magnitude of the terms."""
    _build()
    rows, count = [], 0
    for what, of, arrays, elementwise in _programs(entry):
        found = Analysis(of, arrays, elementwise, entries=24).findings()
        runs = (_native(of, arrays), Kernel(of)._numpy(_signature(arrays)))
        cells = ["–" if run is None else f"{_ratio(run, arrays, found):.2f}" for run in runs]
        rows.append(f"| {what} | {' | '.join(cells)} |")
        count = max(count, *(a.size for a in arrays))
    return [
        f"The largest error in float32 at inputs of up to {count:,} numbers, in units of "
        "ε Σ|terms| (ε = 2⁻²³; at most 4, see [exactness](../../exactness.md)):",
        "\n".join(["| | C | NumPy |", "|---|--:|--:|", *rows]),
    ]


def _programs(entry: Entry) -> list[tuple[str, Program, list[Any], bool]]:
    """The program of the value and of the derivative, with inputs; whether entries are apart."""
    program, f = entry.program, entry.formula
    if entry.family == "Losses" and f is not None:
        program = f.trace(reduction="none")
    elementwise = f is None or Compiled(program).elementwise
    inputs = _inputs(entry, program, elementwise)
    found = [("value", program, inputs, elementwise)]
    real = [a.dtype == np.float32 for a in inputs]
    if f is not None and any(real):
        with np.errstate(all="ignore"):
            y = np.asarray(Kernel(program)._numpy(_signature(inputs))(*inputs)[0])
        pull = pulled(program, real)
        found.append(("derivative", pull, [*inputs, np.ones_like(y)], elementwise))
    return found


@cache
def _build() -> None:
    """Build the native code of all pages with one run of the compiler, where there is one."""
    with native.collecting() as texts:
        for entry in entries():
            for _, program, arrays, _ in _programs(entry):
                _native(program, arrays)
    build_at_once(texts)


#: Where arguments lie that are not just any number.
_RANGES = {
    "p": (0.05, 0.95), "q": (0.05, 0.95), "var": (0.1, 2.0), "weight": (0.1, 0.9), "l1": (0.1, 0.9),
    "l2": (0.1, 0.9), "max_norm": (0.5, 2.0), "v": (0.01, 2.0), "u": (0.01, 2.0), "s": (0.01, 2.0),
    "v_max": (2.0, 3.0), "square": (0.01, 2.0), "sum": (0.01, 2.0),
}  # fmt: skip
_SIGNS = ("hinge_loss", "soft_margin_loss", "hinge_embedding_loss", "margin_ranking_loss",
          "cosine_embedding_loss")  # fmt: skip


def _inputs(entry: Entry, program: Program, elementwise: bool) -> list[Any]:
    """Arrays for the arguments of a program, wide for what is entry by entry, else some rows."""
    rng = np.random.default_rng(0)
    names = [str(x) for x in program.inputs]
    if entry.family == "Optimizers":
        kept = {"p", "g", *_states(entry)}
        shapes = {n: (2_001,) if n in kept else () for n in names}
    else:
        shapes = dict.fromkeys(names, (_CHECKED,) if elementwise else (12, 8))
    found = []
    for name in names:
        shape = shapes[name]
        low, high = _RANGES.get(name, (-3.0, 3.0))
        if entry.family == "Optimizers" and (not shape or name not in ("p", "g", "m", "buffer")):
            low, high = 0.01, 0.9
        if name == "labels":
            found.append(rng.integers(0, 8, (12, 1)))
        elif name == "target" and entry.name in _SIGNS:
            shape = shape if elementwise or entry.name != "cosine_embedding_loss" else (12, 1)
            found.append(np.where(rng.random(shape) < 0.5, -1.0, 1.0).astype(np.float32))
        elif name in ("target", "input") and entry.name in ("binary_cross_entropy", "kl_div"):
            found.append(rng.uniform(0.02, 0.98, shape).astype(np.float32))
        elif name == "input" and entry.name == "categorical_cross_entropy":
            found.append(rng.dirichlet(np.ones(8), 12).astype(np.float32))
        elif name == "target" and entry.family == "Losses":
            found.append(rng.uniform(0.1, 2.0, shape).astype(np.float32))
        elif elementwise and entry.family == "Activations" and name == "x":
            found.append(np.linspace(-30, 30, _CHECKED).astype(np.float32))
        else:
            found.append(rng.uniform(low, high, shape).astype(np.float32))
    return found


def _states(entry: Entry) -> tuple[str, ...]:
    from chainrule.optim.registry import RULES

    return RULES[entry.name].states


def _signature(arrays: list[Any]) -> tuple[Any, ...]:
    return tuple((a.shape, a.dtype) for a in arrays)


def _native(program: Program, arrays: list[Any]) -> Any:
    chosen = os.environ.get("CHAINRULE_NATIVE")
    if chosen == "0":
        return None
    os.environ["CHAINRULE_NATIVE"] = "always"  # also what is small, or not shipped
    try:
        return eager.native_plan(program, _signature(arrays), {}, False, False)
    finally:
        del os.environ["CHAINRULE_NATIVE"]
        if chosen is not None:
            os.environ["CHAINRULE_NATIVE"] = chosen


def _ratio(run: Any, arrays: list[Any], findings: list[Any]) -> float:
    with np.errstate(all="ignore"):
        outputs = run(*[a.copy() for a in arrays])
    pairs = zip(outputs, findings, strict=True)
    return max(float(ratios(np.broadcast_to(y, f.exact.shape), f).max()) for y, f in pairs)


_CSS = """\
.equations { overflow-x: auto; margin: 1em 0; }
.equations math { font-size: 1.15em; margin: 0.5em 0; text-align: left; }
.equations mtable.cases { border-left: 1.5px solid; padding-left: 0.5em; margin-left: 0.2em; }
.equations mtable.cases mtd { text-align: left; padding: 0.15em 0.5em; }
"""


def _index() -> str:
    lines = [
        "# The formula book",
        "Every formula of the library on a page: its equation and derivative as they are computed, "
        "its text as it stands in the source, and what float32 makes of it.",
    ]
    for family in dict.fromkeys(e.family for e in entries()):
        lines += [f"## {family}", "| formula | |\n|---|---|\n" + "\n".join(
            f"| [{e.name}]({e.path.removeprefix('formulas/')}.md) | {_first(e)} |"
            for e in entries() if e.family == family)]  # fmt: skip
    return "\n\n".join(lines) + "\n"


def _first(entry: Entry) -> str:
    """The docstring's first sentence, fit for a cell."""
    text = (inspect.getdoc(entry.documented) or "").split("\n\n")[0].replace("\n", " ")
    sentence = re.split(r"(?<=[^.A-Z])\. (?=[A-Z])", text)[0].rstrip(".")
    return re.sub(r"``([^`]+)``", r"`\1`", sentence).replace("|", "\\|")


# -- what MkDocs calls ----------------------------------------------------------------------------


def on_config(config: Any) -> Any:
    """Put the book into the navigation."""
    families = {e.family: [f"{x.path}.md" for x in entries() if x.family == e.family]
                for e in entries()}  # fmt: skip
    book = ["formulas/index.md", *({family: paths} for family, paths in families.items())]
    config["nav"] = [{"Formulas": book} if item == "formulas" else item for item in config["nav"]]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, the plots and the style sheet."""
    from mkdocs.structure.files import File

    made: dict[str, str | bytes] = {"formulas/index.md": _index(), "formulas/book.css": _CSS}
    for entry in entries():
        made[f"{entry.path}.md"] = page(entry)
        drawn = curve(entry)
        if drawn is not None:
            made[f"{entry.path}.svg"] = plot(drawn, entry.name)
        elif entry.family == "Optimizers":
            made[f"{entry.path}.svg"] = descent(entry)
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([A-Za-z_./]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """What lies outside docs/ is named and not linked: the site does not hold it."""
    if page.file.generated_by is not None:
        return markdown
    return _OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)
