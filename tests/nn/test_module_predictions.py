"""Under `no_grad` a model replays its forward pass: the same bits, and safe in several threads."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import chainrule as cr

nn, ops = cr.nn, cr.ops

R = np.random.default_rng(0)
X = R.normal(size=(9, 6)).astype(np.float32)


def net(seed: int = 0, *layers: Any) -> Any:
    cr.seed(seed)
    return nn.Sequential(nn.Dense(6, 40), nn.GELU(), *layers, nn.Dense(40, 3), nn.Softmax())


def programs(model: Any) -> list[Any]:
    return list(model._replayed.programs())


def predict(model: Any, x: Any) -> Any:
    with cr.no_grad():
        return model(x)


def test_a_prediction_is_the_forward_pass(executor: str) -> None:
    model = net()
    model.eval()
    for n in (9, 9, 9, 1, 1, 1, 1, 9):
        eager = model(X[:n])
        replayed = predict(model, X[:n])
        assert not replayed.requires_grad
        np.testing.assert_array_equal(replayed.numpy(), eager.detach().numpy())
    assert [p.checked for p in programs(model)] == [2, 2]
    assert model._replayed.reason is None
    for p in programs(model):
        assert (p.replay.layout is not None) is (executor == "native")


def test_small_predictions_wait_for_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")

    def build(source: str, name: str) -> Any:
        raise AssertionError("a kernel is built for a prediction of one row")

    monkeypatch.setattr("chainrule.compile.build.library", build)
    model = net()
    for _ in range(4):
        assert predict(model, X[:1]).shape == (1, 3)
    assert [p.checked for p in programs(model)] == [2]


def test_arrays_and_tensors(executor: str) -> None:
    model = net()
    expected = model(X).detach().numpy()
    for _ in range(3):
        for x in (X, cr.tensor(X), X.astype(np.float64), cr.tensor(X, requires_grad=True)):
            result = predict(model, x)
            assert isinstance(result, cr.Tensor)
            np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6)


def test_parameters_are_read_at_each_prediction(executor: str) -> None:
    model = net(0, nn.Dropout(0.5))
    model.eval()
    for k in range(6):
        model[0].weight.assign(R.normal(size=(40, 6)))
        np.testing.assert_array_equal(predict(model, X).numpy(), model(X).detach().numpy())
        if k == 3:
            model.load_state_dict(net(1, nn.Dropout(0.5)).state_dict())
    assert len(programs(model)) == 1


def test_what_changes_the_model_is_noticed(executor: str) -> None:
    model = net(0, nn.Dropout(0.5))
    model.eval()

    def check() -> None:
        for _ in range(3):
            np.testing.assert_array_equal(predict(model, X).numpy(), model(X).detach().numpy())

    check()
    model[0] = nn.Dense(6, 40)
    check()
    model.double()
    check()
    model[3].bias = None
    check()
    model.append(nn.Tanh())
    check()
    hook = model[0].register_forward_hook(lambda module, args, out: 0.5 * out)
    check()
    hook.remove()
    check()
    model.train()
    drawn = {predict(model, X).numpy().tobytes() for _ in range(6)}
    assert len(drawn) == 6  # dropout draws anew each time


def test_training_goes_on_after_a_prediction():
    model = net()
    for _ in range(4):
        predict(model, X)
        loss = model(X).sum()
        loss.backward()
        assert model[0].weight.grad is not None
        model.zero_grad()
    inner = cr.tensor(X, requires_grad=True)
    model(inner).sum().backward()
    assert inner.grad is not None


def test_copies_predict_by_themselves():
    model = net()
    for _ in range(3):
        predict(model, X)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other[0].weight.assign(np.zeros((40, 6)))
        for _ in range(3):
            assert not np.array_equal(predict(other, X).numpy(), predict(model, X).numpy())


class Counting(nn.Module):
    def __init__(self):
        self.dense, self.calls, self.seen = nn.Dense(6, 3), 0, []

    def forward(self, x):
        self.calls += 1
        h = self.dense(x)
        self.seen.append(h)
        return h


def test_a_forward_pass_that_does_more_runs_each_time():
    model = Counting()
    for n in range(1, 6):
        predict(model, X)
        assert model.calls == len(model.seen) == n
    assert all(isinstance(h._data, np.ndarray) for h in model.seen)
    assert programs(model) == []


def test_results_of_any_kind():
    class Several(nn.Module):
        def __init__(self):
            self.dense = nn.Dense(6, 3)

        def forward(self, x):
            h = self.dense(x)
            return {"out": h, "both": (ops.tanh(h), h.shape)}

    model = Several()
    for _ in range(4):
        result = predict(model, X)
        assert list(result) == ["out", "both"]
        assert result["both"][1] == (9, 3)
    assert len(programs(model)) == 1


def test_wrong_inputs_raise_as_ever():
    model = net()
    for _ in range(3):
        predict(model, X)
    for _ in range(3):
        with pytest.raises(cr.ShapeError, match=r"model.0 Dense\(6 -> 40\).*expected x"):
            predict(model, X[:, :4])
    assert predict(model, X).shape == (9, 3)


def test_several_threads_predict_with_one_model(executor: str) -> None:
    """Each with its own inputs and batch sizes, while others predict."""
    model = net()
    model.eval()
    inputs = [R.normal(size=(n, 6)).astype(np.float32) for n in (1, 64, 64, 2000)]
    expected = [model(x).detach().numpy() for x in inputs]
    start = threading.Barrier(len(inputs))
    wrong: list[Any] = []

    def work(x: Any, y: Any) -> None:
        start.wait()
        try:
            kept = [predict(model, x) for _ in range(40)]
            if not all(np.array_equal(k.numpy(), y) for k in kept):
                wrong.append(len(x))
        except BaseException as error:
            wrong.append(error)

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip(inputs, expected, strict=True)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert len(programs(model)) >= 3


def test_several_threads_draw_different_masks(executor: str) -> None:
    """Predictions with dropout on (an ensemble): every mask is a draw of the stream, once."""
    model = nn.Sequential(nn.Dropout(0.5))
    ones = cr.tensor(np.ones((16, 16), np.float32))
    found: list[bytes] = []

    def work() -> None:
        found.extend((predict(model, ones).numpy() > 0).tobytes() for _ in range(25))

    for _ in range(3):
        predict(model, ones)
    drawn = cr.array.random.default_stream().state()["counters"]["model.0"]
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    stream = cr.array.random.default_stream()
    assert stream.state()["counters"]["model.0"] == drawn + 100
    masks = {
        stream.bernoulli("model.0", (16, 16), 0.5, step=drawn + k).tobytes() for k in range(100)
    }
    assert len(set(found)) == 100
    assert set(found) == masks
