"""Types of columns: what is a number, a date or a code, over the whole file, wherever it is cut."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.array.errors import DataError
from chainrule.data import decoding
from chainrule.data.csv_text import CsvFile
from chainrule.data.csv_types import (
    MISSING,
    Column,
    first_kinds,
    held_kinds,
    hold_block,
    infer,
    stray_values,
    typed,
    wanted,
)

pl = pytest.importorskip("polars")


def read(folder, text, chunk=8 << 20, delimiter=","):
    path = folder / "t.csv"
    path.write_text(text, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "CHUNK", chunk)
        file = CsvFile(str(path), delimiter=delimiter)
        return typed(file.blocks, file.names, commas=delimiter != ",")


def column(folder, *values, chunk=8 << 20, delimiter=","):
    """One column, read in one block and in many, beside a column that is always text."""
    lines = "".join(f'"{value}"{delimiter}x\n' for value in values)
    text = f"a{delimiter}b\n{lines}"
    whole, cut = (read(folder, text, size, delimiter)["a"] for size in (chunk, 9))
    assert whole.dtype == cut.dtype
    assert whole.to_list() == cut.to_list()
    return whole


def test_numbers(tmp_path):
    assert column(tmp_path, 1, -2, "+3", 0, "").to_list() == [1, -2, 3, 0, None]
    assert column(tmp_path, 1, -2).dtype == pl.Int64
    floats = column(tmp_path, 1, "2.5", ".5", "1e3", "-inf", "-nan", "NA", " 7 ")
    assert floats.to_list() == [1, 2.5, 0.5, 1000, -float("inf"), None, None, 7]
    assert column(tmp_path, "0.1").to_list() == [0.1]
    big = 2**63 - 1
    assert column(tmp_path, big, -big - 1).to_list() == [big, -big - 1]


def test_codes_stay_text(tmp_path):
    for values in (("00123", "10115"), ("10115", "00123"), ("1.5", "-01"), ("2", str(2**63))):
        assert column(tmp_path, *values).to_list() == list(values)
    assert column(tmp_path, 0, "0.5", "-0.5", "0e1").dtype == pl.Float64


def test_truth_values(tmp_path):
    assert column(tmp_path, "True", "false", "", "TRUE").to_list() == [True, False, None, True]
    assert column(tmp_path, "True", "1").to_list() == ["True", "1"]
    assert column(tmp_path, "yes", "no").dtype == pl.String


def test_missing_values(tmp_path):
    assert column(tmp_path, 1, *MISSING, " NA ").null_count() == len(MISSING) + 1
    assert column(tmp_path, "x", *MISSING).null_count() == len(MISSING)
    assert column(tmp_path, *MISSING).dtype == pl.String
    assert column(tmp_path, *MISSING, 1).to_list()[-1] == 1


def test_a_late_text_keeps_all_texts(tmp_path):
    values = [*("1.50" for _ in range(500)), "2 kg"]
    text = column(tmp_path, *values)
    assert text.to_list() == values
    assert stray_values(text) == [(500, "2 kg")]


def test_stray_values():
    series = pl.Series(["a", "1", "NA", None, " b ", "inf"])
    assert stray_values(series) == [(0, "a"), (4, "b")]
    assert stray_values(series, most=1) == [(0, "a")]
    assert stray_values(pl.Series([1.0])) == []


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (("2021-04-30", "2021-05-01"), dt.date(2021, 4, 30)),
        (("2021/04/30",), dt.date(2021, 4, 30)),
        (("30.4.2021", "1.5.2021"), dt.date(2021, 4, 30)),
        (("01/05/2021", "30/04/2021"), dt.date(2021, 5, 1)),
        (("05/01/2021", "04/30/2021"), dt.date(2021, 5, 1)),
        (("30-Apr-2021", "1 May 2021"), dt.date(2021, 4, 30)),
        (("Apr 30, 2021", "May 1, 2021"), dt.date(2021, 4, 30)),
        (("2021-04-30 10:20", "2021-04-30T10:20:30.5"), dt.datetime(2021, 4, 30, 10, 20)),
        (("30.04.2021 10:20:30",), dt.datetime(2021, 4, 30, 10, 20, 30)),
        (("01/05/2021 10:20", "30/04/2021 10:20"), dt.datetime(2021, 5, 1, 10, 20)),
        (
            ("2021-04-30T10:20:00+02:00", "2021-04-30T10:20:00Z"),
            dt.datetime(2021, 4, 30, 8, 20, tzinfo=dt.UTC),
        ),
    ],
)
def test_dates(tmp_path, values, first):
    series = column(tmp_path, *values, "NA")
    assert series[0] == first
    assert series.null_count() == 1


@pytest.mark.parametrize(
    "values",
    [
        ("03/04/2021", "05/06/2021"),
        ("03/04/2021 10:00", "05/06/2021 10:00"),
        ("30/04/2021", "04/30/2021"),
        ("2021-04-31",),
        ("2021-04-30", "later"),
        ("0021-04-30",),
    ],
)
def test_dates_that_are_not_certain_stay_text(tmp_path, values):
    assert column(tmp_path, *values).to_list() == list(values)


def test_decimal_commas(tmp_path):
    def semicolon(*values):
        return column(tmp_path, *values, delimiter=";").to_list()

    assert semicolon("1,5", "2", "-0,25", "1e3") == [1.5, 2, -0.25, 1000]
    assert semicolon("1.234,5", "1.234") == [1234.5, 1234]
    assert semicolon("1.234", "1.234,5") == [1234, 1234.5]  # whichever comes first
    assert semicolon("1.234", "1.5") == [1.234, 1.5]
    assert semicolon("1,234", "2,345") == ["1,234", "2,345"]  # thousands, or not?
    assert semicolon("1,5", "2.5") == ["1,5", "2.5"]
    assert semicolon("1,5", "01,5") == ["1,5", "01,5"]
    assert column(tmp_path, "1,5", "2,5").to_list() == ["1,5", "2,5"]
    both = read(tmp_path, "a;b\n1,234;1,5\n2,345;2\n", delimiter=";")
    assert both.rows() == [(1.234, 1.5), (2.345, 2.0)]  # the second column tells


def test_first_kinds_are_the_narrowest_first():
    assert first_kinds("True", False) == ["boolean", "text"]
    assert first_kinds("1", True) == ["integer", "float", "comma", "text"]
    assert first_kinds("1 kg", True) == ["text"]


cells = st.sampled_from(
    ["1", "2.5", "0,5", "1.234", "007", "True", "x", "", "NA", "2020-01-31", "13/01/2020", " 3"]
)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(cells, min_size=1, max_size=12), delimiter=st.sampled_from(",;"))
def test_the_type_depends_on_no_block_and_no_order(tmp_path_factory, values, delimiter):
    folder = tmp_path_factory.getbasetemp()
    there = column(folder, *values, delimiter=delimiter)
    back = column(folder, *values[::-1], delimiter=delimiter)
    assert there.dtype == back.dtype
    assert there.to_list() == back.to_list()[::-1]
    assert there.null_count() == sum(value.strip() in MISSING for value in values)


def test_infer_without_keeping(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n2.5,y\n")
    columns, pieces = infer(CsvFile(str(path)).blocks, ["a", "b"], commas=False, keep=False)
    assert [columns[name].kind for name in "ab"] == ["float", "text"]
    assert pieces == {"a": [], "b": []}


def held(folder, text, delimiter=",", **schema):
    path = folder / "t.csv"
    path.write_text(text)
    file = CsvFile(str(path), delimiter=delimiter)
    columns = {
        name: Column(held_kinds(pl, schema.get(name, pl.String), delimiter != ","))
        for name in file.names
    }
    (block,) = file.blocks()
    return hold_block(block, columns, schema, "t.csv")


def test_held_to_a_schema(tmp_path):
    frame = held(
        tmp_path,
        "a,b,c,d,e,f\n1,NaN,true,2021-04-30,007,9\n02,inf,,,x,8\n",
        a=pl.Int64,
        b=pl.Float64,
        c=pl.Boolean,
        d=pl.Datetime("us"),
        f=pl.Float32,
    )
    assert frame.rows() == [
        (1, None, True, dt.datetime(2021, 4, 30), "007", 9.0),
        (2, float("inf"), None, None, "x", 8.0),
    ]
    assert frame.schema["f"] == pl.Float32
    assert held(tmp_path, "a;b\n1,5;2\n", ";", a=pl.Float64).rows() == [(1.5, "2")]


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        ("x", pl.Float64, "line 5, column 'b': 'x' is not a number"),
        ("1.5", pl.Int64, "line 5, column 'b': '1.5' is not a whole number"),
        ("300", pl.Int8, "line 5, column 'b': '300' is not a whole number"),
        ("1", pl.Boolean, "'1' is not True or False"),
        ("03/04/2021", pl.Date, "'03/04/2021' is not a date or time whose order is clear"),
    ],
)
def test_a_value_that_does_not_fit_names_its_line(tmp_path, value, dtype, text):
    with pytest.raises(DataError, match=text):
        held(tmp_path, f'a,b\n"x\n",\n\ny,{value}\n', b=dtype)


def test_types_in_words():
    assert wanted(pl.Int8) == "a whole number"
    assert wanted(pl.String) == "a value of type String"
