"""Parquet, Arrow and .npz: few types, no NaN, and damage that is always said."""

from __future__ import annotations

import datetime as dt
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.array.errors import DataError, FileFormatError
from chainrule.data import read_table, scan_table
from chainrule.data.columnar import (
    column_names,
    conform,
    hold_frame,
    read_columnar,
    scan_columnar,
)

pl = pytest.importorskip("polars")

WRITERS = {
    "parquet": pl.DataFrame.write_parquet,
    "arrow": pl.DataFrame.write_ipc,
    "arrow stream": pl.DataFrame.write_ipc_stream,
}


def frame(n=10):
    return pl.DataFrame(
        {"a": range(n), "b": [None if i == 3 else f"t{i}" for i in range(n)], "c": [0.5] * n}
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_round_trip(tmp_path, kind):
    path = str(tmp_path / "data")
    WRITERS[kind](frame(), path)
    assert column_names(path, kind) == ["a", "b", "c"]
    assert read_columnar(path, kind, None, None).equals(frame())
    assert read_columnar(path, kind, ["c", "a"], 4).equals(frame().select("c", "a").head(4))
    blocks = list(scan_columnar(path, kind, ["b"], 4))
    assert [block.height for block in blocks] == [4, 4, 2]
    assert pl.concat(blocks).equals(frame().select("b"))
    with pytest.raises(DataError, match="no column 'd'"):
        read_columnar(path, kind, ["d"], None)


def test_a_name_with_the_characters_of_a_pattern(tmp_path):
    for kind, write in WRITERS.items():
        path = tmp_path / f"[{kind}] 1.x"
        write(frame(), str(path))
        assert read_table(path).equals(frame())
        assert pl.concat(scan_table(path, block=3)).equals(frame())


def test_an_arrow_stream_without_its_end_is_cut_off(tmp_path):
    path = tmp_path / "t.arrows"
    frame().write_ipc_stream(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FileFormatError, match="is cut off: its Arrow stream has no end"):
        read_table(path)


def test_few_types():
    day = dt.datetime(2021, 4, 30, 12)
    wide = conform(
        pl.DataFrame(
            {
                "small": pl.Series([1, None], dtype=pl.UInt8),
                "huge": pl.Series([2**64 - 1, 0], dtype=pl.UInt64),
                "single": pl.Series([0.5, float("nan")], dtype=pl.Float32),
                "decimal": pl.Series(["1.5", None]).cast(pl.Decimal(5, 2)),
                "category": pl.Series(["x", None], dtype=pl.Categorical),
                "took": [dt.timedelta(seconds=1.5), None],
                "nanos": pl.Series([day, None], dtype=pl.Datetime("ns")),
                "zone": pl.Series([day, None]).dt.replace_time_zone("Europe/Berlin"),
                "nothing": [None, None],
                "yes": [True, None],
            }
        ),
        "t",
    )
    assert wide.row(0)[:6] == (1, 2.0**64, 0.5, 1.5, "x", 1.5)
    assert wide["single"].null_count() == 1
    assert wide.row(0)[6:] == (day, dt.datetime(2021, 4, 30, 10, tzinfo=dt.UTC), None, True)
    assert wide.dtypes[:6] == [pl.Int64, *[pl.Float64] * 3, pl.String, pl.Float64]
    with pytest.raises(DataError, match=r"t, column 'x': values of type List\(Int64\)"):
        conform(pl.DataFrame({"x": [[1, 2]]}), "t")


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2], pl.Float64, [1.0, 2.0]),
        ([1.0, None], pl.Int64, [1, None]),
        (["1.5", None], pl.Float64, [1.5, None]),
        ([3, None], pl.String, ["3", None]),
        ([True], pl.String, ["True"]),
        ([True], pl.Float64, [1.0]),
        ([dt.date(2021, 4, 30)], pl.Datetime("us"), [dt.datetime(2021, 4, 30)]),
        ([1.0, 2.5], pl.Int64, "row 8 .* 2.5 is not a whole number"),
        (["1", "x"], pl.Float64, "row 8 .* 'x' is not a number"),
        ([1], pl.Boolean, "row 7 .* 1 is not True or False"),
        ([1], pl.Date, "row 7 .* 1 is not a date"),
        ([dt.date(2021, 4, 30)], pl.Float64, "row 7 .* is not a number"),
    ],
)
def test_held_to_a_schema(values, dtype, expected):
    given_frame = pl.DataFrame({"a": values, "z": values})
    if isinstance(expected, str):
        with pytest.raises(DataError, match=r"t\.parquet, " + expected):
            hold_frame(given_frame, {"a": dtype}, "t.parquet", first=7)
    else:
        held = hold_frame(given_frame, {"a": dtype}, "t.parquet")
        assert held["a"].to_list() == expected
        assert held["z"].to_list() == values


