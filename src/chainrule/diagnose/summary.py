"""`summary`: a table of what a model is made of."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import numpy as np

from chainrule.autograd.context import no_grad
from chainrule.nn.module import Module

__all__ = ["Row", "Summary", "summary"]

_WIDTH = 80
_HEADS = ("Layer", "Type", "Output", "Parameters", "Trained")


class Row(NamedTuple):
    """A layer as `summary` shows it."""

    #: Its name in the state, ``encoder.0``; empty for the model itself.
    path: str
    #: What it is, with its arguments.
    kind: str
    #: Shape of what it gives, B for the batch; empty if it did not run or no input shape was given.
    output: str
    #: Entries of the parameters it holds itself and no row before it holds; None for none at all.
    parameters: int | None
    #: ``yes``, ``frozen``, ``partly``, ``shared`` with a row before it, or empty.
    trained: str


class Summary(str):
    """The table as text, which prints itself; and its numbers.

    Attributes:
        rows: one `Row` per layer, in the order of the model.
        parameters, trainable, frozen: entries of all parameters, each counted once.
        nbytes: memory of parameters and buffers.
    """

    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    frozen: int
    nbytes: int
    _ends: tuple[str, list[str]]

    def __new__(cls, model: Module, rows: list[Row], output: str) -> Self:
        parameters = list(model.parameters())
        total = sum(p.size for p in parameters)
        trainable = sum(p.size for p in parameters if p.requires_grad)
        arrays = [*(p._data for p in parameters), *model.buffers()]
        nbytes = sum(a.nbytes for a in arrays)
        title = type(model).__name__ + (f" -> {output}" if output else "")
        types = " and ".join(sorted({str(p.dtype) for p in parameters})) or "no parameters"
        totals = [
            f"Parameters: {total:,} ({trainable:,} trained, {total - trainable:,} frozen)",
            f"Memory:     {_bytes(nbytes)} ({types})",
        ]
        self = super().__new__(cls, "\n".join([title, "", *_lines(rows), "", *totals]))
        self.rows = tuple(rows)
        self.parameters, self.trainable, self.frozen = total, trainable, total - trainable
        self.nbytes = nbytes
        self._ends = (title, totals)
        return self

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """The table for notebooks."""
        from html import escape  # here, because only a notebook needs it

        def line(tag: str, cells: tuple[str, ...]) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"

        title, totals = self._ends
        body = "".join(line("td", _cells(row)) for row in self.rows)
        return (
            f"<table><caption>{escape(title)}</caption><thead>{line('th', _HEADS)}</thead>"
            f"<tbody>{body}</tbody></table><p>{'<br>'.join(map(escape, totals))}</p>"
        )


def summary(model: Module, input_shape: Any = None, dtype: Any = None) -> Summary:
    """A table of a model's layers, output shapes and parameters.

    Arguments:
        model: any module.
        input_shape: the shape of one sample, without the batch: ``784``, ``(784,)`` or
            ``(1, 28, 28)``; a list of shapes for several inputs. A batch of two samples of zeros is
            run in evaluation mode to see the shapes. None leaves the shapes out and runs nothing.
        dtype: the type of that input; the model's own by default.

    Returns:
        a string that prints as a table, with the numbers as attributes (see `Summary`). Each
        parameter counts once, in the first row that holds it.

    Raises:
        ShapeError: if the input does not fit; it names the layer.

    >>> import chainrule as cr
    >>> model = cr.nn.Sequential(cr.nn.Dense(64, 100), cr.nn.ReLU(), cr.nn.Dense(100, 10))
    >>> print(cr.diagnose.summary(model, 64))
    Sequential -> (B, 10)
    <BLANKLINE>
    Layer  Type              Output    Parameters  Trained
    ------------------------------------------------------
    0      Dense(64 -> 100)  (B, 100)       6,500  yes
    1      ReLU()            (B, 100)
    2      Dense(100 -> 10)  (B, 10)        1,010  yes
    <BLANKLINE>
    Parameters: 7,510 (7,510 trained, 0 frozen)
    Memory:     29.3 KiB (float32)
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary takes a chainrule.nn.Module, got {type(model).__name__}")
    outputs: dict[int, str] = {}
    if input_shape is not None:
        real = np.dtype(model.dtype if dtype is None else dtype)
        inputs = [np.zeros((2, *shape), real) for shape in _shapes(input_shape)]
        outputs = _run(model, inputs)
    rows = []
    counted: set[int] = set()
    met: set[int] = set()
    for path, module in _tree(model):
        own = list(module._parameters.values())
        fresh = {id(p): p for p in own if id(p) not in counted}
        counted |= fresh.keys()
        again = id(module) in met
        met.add(id(module))
        if not path and module._modules and not own:
            continue  # the title says what the model is
        kind = f"{type(module).__name__}({module.extra_repr()})"
        rows.append(
            Row(
                path,
                kind.removesuffix("()") if module._modules else kind,
                outputs.get(id(module), ""),
                sum(p.size for p in fresh.values()) if own else None,
                "shared"
                if again or (own and not fresh)
                else _trained([p.requires_grad for p in own]),
            )
        )
    return Summary(model, rows, outputs.get(id(model), ""))


