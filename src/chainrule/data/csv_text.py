"""Delimited text: cut into blocks of whole records, split into fields.

polars splits a block into fields; what it must not decide is decided here: where records end and
whether each record has as many fields as the header. A block that polars cannot
split, or where the number of fields is not right, goes through Python's own reader instead, which
is slow and says what is wrong, in which line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from chainrule.array.errors import DataError
from chainrule.data.decoding import Decoded
from chainrule.data.table_files import check_columns, load_polars

__all__ = ["Block", "CsvFile"]

_LONGEST = 64 << 20  # bytes of a record; past it, a quote is taken to be open by mistake
_SLOW_ROWS = 16384
_SAMPLE = 1 << 16
_DELIMITERS = {"\t": "tab", ";": "semicolon", "|": "pipe", ",": "comma", " ": "space"}


class Block:
    """Some records as a frame of text, and the lines of the file they come from."""

    def __init__(self, frame: Any, first: int, data: bytes = b"", lines: Sequence[int] = ()):
        self.frame = frame
        self._first, self._data, self._lines = first, data, lines

    def line(self, row: int) -> int:
        """The line of the file in which a row of the frame begins, counted as editors do."""
        if self._lines:
            return self._lines[row]
        line, inside = self._first, 0
        for text in self._data.split(b"\n"):
            if not inside and text:
                row -= 1
                if row < 0:
                    break
            inside ^= text.count(b'"') % 2
            line += 1
        return line


class CsvFile:
    """One text file with a header: how it is written, its columns, and its blocks."""

    def __init__(self, path: str, *, delimiter: str | None = None, encoding: str | None = None):
        self.path = path
        self._text = Decoded(path, encoding)
        self.names: list[str] = []  # until the header is read
        if delimiter is not None and (len(delimiter) != 1 or ord(delimiter) > 127):
            raise DataError(
                f"a delimiter is one character, such as ',' or '\\t', got {delimiter!r}"
            )
        if delimiter in ('"', "\n", "\r", "\0"):
            raise DataError(f"{delimiter!r} cannot be a delimiter: it has a meaning of its own")
        self._read_header(delimiter)

    # -- the header ------------------------------------------------------------------------------

    def _read_header(self, delimiter: str | None) -> None:
        first = b""
        for data in self._text.chunks():
            first += data
            if len(first) >= _SAMPLE:
                break
        text = first.decode()
        skipped = re.match(r"(?:[ \t]*\n)*", text).end()  # type: ignore[union-attr]
        given = re.match(r"sep=([^\n])\n", text[skipped:])  # as Excel writes and reads
        if given:
            skipped += given.end()
            delimiter = delimiter or given[1]
        body = text[skipped:]
        if not body.strip():
            raise DataError(
                f"{self.path} is empty; expected a header line with the names of the columns"
            )
        self.delimiter = delimiter or _detect(self.path, body[:_SAMPLE], len(text) > _SAMPLE)
        line = text.count("\n", 0, skipped) + 1
        start, names = next(self._records(_lines([body.encode()]), line))
        self.names = self._check_names(names, start)
        lines = list(islice(_lines([body.encode()]), self._consumed - line + 1))
        self._skip = len(text[:skipped].encode()) + sum(len(part.encode()) for part in lines)
        self._start = line + len(lines)

    def _check_names(self, raw: list[str], line: int) -> list[str]:
        names = [name.strip() for name in raw]
        where = f"{self.path}, line {line}"
        numbers = [name for name in names if _is_number(name)]
        counted = len(names) > 1 and names == [str(i) for i in range(len(names))]  # pandas' names
        some = any("." in name for name in numbers) and 2 * len(numbers) >= len(names)
        if numbers and not counted and (some or len(numbers) == len(names)):
            shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
            raise DataError(
                f"{where} looks like data, not like names of columns ({shown}); write a header "
                f"line with a name for each of the {len(names)} columns above it"
            )
        empty = [i for i, name in enumerate(names, 1) if not name]
        if empty:
            at = ", ".join(str(i) for i in empty[:5]) + (", …" if len(empty) > 5 else "")
            if empty == [1]:
                why = "pandas writes its row numbers so: use to_csv(path, index=False)"
            elif empty[-1] == len(names):
                why = f"take the {self._delimiter_name} off the end of the lines"
            else:
                why = "give it one in the header line"
            plural = "columns" if len(empty) > 1 else "column"
            raise DataError(f"{where}: {plural} {at} of {len(names)} without a name; {why}")
        places: dict[str, list[int]] = {}
        for i, name in enumerate(names, 1):
            places.setdefault(name, []).append(i)
        twice = {name: at for name, at in places.items() if len(at) > 1}
        if twice:
            listed = "; ".join(
                f"{name!r} is the name of columns {' and '.join(map(str, at))}"
                for name, at in islice(twice.items(), 3)
            )
            raise DataError(f"{where}: {listed}; give each column a name of its own")
        return names

    @property
    def _delimiter_name(self) -> str:
        return _DELIMITERS.get(self.delimiter, repr(self.delimiter))

    @property
    def _mark(self) -> bytes:
        return getattr(self, "delimiter", ",").encode()

    # -- records ---------------------------------------------------------------------------------

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[Block]:
        """All records in order, as frames of text of the columns asked for, in their order.

        Raises:
            DataError: a record with too many or too few fields, a quote that is never closed, no
                record at all.
            FileFormatError: bytes that are no text.
        """
        wanted = self.names if columns is None else list(columns)
        check_columns(self.path, wanted, self.names)
        pieces = self._pieces()
        empty = True
        for line, data in pieces:
            frame = self._fast(data, wanted)
            if frame is None:  # from here on slowly: a wrong quote also misleads the cutting
                rest = chain([data], (piece for _, piece in pieces))
                for block in self._slow(rest, line, wanted):
                    empty = False
                    yield block
                break
            if frame.height:
                empty = False
                yield Block(frame, line, data)
        if empty:
            raise DataError(
                f"{self.path} has a header line and no rows under it; expected one row per sample"
            )

    def _pieces(self) -> Iterator[tuple[int, bytes]]:
        """The file after its header, cut where a record ends, with the number of the first line."""
        skip, line, kept = self._skip, self._start, b""
        for data in self._text.chunks():
            if skip:
                skip, data = max(0, skip - len(data)), data[skip:]
            kept += data
            cut = _last_end(kept)
            if not cut and len(kept) > _LONGEST:
                cut = len(kept)
            if cut:
                yield line, kept[:cut]
                line += kept.count(10, 0, cut)
                kept = kept[cut:]
        if kept:
            yield line, kept

    def _fast(self, data: bytes, wanted: Sequence[str]) -> Any:
        """A block as polars splits it, or None where that is not what the text says."""
        pl = load_polars()
        outside = data
        if b'"' in data:  # what stands outside quotes is every other part between them
            every = data.split(b'"')
            parts = every[::2]
            outside = b'"'.join(parts)
            blank = b"\n\n" in outside or data.startswith(b"\n")
            beside = {part[-1:] for part in parts[:-1]} | {part[:1] for part in parts[1:]}
            plain = beside <= {b"", b"\n", self._mark}  # each quote at the edge of its field
            closed = len(every) % 2 == 1
            if self.delimiter == " " or blank or not plain or not closed:
                return None
        else:
            if self.delimiter == " ":
                data = re.sub(rb" +", b" ", data).replace(b" \n", b"\n").replace(b"\n ", b"\n")
                data = data.strip(b" ")
            if b"\n\n" in data or data.startswith(b"\n"):
                data = re.sub(rb"\n\n+", b"\n", data).lstrip(b"\n")
            outside = data
        if not data:
            return pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
        schema = {f"{i}": pl.String for i in range(len(self.names))}
        numbers = {name: i for i, name in enumerate(self.names)}
        try:
            frame = pl.read_csv(
                data,
                has_header=False,
                schema=schema,
                separator=self.delimiter,
                columns=[numbers[name] for name in wanted],
                raise_if_empty=False,
            )
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException:  # of whatever kind: the slow reader finds out what is wrong
            return None
        if outside.count(self._mark) != (len(self.names) - 1) * frame.height:
            return None
        return frame.select(pl.col(str(numbers[name])).alias(name) for name in wanted)

    def _slow(self, data: Iterator[bytes], line: int, wanted: Sequence[str]) -> Iterator[Block]:
        pl = load_polars()
        numbers = [self.names.index(name) for name in wanted]
        records = self._records(_lines(data), line)
        while some := list(islice(records, _SLOW_ROWS)):
            frame = pl.DataFrame(
                {
                    name: [record[i] for _, record in some]
                    for name, i in zip(wanted, numbers, strict=True)
                },
                schema=dict.fromkeys(wanted, pl.String),
            )
            yield Block(frame, line, lines=[at for at, _ in some])

    def _records(self, lines: Iterator[str], first: int) -> Iterator[tuple[int, list[str]]]:
        """Records with the line each begins in; the header too, before `names` is known."""
        seen: list[str] = []  # the lines of the record at hand, to find the quote in an error

        def remembered() -> Iterator[str]:
            for line in lines:
                if self.delimiter == " ":
                    line = line.rstrip(" \n") + "\n"
                seen.append(line)
                yield line

        reader = csv.reader(
            remembered(), delimiter=self.delimiter, strict=True, skipinitialspace=True
        )
        while True:
            start = first + reader.line_num
            seen.clear()
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise self._broken("".join(seen), start, error) from None
            self._consumed = first + reader.line_num - 1
            blank = len(record) == 1 and not record[0].strip() and '"' not in seen[0]
            if not record or (blank and len(self.names) != 1):
                continue  # a line without anything; in a single column, a space is a value
            if self.names and len(record) != len(self.names):
                raise self._ragged(record, start, next(lines, None) is None)
            yield start, record

    def _ragged(self, record: list[str], line: int, last: bool) -> DataError:
        found, n = len(record), len(self.names)
        shown = self.delimiter.join(record)
        shown = shown if len(shown) <= 60 else shown[:57] + "…"
        if found == n + 1 and line == self._start:
            why = "the header may lack the name of the first column (R leaves it out), or a value"
            why += f" has a {self._delimiter_name} in it and needs quotes"
        elif found > n:
            why = f"a value with a {self._delimiter_name} in it must stand in double quotes"
        elif found == 1 and n > 1:
            why = f"lines are split at each {self._delimiter_name}, and this one has none"
        else:
            why = "a value is missing, or one with a line break in it lacks double quotes"
        if found < n and last:
            why += ", or the file is cut off here"
        fields = "field" if found == 1 else "fields"
        return DataError(
            f"{self.path}, line {line}: {found} {fields} where the header has {n} "
            f"({shown!r}); {why}"
        )

    def _broken(self, text: str, line: int, error: csv.Error) -> DataError:
        """Which quote of a broken record is at fault, walking over its fields."""
        mark = re.escape(self.delimiter)
        quoted = re.compile(rf' *"(?:[^"]|"")*"(?={mark}|\n|\Z)')
        plain = re.compile(rf'(?! *")[^{mark}\n]*')
        at = 0
        while at < len(text):
            field = quoted.match(text, at) or plain.match(text, at)
            if not field:
                break
            at = field.end() + 1
        line += text.count("\n", 0, at)
        if at >= len(text):  # no quote is: a carriage return or an endless value
            return DataError(
                f"{self.path}, line {line - 1}: this line cannot be split into fields ({error}); "
                f"write the file again with \\n at the end of lines"
            )
        column = at - text.rfind("\n", 0, at)
        shown = text[at : at + 30].split("\n")[0]
        return DataError(
            f"{self.path}, line {line}, column {column}: the quote that opens here is not closed, "
            f"or more text follows where it closes ({shown!r}); close it before the "
            f'{self._delimiter_name} or the end of the line, and write a quote inside twice ("")'
        )


def _lines(pieces: Any) -> Iterator[str]:
    """Lines of UTF-8 text with their ends, split at ``\\n`` alone, whatever else is in them."""
    rest = b""
    for piece in pieces:
        parts = (rest + piece).split(b"\n")
        rest = parts.pop()
        for part in parts:
            yield part.decode() + "\n"
    if rest:
        yield rest.decode()


def _last_end(data: bytes) -> int:
    """How much of the text is whole records: up to the last line end outside quotes."""
    end = data.rfind(b"\n") + 1
    inside = data.count(b'"', 0, end) % 2
    while end and inside:
        before = data.rfind(b"\n", 0, end - 1) + 1
        inside ^= data.count(b'"', before, end) % 2
        end = before
    return end


def _is_number(text: str) -> bool:
    try:
        return float(text.replace(",", ".", 1)) == float(text.replace(",", ".", 1))
    except ValueError:
        return False


def _detect(path: str, text: str, cut: bool) -> str:
    """The delimiter that splits most records of the sample into as many fields as the header."""
    if path.lower().endswith((".tsv", ".tab", ".tsv.gz", ".tab.gz")):
        return "\t"
    lines = text.split("\n")
    if cut and len(lines) > 1:
        lines.pop()
    best, best_score = ",", (False, 0.5, 0)
    for delimiter in _DELIMITERS:
        reader = csv.reader(
            (line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=True
        )
        try:
            records = [record for record in islice(reader, 100) if record]
        except csv.Error:
            continue
        if delimiter == " ":  # several count as one, as in columns that are lined up
            records = [[field for field in record if field] for record in records]
        fields = len(records[0]) if records else 0
        share = sum(len(record) == fields for record in records) / max(1, len(records))
        score = (delimiter != " ", share, fields)  # spaces stand in names and text too
        if fields > 1 and share > 0.5 and score > best_score:
            best, best_score = delimiter, score
    return best
