"""The tape: ownership of cotangents, buffers, versions of parameters, memory, threads."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops
from chainrule.array.errors import ShapeError, StaleGraphError
from chainrule.autograd import tape
from chainrule.autograd.tape import Op, Variable
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter


class _Identity(Op):
    """A vjp that breaks the rule and returns the cotangent itself."""

    name = "same"

    def forward(self, xp, x):
        return (np.array(x._data if isinstance(x, Variable) else x),), ()

    def vjp(self, xp, inputs, outputs, residuals, cotangents, needed):
        return (cotangents[0],)


class _NoSecond(_Identity):
    name = "once"
    second_order = "none"


class _Two(Op):
    """Two outputs: x + 1 and 3 x."""

    name = "two"

    def forward(self, xp, x):
        return (x + 1, x * 3), ()

    def vjp(self, xp, inputs, outputs, residuals, cotangents, needed):
        a, b = cotangents
        return (a + b * 3,)


def same(x):
    return tape.apply(_Identity(), x)[0]


class Layer(Module):
    def __init__(self, n, m, activation=None):
        rng = np.random.default_rng(n * 31 + m)
        self.weight = Parameter(rng.standard_normal((m, n)).astype(np.float32))
        self.bias = Parameter(np.zeros(m, np.float32))
        self.activation = activation

    def forward(self, x):
        return ops.dense(x, self.weight, self.bias, activation=self.activation)

    def __repr__(self):
        return f"Layer({self.weight.shape[1]} -> {self.weight.shape[0]})"


class Net(Module):
    def __init__(self):
        self.first = Layer(3, 4, ops.tanh)
        self.second = Layer(4, 2)

    def forward(self, x):
        return self.second(self.first(x))


def leaf(*shape, dtype=np.float64, seed=0):
    return cr.tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype), None, True)


# -- ownership of cotangents ---------------------------------------------------


@pytest.mark.parametrize("uses", [1, 2, 3, 4])
def test_every_use_of_a_value_adds_once(uses):
    x = leaf(3)
    h = x * 2
    y = h
    for _ in range(uses - 1):
        y = y + h
    (y * y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 8 * uses**2 * x.detach().numpy(), rtol=1e-14)


@pytest.mark.parametrize("uses", [1, 2, 3, 4])
def test_uses_by_an_op_that_returns_its_cotangent(uses):
    x = leaf(3)
    h = same(x)
    parts = [same(h) for _ in range(uses)]
    total = parts[0]
    for p in parts[1:]:
        total = total + p
    start = np.array([1.0, 2.0, 3.0])
    total.backward(start)
    np.testing.assert_array_equal(start, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(x.grad.numpy(), uses * start)


def test_leaves_never_share_memory_with_each_other_or_the_start():
    a, b, c = leaf(3), leaf(3, seed=1), leaf(3, seed=2)
    start = np.ones(3)
    (same(a) + same(b) + c).backward(start)
    grads = [t._grad for t in (a, b, c)]
    for i, g in enumerate(grads):
        assert not np.shares_memory(g, start)
        assert not any(np.shares_memory(g, other) for other in grads[i + 1 :])
    first = grads[0].copy()
    start[:] = 7
    b._grad[:] = 9
    np.testing.assert_array_equal(a._grad, first)


def test_accumulating_does_not_change_a_gradient_already_handed_out():
    x = leaf(3)
    same(x).sum().backward()
    before = x.grad
    same(x).sum().backward()
    np.testing.assert_array_equal(before.numpy(), np.ones(3))
    np.testing.assert_array_equal(x.grad.numpy(), np.full(3, 2.0))


def test_results_of_grad_share_no_memory():
    a, b = leaf(3), leaf(3, seed=1)
    start = np.ones(3)
    ga, gb = cr.autograd.grad(same(a) + b, [a, b], start)
    assert not np.shares_memory(ga._data, gb._data)
    assert not np.shares_memory(ga._data, start)
    y = same(a)
    (gy,) = cr.autograd.grad(y, [y], start)
    assert not np.shares_memory(gy._data, start)


def test_outputs_share_no_memory_with_inputs_or_each_other():
    x = leaf(4)
    ys = [ops.relu(x), ops.identity(x), ops.stop_gradient(x), x + 0.0, ops.relu(x)]
    for i, y in enumerate(ys):
        assert not np.shares_memory(y._data, x._data)
        assert not any(np.shares_memory(y._data, z._data) for z in ys[i + 1 :])


def test_a_gradient_goes_into_its_place_in_the_optimizers_vector():
    p = Parameter(np.ones(2, np.float32))
    flat = np.full(4, np.nan, np.float32)
    p._slot = flat[1:3]
    (p * 3).sum().backward()
    assert p._grad is p._slot
    (p * 2).sum().backward()
    np.testing.assert_array_equal(flat[1:3], [5, 5])
    shown = p.grad
    flat[1:3] = 0
    np.testing.assert_array_equal(shown.numpy(), [5, 5])


def test_a_vjp_of_the_wrong_shape_is_named():
    class Wrong(_Identity):
        def vjp(self, xp, inputs, outputs, residuals, cotangents, needed):
            return (cotangents[0].sum(keepdims=True),)

    x = leaf(3)
    y = tape.apply(Wrong(), x)[0]
    with pytest.raises(ShapeError, match=r"\(1,\) for a tensor of shape \(3,\)"):
        y.sum().backward()


def test_outputs_that_no_cotangent_reached_count_as_zero():
    x = leaf(3)
    _, b = tape.apply(_Two(), x)
    b.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full(3, 3.0))
    a, _ = tape.apply(_Two(), x)
    (g,) = cr.autograd.grad((a * a).sum(), [x], create_graph=True)
    (gg,) = cr.autograd.grad(g.sum(), [x])
    np.testing.assert_allclose(gg.numpy(), np.full(3, 2.0))


# -- buffers ---------------------------------------------------


def test_second_backward_says_retain_graph():
    x = leaf(3)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(StaleGraphError, match=r"second time.*retain_graph=True"):
        y.backward()


def test_retained_buffers_allow_a_second_pass():
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * x.detach().numpy())


def test_create_graph_retains_and_records():
    x = leaf(3)
    y = (x**3).sum()
    y.backward(create_graph=True)
    g = x.grad
    assert g.requires_grad
    (second,) = cr.autograd.grad(g.sum(), [x])
    np.testing.assert_allclose(second.numpy(), 6 * x.detach().numpy())
    x.grad = None
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * x.detach().numpy() ** 2)


def test_plain_and_recorded_gradients_add_up():
    x = leaf(3)
    (x * 2).sum().backward()
    (x * x).sum().backward(create_graph=True)
    np.testing.assert_allclose(x.grad.detach().numpy(), 2 + 2 * x.detach().numpy())
    (x * 1.0).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 + 2 * x.detach().numpy())


def test_no_second_derivative_raises():
    x = leaf(3)
    y = tape.apply(_NoSecond(), x)[0].sum()
    with pytest.raises(NotImplementedError, match=r"once has no second derivative"):
        y.backward(create_graph=True)
    tape.apply(_NoSecond(), x)[0].sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.ones(3))


@pytest.mark.parametrize("frozen", [(), ("x",), ("weight",), ("bias",), ("x", "bias")])
@pytest.mark.parametrize("activation", [None, ops.tanh, ops.gelu])
def test_second_order_with_some_inputs_frozen(activation, frozen):
    """What the second order recomputes must be there even where the first order did not need it."""
    rng = np.random.default_rng(1)
    given = {"x": (5, 3), "weight": (4, 3), "bias": (4,)}
    arrays = {k: rng.standard_normal(s) for k, s in given.items()}
    free = [k for k in given if k not in frozen]

    def f(*values):
        all_ = {**arrays, **dict(zip(free, values, strict=True))}
        out = ops.dense(all_["x"], all_["weight"], all_["bias"], activation=activation)
        return (out * out).sum()

    cr.check_gradients(f, *[arrays[k] for k in free])


# -- versions of parameters ---------------------------------------------------


def test_backward_after_an_update_names_the_layer():
    net = Net()
    loss = net(np.ones((2, 3), np.float32)).sum()
    net.second.weight.assign(net.second.weight.detach() * 2)
    with pytest.raises(
        StaleGraphError, match=r"dense in model\.second Layer\(4 -> 2\).*\(2, 4\).*updated"
    ):
        loss.backward()


@pytest.mark.parametrize(
    "route",
    [
        lambda w: w.T,
        lambda w: w.reshape(3, 4).reshape(12).reshape(3, 4),
        lambda w: w.transpose(1, 0)[:, :],
        lambda w: ops.expand_dims(w, axis=0).squeeze(0).T,
        lambda w: ops.einsum("ij->ji", w),
        lambda w: ops.flip(w.mT, 0),
    ],
)
def test_a_view_of_a_parameter_follows_its_version(route):
    p = Parameter(np.ones((4, 3), np.float32))
    x = leaf(2, 3, dtype=np.float32)
    y = (x @ route(p)).sum()
    p.assign(np.zeros((4, 3)))
    with pytest.raises(StaleGraphError, match=r"updated after the forward pass"):
        y.backward()


def test_a_copy_of_a_parameter_does_not_go_stale():
    p = Parameter(np.ones((4, 3), np.float32))
    x = leaf(2, 4, dtype=np.float32)
    y = (x @ p[np.array([0, 1, 1, 2])]).sum()
    p.assign(np.zeros((4, 3)))
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 4), 3))


def test_the_recorded_backward_pass_knows_versions_too():
    p = Parameter(np.ones((4, 3), np.float32))
    x = leaf(2, 3, dtype=np.float32)
    (g,) = cr.autograd.grad(ops.tanh(x @ p.T).sum(), [x], create_graph=True)
    p.assign(np.zeros((4, 3)))
    with pytest.raises(StaleGraphError, match=r"updated"):
        (g * g).sum().backward()


def test_an_update_of_another_model_is_fine():
    one, other = Net(), Net()
    loss = one(np.ones((2, 3), np.float32)).sum()
    other.first.weight.assign(np.zeros((4, 3)))
    loss.backward()
    assert one.first.weight.grad is not None
    assert other.first.weight.grad is None


def test_an_update_of_a_parameter_that_was_not_saved_is_fine():
    net = Net()
    loss = net(np.ones((2, 3), np.float32)).sum()
    net.first.weight.requires_grad = True
    bias = net.second.bias
    p = Parameter(np.ones(2, np.float32))
    y = (p + 1.0).sum()
    loss.backward()
    bias.assign([1.0, 1.0])
    p_grad_before = p.grad
    assert p_grad_before is None
    y.backward()
    np.testing.assert_array_equal(p.grad.numpy(), [1, 1])


def test_detached_parameters_keep_their_old_values():
    p = Parameter(np.ones(2, np.float32))
    before, view = p.detach(), p.reshape(2, 1).detach()
    p.assign([5.0, 5.0])
    np.testing.assert_array_equal(before.numpy(), [1, 1])
    np.testing.assert_array_equal(view.numpy(), [[1], [1]])


# -- what is recorded ---------------------------------------------------


def test_unconnected_inputs_have_gradient_zero():
    x, z = leaf(3), leaf(2, dtype=np.float32)
    gx, gz = cr.autograd.grad((x * x).sum(), [x, z])
    assert gx.numpy().any()
    assert gz.dtype == np.float32
    np.testing.assert_array_equal(gz.numpy(), np.zeros(2))
    (x.sum() + 0 * x.sum()).backward()
    assert z.grad is None


def test_gradient_of_an_intermediate_tensor():
    x = leaf(3)
    h = x * 2
    y = (h * h).sum()
    (gh, gx) = cr.autograd.grad(y, [h, x])
    np.testing.assert_allclose(gh.numpy(), 2 * h.detach().numpy())
    np.testing.assert_allclose(gx.numpy(), 4 * h.detach().numpy())
    assert x.grad is None


def test_grad_prunes_what_leads_to_no_input():
    x, z = leaf(3), leaf(3, seed=1)
    branch = tape.apply(_NoSecond(), z)[0]
    y = (x * x).sum() + branch.sum()
    (g,) = cr.autograd.grad(y, [x], create_graph=True)  # never goes through `branch`
    np.testing.assert_allclose(g.detach().numpy(), 2 * x.detach().numpy())


def test_no_grad_and_enable_grad_nest_and_decorate():
    x = leaf(2)
    with cr.no_grad():
        assert not cr.is_grad_enabled()
        assert not (x * 2).requires_grad
        with cr.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad

    @cr.no_grad()
    def predict(t):
        return t * 2

    assert not predict(x).requires_grad
    with pytest.raises(KeyError), cr.no_grad():
        raise KeyError
    assert cr.is_grad_enabled()


def test_backward_without_anything_to_differentiate():
    with pytest.raises(RuntimeError, match=r"does not require grad"):
        cr.tensor([1.0]).backward()
    x = leaf(2)
    with cr.no_grad():
        y = (x * 2).sum()
    with pytest.raises(RuntimeError, match=r"does not require grad"):
        y.backward()
    with pytest.raises(RuntimeError, match=r"shape \(2,\) needs its gradient"):
        (x * 2).backward()
    with pytest.raises(ShapeError, match=r"cannot have shape \(3,\)"):
        (x * 2).backward(np.ones(3))


def test_gradients_accumulate_over_backward_calls():
    x = leaf(3)
    for k in range(3):
        (x * (k + 1.0)).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full(3, 6.0))
    x.grad = None
    assert x.grad is None


def test_backward_on_a_leaf():
    x = cr.tensor(2.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1


def test_a_deep_chain_needs_no_recursion():
    x = leaf(1)
    y = x
    for _ in range(10_000):
        y = y + 1.0
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1])
    z = x
    for _ in range(2_000):
        z = ops.sin(z)
    (g,) = cr.autograd.grad(z.sum(), [x], create_graph=True)
    assert g.requires_grad
    del y, z, g  # deallocation is a chain of its own


def test_diamonds_cost_one_visit_per_node():
    x = cr.tensor(np.array([1.0]), None, True)
    y = x
    for _ in range(60):  # 2^60 paths
        y = y + y
    y.sum().backward()
    assert x.grad.item() == 2.0**60


# -- threads and memory ---------------------------------------------------


def test_two_threads_record_at_once():
    results: dict[int, np.ndarray] = {}
    start = threading.Barrier(2)

    def work(k):
        x = cr.tensor(np.full(50, float(k + 1)), None, True)
        start.wait()
        total = np.zeros(50)
        for _ in range(30):
            x.grad = None
            with cr.no_grad():
                assert not (x * x).requires_grad
            (x * x * x).sum().backward()
            total += x.grad.numpy()
        results[k] = total

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(2):
        np.testing.assert_allclose(results[k], np.full(50, 30 * 3.0 * (k + 1) ** 2))


def test_no_grad_is_per_thread():
    seen = []
    with cr.no_grad():
        t = threading.Thread(target=lambda: seen.append(cr.is_grad_enabled()))
        t.start()
        t.join()
    assert seen == [True]


def test_the_graph_is_freed_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        net = Net()
        x = leaf(2, 3, dtype=np.float32)
        h = net.first(x)
        node = weakref.ref(h)
        loss = (net.second(h) ** 2).sum()
        loss.backward()
        last = weakref.ref(loss)
        del h, loss
        assert node() is None
        assert last() is None

        (g,) = cr.autograd.grad((net(x) ** 2).sum(), [x], create_graph=True)
        penalty = ((g * g).sum() - 1) ** 2
        penalty.backward()
        refs = [weakref.ref(g), weakref.ref(penalty)]
        del g, penalty
        assert all(r() is None for r in refs)
    finally:
        gc.enable()


def test_backward_lets_go_of_the_saved_arrays():
    x = leaf(1000)
    y = ops.exp(x * 1.0)
    saved = y._node.outputs[0]
    assert saved is y._data
    y.sum().backward()
    assert y._node.outputs is None
    assert y._node.inputs is None


# -- the layer that computes ---------------------------------------------------


def test_the_recorded_frame_is_the_layers():
    net = Net()
    y = net(np.ones((2, 3), np.float32))
    assert y._node.where() == "dense in model.second Layer(4 -> 2)"
    assert ops.relu(y)._node.where() == "relu"
    assert ops.relu(leaf(2))._node.frame is None