def _tree(module: Module, path: str = "") -> Iterator[tuple[str, Module]]:
    """Every place in the model, a shared module at each of its places."""
    yield path, module
    for name, child in module._modules.items():
        yield from _tree(child, f"{path}.{name}" if path else name)


def _trained(flags: list[bool]) -> str:
    if not flags:
        return ""
    return "yes" if all(flags) else "partly" if any(flags) else "frozen"


def _shapes(given: Any) -> list[tuple[int, ...]]:
    """One shape per input."""
    if isinstance(given, list) and not all(isinstance(n, int) for n in given):
        return [shape for one in given for shape in _shapes(one)]
    try:
        return [(operator.index(given),)]
    except TypeError:
        pass
    if getattr(given, "ndim", 0):
        raise TypeError(
            f"input_shape is the shape of one sample, got an array of shape {given.shape}; pass "
            f"{tuple(given.shape[1:])}"
        )
    given = tuple(given)
    if given[:1] == (None,):  # Keras's way of writing the batch
        given = given[1:]
    return [tuple(map(operator.index, given))]


def _run(model: Module, inputs: list[Any]) -> dict[int, str]:
    """The shape of what each module gives, by its id."""
    outputs: dict[int, str] = {}
    running: list[str] = []
    hooks = []

    def watch(label: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def before(module: Module, args: Any) -> None:
            running.append(label)

        def after(module: Module, args: Any, out: Any) -> None:
            running.pop()
            outputs.setdefault(id(module), _shape(out))

        return before, after

    training = [(module, module.training) for module in model.modules()]
    try:
        for path, module in model.named_modules():
            kind = repr(module).split("\n")[0].removesuffix("(")
            before, after = watch(f"{'.'.join(filter(None, ['model', path]))} {kind}")
            hooks.append(module.register_forward_pre_hook(before))
            hooks.append(module.register_forward_hook(after))
        model.eval()
        with no_grad(), np.errstate(all="ignore"):
            model(*inputs)
    except Exception as error:
        if running and running[-1] not in str(error):
            shapes = ", ".join(str(a.shape) for a in inputs)
            error.add_note(
                f"in {running[-1]}, while summary ran the model on zeros of shape {shapes}"
            )
        raise
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training:
            object.__setattr__(module, "training", mode)
    return outputs


def _shape(out: Any) -> str:
    if isinstance(out, tuple | list):
        return ", ".join(map(_shape, out))
    shape = getattr(out, "shape", None)
    if shape is None:
        return ""
    batch = "B" if len(shape) and shape[0] == 2 else None
    sides = [str(n) for n in shape]
    if batch:
        sides[0] = batch
    return f"({', '.join(sides)}{',' if len(sides) == 1 else ''})"


def _cells(row: Row) -> tuple[str, ...]:
    number = "" if row.parameters is None else f"{row.parameters:,}"
    return (row.path or "(itself)", row.kind, row.output, number, row.trained)


def _lines(rows: list[Row]) -> list[str]:
    """The table, at most 80 columns wide: the type gives way first, then the name."""
    cells = [_cells(row) for row in rows]
    shown = [k for k in range(5) if k != 2 or any(c[2] for c in cells)]
    widths = {k: max(len(line[k]) for line in [_HEADS, *cells]) for k in shown}
    over = sum(widths.values()) + 2 * (len(shown) - 1) - _WIDTH
    for k, least in ((1, 16), (0, 16), (2, 12)):
        if k in widths and over > 0:
            cut = min(over, max(widths[k] - least, 0))
            widths[k] -= cut
            over -= cut

    def line(texts: tuple[str, ...]) -> str:
        fitted = [_fit(texts[k], widths[k], k) for k in shown]
        return "  ".join(fitted).rstrip()

    rule = "-" * (sum(widths.values()) + 2 * (len(shown) - 1))
    return [line(_HEADS), rule, *map(line, cells)]


def _fit(text: str, width: int, column: int) -> str:
    if len(text) > width:  # of a name the end tells most, of the rest the beginning
        text = "…" + text[len(text) - width + 1 :] if column == 0 else text[: width - 1] + "…"
    return text.rjust(width) if column == 3 else text.ljust(width)


def _bytes(n: int) -> str:
    """
    >>> _bytes(1000), _bytes(1536), _bytes(3 * 2**20)
    ('1,000 B', '1.5 KiB', '3.0 MiB')
    """
    power = min(int(math.log2(n)) // 10, 4) if n >= 1024 else 0
    return f"{n / 1024**power:.1f} {('', 'K', 'M', 'G', 'T')[power]}iB" if power else f"{n:,} B"
