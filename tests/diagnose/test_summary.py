"""The summary of a model: rows, totals, looks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.diagnose import Summary, summary


class Net(nn.Module):
    def __init__(self) -> None:
        self.encoder = nn.Sequential(nn.Dense(6, 4), nn.ReLU())
        self.head = nn.Dense(4, 2, bias=False)
        self.scale = nn.Parameter(np.ones(2, np.float32))
        self.unused = nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        return self.head(self.encoder(x)) * self.scale


def rows(s: Summary) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in s.rows]


def test_a_nested_model_of_your_own() -> None:
    model = Net()
    model.head.freeze()
    s = summary(model, 6)
    assert rows(s) == [
        ("", "Net", "(B, 2)", 2, "yes"),
        ("encoder", "Sequential", "(B, 4)", None, ""),
        ("encoder.0", "Dense(6 -> 4)", "(B, 4)", 28, "yes"),
        ("encoder.1", "ReLU()", "(B, 4)", None, ""),
        ("head", "Dense(4 -> 2, bias=False)", "(B, 2)", 8, "frozen"),
        ("unused", "Dropout(p=0.5)", "", None, ""),
    ]
    assert (s.parameters, s.trainable, s.frozen, s.nbytes) == (38, 30, 8, 152)
    assert sum(row.parameters or 0 for row in s.rows) == s.parameters


def test_the_text() -> None:
    assert str(summary(Net(), (6,))) == (
        "Net -> (B, 2)\n"
        "\n"
        "Layer      Type                       Output  Parameters  Trained\n"
        "-----------------------------------------------------------------\n"
        "(itself)   Net                        (B, 2)           2  yes\n"
        "encoder    Sequential                 (B, 4)\n"
        "encoder.0  Dense(6 -> 4)              (B, 4)          28  yes\n"
        "encoder.1  ReLU()                     (B, 4)\n"
        "head       Dense(4 -> 2, bias=False)  (B, 2)           8  yes\n"
        "unused     Dropout(p=0.5)\n"
        "\n"
        "Parameters: 38 (38 trained, 0 frozen)\n"
        "Memory:     152 B (float32)"
    )


def test_without_a_shape_nothing_runs() -> None:
    class Silent(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Dense(2, 2)

        def forward(self, x: Any) -> Any:
            raise AssertionError("it ran")

    s = summary(Silent())
    assert "Output" not in s
    assert rows(s) == [("layer", "Dense(2 -> 2)", "", 6, "yes")]
    with pytest.raises(AssertionError, match="it ran"):
        summary(Silent(), 2)


def test_shared_and_tied_count_once() -> None:
    layer = nn.Dense(3, 3)
    tied = nn.Dense(3, 3)
    tied.weight = layer.weight
    s = summary(nn.Sequential(layer, nn.Tanh(), layer, tied), 3)
    assert [(r.path, r.parameters, r.trained) for r in s.rows] == [
        ("0", 12, "yes"),
        ("1", None, ""),
        ("2", 0, "shared"),
        ("3", 3, "yes"),
    ]
    assert s.parameters == 15


def test_partly_frozen() -> None:
    layer = nn.Dense(3, 2)
    layer.bias.requires_grad = False
    s = summary(layer)
    assert rows(s) == [("", "Dense(3 -> 2)", "", 8, "partly")]
    assert (s.trainable, s.frozen) == (6, 2)


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Dense(3, 3), nn.Dropout(0.5), nn.Dense(3, 2))
    model[1].eval()
    state = model.state_dict()
    summary(model, 3)
    with pytest.raises(cr.ShapeError):
        summary(model, 4)
    assert [m.training for m in model.modules()] == [True, True, False, True]
    assert not any(m._hooks for m in model.modules())
    assert all(np.array_equal(a, state[n]) for n, a in model.state_dict().items())
    assert model(np.ones((1, 3))).requires_grad


def test_a_shape_that_does_not_fit_names_the_layer() -> None:
    with pytest.raises(
        cr.ShapeError, match=r"^model.encoder.0 Dense\(6 -> 4\): expected .*got \(2, 5\)"
    ):
        summary(Net(), 5)


def test_any_error_says_where() -> None:
    class Broken(nn.Module):
        def forward(self, x: Any) -> Any:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no") as caught:
        summary(nn.Sequential(nn.Identity(), Broken()), (3, 4))
    assert caught.value.__notes__ == [
        "in model.1 Broken(), while summary ran the model on zeros of shape (2, 3, 4)"
    ]


def test_inputs_and_types() -> None:
    class Two(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            assert b.dtype == np.int64
            return a, b

    s = summary(Two(), [(3,), (4, 5)], dtype=np.int64)
    assert s.rows[0].output == "(B, 3), (B, 4, 5)"
    double = nn.Dense(3, 2).double()
    assert summary(double, 3).nbytes == 64
    assert "(float64)" in summary(double)
    assert summary(nn.Flatten(0), (2, 3)).rows[0].output == "(12,)"
    assert summary(nn.Identity(), ()).rows[0].output == "(B,)"


def test_it_fits_80_columns() -> None:
    model: nn.Module = nn.Sequential(
        {"a" * 30: nn.Dense(1000, 2000, activation=nn.LeakyReLU(0.123456))}
    )
    for _ in range(4):
        model = nn.Sequential({"inner": model})
    s = summary(model, 1000)
    lines = s.split("\n")
    assert max(map(len, lines)) <= 80
    assert "2,002,000" in s
    row = lines[-4]
    assert row.startswith("…")
    assert "Dense(1000 ->" in row
    assert summary(model).rows[-1].path == "inner.inner.inner.inner." + "a" * 30


def test_html() -> None:
    s = summary(nn.Sequential(nn.Dense(64, 100)), 64)
    page = s._repr_html_()
    assert "<td>Dense(64 -&gt; 100)</td><td>(B, 100)</td><td>6,500</td>" in page
    assert page.count("<tr>") == 2


def test_the_method_and_the_prompt() -> None:
    model = Net()
    assert model.summary(6) == summary(model, 6)
    assert repr(summary(model)) == str(summary(model))
    with pytest.raises(TypeError, match=r"takes a chainrule\.nn\.Module, got int"):
        summary(3)  # type: ignore[arg-type]


def test_a_model_without_parameters() -> None:
    s = summary(nn.Sequential(nn.ReLU()))
    assert s.parameters == 0
    assert "0 B (no parameters)" in s


def test_an_array_is_no_shape():
    with pytest.raises(TypeError, match=r"array of shape \(5, 6\); pass \(6,\)"):
        summary(Net(), np.ones((5, 6), np.float32))


def test_a_leading_none_is_the_batch():
    model = nn.Sequential(nn.Dense(4, 3))
    assert summary(model, (None, 4)) == summary(model, (4,))
