"""Encodings: found by their mark, given, or wrong and said so, with the line and the byte."""

from __future__ import annotations

import pytest

from chainrule.array.errors import DataError, FileFormatError
from chainrule.data import decoding
from chainrule.data.csv_text import CsvFile
from chainrule.data.decoding import Decoded

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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_are_found(written, encoding):
    assert rows(written("ä,b\né😀,2\n".encode(encoding))) == [("é😀", "2")]
    assert written("ä,b\n1,2\n".encode(encoding)).names == ["ä", "b"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "shift_jis", "utf-8"])
def test_encodings_given(written, encoding):
    word = "ソ" if encoding == "shift_jis" else "é"
    assert rows(written(f"a,b\n{word},2\n".encode(encoding), encoding=encoding)) == [(word, "2")]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("a,b\nx,1\ncafé,2\n".encode("latin-1"), r"line 3, byte 11: 0xe9 .*latin-1.*'café'"),
        ("a,b\n“x”,1\n".encode("cp1252"), r"line 2, byte 4: 0x93 .*--encoding cp1252.*'“x”'"),
        ("a,b\r\n\r\nx,é".encode()[:-1], r"line 3, byte 9: the file ends within a character"),
        ("a,b\né,1\n".encode("utf-16-le"), "encoding utf-16-le"),
        ("a,b\né,1\n".encode("utf-16-be"), "encoding utf-16-be"),
        (b"a,b\n1,2\n3,\0\n", "line 3, byte 10: a control character; a binary file"),
        (bytes(range(128, 256)) * 2 + bytes(range(32)) * 4, "a binary file"),
    ],
)
def test_what_is_not_utf8_says_where_and_what_to_give(written, data, text):
    with pytest.raises(FileFormatError, match=text):
        rows(written(data))


def test_a_wrong_encoding_given(written):
    with pytest.raises(FileFormatError, match=r"line 2, byte 5: this is not text in ascii"):
        rows(written("a,b\nxé,1\n".encode(), encoding="ascii"))
    with pytest.raises(FileFormatError, match=r"line 2, byte 6: this is not text in cp1252"):
        rows(written(b"a,b\n1,\x81\n", encoding="cp1252"))
    with pytest.raises(DataError, match="no encoding 'latn-1'; did you mean 'latin-1'"):
        written("a\n1\n", encoding="latn-1")
    for wrong in ("base64", "rot13", "x\0", "undefined"):
        with pytest.raises((DataError, FileFormatError)):
            rows(written("a,b\n1,2\n", encoding=wrong))


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_chunks_are_whole_characters_and_plain_lines(tmp_path, monkeypatch, size):
    monkeypatch.setattr(decoding, "CHUNK", size)
    path = tmp_path / "t"
    for encoding, end, text in (
        ("utf-8", "\r\n", "é😀\nx\n"),
        ("utf-8-sig", "\r", "é😀\nx\n"),
        ("utf-16", "\r\n", "é😀\nx"),
    ):
        path.write_bytes(text.replace("\n", end).encode(encoding))
        chunks = list(Decoded(str(path)).chunks())
        assert b"".join(chunks).decode() == text
        assert all(chunk.decode() for chunk in chunks)
