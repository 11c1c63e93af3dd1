"""Text of a file in any encoding, as UTF-8 with plain line ends, some megabytes at a time."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any

from chainrule.array.errors import DataError, FileFormatError, nearest
from chainrule.data.table_files import guarded, open_bytes

__all__ = ["Decoded"]

CHUNK = 8 << 20  # bytes read at a time: large enough for all cores, small beside any table
_SAMPLE = 1 << 16
_COMMON = ("utf-8", "utf-16", "latin-1", "cp1252", "cp1250", "cp1251", "gbk", "shift_jis", "big5")
_BOMS = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Decoded:
    """A file of text, as it is written: the encoding given, else that of its mark, else UTF-8."""

    def __init__(self, path: str, encoding: str | None = None):
        self.path = path
        with guarded(path), open_bytes(path) as file:
            head = file.read(_SAMPLE)
        self.encoding = _check_encoding(encoding) if encoding else _bom(head)
        self._bare_cr = b"\n" not in head and b"\r" in head

    def chunks(self) -> Iterator[bytes]:
        """The text as UTF-8 with ``\\n`` at the end of lines, some megabytes at a time."""
        carried = b""
        done = 0
        with open_bytes(self.path) as file:
            for data in self._decoded(file):
                data = carried + data
                carried = b""
                if b"\0" in data:
                    raise self._binary(data, done + data.index(b"\0"))
                done += len(data)
                if b"\r" in data:
                    if data.endswith(b"\r"):  # its \n may be the first byte of what follows
                        data, carried = data[:-1], b"\r"
                    data = data.replace(b"\r\n", b"\n")
                    if self._bare_cr:
                        data = data.replace(b"\r", b"\n")
                if data:
                    yield data
        if carried:
            yield b"\n"

    def _decoded(self, file: Any) -> Iterator[bytes]:
        if self.encoding != "utf-8":
            yield from self._recoded(file)
            return
        rest, offset = b"", 0
        while True:
            with guarded(self.path):
                data = file.read(CHUNK)
            last = not data
            data = rest + data
            if not offset and data.startswith(codecs.BOM_UTF8):
                data, offset = data[3:], 3
            if data.isascii():
                used = len(data)
            else:
                try:
                    used = codecs.utf_8_decode(data, "strict", last)[1]
                except UnicodeDecodeError as error:
                    raise self._not_text(data, error, offset) from None
            rest = data[used:]
            data = data[:used]
            offset += used
            if data:
                yield data
            if last:
                return

    def _recoded(self, file: Any) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(self.encoding)()
        offset, data = 0, b"-"
        while data:
            with guarded(self.path):
                data = file.read(CHUNK)
            try:
                text = decoder.decode(data, final=not data)
                if not offset:
                    text = text.removeprefix("\ufeff")
                yield text.encode()
            except UnicodeError as error:
                at = offset - len(decoder.getstate()[0]) + getattr(error, "start", 0)
                raise FileFormatError(
                    f"{self.path}, line {self._line_at(at)}, byte {at}: this is not text in "
                    f"{self.encoding} ({error}); give the encoding it has"
                ) from None
            offset += len(data)

    def _binary(self, data: bytes, at: int) -> FileFormatError:
        """What has bytes that no text has."""
        why = "a binary file, no text; expected CSV, Parquet, Arrow or .npz"
        for name, zeros in (("utf-16-le", data[1:2000:2]), ("utf-16-be", data[:2000:2])):
            if self.encoding == "utf-8" and zeros.count(0) > len(zeros) // 2:
                why = f"it seems to be UTF-16 without its mark, give --encoding {name} "
                why += f"(encoding={name!r})"
        line = self._line_at(at)
        return FileFormatError(f"{self.path}, line {line}, byte {at}: a control character; {why}")

    def _line_at(self, offset: int) -> int:
        """The line that a byte of the file is in: what came before is counted only now."""
        line = 1
        with open_bytes(self.path) as file:
            while offset > 0 and (data := file.read(min(CHUNK, offset))):
                line += data.count(b"\r" if self._bare_cr else b"\n")
                offset -= len(data)
        return line

    def _not_text(self, data: bytes, error: UnicodeDecodeError, offset: int) -> FileFormatError:
        at = error.start
        byte = data[at]
        near = data[max(0, at - 500) : at + 500]
        if sum(c < 32 and c not in b"\t\n\r\f\v" for c in near) > len(near) // 20:
            return self._binary(near, offset + at)
        guess = "cp1252" if 0x80 <= byte < 0xA0 else "latin-1"
        word = re.split(rb"[\r\n,;\t|]", data[max(0, at - 20) : at])[-1]
        word += re.split(rb"[\r\n,;\t|]", data[at : at + 20])[0]
        shown = word.decode("cp1252", "replace").strip()
        where = f"{self.path}, line {self._line_at(offset + at)}, byte {offset + at}"
        if error.reason == "unexpected end of data":
            return FileFormatError(f"{where}: the file ends within a character; it is cut off")
        return FileFormatError(
            f"{where}: 0x{byte:02x} is not UTF-8; the text seems to be in another encoding, give "
            f"--encoding {guess} (encoding={guess!r}), with which it reads {shown!r}"
        )


def _bom(head: bytes) -> str:
    return next((name for bom, name in _BOMS if head.startswith(bom)), "utf-8")


def _check_encoding(name: str) -> str:
    try:
        found = codecs.lookup(name)
        "".encode(found.name)  # an encoding of text, which base64 and the like are not
        codecs.getincrementaldecoder(found.name)
    except (LookupError, UnicodeError, ValueError, TypeError):
        raise DataError(f"there is no encoding {name!r}; {nearest(name, _COMMON)}") from None
    if found.name == "utf-8-sig":
        return "utf-8"
    return found.name
