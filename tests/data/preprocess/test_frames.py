"""Whatever people call a table becomes a polars frame."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import polars as pl
import pytest

from chainrule.array.errors import DataError, MissingExtraError
from chainrule.data.preprocess.frames import to_frame


class NAType:
    """What pandas writes for a missing value; it has no truth."""

    def __bool__(self) -> bool:
        raise TypeError("ambiguous")

    def __ne__(self, other: object) -> Any:
        return self

    __hash__ = object.__hash__


class Foreign:
    """A table that offers what pandas does."""

    def __init__(self, **columns: Any) -> None:
        self.columns, self._values = list(columns), columns
        self.iloc = None

    def __getitem__(self, name: str) -> np.ndarray:
        return np.asarray(self._values[name])


def test_a_frame_is_handed_through() -> None:
    frame = pl.DataFrame({"a": [1]})
    assert to_frame(frame) is frame
    assert to_frame(frame.lazy()).equals(frame)
    assert to_frame(frame["a"]).equals(frame)
    assert to_frame(pl.Series([1]), column="y").columns == ["y"]


def test_arrays_lists_and_dicts() -> None:
    assert to_frame(np.ones((2, 2))).columns == ["x0", "x1"]
    assert to_frame([1, 2], column="y").to_dict(as_series=False) == {"y": [1, 2]}
    mixed = np.array([[1, "a"], [None, "b"]], dtype=object)
    assert to_frame(mixed)["x0"].to_list() == [1, None]
    assert to_frame({1: [1.5], "b": ("x",)}).columns == ["1", "b"]
    assert to_frame(np.array([b"caf\xc3\xa9"]), column="y")["y"].to_list() == ["café"]
    masked = np.ma.masked_array([1.0, 2.0], mask=[False, True])
    assert to_frame(masked, column="y")["y"].to_list() == [1.0, None]


def test_a_table_of_another_package() -> None:
    when = np.array(["2024-01-01", "NaT"], "datetime64[ns]")
    frame = to_frame(Foreign(a=np.array([1.5, np.nan]), b=np.array(["x", None], object), when=when))
    assert frame["b"].to_list() == ["x", None]
    nullable = np.array([1, NAType(), np.nan], object)
    assert to_frame(Foreign(n=nullable))["n"].to_list() == [1, None, None]
    assert frame["when"].null_count() == 1
    assert frame["a"].dtype == pl.Float64


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones((2, 2, 2)), r"shape \(2, 2, 2\)"),
        ({"a": [1, 2], "b": [1]}, "could not be turned into a table"),
        (object(), "shape"),
        (np.array([b"\xff"]), "utf-8"),
    ],
)
def test_what_is_no_table(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        to_frame(data)


def test_two_columns_of_one_name() -> None:
    table = Foreign(a=[1])
    table.columns = ["a", "a"]
    with pytest.raises(DataError, match="two columns called 'a'"):
        to_frame(table)


def test_without_polars_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "polars":
            raise ImportError("no polars")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match=r'pip install "chainrule\[cli\]"'):
        to_frame({"a": [1]})
