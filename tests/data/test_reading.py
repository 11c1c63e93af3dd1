"""Tables as people have them: several files, chosen columns, blocks, and never a foreign error."""

from __future__ import annotations

import gzip
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.array.errors import DataError, FileFormatError
from chainrule.data import decoding, read_table, scan_table

pl = pytest.importorskip("polars")


def write(path, text):
    path.write_text(text, "utf-8")
    return str(path)


def test_it_is_exported_and_polars_is_loaded_at_use():
    assert cr.data.read_table is read_table
    code = "import sys, chainrule.data as d; d.read_table; assert 'polars' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_several_files_are_one_table(tmp_path):
    write(tmp_path / "1.csv", "a,b\n1,x\n")
    write(tmp_path / "2.csv", "b;a\ny;2.5\n")
    (tmp_path / "3.csv.gz").write_bytes(gzip.compress(b"b\ta\nNA\t3\n"))
    table = read_table(tmp_path / "*.csv*")
    assert table.to_dict(as_series=False) == {"a": [1.0, 2.5, 3.0], "b": ["x", "y", None]}
    pl.DataFrame({"b": ["z"], "a": [4]}).write_parquet(tmp_path / "4.parquet")
    mixed = [tmp_path / "1.csv", tmp_path / "4.parquet"]
    assert read_table(mixed).rows() == [(1, "x"), (4, "z")]
    assert read_table(mixed, rows=1).rows() == [(1, "x")]
    assert read_table(mixed, columns=["b"]).rows() == [("x",), ("z",)]
    blocks = scan_table([*mixed, tmp_path / "2.csv"], schema={"a": pl.Float64}, block=1)
    assert [block.rows() for block in blocks] == [[(1.0, "x")], [(4.0, "z")], [(2.5, "y")]]


def test_several_files_that_are_not_one_table(tmp_path):
    write(tmp_path / "1.csv", "a,b\n1,x\n")
    write(tmp_path / "2.csv", "a,c\n1,x\n")
    with pytest.raises(DataError, match=r"2.csv lacks 'b', and has 'c', which .*1.csv does not"):
        read_table(tmp_path / "?.csv")
    with pytest.raises(DataError, match=r"2.csv lacks 'b'"):
        list(scan_table(tmp_path / "?.csv"))
    assert read_table(tmp_path / "?.csv", columns=["a"]).height == 2
    pl.DataFrame({"a": ["one"], "b": ["x"]}).write_parquet(tmp_path / "3.parquet")
    with pytest.raises(DataError, match=r"3.parquet, column 'a': values of type String, where"):
        read_table([tmp_path / "1.csv", tmp_path / "3.parquet"])


def test_what_is_asked_for_is_checked(tmp_path):
    path = write(tmp_path / "t.csv", "weight,height\n1,2\n3,4\n")
    assert read_table(path, columns=["height"], rows=1).rows() == [(2,)]
    for read in (read_table, lambda *a, **k: list(scan_table(*a, **k))):
        with pytest.raises(DataError, match="no column 'wieght'; did you mean 'weight'"):
            read(path, columns=["wieght"])
        with pytest.raises(DataError, match="asked for twice"):
            read(path, columns=["height", "height"])
        with pytest.raises(DataError, match="no column is asked for"):
            read(path, columns=[])
    with pytest.raises(DataError, match="at least 1; got 0"):
        read_table(path, rows=0)
    with pytest.raises(DataError, match="at least 1; got 0"):
        list(scan_table(path, block=0))
    with pytest.raises(DataError, match="no such file"):
        scan_table(tmp_path / "none.csv")  # at once, not at the first block


def test_blocks_hold_the_types_of_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "CHUNK", 50)
    lines = [f"{i},{i % 3}" for i in range(100)]
    path = write(tmp_path / "t.csv", "\n".join(["a,b", *lines, "0.5,x"]))
    blocks = list(scan_table(path, block=7))
    assert max(block.height for block in blocks) == 7
    assert {tuple(block.dtypes) for block in blocks} == {(pl.Float64, pl.String)}
    assert pl.concat(blocks).equals(read_table(path))
    held = scan_table(path, schema={"a": pl.Float64, "b": pl.Float64, "gone": pl.String})
    with pytest.raises(DataError, match=r"t.csv, line 102, column 'b': 'x' is not a number"):
        list(held)


