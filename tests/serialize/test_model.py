"""save and load: what comes back is what was saved, and nothing a file says is executed."""

from __future__ import annotations

import os
import pickle
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import chainrule as cr
from chainrule.array.errors import FileFormatError
from chainrule.serialize.container import write_container
from chainrule.serialize.model import read_metadata
from tests_common import net


class Residual(cr.nn.Module):
    def __init__(self, width: int, depth: int = 2) -> None:
        self.layers = cr.nn.ModuleList(
            [cr.nn.Dense(width, width, activation="tanh") for _ in range(depth)]
        )

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = x + layer(x)
        return x


class Opaque(cr.nn.Module):
    def __init__(self, function: Any) -> None:
        self.dense = cr.nn.Dense(2, 2)
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(self.dense(x))


def same(a: Any, b: Any) -> None:
    assert list(a.state_dict()) == list(b.state_dict())
    for name, v in a.state_dict().items():
        np.testing.assert_array_equal(v, b.state_dict()[name])
        assert v.dtype == b.state_dict()[name].dtype


def test_round_trip(tmp_path: Any) -> None:
    model = net(p=0.2)
    cr.save(model, tmp_path / "m.safetensors", metadata={"classes": ["a", "b", "c"]})
    back = cr.load(tmp_path / "m.safetensors")
    same(model, back)
    assert repr(back) == repr(model)
    assert not back.training
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_array_equal(model.eval()(x).detach().numpy(), back(x).detach().numpy())
    assert read_metadata(tmp_path / "m.safetensors") == {"classes": ["a", "b", "c"]}
    assert set(load_file(tmp_path / "m.safetensors")) == set(model.state_dict())


def test_float64_and_loading_does_not_move_the_random_stream(tmp_path: Any) -> None:
    model = net().double()
    cr.save(model, tmp_path / "m")
    cr.seed(5)
    expected = cr.nn.Dense(3, 3).state_dict()["weight"]
    cr.seed(5)
    same(model, cr.load(tmp_path / "m"))
    np.testing.assert_array_equal(cr.nn.Dense(3, 3).state_dict()["weight"], expected)


def test_user_classes_are_passed_in(tmp_path: Any) -> None:
    model = Residual(3, depth=3)
    cr.save(model, tmp_path / "m")
    same(model, cr.load(tmp_path / "m", classes=[Residual]))
    with pytest.raises(FileFormatError, match=r"Residual.*classes"):
        cr.load(tmp_path / "m")


def test_what_json_cannot_hold_loads_into_a_model(tmp_path: Any) -> None:
    model = Opaque(lambda x: x)
    cr.save(model, tmp_path / "m")
    with pytest.raises(FileFormatError, match="into=model"):
        cr.load(tmp_path / "m", classes=[Opaque])
    other = Opaque(lambda x: x)
    assert cr.load(tmp_path / "m", into=other) is other
    same(model, other)
    with pytest.raises(FileFormatError, match=r"dense\.weight|missing|fit"):
        cr.load(tmp_path / "m", into=net())


def test_files_of_others(tmp_path: Any) -> None:
    save_file({"w": np.ones(2, np.float32)}, tmp_path / "foreign.safetensors")
    with pytest.raises(FileFormatError):
        cr.load(tmp_path / "foreign.safetensors")

    class Bomb:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path}/ran",)

    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(FileFormatError, match="pickle"):
        cr.load(tmp_path / "bomb.pt")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(FileNotFoundError):
        cr.load(tmp_path / "none")
    write_container(tmp_path / "other", {}, {}, kind="table")
    with pytest.raises(FileFormatError, match="table"):
        cr.load(tmp_path / "other")


@pytest.mark.parametrize(
    "architecture",
    [
        None,
        {},
        {"class": "os.system", "args": ["ls"], "kwargs": {}},
        {"class": "Dense", "args": [10**9, 10**9], "kwargs": {}},
        {"class": "Dense", "args": [-1, 3], "kwargs": {}},
        {"class": "Dense", "args": [2**62, 3], "kwargs": {}},
        {
            "class": "Sequential",
            "args": [{"module": {"class": "Sequential", "args": 3, "kwargs": {}}}],
            "kwargs": {},
        },
        {"class": "Dense", "args": [4, 16], "kwargs": {"weight_init": {"formula": "relu"}}},
        {"class": "Dense", "args": [4, 16], "kwargs": {"__class__": 1}},
        {"class": "Module", "args": [], "kwargs": {}},
        {"class": ["Dense"], "args": [4, 16], "kwargs": {}},
        {"class": "Sequential", "args": [], "kwargs": {}, "tied": [["0.weight", "__init__.x"]]},
        {"shared": 0},
    ],
)
def test_hostile_architectures_are_format_errors(tmp_path: Any, architecture: Any) -> None:
    write_container(
        tmp_path / "m", net().state_dict(), {"architecture": architecture}, kind="model"
    )
    with pytest.raises(FileFormatError, match="m"):
        cr.load(tmp_path / "m")


def test_a_deep_model(tmp_path: Any) -> None:
    model = cr.nn.Sequential(cr.nn.Dense(2, 2))
    for _ in range(10):
        model = cr.nn.Sequential(model)
    cr.save(model, tmp_path / "m")
    same(model, cr.load(tmp_path / "m"))


def test_refusals(tmp_path: Any) -> None:
    with pytest.raises(TypeError, match="Module"):
        cr.save(3, tmp_path / "m")  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError)):
        cr.save(net(), tmp_path / "m", metadata={"x": object()})
    assert not (tmp_path / "m").exists()


def test_misuse_of_load_is_no_fault_of_the_file(tmp_path: Any) -> None:
    path = tmp_path / "m.safetensors"
    cr.save(net(), path)
    with pytest.raises(TypeError, match=r"classes=\[Residual\]"):
        cr.load(path, classes=Residual)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="made already; got <class"):
        cr.load(path, into=Residual)  # type: ignore[arg-type]
