"""Delimited text: what splits it, where it breaks, and that lines are counted as editors do."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.array.errors import DataError
from chainrule.data import decoding
from chainrule.data.csv_text import CsvFile

pytest.importorskip("polars")


@pytest.fixture
def written(tmp_path):
    def write(data, **options):
        path = tmp_path / options.pop("name", "t.csv")
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return CsvFile(str(path), **options)

    return write


def rows(file, columns=None):
    return [row for block in file.blocks(columns) for row in block.frame.rows()]


def texts(file):
    return [tuple("" if value is None else value for value in row) for row in rows(file)]


@pytest.mark.parametrize(
    ("text", "delimiter", "second"),
    [
        ("a,b\n1,2\n", ",", ("1", "2")),
        ("a;b\n1,5;2,5\n", ";", ("1,5", "2,5")),
        ("name;price, net\nx;1,5\n", ";", ("x", "1,5")),
        ("a\tb\n1 2\t3\n", "\t", ("1 2", "3")),
        ("a|b\n1,2|3\n", "|", ("1,2", "3")),
        ("a b  c\n1  2 3 \n  4 5 6", " ", ("1", "2", "3")),
        ('a b\n"x y" 2\n', " ", ("x y", "2")),
        ('"a;x","b"\n"1;1","2"\n', ",", ("1;1", "2")),
        ("full name,age now\nAnn Lee,3 years\n", ",", ("Ann Lee", "3 years")),
        ("sep=|\na|b\n1|2\n", "|", ("1", "2")),
        ("text\nhello\n", ",", ("hello",)),
        ("\n \na,b\n1,2", ",", ("1", "2")),
    ],
)
def test_the_delimiter_is_found(written, text, delimiter, second):
    file = written(text)
    assert file.delimiter == delimiter
    assert rows(file)[0] == second


def test_a_given_delimiter_and_a_tsv_are_taken_as_they_are(written):
    assert rows(written("a:b\n1,1:2\n", delimiter=":")) == [("1,1", "2")]
    assert rows(written("text\na, b\n", name="t.tsv")) == [("a, b",)]
    for wrong in ("", ";;", '"', "\n", "é"):
        with pytest.raises(DataError, match="delimiter"):
            written("a,b\n1,2\n", delimiter=wrong)


@pytest.mark.parametrize("size", [7, 64, 8 << 20])
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a,b\n1,2\n\n1,2,3\n", r"line 4: 3 fields where the header has 2 \('1,2,3'\).*quotes"),
        ("a,b,c\n1,2,3\n1,2\n", r"line 3: 2 fields where the header has 3.*cut off here"),
        ("a,b,c\n1,2\n1,2,3,4\n", r"line 2: 2 fields"),
        ("a,b,c\n1\n1,2,3\n", r"line 2: 1 field where .*split at each comma"),
        ("a,b\nr,1,2\n", r"line 2: 3 fields .*R leaves it out"),
        ('a,b\n1,"x\ny"\n2,"open\n3,y\n4,z\n', r'line 4, column 3: the quote .*\(\'"open\'\)'),
        ('a,b\n1,"x\n2,"yes"\n', r"line 2, column 3: the quote that opens here is not closed"),
        ('a,b\n1,"x"y\n', r"line 2, column 3: the quote"),
        ('a,b\n1, "x', r"line 2, column 3: the quote"),
        ('a,b\n""q",1\n', r"line 2, column 1: the quote"),
        ('a,b\n"x\n\ny",1\n"z",1,2\n', r"line 5: 3 fields"),
        ('"a\nx",b\n1,2\n3\n', r"line 4: 1 field"),
    ],
)
def test_broken_records_name_the_line(written, monkeypatch, text, error, size):
    monkeypatch.setattr(decoding, "CHUNK", size)
    for end in ("\n", "\r\n"):
        with pytest.raises(DataError, match=error):
            rows(written(text.replace("\n", end)))
    if '"' not in text:
        with pytest.raises(DataError, match=error):
            rows(written(text.replace("\n", "\r")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a,b\n5" pipe,1\n6,2\n', [('5" pipe', "1"), ("6", "2")]),
        ('a,b\n6" x 4",1\n', [('6" x 4"', "1")]),
        ('a, b\n1, "x, y"\n', [("1", "x, y")]),
        ('a,b\n"x"\n\n\n"y",2\n'.replace('"x"', '"x",1'), [("x", "1"), ("y", "2")]),
        ("a,b\n1,2\n \n3,4\n  \n", [("1", "2"), ("3", "4")]),
        ("a,b\n,\n", [("", "")]),
        ('a,b\n"x, ""y""\n\nz",1\n', [('x, "y"\n\nz', "1")]),
        ('a\n"x"\n\n"y"\n', [("x",), ("y",)]),
        ('a\n\n"x"\n', [("x",)]),
        ('a,b\n  "x",1\n', [("x", "1")]),
        ("a\u2028x,b\u0085\n1\u2028,2\x0c\n", [("1\u2028", "2\x0c")]),
    ],
)
def test_odd_but_sound_text(written, text, expected):
    assert texts(written(text)) == expected


def test_columns_are_chosen_and_checked(written):
    file = written("a,b,c\n1,2,3\n")
    assert rows(file, ["c", "a"]) == [("3", "1")]
    with pytest.raises(DataError, match="no column 'd'"):
        rows(file, ["d"])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "is empty"),
        ("\ufeff", "is empty"),
        (" \n\n", "is empty"),
        ("a,b\n", "header line and no rows"),
        ("a,b\n\n \n", "header line and no rows"),
        ("1,2,3\n4,5,6\n", r"line 1 looks like data, .*\(1, 2, 3\); write a header"),
        ("5.1,3.5,setosa\n4.9,3,setosa\n", "looks like data"),
        ("1,5;2\n3;4\n", "looks like data"),
        ("a,,b,\n1,2,3,4\n", r"line 1: columns 2, 4 of 4 without a name"),
        ("a,b,\n1,2,\n", "take the comma off"),
        (",a\n0,1\n", "pandas writes its row numbers so"),
        ("a,b, a\n1,2,3\n", "'a' is the name of columns 1 and 3"),
    ],
)
def test_headers_that_are_none(written, text, error):
    with pytest.raises(DataError, match=error):
        rows(written(text))


def test_names_are_stripped_and_counted_names_are_names(written):
    assert written(" a ,\tb c \n1,2\n").names == ["a", "b c"]
    assert written("0,1,2\n5,6,7\n").names == ["0", "1", "2"]
    assert written("x,0,1,2\n5,6,7,8\n").names == ["x", "0", "1", "2"]


tables = st.integers(1, 4).flatmap(
    lambda n: st.lists(
        st.lists(
            st.text(st.sampled_from('ab1,;"\n|\t \r\u2028é'), max_size=6), min_size=n, max_size=n
        ),
        min_size=1,
        max_size=8,
    )
)


@settings(max_examples=150, deadline=None)
@given(table=tables, end=st.sampled_from(["\n", "\r\n"]), size=st.sampled_from([5, 33, 4096]))
def test_what_csv_writes_is_read_and_lines_are_right(tmp_path_factory, table, end, size):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow([f"c{i}" for i in range(len(table[0]))])
    starts = []
    for record in table:
        starts.append(out.getvalue().replace("\r\n", "\n").count("\n") + 1)
        writer.writerow(record)
    path.write_bytes(out.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "CHUNK", size)
        file = CsvFile(str(path), delimiter=",")
        blocks = list(file.blocks())
    expected = [tuple(value.replace("\r\n", "\n") for value in record) for record in table]
    assert [row for block in blocks for row in block.frame.rows()] == expected
    assert [block.line(i) for block in blocks for i in range(block.frame.height)] == starts
