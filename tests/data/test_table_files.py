"""Which files are meant, and what they are: errors that tell a person what to do."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest

from chainrule.array.errors import DataError, FileFormatError, MissingExtraError
from chainrule.data import table_files as exported
from chainrule.data.table_files import check_columns, guarded, kind_of, load_polars, table_files

pl = pytest.importorskip("polars")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("part-2.csv", "part-1.csv", "other.csv", "notes.md", "[odd].csv"):
        (tmp_path / name).write_text("a\n1\n")
    return tmp_path


def test_patterns_are_sorted_and_files_come_once(folder):
    assert exported is table_files
    assert table_files("part-*.csv") == ["part-1.csv", "part-2.csv"]
    assert table_files(["part-2.csv", "part-*.csv"]) == ["part-2.csv", "part-1.csv"]
    assert table_files("[odd].csv") == ["[odd].csv"]
    assert table_files(folder / "other.csv") == [str(folder / "other.csv")]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("prat-1.csv", r"prat-1.csv: no such file; did you mean 'part-1.csv'"),
        ("q", r"no such file; this folder has \[odd\].csv, other.csv"),
        ("none/x.csv", "there is no folder none"),
        ("part-*.parquet", r"no file matches part-\*.parquet"),
        (".", r"\. is a folder; name a file in it .*'./\*\.csv'"),
        ([], "no file given"),
        (3, "expected a path"),
        ([3], "expected a path"),
        ("a\0b", "no name of a file"),
    ],
)
def test_what_is_not_there(folder, source, text):
    with pytest.raises(DataError, match=text):
        table_files(source)


def test_a_folder_without_tables(tmp_path):
    with pytest.raises(DataError, match="there is no table in it"):
        table_files(tmp_path)
    with pytest.raises(DataError, match="there is no table in"):
        table_files(tmp_path / "x.csv")


def archive(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for name in names:
            out.writestr(name, "x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (archive("xl/workbook.xml", "[Content_Types].xml"), "Excel workbook; .* save .* CSV"),
        (archive("content.xml", "mimetype"), "OpenDocument"),
        (archive("a.csv", "b.csv"), "zip archive of a.csv, b.csv; unpack"),
        (archive("a.npy")[:-30], "damaged or cut off"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", r"old Excel workbook \(.xls\)"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\x93NUMPY\x01", "an .npy file"),
        (b"<!DOCTYPE HTML><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"x" * 257 + b"ustar\0", "a tar archive"),
        (gzip.compress(b"x" * 257 + b"ustar\0"), "a tar archive"),
        (gzip.compress(b"PAR1 and so on"), "compressed once more with gzip"),
        (gzip.compress(b"a,b\n" * 100)[:20], "compressed file is damaged or cut off"),
    ],
)
def test_a_stranger_is_named(tmp_path, data, text):
    path = tmp_path / "data.csv"
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=text):
        kind_of(str(path))


def test_the_content_decides_what_a_file_is(tmp_path):
    frame = pl.DataFrame({"a": [1]})
    path = str(tmp_path / "data.bin")
    frame.write_parquet(path)
    assert kind_of(path) == "parquet"
    frame.write_ipc(path)
    assert kind_of(path) == "arrow"
    frame.write_ipc_stream(path)
    assert kind_of(path) == "arrow stream"
    with open(path, "wb") as file:
        np.savez(file, X=np.ones(2))
    assert kind_of(path) == "npz"
    (tmp_path / "data.csv.gz").write_bytes(gzip.compress(b"a\n1\n"))
    assert kind_of(str(tmp_path / "data.csv.gz")) == "csv"


def test_a_wrong_ending_and_an_empty_file(tmp_path):
    path = tmp_path / "data.parquet"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(FileFormatError, match=r"no parquet file: it begins with b'a,b"):
        kind_of(str(path))
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"data.parquet is empty"):
        kind_of(str(path))


def test_missing_columns_name_the_nearest():
    check_columns("t", ["a"], ["b", "a"])
    with pytest.raises(DataError, match="t has no column 'wieght'; did you mean 'weight'"):
        check_columns("t", ["wieght"], ["weight", "height"])


def test_no_foreign_error_gets_through():
    panic = pl.exceptions.PanicException
    for error in (ValueError("x\n y"), panic("oh"), pl.exceptions.ComputeError("no"), OSError("q")):
        with (
            pytest.raises(FileFormatError, match=r"f\.x cannot be read, it is damaged"),
            guarded("f.x"),
        ):
            raise error
    for error in (KeyboardInterrupt(), DataError("d"), PermissionError(13, "no")):
        with pytest.raises(type(error)), guarded("f.x"):
            raise error


def test_without_polars_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtraError, match=r'pip install "chainrule\[cli\]"'):
        load_polars()
