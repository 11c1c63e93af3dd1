"""Embeddings: values, derivatives of every order, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import ops

RNG = np.random.default_rng(0)
CODES = np.array([[0.0, 3.0], [4.0, 3.0], [4.0, 0.0], [1.0, 1.0]])


@pytest.mark.parametrize("shape", [(), (6,), (2, 3), (2, 0), (1, 2, 2)])
def test_values_and_types(shape: Any) -> None:
    weight = RNG.normal(size=(5, 3)).astype(np.float32)
    for dtype in (np.int64, np.int32, np.uint8, np.uint64):
        codes = RNG.integers(0, 5, shape).astype(dtype)
        y = ops.embedding(codes, weight)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, weight[codes])
        t = ops.embedding(codes, cr.tensor(weight, requires_grad=True))
        np.testing.assert_array_equal(t.detach().numpy(), weight[codes])
    np.testing.assert_array_equal(ops.embedding([4, 0], weight), weight[[4, 0]])


@pytest.mark.parametrize("codes", [np.array([[0, 4], [4, 1]]), np.array([2, 2, 2]), np.array(3)])
def test_derivatives_of_both_orders(codes: Any) -> None:
    w = RNG.normal(size=(5, 3))
    assert cr.check_gradients(lambda w: ops.embedding(codes, w) ** 3, w, order=2)


def test_derivatives_of_columns() -> None:
    def f(x: Any, *tables: Any) -> Any:
        return ops.embed_columns(ops.concatenate([x, CODES], axis=1), tables) ** 3

    tables = [RNG.normal(size=(5, 3)), RNG.normal(size=(4, 2))]
    assert cr.check_gradients(f, RNG.normal(size=(4, 2)), *tables, order=2)
    assert cr.check_gradients(f, np.zeros((4, 0)), *tables, order=2)


def test_the_gradient_by_codes_is_zero() -> None:
    x = np.concatenate([RNG.normal(size=(4, 2)), CODES], axis=1)
    t = cr.tensor(x, requires_grad=True)
    tables = [RNG.normal(size=(5, 3)), RNG.normal(size=(4, 2))]
    (ops.embed_columns(t, tables) * 2.0).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), [[2, 2, 0, 0]] * 4)


def test_padding_gets_no_gradient_in_any_order() -> None:
    codes = np.array([0, 2, 2, 1])
    w = cr.tensor(RNG.normal(size=(3, 2)), requires_grad=True)
    for padding in (2, -1):
        y = ops.embedding(codes, w, padding_idx=padding)
        np.testing.assert_array_equal(y.detach().numpy(), w.detach().numpy()[codes])
        (g,) = cr.autograd.grad((y**3).sum(), [w], create_graph=True)
        assert not g.detach().numpy()[2].any()
        (h,) = cr.autograd.grad((g * w.detach()).sum(), [w])
        wanted = 6 * w.detach().numpy() ** 2
        wanted[2] = 0
        np.testing.assert_allclose(h.numpy(), wanted, rtol=1e-12)


def test_forward_mode() -> None:
    codes, w, v = np.array([1, 1, 0]), RNG.normal(size=(3, 2)), RNG.normal(size=(3, 2))
    _, tangent = cr.jvp(lambda w: ops.embedding(codes, w) ** 2, cr.tensor(w), cr.tensor(v))
    np.testing.assert_allclose(tangent.numpy(), 2 * w[codes] * v[codes], rtol=1e-12)


def test_as_torch() -> None:
    torch = pytest.importorskip("torch")
    codes, w = RNG.integers(0, 6, (7, 3)), RNG.normal(size=(6, 4))
    for padding in (None, 2, -1):
        a = cr.tensor(w, requires_grad=True)
        b = torch.tensor(w, requires_grad=True)
        y = ops.embedding(codes, a, padding)
        z = torch.nn.functional.embedding(torch.tensor(codes), b, padding)
        np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
        (y**3).sum().backward()
        (z**3).sum().backward()
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("codes", "text"),
    [
        ([0, 3], "code 3 at row 1 is out of range; a table of 3 rows has codes 0 to 2"),
        ([[0, -1]], r"code -1 at index \(0, 1\)"),
        ([1, 3], "counted from 1"),
        (7, "code 7 at the single entry"),
    ],
)
def test_codes_out_of_range(codes: Any, text: str) -> None:
    with pytest.raises(cr.DataError, match=text):
        ops.embedding(np.array(codes), np.zeros((3, 2)))
    with pytest.raises(cr.DataError, match="table of 1 row has code 0"):
        ops.embedding(np.array([1]), np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("codes", "text"),
    [
        (np.array([1.0]), r"integers, got float64; .*astype\(np.int64\)"),
        (np.array([True]), "integers, got bool"),
        (np.array(["a"]), "number the categories"),
        (cr.tensor([1.0]), "got float32"),
    ],
)
def test_codes_that_are_no_integers(codes: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        ops.embedding(codes, np.zeros((3, 2)))


def test_what_is_no_table() -> None:
    for weight in (np.zeros(3), np.zeros((3, 2), int)):
        with pytest.raises(cr.ShapeError, match="a table has the shape"):
            ops.embedding(np.array([0]), weight)
    with pytest.raises(ValueError, match="padding_idx 3 is no row"):
        ops.embedding(np.array([0]), np.zeros((3, 2)), 3)
    with pytest.raises(TypeError, match=r"padding_idx .* got 1\.5"):
        ops.embedding(np.array([0]), np.zeros((3, 2)), 1.5)  # type: ignore[arg-type]


def test_columns_that_do_not_fit() -> None:
    tables = [np.zeros((3, 2), np.float32), np.zeros((2, 2), np.float32)]
    x = np.array([[0.5, 2.0, 1.0]], np.float32)
    assert ops.embed_columns(x, tables).shape == (1, 5)
    assert ops.embed_columns(x.astype(np.float64), tables).dtype == np.float32
    assert ops.embed_columns(np.array([[1, 2, 1]]), tables).dtype == np.float32
    assert ops.embed_columns(x, []) is x
    for shape in ((3,), (1, 1), (1, 2, 3)):
        with pytest.raises(cr.ShapeError, match="a column for each of 2 tables"):
            ops.embed_columns(np.zeros(shape), tables)
    for value, text in ((1.5, "no whole number"), (3, "out of range"), (np.nan, "no whole")):
        with pytest.raises(cr.DataError, match=f"at row 0, column 1, which is {text}"):
            ops.embed_columns(np.array([[0.5, value, 1.0]]), tables)
    with pytest.raises(TypeError, match="float64 tensor, the tables are float32"):
        ops.embed_columns(cr.tensor(x.astype(np.float64)), tables)
    with pytest.raises(TypeError, match="one type, got float32, float64"):
        ops.embed_columns(x, [tables[0], tables[1].astype(np.float64)])
    with pytest.raises(TypeError, match="x must hold numbers"):
        ops.embed_columns(np.array([["a", "b"]]), tables)