def test_dates_in_blocks_are_read_as_the_whole_file_tells(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "CHUNK", 16)
    path = write(tmp_path / "t.csv", "d;x\n03/04/2021;1\n05/06/2021;2\n30/06/2021;1,5\n")
    table = pl.concat(scan_table(path, schema={"d": pl.Date, "x": pl.Float64}))
    assert table.equals(read_table(path))
    assert str(table["d"][0]) == "2021-04-03"


def test_a_file_without_rows_has_no_blocks(tmp_path):
    pl.DataFrame(schema={"a": pl.Int64}).write_parquet(tmp_path / "t.parquet")
    write(tmp_path / "t.csv", "a\n")
    for name in ("t.parquet", "t.csv"):
        for read in (read_table, lambda path: list(scan_table(path))):
            with pytest.raises(DataError, match="no rows"):
                read(tmp_path / name)


def test_nan_is_null_whatever_the_file(tmp_path):
    pl.DataFrame({"a": [1.0, float("nan")]}).write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").rows() == [(1.0,), (None,)]
    held = scan_table(tmp_path / "t.parquet", schema={"a": pl.Int64})
    assert [block.rows() for block in held] == [[(1,), (None,)]]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)
numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=True))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(cells, numbers, st.booleans()), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    chunk=st.sampled_from([64, 1 << 20]),
)
def test_round_trip_of_any_table(tmp_path_factory, rows, delimiter, chunk):
    # the first value says "text", so that a column of digits alone is no column of numbers
    table = pl.DataFrame(
        [('text, "so"\n', 0.5, True), *rows],
        schema={"t": pl.String, "x": pl.Float64, "b": pl.Boolean},
        orient="row",
    )
    path = tmp_path_factory.getbasetemp() / "round.csv"
    table.write_csv(path, separator=delimiter)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(decoding, "CHUNK", chunk)
        read = read_table(path, delimiter=delimiter)
        again = pl.concat(scan_table(path, delimiter=delimiter, schema=table.schema))
    markers = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]
    text = pl.col("t").str.strip_chars()
    expected = table.with_columns(pl.when(~text.is_in(markers)).then(text).alias("t"))
    assert read.equals(expected)
    assert again.equals(expected)


pieces = st.sampled_from(
    [
        b"a,b\n",
        b"1,2\n",
        b'"',
        b"\n",
        b",",
        b";",
        b"\r",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b" ",
        b"PAR1",
        b"ARROW1",
        b"PK\x03\x04",
        b"\x1f\x8b\x08",
        b"2021-01-02",
        b"x",
        "é".encode(),
        b"\xe9",
    ]
)


@settings(max_examples=200, deadline=None)
@given(
    data=st.one_of(st.binary(max_size=60), st.lists(pieces, max_size=12).map(b"".join)),
    packed=st.booleans(),
)
def test_any_bytes_are_an_error_or_a_frame(tmp_path_factory, data, packed):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(gzip.compress(data) if packed else data)
    found = []
    for read in (read_table, lambda path: pl.concat(scan_table(path, block=3))):
        try:
            found.append(read(path))
        except (DataError, FileFormatError) as error:
            found.append(str(error))
    whole, blocks = found
    if isinstance(whole, str):
        assert "any.csv" in whole
        assert whole == blocks
    else:
        assert whole.equals(blocks)


def test_a_wide_and_a_long_table(tmp_path):
    rng = np.random.default_rng(0)
    wide = pl.DataFrame(rng.normal(size=(3, 1000)), schema=[f"c{i}" for i in range(1000)])
    wide.write_csv(tmp_path / "wide.csv")
    assert read_table(tmp_path / "wide.csv").equals(wide)
    long = pl.DataFrame({"x": rng.normal(size=200_000), "n": rng.integers(0, 9, 200_000)})
    long.write_csv(tmp_path / "long.csv")
    assert read_table(tmp_path / "long.csv").equals(long)