def saved(tmp_path, **arrays):
    path = str(tmp_path / "data.npz")
    np.savez(path, **arrays)
    return path


def test_npz(tmp_path):
    x = np.array([[1, 2], [3, np.nan]], np.float32)
    table = read_table(saved(tmp_path, X=x, y=np.array([0, 1], np.uint8)))
    assert table.to_dict(as_series=False) == {"x0": [1, 3], "x1": [2, None], "y": [0, 1]}
    assert table.dtypes == [pl.Float64, pl.Float64, pl.Int64]
    named = saved(tmp_path, X=x, y=np.eye(2), feature_names=np.array(["h", "w"]))
    assert read_table(named).columns == ["h", "w", "y0", "y1"]
    assert read_table(named, columns=["w"], rows=1).rows() == [(2.0,)]
    path = saved(
        tmp_path,
        s=np.array(["a", "b"]),
        t=np.array([b"c", b"d"]),
        d=np.array(["2021-04-30", "NaT"], "M8[D]"),
    )
    assert read_table(path).rows() == [("a", "c", dt.datetime(2021, 4, 30)), ("b", "d", None)]
    assert [block.height for block in scan_table(path, block=1)] == [1, 1]


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"a": np.array([1, None], object)}, "a holds Python objects; store numbers"),
        ({"a": np.ones(2), "b": np.ones(3)}, r"different numbers of rows \(a 2, b 3\)"),
        ({"a": np.float64(3)}, r"a has shape \(\); expected a row per sample"),
        ({"a": np.ones((0, 2))}, "expected a row per sample"),
        ({"a": np.ones(2, complex)}, "a has dtype complex128"),
        ({"X": np.ones((2, 2)), "x1": np.ones(2)}, "'x1' is the name of two columns"),
        ({"X": np.ones((2, 2)), "feature_names": np.array(["a"])}, "feature_names has shape"),
        ({}, "holds no array"),
    ],
)
def test_npz_that_is_no_table(tmp_path, arrays, text):
    with pytest.raises(DataError, match=text):
        read_table(saved(tmp_path, **arrays))


def written(kind):
    out = io.BytesIO()
    if kind == "npz":
        np.savez_compressed(out, X=np.arange(60.0).reshape(20, 3), y=np.arange(20))
    else:
        WRITERS[kind](frame(50), out)
    return out.getvalue()


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(["parquet", "arrow", "arrow stream", "npz"]),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), max_size=3),
)
def test_damage_is_an_error_or_a_frame(tmp_path_factory, kind, cut, flips):
    data = bytearray(written(kind))
    for where, change in flips:
        data[int(where * len(data))] ^= change
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data[: round(cut * len(data))])
    for read in (read_table, lambda path: pl.concat(scan_table(path, block=7))):
        try:
            said = str(type(read(path)))
        except (DataError, FileFormatError) as error:
            said = str(error)
        assert "DataFrame" in said or str(path) in said


def test_a_cut_parquet_file_is_said_to_be(tmp_path):
    data = written("parquet")
    for n in range(4, len(data), 61):
        path = tmp_path / "t.parquet"
        path.write_bytes(data[:n])
        with pytest.raises(FileFormatError, match=r"t\.parquet cannot be read, it is damaged"):
            read_table(path)
