"""`Embedding` and `EmbedColumns`: as torch, captured as eager, and through files."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.compile import build
from tests_steps import assert_equal_to_eager, forget_plans

RNG = np.random.default_rng(0)
SIZES = [(5, 3), (300, 2), (1, 1)]


def rows(n: int, numbers: int = 2, dtype: Any = np.float32) -> Any:
    codes = [RNG.integers(0, size, n) for size, _ in SIZES]
    return np.column_stack([RNG.normal(size=(n, numbers)), *codes]).astype(dtype)


def net(numbers: int = 2) -> Any:
    return nn.Sequential(
        nn.EmbedColumns(numbers + 3, SIZES), nn.Dense(numbers + 6, 4), nn.ReLU(), nn.Dense(4, 2)
    )


def test_embedding_as_torch() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = nn.Embedding(7, 3, padding_idx=2).double(), torch.nn.Embedding(7, 3, 2).double()
    ours.load_state_dict(theirs.state_dict())
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    a = cr.optim.Adam(ours.parameters(), lr=0.1)
    b = torch.optim.Adam(theirs.parameters(), lr=0.1)
    for _ in range(4):
        codes = RNG.integers(0, 7, (5, 4))
        a.zero_grad()
        b.zero_grad()
        (ours(codes) ** 3).sum().backward()
        (theirs(torch.tensor(codes)) ** 3).sum().backward()
        np.testing.assert_allclose(
            ours.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-12, atol=1e-14
        )
        a.step()
        b.step()
        np.testing.assert_allclose(
            ours.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-10
        )


def test_columns_as_torch() -> None:
    torch = pytest.importorskip("torch")
    layer = nn.EmbedColumns(5, SIZES).double()
    tables = [torch.tensor(w, requires_grad=True) for w in layer.state_dict().values()]
    x = rows(20, dtype=np.float64)
    parts = [t[torch.tensor(x[:, 2 + j].astype(int))] for j, t in enumerate(tables)]
    y, z = layer(x), torch.cat([torch.tensor(x[:, :2]), *parts], 1)
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
    (y**3).sum().backward()
    (z**3).sum().backward()
    for ours, theirs in zip(layer.parameters(), tables, strict=True):
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-12)


def test_initial_values() -> None:
    cr.seed(0)
    w = nn.Embedding(400, 50, padding_idx=-1).state_dict()["weight"]
    assert not w[399].any()
    assert abs(w[:399].mean()) < 0.03
    assert abs(w[:399].std() - 1) < 0.03
    first, second = nn.EmbedColumns(2, [(400, 50), (400, 50)]).state_dict().values()
    assert abs(np.linalg.norm(first, axis=1).mean() - 1) < 0.05
    assert not np.array_equal(first, second)


def embedding_step() -> Any:
    model = nn.Sequential(nn.Embedding(9, 4, padding_idx=1), nn.Flatten(), nn.Dense(12, 3))
    optimizer = cr.optim.AdamW(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = cr.ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    batches = [(RNG.integers(0, 9, (8, 3)), RNG.integers(0, 3, 8)) for _ in range(5)]
    return [model, optimizer], step, batches


def columns_step() -> Any:
    model = net()
    optimizer = cr.optim.Adam(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = cr.ops.cross_entropy(model(x), y)
        loss.backward()
        cr.optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        return loss, model(x)

    batches = [(rows(33), RNG.integers(0, 2, 33)) for _ in range(5)]
    return [model, optimizer], step, batches


def computed_codes_step() -> Any:
    """Codes that no argument holds, the same table twice, and a gradient that goes on to x."""
    model = nn.Sequential(nn.EmbedColumns(4, [(5, 3), (5, 3)]), nn.Dense(8, 1))
    table = nn.Embedding(6, 2)
    optimizer = cr.optim.SGD([*model.parameters(), *table.parameters()], lr=0.1)
    scale = nn.Parameter(np.ones(2, np.float32))

    def step(x: Any, ids: Any) -> Any:
        optimizer.zero_grad()
        scale.grad = None
        codes = cr.tensor(x)[:, 2:] + 1.0
        y = model(cr.ops.concatenate([cr.tensor(x)[:, :2] * scale, codes], axis=1))
        loss = (
            (y**2).sum()
            + (table(ids[:, 1]) * table(ids[:, 0])).sum()
            + (table(ids[:, 1:]) ** 2).sum()
        )
        loss.backward()
        optimizer.step()
        return loss

    def batch() -> Any:
        x = np.column_stack([RNG.normal(size=(7, 2)), RNG.integers(0, 4, (7, 2))])
        return x.astype(np.float32), RNG.integers(0, 6, (7, 3)).astype(np.int32)

    return [model, table, optimizer], step, [batch() for _ in range(5)]


@pytest.mark.parametrize("mode", ["always", "0"])
@pytest.mark.parametrize("make", [embedding_step, columns_step, computed_codes_step])
def test_captured_as_eager(make: Any, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", mode)
    forget_plans()
    global RNG
    before = RNG.bit_generator.state

    def same() -> Any:
        RNG.bit_generator.state = before
        return make()

    step = assert_equal_to_eager(same)
    forget_plans()
    (program,) = step.programs()
    native = mode == "always" and build.runtime() is not None
    assert (program.replay.layout is not None) == native, program.replay.reason


@pytest.mark.parametrize("mode", ["always", "0"])
def test_a_replay_meets_a_code_without_a_row(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", mode)
    forget_plans()
    for make in (embedding_step, columns_step):
        owners, step, batches = make()
        captured = cr.capture(step)
        for batch in batches:
            captured(*batch)
        before = owners[0].state_dict(), copy.deepcopy(owners[1].state_dict())
        x, y = batches[0][0].copy(), batches[0][1]
        x[3, 2] = 4
        x[4, 2] = 99
        with pytest.raises(cr.DataError, match=r"99 at (row 4, column 2|index .4, 2.)"):
            captured(x, y)
        for name, value in before[0].items():
            np.testing.assert_array_equal(owners[0].state_dict()[name], value)
        assert owners[1].state_dict()["steps"] == before[1]["steps"]
        captured(*batches[0])
        assert captured.reason is None
    forget_plans()


@pytest.mark.parametrize("mode", ["always", "0"])
def test_predictions(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", mode)
    forget_plans()
    model, x = net(), rows(9)
    eager = model(x).detach().numpy()
    with cr.no_grad():
        for _ in range(4):
            np.testing.assert_array_equal(model(x).numpy(), eager)
        x[2, 4] = 2
        with pytest.raises(cr.DataError, match="x holds 2 at row 2, column 4"):
            model(x)
    forget_plans()


def test_in_a_trainer() -> None:
    cr.seed(0)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    x[:, 2] = rng.integers(0, 8, 400)
    y = x[:, 2].astype(int) % 2  # what only a table can learn quickly
    model = nn.Sequential(nn.EmbedColumns(3, [(8, 4)]), nn.Dense(6, 16), nn.ReLU(), nn.Dense(16, 2))
    trainer = cr.Trainer(model, metrics=["accuracy"], optimizer=cr.optim.Adam(lr=0.05), seed=0)
    trainer.fit((x, y), epochs=5, batch_size=32, verbose=False)
    assert trainer.captured is not None
    assert trainer.captured.reason is None
    assert trainer.evaluate((x, y))["accuracy"] == 1.0
    assert (trainer.predict(x).argmax(axis=1) == y).all()


def test_files_copies_and_types(tmp_path: Path) -> None:
    model, x = nn.Sequential(net(), nn.Dense(2, 1)), rows(6)
    y = model(x).detach().numpy()
    cr.save(model, tmp_path / "net.safetensors")
    loaded = cr.load(tmp_path / "net.safetensors")
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(loaded(x).detach().numpy(), y)
    again = copy.deepcopy(model)
    np.testing.assert_array_equal(again(x).detach().numpy(), y)
    assert again.double()(x).dtype == np.float64
    codes = nn.Embedding(4, 2, padding_idx=-1)
    cr.save(codes, tmp_path / "codes.safetensors")
    assert repr(cr.load(tmp_path / "codes.safetensors")) == "Embedding(4 -> 2, padding_idx=3)"


def test_summary_and_names() -> None:
    model = net()
    assert list(model.state_dict())[:3] == ["0.weights.0", "0.weights.1", "0.weights.2"]
    text = str(model.summary(5))
    assert "EmbedColumns(5 -> 8, 3 embeddings)" in text
    assert "Tables(5 x 3, 300 x 2, 1 x 1)" in text
    assert "(B, 8)" in text


def test_gradients_per_sample() -> None:
    model, x, y = net(), rows(6), RNG.integers(0, 2, 6)
    found = cr.diagnose.per_sample_gradients(model, "cross_entropy", x, y)
    for k in range(6):
        model.zero_grad()
        cr.ops.cross_entropy(model(x[k : k + 1]), y[k : k + 1]).backward()
        for name, p in model.named_parameters():
            np.testing.assert_allclose(found[name][k], p.grad.numpy(), rtol=1e-4, atol=1e-6)
    codes = nn.Sequential(nn.Embedding(5, 2, padding_idx=0), nn.Flatten(), nn.Dense(6, 2))
    ids = RNG.integers(0, 5, (4, 3))
    found = cr.diagnose.per_sample_gradients(codes, "cross_entropy", ids, y[:4])
    cr.ops.cross_entropy(codes(ids), y[:4], reduction="sum").backward()
    for name, p in codes.named_parameters():
        np.testing.assert_allclose(found[name].sum(axis=0), p.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: nn.Embedding(0, 2), ValueError, "num_embeddings is at least 1, got 0"),
        (lambda: nn.Embedding(2, 1.5), TypeError, "embedding_dim is a whole number, got 1.5"),
        (lambda: nn.Embedding(2, 1, -3), ValueError, "padding_idx -3 is no row of a table of 2"),
        (lambda: nn.EmbedColumns(1, [(2, 2), (2, 2)]), ValueError, "2 embeddings for 1 column"),
        (lambda: nn.EmbedColumns(2, [(2, 0)]), ValueError, "dim of embedding 0 is at least 1"),
        (lambda: nn.EmbedColumns(2, [(2**24 + 1, 1)]), ValueError, "16,777,216 different codes"),
        (lambda: nn.EmbedColumns(2, [3]), TypeError, r"pairs \(categories, dim\), got 3"),
    ],
)
def test_arguments_that_are_refused(make: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_inputs_that_do_not_fit() -> None:
    model, x = net(), rows(3)
    for shape, text in (
        ((3, 4), r"model.0 EmbedColumns.*: expected x: \(n, 5\), got \(3, 4\); the last 3"),
        ((5,), r"a single sample needs a batch axis: x\[None\]"),
        ((2, 3, 5), r"got \(2, 3, 5\)$"),
    ):
        with pytest.raises(cr.ShapeError, match=text):
            model(np.zeros(shape))
    for value, text in ((5, "out of range"), (-1, "out of range"), (0.5, "no whole number")):
        bad = x.copy()
        bad[1, 2] = value
        with pytest.raises(
            cr.DataError,
            match=rf"model\.0 EmbedColumns.*: x holds {value} at row 1, column 2, which is {text}; "
            "the codes of 5 categories are 0 to 4",
        ):
            model(bad)
    with pytest.raises(TypeError, match="float64 tensor, the tables are float32"):
        model(cr.tensor(x.astype(np.float64)))
    with pytest.raises(cr.DataError, match=r"model\.0 Embedding\(4 -> 2\): code 4 at row 1"):
        nn.Sequential(nn.Embedding(4, 2))(np.array([0, 4]))


def test_no_embeddings_is_the_identity() -> None:
    layer, x = nn.EmbedColumns(2, []), np.ones((3, 2), np.float32)
    np.testing.assert_array_equal(layer(x), x)
    assert repr(layer) == "EmbedColumns(2 -> 2, 0 embeddings)"
