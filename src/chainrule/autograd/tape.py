"""The tape: nodes recorded by the forward pass, and the backward pass over them.

A node is one coarse operation (a dense layer with its activation, a loss). It keeps only what its
derivative reads. The backward pass visits nodes newest first, which is a topological order because
a node is always newer than what it reads. Cotangents are plain arrays; when derivatives are
themselves recorded (``create_graph``) they are tensors, and the same `vjp` texts run on them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from chainrule.array.abstract import copied
from chainrule.array.errors import ShapeError, StaleGraphError
from chainrule.array.namespace import NUMPY
from chainrule.autograd.context import Frame, describe, state

__all__ = ["Node", "Op", "Variable", "apply", "apply_raw", "backward", "record"]

_sequence = itertools.count()
_by_age = attrgetter("sequence")


class Op:
    """A coarse operation: a value and its vector-Jacobian product, both texts in `xp`.

    `second_order` says how derivatives of the derivative come about: ``"recompute"``, the vjp text
    runs on tensors, and residuals, being neither inputs nor outputs, are computed again on tensors;
    ``"derived"``, the vjp on tensors reads no residuals; ``"none"``, there is no such derivative
    and asking for it raises.
    """

    name: str = ""
    second_order: str = "recompute"
    #: The vjp on tensors reads residuals; False: it starts from inputs and outputs alone.
    recomputes: bool = True
    #: An output may share memory with an input; then it follows a parameter's version.
    view: bool = False
    #: An input with fewer axes than the output is repeated along the first ones.
    broadcasts: bool = False

    def forward(
        self, xp: Any, *inputs: Any, **attrs: Any
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """``(outputs, residuals)``."""
        raise NotImplementedError

    def vjp(
        self,
        xp: Any,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        residuals: Sequence[Any],
        cotangents: Sequence[Any],
        needed: Sequence[bool],
        **attrs: Any,
    ) -> Sequence[Any]:
        """The cotangent of each needed input, linear in `cotangents`."""
        raise NotImplementedError

    def keeps(
        self, needed: tuple[bool, ...], attrs: dict[str, Any]
    ) -> tuple[Sequence[bool] | None, Sequence[bool] | None]:
        """Which inputs and outputs the vjp reads; None: all of them."""
        return None, None

    def per_sample(
        self,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        residuals: Sequence[Any],
        cotangents: Sequence[Any],
        needed: Sequence[bool],
        parameters: Sequence[bool],
        **attrs: Any,
    ) -> Sequence[Any]:
        """As `vjp` on arrays, but the inputs marked in `parameters` get one cotangent per sample.

        Samples lie along the first axis of the other inputs and of the output; the cotangent of
        a parameter p has shape ``(samples, *p.shape)``.
        """
        raise NotImplementedError(f"{self.name} has no per-sample gradient for its parameters")

    def vjp_of_each(
        self,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        residuals: Sequence[Any],
        cotangents: Sequence[Any],
        needed: Sequence[bool],
        **attrs: Any,
    ) -> Sequence[Any]:
        """As `vjp` on arrays, for many cotangents along a new first axis: of parameters that meet
        each other before they meet the samples. One by one, unless an operation knows better."""
        pulled = [
            self.vjp(NUMPY, inputs, outputs, residuals, list(gs), needed, **attrs)
            for gs in zip(*([np.asarray(g) for g in gs] for gs in cotangents), strict=True)
        ]
        columns = zip(needed, zip(*pulled, strict=True), strict=False)
        return [np.stack(column) if n else None for n, column in columns]

    def common(self, attrs: dict[str, Any]) -> Sequence[int]:
        """Which inputs are not of one sample but of all, as weights are."""
        return ()


class Variable:
    """What the tape knows of a tensor. `chainrule.Tensor` adds everything a person sees."""

    __slots__ = ("__weakref__", "_data", "_grad", "_index", "_node", "_of", "requires_grad")

    _data: Any
    _node: Node | None
    _index: int
    _grad: Any
    requires_grad: bool
    #: The parameter whose memory this tensor may share (``w.T``), or None.
    _of: Variable | None
    #: Parameters count their updates; other tensors never change.
    _version: int = 0
    #: Parameters of an optimizer have a place for their gradient in its flat vector.
    _slot: Any = None

    @classmethod
    def _wrap(cls, data: Any, node: Node | None = None, index: int = 0) -> Any:
        """A tensor around `data`, without copying."""
        t = _tensor_class.__new__(_tensor_class)
        t._data = data
        t._node = node
        t._index = index
        t._grad = None
        t._of = None
        t.requires_grad = node is not None
        return t

    def _parameter(self) -> Variable | None:
        """The parameter whose changes this tensor would see."""
        return self._of if type(self) is _tensor_class else self


_ONE = (None,)
_tensor_class: type[Variable] = Variable
_recorded: Any = None


def install(tensor_class: type[Variable], namespace: Any) -> None:
    """Called once by the room above: the class of tensors and `xp` for them."""
    global _tensor_class, _recorded
    _tensor_class, _recorded = tensor_class, namespace


class Node:
    """One recorded operation."""

    __slots__ = (
        "attrs", "cotangent_of", "edges", "frame", "inputs", "needed", "op", "outputs",
        "residuals", "sequence", "versions",
    )  # fmt: skip

    op: Op
    attrs: dict[str, Any]
    #: Where each needed input came from: (node, output number) or a leaf; None where not needed.
    edges: tuple[Any, ...]
    needed: tuple[bool, ...]
    inputs: Any
    outputs: Any
    residuals: Any
    #: (shape, dtype) of each output, for the ones no cotangent reached; a single one is reached
    cotangent_of: Sequence[Any]
    #: (input number, parameter, its version) of each saved input that is a parameter's memory
    versions: Sequence[tuple[int, Variable, int]]
    frame: Frame | None
    sequence: int

    def where(self) -> str:
        layer = describe(self.frame)
        return f"{self.op.name} in {layer}" if layer else self.op.name

    def check(self) -> None:
        """The saved values must still be there and still be true."""
        if self.inputs is None:
            raise StaleGraphError(
                f"backward through {self.where()} a second time: its buffers were freed by the "
                "first backward pass. Call backward(retain_graph=True) the first time, or run the "
                "forward pass again"
            )
        for _, parameter, version in self.versions:
            if parameter._version != version:
                raise StaleGraphError(
                    f"backward through {self.where()}: a parameter it saved (shape "
                    f"{parameter._data.shape}) was updated after the forward pass, so its gradient "
                    "would be wrong. Call backward before the update, or run the forward pass again"
                )

    def pull(self, cotangents: list[Any], needed: tuple[bool, ...]) -> Sequence[Any]:
        """Raw vjp: arrays in, arrays out."""
        self.check()
        if len(cotangents) > 1:
            cotangents = self._filled(cotangents, NUMPY)
        return self.op.vjp(
            NUMPY, self.inputs, self.outputs, self.residuals, cotangents, needed, **self.attrs
        )

    def pull_recorded(self, cotangents: list[Any], needed: tuple[bool, ...]) -> Sequence[Any]:
        """The same vjp on tensors that stand where the arrays came from."""
        self.check()
        if self.op.second_order == "none":
            raise NotImplementedError(
                f"{self.where()} has no second derivative; create_graph=True cannot go through it"
            )
        inputs = [self._tensor_of(k, a) for k, a in enumerate(self.inputs)]
        for k, parameter, _ in self.versions:
            if inputs[k] is not parameter:
                inputs[k]._of = parameter
        outputs = [
            None if a is None else Variable._wrap(a, self, k) for k, a in enumerate(self.outputs)
        ]
        residuals = self.residuals
        if residuals and self.op.recomputes:
            _, residuals = self.op.forward(_recorded, *inputs, **self.attrs)
        full = self._filled(cotangents, _recorded)
        return self.op.vjp(_recorded, inputs, outputs, residuals, full, needed, **self.attrs)

    def pull_per_sample(
        self, cotangents: list[Any], needed: tuple[bool, ...], samples: int, apart: set[Node]
    ) -> Sequence[Any]:
        """The raw vjp, but leaves, and the nodes `apart` from the samples, get one cotangent for
        each sample."""
        if self in apart:  # its cotangents are those of all samples already
            self.check()
            gs = cotangents
            if len(gs) > 1:
                gs = [
                    np.zeros((samples, *shape), dtype) if g is None else g
                    for g, (shape, dtype) in zip(gs, self.cotangent_of, strict=True)
                ]
            return self.op.vjp_of_each(
                self.inputs, self.outputs, self.residuals, gs, needed, **self.attrs
            )
        pairs = zip(needed, self.edges, strict=True)
        shared = [n and (type(e) is not tuple or e[0] in apart) for n, e in pairs]
        for k in self.op.common(self.attrs):
            if k < len(needed) and needed[k] and not shared[k]:
                raise NotImplementedError(self._samples_meet())
        if True not in shared:
            results = self.pull(cotangents, needed)
            self._check_separate(cotangents, needed, shared, results)
            return results
        self.check()
        results = self.op.per_sample(
            self.inputs,
            self.outputs,
            self.residuals,
            self._filled(cotangents, NUMPY),
            needed,
            shared,
            **self.attrs,
        )
        self._check_separate(cotangents, needed, shared, results)
        for k, (given, edge) in enumerate(zip(shared, self.edges, strict=True)):
            known = self.inputs[k] if type(edge) is tuple else edge._data if given else None
            if given and known is not None and results[k].shape != (samples, *known.shape):
                raise NotImplementedError(
                    f"{self.where()} has no gradient per sample for a parameter of shape "
                    f"{known.shape}: it must meet the samples directly, on the first axis"
                )
        return results

    def _check_separate(
        self, cotangents: list[Any], needed: Any, shared: list[bool], results: Any
    ) -> None:
        """What is neither of the parameters nor of one sample was summed over the samples."""
        if self.op.broadcasts:
            for n, s, result in zip(needed, shared, results, strict=False):
                if n and not s and result.ndim < cotangents[0].ndim:
                    raise NotImplementedError(self._samples_meet())

    def _samples_meet(self) -> str:
        return (
            f"{self.where()} has no gradient per sample: all samples share a value that is neither "
            "a parameter nor computed from parameters alone"
        )

    def _tensor_of(self, k: int, a: Any) -> Any:
        edge = self.edges[k]
        if a is None or edge is None:
            return a if a is None or not hasattr(a, "dtype") else Variable._wrap(a)
        return Variable._wrap(a, *edge) if type(edge) is tuple else edge

    def _filled(self, cotangents: list[Any], xp: Any) -> list[Any]:
        """`cotangents` with zeros for the outputs that none reached."""
        if len(cotangents) == 1:
            return cotangents
        wrap: Any = (lambda z: z) if xp is NUMPY else Variable._wrap
        return [
            wrap(np.zeros(shape, dtype)) if g is None else g
            for g, (shape, dtype) in zip(cotangents, self.cotangent_of, strict=True)
        ]


def apply(op: Op, *args: Any, **attrs: Any) -> tuple[Any, ...]:
    """Run `op` on tensors and arrays; record it if a tensor among them requires a gradient.

    All arrays in gives arrays; any tensor gives tensors.
    """
    return apply_raw(op, args, [a._data if isinstance(a, Variable) else a for a in args], attrs)


def apply_raw(
    op: Op, args: Sequence[Any], raw: Sequence[Any], attrs: dict[str, Any]
) -> tuple[Any, ...]:
    """`apply` where the arrays of the arguments are at hand."""
    if state.recorder is not None:
        raw = state.recorder.take(args, raw)
    outputs, residuals = op.forward(NUMPY, *raw, **attrs)
    for a in args:
        if isinstance(a, Variable):
            return record(op, args, raw, outputs, residuals, attrs)
    return outputs


def record(
    op: Op,
    args: Sequence[Any],
    raw: Sequence[Any],
    outputs: tuple[Any, ...],
    residuals: tuple[Any, ...],
    attrs: dict[str, Any],
    tracked: Sequence[bool] | None = None,
) -> tuple[Any, ...]:
    """Tensors for the outputs of an operation that has run; on the tape if anything requires it.

    `tracked` marks the inputs that a derivative can reach (None: all).
    """
    if not state.enabled:
        return _wrapped(op, args, outputs, None)
    edges: list[Any] = []
    shared: list[tuple[int, Any]] = []  # inputs that are a parameter's memory
    for k, a in enumerate(args):
        edge = None
        if isinstance(a, Variable):
            if a.requires_grad and (tracked is None or tracked[k]):
                edge = a if a._node is None else (a._node, a._index)
            p = a._of if type(a) is _tensor_class else a
            if p is not None:
                shared.append((k, p))
        edges.append(edge)
    wanted = tuple([e is not None for e in edges])
    if True not in wanted:
        return _wrapped(op, args, outputs, None)
    node = Node()
    node.op, node.attrs, node.frame = op, attrs, state.frame
    node.needed, node.edges = wanted, tuple(edges)
    node.sequence = next(_sequence)
    keep_inputs, keep_outputs = op.keeps(wanted, attrs)
    node.inputs, node.outputs = _kept(raw, keep_inputs), _kept(outputs, keep_outputs)
    node.residuals = residuals
    node.cotangent_of = [(o.shape, o.dtype) for o in outputs] if len(outputs) > 1 else _ONE
    node.versions = [(k, p, p._version) for k, p in shared if node.inputs[k] is not None]
    if len(outputs) == 1 and not op.view:  # nearly all
        return (Variable._wrap(outputs[0], node),)
    return _wrapped(op, args, outputs, node)


def _kept(values: Sequence[Any], keep: Sequence[bool] | None) -> Sequence[Any]:
    """The values, with None for those that the vjp does not read."""
    if keep is None or False not in keep:
        return values
    return [v if k else None for v, k in zip(values, keep, strict=True)]


def _wrapped(
    op: Op, args: Sequence[Any], outputs: Sequence[Any], node: Node | None
) -> tuple[Any, ...]:
    if len(outputs) == 1 and not op.view:  # nearly all
        return (Variable._wrap(outputs[0], node),)
    tensors = tuple([Variable._wrap(o, node, k) for k, o in enumerate(outputs)])
    if op.view:
        for a in args:
            p = a._parameter() if isinstance(a, Variable) else None
            if p is not None:
                for t in tensors:
                    if np.may_share_memory(t._data, a._data):
                        t._of = p
    return tensors


def _reachable(roots: Sequence[Variable]) -> list[Node]:
    """Every node below `roots`, newest first."""
    seen: set[Node] = set()
    stack = [r._node for r in roots if r._node is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend([e[0] for e in node.edges if type(e) is tuple])
    return sorted(seen, key=_by_age, reverse=True)


def _needed_for(nodes: list[Node], targets: set[Any]) -> dict[Node, tuple[bool, ...]]:
    """For each node, which of its inputs lead to a target; nodes that lead to none are absent."""
    needed: dict[Node, tuple[bool, ...]] = {}
    for node in reversed(nodes):
        mask = tuple(
            [
                e is not None
                and ((e[0] in needed or e in targets) if type(e) is tuple else id(e) in targets)
                for e in node.edges
            ]
        )
        if any(mask):
            needed[node] = mask
    return needed


def _apart(nodes: list[Node], targets: set[Any], samples: int, roots: set[Any]) -> set[Node]:
    """The nodes that compute with parameters alone, before these meet the samples (``w.T``)."""
    found: set[Node] = set()
    for node in reversed(nodes):
        data = [a for v in node.attrs.values() for a in (v if type(v) is tuple else (v,))]
        if any(getattr(a, "shape", ())[:1] == (samples,) for a in data):
            continue  # codes of a table
        if node not in roots and all(
            (edge[0] in found if type(edge) is tuple else id(edge) in targets)
            if edge is not None
            # whatever is as long as there are samples may be samples; so may what was not kept
            else a is not None and getattr(a, "shape", ())[:1] != (samples,)
            for edge, a in zip(node.edges, node.inputs or (None,) * len(node.edges), strict=True)
        ):
            found.add(node)
    return found


class _Sum:
    """Cotangents being added up: the second allocates, the third adds in place. One by itself is
    borrowed, and stands without a sum around it."""

    __slots__ = ("owned", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.owned = False

    def add(self, g: Any) -> None:
        if self.owned:
            np.add(self.value, g, out=self.value)
        else:
            self.value = self.value + g
            self.owned = not isinstance(self.value, Variable) and self.value.ndim > 0


def _with(held: Any, g: Any) -> Any:
    """A cotangent or a sum of some, and one more."""
    if held is None:
        return g
    total = held if type(held) is _Sum else _Sum(held)
    total.add(g)
    return total


def _value(held: Any) -> Any:
    return held.value if type(held) is _Sum else held


def backward(
    roots: Sequence[Any],
    cotangents: Sequence[Any],
    inputs: Sequence[Any] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    per_sample: int | None = None,
) -> list[Any]:
    """Pull `cotangents` of `roots` back.

    With `inputs`, return the cotangent of each (None where unconnected); without, add them to
    ``.grad`` of every leaf. `create_graph` records the pass itself and so keeps the buffers.
    `per_sample`, the number of samples along the first axis, gives each leaf among `inputs` one
    cotangent per sample.
    """
    retain = create_graph if retain_graph is None else retain_graph
    nodes = _reachable(roots)
    needed: dict[Node, tuple[bool, ...]] | None = None
    targets: set[Any] = set()
    if inputs is not None:
        targets = {id(t) if t._node is None else (t._node, t._index) for t in inputs}
        needed = _needed_for(nodes, targets)
    apart: set[Node] = set()
    if per_sample is not None:
        apart = _apart(nodes, targets, per_sample, {root._node for root in roots})
    pending: dict[Node, list[Any]] = {}
    leaves: dict[int, tuple[Any, Any]] = {}
    caught: dict[Any, Any] = {}

    def send(edge: Any, g: Any) -> None:
        if type(edge) is tuple:
            node, index = edge
            if needed is None or node in needed:
                slots = pending.get(node)
                if slots is not None:
                    slots[index] = _with(slots[index], g)
                elif node.cotangent_of is _ONE:  # nearly all
                    pending[node] = [g]
                else:
                    slots = pending[node] = [None] * len(node.cotangent_of)
                    slots[index] = g
            if targets and edge in targets:
                caught[edge] = _with(caught.get(edge), g)
        elif (found := leaves.get(id(edge))) is not None:
            leaves[id(edge)] = (edge, _with(found[1], g))
        elif edge.requires_grad:
            leaves[id(edge)] = (edge, g)

    for root, g in zip(roots, cotangents, strict=True):
        if root.requires_grad:
            send(root if root._node is None else (root._node, root._index), g)
    before, state.enabled = state.enabled, create_graph
    try:
        for node in nodes:
            slots = pending.pop(node, None)
            if slots is None:
                continue
            mask = node.needed if needed is None else needed[node]
            gs = [_value(held) for held in slots]
            if create_graph:
                results = node.pull_recorded(gs, mask)
            elif per_sample is not None:
                results = node.pull_per_sample(gs, mask, per_sample, apart)
            else:
                results = node.pull(gs, mask)
            for edge, want, result in zip(node.edges, mask, results):  # noqa: B905
                if want and result is not None:
                    send(edge, result)
            if not retain:
                node.inputs = node.outputs = node.residuals = None
    finally:
        state.enabled = before
    if inputs is None:
        for leaf, held in leaves.values():
            _accumulate(leaf, held)
        return []
    results_of = []
    for t in inputs:
        if t._node is None:
            held = leaves[id(t)][1] if id(t) in leaves else None
        else:
            held = caught.get((t._node, t._index))
        results_of.append(_value(held))
    return results_of


def _accumulate(leaf: Variable, held: Any) -> None:
    """Add to a leaf's gradient. A borrowed cotangent is copied: it may be another node's array."""
    g = _value(held)
    if state.recorder is not None:
        state.recorder.touch(leaf, reads=True)
    if isinstance(g, Variable):  # recorded: stays on the tape
        before = leaf._grad
        if before is not None and not isinstance(before, Variable):
            before = Variable._wrap(before)
        leaf._grad = g if before is None else before + g
        return
    if g.shape != leaf._data.shape:
        raise ShapeError(
            f"a gradient of shape {g.shape} for a tensor of shape {leaf._data.shape}: the vjp of "
            "an operation returned the wrong shape"
        )
    slot = leaf._slot
    if leaf._grad is not None:
        before = leaf._grad._data if isinstance(leaf._grad, Variable) else leaf._grad
        if before is slot and slot is not None:
            np.add(slot, g, out=slot)
        else:
            leaf._grad = before + g
    elif slot is not None:
        if type(g) is np.ndarray:
            slot[...] = g  # half the cost of copyto
        else:
            np.copyto(slot, g)
        leaf._grad = slot
    else:
        leaf._grad = g if (type(held) is _Sum and held.owned) else copied(g)
