"""The state of a thread: recording or not, and the layer that computes."""

from __future__ import annotations

import contextlib
import threading

import pytest

import chainrule as cr
from chainrule.autograd.context import Frame, describe, state


class Layer:
    def __init__(self, **children):
        self._modules = children

    def named_modules(self):
        yield "", self
        for name, child in self._modules.items():
            for inner, module in child.named_modules():
                yield f"{name}.{inner}".rstrip("."), module

    def __repr__(self):
        return "Layer(...)\n  with more lines"


@contextlib.contextmanager
def frame_of(module):
    """As `nn.Module.__call__` does it."""
    before = state.frame
    state.frame = Frame(module, before)
    try:
        yield
    finally:
        state.frame = before


def test_paths_of_layers():
    leaf = Layer()
    middle = Layer(inner=leaf)
    top = Layer(outer=middle)
    assert state.frame is None
    assert describe(None) == ""
    with frame_of(top):
        assert state.frame.path == "model"
        with frame_of(middle):
            assert state.frame.path == "model.outer"
            with frame_of(leaf):
                assert state.frame.path == "model.outer.inner"
                assert describe(state.frame) == "model.outer.inner Layer(...)"
        with frame_of(leaf):  # a layer that calls its grandchild
            assert state.frame.path == "model.outer.inner"
        with frame_of(Layer()):  # one that is no child
            assert state.frame.path == "model.(Layer)"
    assert state.frame is None


def test_a_layer_with_children_is_described_by_its_name():
    model = cr.nn.Sequential(cr.nn.Dense(3, 2))
    with frame_of(model):
        assert describe(state.frame) == "model Sequential"


def test_a_frame_ends_with_an_error():
    with pytest.raises(KeyError), frame_of(Layer()):
        raise KeyError
    assert state.frame is None


def test_frames_and_switches_are_per_thread():
    seen = []
    with frame_of(Layer()), cr.no_grad():
        thread = threading.Thread(target=lambda: seen.append((state.frame, state.enabled)))
        thread.start()
        thread.join()
    assert seen == [(None, True)]


def test_one_switch_object_can_nest_in_itself():
    switch = cr.no_grad()
    with switch:
        with switch:
            assert not cr.is_grad_enabled()
        assert not cr.is_grad_enabled()
    assert cr.is_grad_enabled()
    assert Frame(Layer(), None).path == "model"


def test_no_grad_decorates_with_and_without_parentheses():
    x = cr.tensor([1.0], requires_grad=True)

    @cr.no_grad
    def bare(x):
        return x * 2

    @cr.no_grad()
    def called(x):
        return x * 2

    assert bare.__name__ == "bare"
    assert not bare(x).requires_grad
    assert not called(x).requires_grad
    assert cr.is_grad_enabled()


def test_one_decorated_function_in_two_threads():
    """Each call restores the state of its own thread, whichever ends first."""
    after = []

    @cr.no_grad()
    def wait(entered, until):
        entered.set()
        assert until.wait(5)

    def run(recording, entered, until):
        with contextlib.nullcontext() if recording else cr.no_grad():
            wait(entered, until)
            after.append(cr.is_grad_enabled())

    threads = []
    for recording in (True, False):
        events = threading.Event(), threading.Event()
        threads.append((threading.Thread(target=run, args=(recording, *events)), *events))
        threads[-1][0].start()
        assert events[0].wait(5)
    for thread, _, until in threads:
        until.set()
        thread.join()
    assert after == [True, False]
