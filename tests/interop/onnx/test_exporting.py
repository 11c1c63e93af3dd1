"""`cr.onnx.export` as a whole: the file, its metadata, its errors, and tables."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

import chainrule as cr
from chainrule.interop.onnx import exporting as module

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

nn = cr.nn


def test_any_number_of_rows(tmp_path: Any) -> None:
    model = nn.Sequential(nn.Dense(3, 8, activation="silu"), nn.Dropout(0.5), nn.Dense(8, 2))
    done = cr.onnx.export(model, tmp_path / "m.onnx", np.zeros((1, 3)))
    session = ort.InferenceSession(tmp_path / "m.onnx")
    for rows in (1, 2, 37):
        x = np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)
        (found,) = session.run(None, {"x": x})
        with cr.no_grad():
            expected = model.eval()(x).numpy()
        model.train()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert done.rows == 1 + 1 + 5 + 300
    assert done.size == (tmp_path / "m.onnx").stat().st_size


def test_the_file_says_where_it_comes_from(tmp_path: Any) -> None:
    model = nn.Dense(2, 3)
    path = tmp_path / "m.onnx"
    cr.onnx.export(model, path, classes=["a", "b", "ç"], metadata={"note": "mine"})
    props = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert props["chainrule_version"] == cr.__version__
    assert (props["task"], props["note"]) == ("classification", "mine")
    assert json.loads(props["classes"]) == ["a", "b", "ç"]
    model.bias.assign(np.ones(3))
    cr.onnx.export(model, path, classes=["a", "b", "ç"])
    assert {p.key: p.value for p in onnx.load(path).metadata_props}["digest"] != props["digest"]


def test_names_of_inputs_and_outputs(tmp_path: Any) -> None:
    class Two(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return {"sum": a + b, "mean": (a - b).mean(axis=1)}

    x = np.ones((2, 3))
    done = cr.onnx.export(
        Two(), tmp_path / "m.onnx", (x, x), input_names=["a", "b"], output_names=["s", "m"]
    )
    assert [str(p) for p in (*done.inputs, *done.outputs)] == [
        "a: float32 (rows, 3)", "b: float32 (rows, 3)", "s: float32 (rows, 3)",
        "m: float32 (rows,)",
    ]  # fmt: skip
    assert "largest difference over 308 rows" in str(done)
    with pytest.raises(ValueError, match="output_names has 1 names for 2 outputs"):
        cr.onnx.export(Two(), tmp_path / "m.onnx", (x, x), output_names=["s"])
    # an output does not take the name of an input
    done = cr.onnx.export(nn.Dense(2, 1), tmp_path / "m.onnx", input_names=["y"])
    assert done.outputs[0].name == "y_2"


def test_a_model_in_float64_stays_exact(tmp_path: Any) -> None:
    model = nn.Sequential(nn.Dense(3, 5, activation="gelu"), nn.Softmax(axis=1)).double()
    assert cr.onnx.export(model, tmp_path / "m.onnx").largest < 1e-15


def test_a_wrong_file_is_never_written(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    cr.onnx.export(nn.Dense(2, 2), path)
    before = path.read_bytes()

    class Wrong(module.Runner):
        def __call__(self, given: Any) -> Any:
            return [a + 0.01 for a in super().__call__(given)]

    monkeypatch.setattr(module, "Runner", Wrong)
    with pytest.raises(cr.onnx.ExportError, match=r"'y' differs from what the model gives by"):
        cr.onnx.export(nn.Dense(2, 2), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_errors_come_from_the_model_where_they_are_its_own(tmp_path: Any) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(cr.ShapeError, match=r"model\.0 Dense\(4 -> 4\): expected x: \(B, 4\)"):
        cr.onnx.export(nn.Sequential(nn.Dense(4, 4)), path, np.ones((2, 3)))
    with pytest.raises(TypeError, match=r"export takes a chainrule\.nn\.Module, got Trainer"):
        cr.onnx.export(cr.Trainer(nn.Dense(1, 1), loss="mse"), path)
    with pytest.raises(FileNotFoundError):
        cr.onnx.export(nn.Dense(2, 2), tmp_path / "no" / "m.onnx")


def test_what_ends_at_a_number_of_rows_is_noticed(tmp_path: Any) -> None:
    class First(nn.Module):
        def forward(self, x: Any) -> Any:
            return x[:20]

    with pytest.raises(
        cr.onnx.ExportError, match=r"float32 \(300, 3\), the model gives .*\(20, 3\)"
    ):
        cr.onnx.export(First(), tmp_path / "m.onnx", np.ones((4, 3)))


def test_a_model_of_one_number_of_rows_is_refused(tmp_path: Any) -> None:
    class Four(nn.Module):
        def forward(self, x: Any) -> Any:
            return cr.ops.reshape(x, (4, 3))

    with pytest.raises(cr.onnx.ExportError, match=r"ran on the example, but not on 11 rows"):
        cr.onnx.export(Four(), tmp_path / "m.onnx", np.ones((4, 3)))


def test_a_model_that_gives_no_array_is_refused(tmp_path: Any) -> None:
    class Nothing(nn.Module):
        def forward(self, x: Any) -> Any:
            return None

    with pytest.raises(cr.onnx.ExportError, match=r"gives no array"):
        cr.onnx.export(Nothing(), tmp_path / "m.onnx", np.ones((4, 3)))


def test_the_input_itself_may_be_an_output(tmp_path: Any) -> None:
    done = cr.onnx.export(nn.Identity(), tmp_path / "m.onnx", np.ones((4, 3)))
    assert [str(p) for p in done.outputs] == ["y: float32 (rows, 3)"]


def test_a_tolerance_for_models_that_round_inside(tmp_path: Any) -> None:
    class Steps(nn.Module):
        def forward(self, x: Any) -> Any:
            return cr.ops.floor(cr.ops.sigmoid(x) * 3e7)

    example = np.linspace(-3, 3, 40)[:, None]
    with pytest.raises(cr.onnx.ExportError, match=r"larger tolerance"):
        cr.onnx.export(Steps(), tmp_path / "m.onnx", example, tolerance=1e-12)
    done = cr.onnx.export(Steps(), tmp_path / "m.onnx", example, tolerance=1e-6)
    assert 0 < done.largest < 1e-6


def test_a_table_of_a_model_in_float64(tmp_path: Any) -> None:
    table = {"x": [1.0, 2.5, 4.0, None], "y": [1.0, 2.0, 3.0, 5.0]}
    prepare = cr.data.TablePreprocessor(drop=["y"]).fit(table)
    target = cr.data.Target().fit({"y": table["y"]}, "regression")
    model = nn.Dense(prepare.width, 1).double()
    path = tmp_path / "m.onnx"
    done = cr.onnx.export(model, path, table, preprocessor=prepare, target=target)
    assert done.largest < 1e-14


def test_hooks_are_refused(tmp_path: Any) -> None:
    model = nn.Sequential(nn.Dense(2, 2))
    with (
        model[0].register_forward_hook(lambda m, a, y: y * 2),
        pytest.raises(cr.onnx.ExportError, match=r"Dense has a hook, which runs Python"),
    ):
        cr.onnx.export(model, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"classes": [0, 1], "outputs": ([0], [1], ())}, "give one of them"),
        ({"decision": [1.0, 2.0]}, "decision with target"),
        ({"target": object()}, "target goes with preprocessor"),
    ],
)
def test_options_that_do_not_go_together(given: Any, message: str, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match=message):
        cr.onnx.export(nn.Dense(2, 2), tmp_path / "m.onnx", **given)


def test_a_table_from_python_with_decision_weights(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"x": rng.standard_normal(90), "predicted_y": rng.choice(["u", "v"], 90)})
    y = pl.DataFrame({"y": rng.choice(["a", "b", "c"], 90)})
    prepare, target = cr.data.TablePreprocessor().fit(table), cr.data.Target().fit(y)
    model = nn.Sequential(nn.Dense(prepare.width, 3))
    weights = [1.0, 3.0, 0.5]
    done = cr.onnx.export(
        model, tmp_path / "m.onnx", table, preprocessor=prepare, target=target, decision=weights
    )
    # a column that is called like the output keeps its name
    assert [p.name for p in done.outputs] == ["predicted_y_2", "probabilities"]
    assert done.outputs[1].says == "of a, b, c"
    session = ort.InferenceSession(tmp_path / "m.onnx")
    chosen, p = session.run(None, cr.onnx.feeds(prepare, table))
    with cr.no_grad():
        scores = model(prepare.transform(table)).numpy()
    np.testing.assert_allclose(p, target.probabilities(scores).to_numpy(), rtol=1e-5)
    assert chosen.tolist() == target.decode(scores + np.log(weights))["y"].to_list()
    props = {q.key: json.loads(q.value) for q in onnx.load(tmp_path / "m.onnx").metadata_props
             if q.key in ("feature_names", "targets", "decision")}  # fmt: skip
    assert props == {
        "feature_names": prepare.feature_names, "targets": ["y"], "decision": weights,
    }  # fmt: skip


def test_rows_that_rounding_decides_are_not_compared() -> None:
    head = module.of_classes([0, 1])
    p = np.array([[0.5, 0.5], [0.4, 0.6], [0.500001, 0.499999]])
    assert module._undecided(head, [np.zeros(3), p]).tolist() == [True, False, True]
