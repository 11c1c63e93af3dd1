"""`replay`: from what a recorder noted to something that can be called."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.array.random import default_stream
from chainrule.compile import native
from chainrule.compile.expression import Expr
from chainrule.compile.lookup import codes_of, first_bad
from chainrule.compile.place import Layout, Write
from chainrule.compile.recorder import Recorder
from chainrule.compile.sequence import Steps
from chainrule.compile.symbolic import CaptureError

__all__ = ["Replay", "replay"]


class Replay:
    """A captured step: arrays in, a tuple of fresh arrays out.

    Called with arrays that are not as declared, or whose labels are out of range, it gives
    NotImplemented, and nothing has changed.

    Attributes:
        written: the parts of live memory that it updates.
        layout: the memory and instructions of the native form; None where there is none.
        reason: why there is none.
        steps: the calls, as NumPy does them.
    """

    def __init__(
        self, recorder: Recorder, results: Sequence[Any], name: str, spare: bool = False
    ) -> None:
        self.spare = spare
        self.recorder, self.results, self.name = recorder, list(results), name
        self.written = [
            recorder.bases[k][start:stop]
            for k, pieces in recorder.written.items()
            for start, stop, _ in pieces
        ]
        self.steps = Steps(recorder, results, name)
        self.layout: Layout | None = None
        self.reason: str | None = None
        #: arrays in, results out
        self.run: Callable[..., Any] = self._with_numpy
        for r in results:
            if isinstance(r.expr, Expr) and recorder.graph.dtypes[r.expr] != r.dtype:
                raise CaptureError("labels are returned in another type than they came in")
        if native.available():
            try:
                found = self._native()
            except NotImplementedError as error:
                self.reason = str(error)
            else:
                if found is None:
                    self.reason, self.layout = "its kernels could not be built", None
                else:
                    self.run = found
        else:
            self.reason = "there is no native code here"

    # -- NumPy ------------------------------------------------------------------------------------

    def _with_numpy(self, *arrays: Any) -> Any:
        for a, s in zip(arrays, self.recorder.arguments, strict=True):
            if type(a) is not np.ndarray or a.shape != s.shape or a.dtype != s.dtype:
                return NotImplemented
        if not self._labels_fit(arrays):
            return NotImplemented
        with np.errstate(all="ignore"):
            try:
                return self.steps.function(*arrays)
            except native.Unfinished:
                return NotImplemented

    def _labels_fit(self, arrays: Sequence[Any]) -> bool:
        place = {s.expr: k for k, s in enumerate(self.recorder.arguments)}
        for kind, x, classes in self.recorder.guards:
            e = x.expr
            while e.op in ("reshape", "region"):
                e = e.args[0]
            if kind == "codes":
                sizes, kept = classes
                if first_bad(codes_of(arrays[place[e]].reshape(x.shape), kept), sizes) is not None:
                    return False
                continue
            labels = arrays[place[e]] if e in place else self.recorder.bases[e.args[0]]
            if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
                return False
        return True

    # -- native code ------------------------------------------------------------------------------

    def _native(self) -> Any:
        recorder = self.recorder
        graph = recorder.graph
        writes = [
            Write(graph.region(recorder._flat(k), start, (stop - start,)), e)
            for k, pieces in recorder.written.items()
            for start, stop, e in pieces
        ]
        layout = Layout(
            graph,
            [a.expr for a in recorder.arguments],
            [(r.expr, r.shape, r.dtype) for r in self.results],
            writes,
            len(recorder.bases),
            recorder.functions,
            [x.expr for x in recorder.checks],
        )
        self.layout = layout
        live: list[Array] = [*recorder.bases, *layout.constants]
        keys = -1
        if recorder.draws:
            keys = len(live)
            self.keys = recorder.keys = np.zeros((len(recorder.draws), 3), np.uint64)
            live.append(self.keys)
        run = native.plan(
            layout,
            self.name,
            [(a.dtype, a.shape, False) for a in recorder.arguments],
            live,
            [(x.expr, graph.dtypes[x.expr], n) for _, x, n in recorder.guards],
            keys,
            self.spare,
        )
        if run is not None and (recorder.checks or recorder.functions):
            run = _stopping(run)
        return self._drawing(run) if run is not None and recorder.draws else run

    def _drawing(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """Give every draw its place in the stream, and move the stream on once it has run."""
        paths = [path for path, _ in self.recorder.draws]
        keys = self.keys
        lock = threading.Lock()  # two threads must not draw at one place of the stream

        def drawing(*arrays: Any) -> Any:
            stream = default_stream()
            with lock:
                before = stream.advance(paths, keys)
                outputs = run(*arrays)
            if outputs is NotImplemented:
                stream.rewind(before)
            return outputs

        return drawing


def _stopping(run: Callable[..., Any]) -> Callable[..., Any]:
    """A run that stops, at a number that is not finite or an error, gives NotImplemented."""

    def stopping(*arrays: Any) -> Any:
        try:
            return run(*arrays)
        except native.Unfinished:
            return NotImplemented

    return stopping


def replay(recorder: Recorder, results: Sequence[Any], name: str, spare: bool = False) -> Replay:
    """What repeats a recorded step; `spare` builds no kernels for what is small."""
    return Replay(recorder, results, name, spare)
