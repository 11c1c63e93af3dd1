"""Ensembles: the mean of networks, its derivatives, its files, its errors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.array.errors import ShapeError
from chainrule.train.recipe import table_network


def members(count: int, **more: Any) -> list[nn.Module]:
    cr.seed(0)
    options: dict[str, Any] = {"hidden": (7, 5), "activation": "silu", "dropout": 0.2, **more}
    return [table_network(6, [(3, 2)], 4, **options) for _ in range(count)]


def rows(count: int = 9) -> Any:
    x = np.random.default_rng(0).normal(size=(count, 6)).astype(np.float32)
    x[:, -1] = np.arange(count) % 3
    return x


def plain(model: Any, x: Any) -> Any:
    return model(x).detach().numpy()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_it_is_the_mean_of_its_members(count: int, executor: str) -> None:
    model = nn.Ensemble(members(count)).eval()
    x = rows()
    outputs = [plain(m, x).astype(np.float64) for m in model]
    found = plain(model, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.mean(outputs, axis=0), rtol=3e-7, atol=1e-7)
    if count == 1:
        assert np.array_equal(found, outputs[0].astype(np.float32))
    assert plain(model, x[:0]).shape == (0, 4)
    bad = x.copy()
    bad[2, 0] = np.nan
    assert np.isnan(plain(model, bad)).any(axis=1).tolist() == [k == 2 for k in range(9)]


def test_scores_are_meant_as_logarithms() -> None:
    model = nn.Ensemble(members(3)).eval()
    x = rows()
    p = np.stack([cr.ops.softmax(plain(m, x).astype(np.float64), axis=1) for m in model])
    geometric = np.exp(np.log(p).mean(axis=0))
    geometric /= geometric.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(cr.ops.softmax(plain(model, x), axis=1), geometric, rtol=1e-5)
    # so its log loss is at most the mean of theirs, whatever the truth is
    for k in range(4):
        own = -np.log(p[:, :, k]).mean()
        assert -np.log(geometric[:, k]).mean() <= own


def test_what_the_members_disagree_by_is_gained() -> None:
    model = nn.Ensemble(members(4)).double().eval()
    x = rows().astype(np.float64)
    y = np.random.default_rng(1).normal(size=(9, 4))
    each, mean = np.stack([plain(m, x) for m in model]), plain(model, x)
    ours, theirs = ((mean - y) ** 2).mean(), ((each - y) ** 2).mean()
    assert ours == pytest.approx(theirs - ((each - mean) ** 2).mean(), rel=1e-12)


def test_its_derivatives_reach_every_member() -> None:
    dense = nn.Ensemble([nn.Dense(6, 4, activation="tanh"), nn.Dense(6, 4)]).double()
    assert cr.check_gradients(lambda x: dense(x), rows(3).astype(np.float64))
    model = nn.Ensemble(members(2, dropout=0.0)).double()
    cr.ops.cross_entropy(model(rows().astype(np.float64)), np.arange(9) % 4).backward()
    for p in model.parameters():
        assert p.grad is not None
        assert np.abs(p.grad.numpy()).max() > 0


def test_members_drop_other_values() -> None:
    a, b = members(2, dropout=0.5)
    b.load_state_dict(a.state_dict())
    model = nn.Ensemble([a, b]).train()
    seen: list[Any] = []
    for m in model:
        m.register_forward_hook(lambda module, args, out: seen.append(out.detach().numpy()))
    model(rows())
    assert not np.array_equal(*seen)
    seen.clear()
    model.eval()(rows())
    assert np.array_equal(*seen)


def test_a_file_brings_it_back(tmp_path: Path) -> None:
    model = nn.Ensemble(members(3)).eval()
    cr.save(model, tmp_path / "m.safetensors")
    again = cr.load(tmp_path / "m.safetensors")
    assert type(again) is nn.Ensemble
    assert len(again) == 3
    assert np.array_equal(plain(again, rows()), plain(model, rows()))
    assert list(model.state_dict())[:2] == ["0.0.weights.0", "0.1.weight"]
    other = copy.deepcopy(model)
    assert np.array_equal(plain(other, rows()), plain(model, rows()))
    assert str(again).count("Dense(5 -> 4)") == 3
    assert model.summary(6).parameters == 3 * model[0].summary(6).parameters


def test_a_captured_step_replays_it() -> None:
    model = nn.Ensemble(members(3)).eval()
    step = cr.capture(lambda x: model(x))
    for _ in range(3):
        assert np.array_equal(plain(step, rows()), plain(model, rows()))


def test_onnxruntime_computes_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = nn.Ensemble(members(3)).eval()
    cr.onnx.export(model, tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: rows()})
    np.testing.assert_allclose(found, plain(model, rows()), rtol=1e-5, atol=1e-6)


def test_it_is_a_list() -> None:
    a, b, c = members(3)
    model = nn.Ensemble([a, b])
    assert model.append(c) is model
    assert list(model) == [a, b, c]
    assert type(model[1:]) is nn.Ensemble
    assert list(model[1:]) == [b, c]
    assert np.array_equal(plain(model[:1].eval(), rows()), plain(a.eval(), rows()))


def test_what_cannot_be_a_mean_is_refused() -> None:
    with pytest.raises(ValueError, match="no member to ask"):
        nn.Ensemble([])(rows())
    with pytest.raises(TypeError, match=r"Ensemble\(\[module\]\)"):
        nn.Ensemble(nn.Dense(6, 4))
    with pytest.raises(TypeError, match="Ensemble"):
        nn.Ensemble([nn.Dense(6, 4), 3])
    model = nn.Ensemble([nn.Dense(6, 4), nn.Dense(6, 4), nn.Dense(6, 3)])
    with pytest.raises(ShapeError, match=r"member 2 gives \(9, 3\), member 0 gives \(9, 4\)"):
        model(rows())
    with pytest.raises(ShapeError, match="Dense"):
        nn.Ensemble([nn.Dense(6, 4), nn.Dense(5, 4)])(rows())
