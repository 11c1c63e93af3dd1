"""Which files a request means, and what each of them is, by its first bytes."""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import glob, has_magic
from typing import IO, Any, TypeAlias

from chainrule.array.errors import DataError, FileFormatError, MissingExtraError, nearest

__all__ = [
    "PathLike",
    "Source",
    "check_columns",
    "guarded",
    "kind_of",
    "load_polars",
    "open_bytes",
    "table_files",
]

PathLike: TypeAlias = str | os.PathLike[str]
Source: TypeAlias = PathLike | Sequence[PathLike]

_ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".arrow", ".feather", ".ipc", ".npz", ".gz")
_TABLES = "a CSV, Parquet, Arrow or .npz file"

# what people hand over by mistake: (offset, bytes, what it is, what to do)
_STRANGERS = (
    (0, b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)", "open it and save it as CSV UTF-8"),
    (0, b"FEA1", "a Feather file of version 1", "write it again with version 2, or as Parquet"),
    (0, b"\x93NUMPY", "an .npy file with one array", "write numpy.savez('data.npz', X=X, y=y)"),
    (0, b"%PDF", "a PDF document", "export the table in it as CSV"),
    (0, b"\x89PNG", "a PNG image", f"name {_TABLES}"),
    (0, b"\xff\xd8\xff", "a JPEG image", f"name {_TABLES}"),
    (0, b"GIF8", "a GIF image", f"name {_TABLES}"),
    (0, b"BZh", "compressed with bzip2", "unpack it first: bunzip2 FILE"),
    (0, b"\xfd7zXZ", "compressed with xz", "unpack it first: unxz FILE"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first: unzstd FILE"),
    (0, b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (257, b"ustar", "a tar archive", "unpack it first: tar -xf FILE"),
    (0, b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (0, b"\x89HDF", "an HDF5 file", "write the table as CSV or Parquet"),
    (0, b"\x7fELF", "a program", f"name {_TABLES}"),
    (0, b"\x80\x04\x95", "a Python pickle", "write the table as CSV or Parquet"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the data", "fetch it: git lfs pull"),
    (0, b"<!doctype html", "a web page, not the data", "download the file itself"),
    (0, b"<html", "a web page, not the data", "download the file itself"),
)

_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")
_BINARY = (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff", *_ZIPS)


def load_polars() -> Any:
    """polars, which reads tables and comes with the extra ``cli``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import polars
    except ImportError:
        raise MissingExtraError(
            'tables are read with polars; install it with pip install "chainrule[cli]", or '
            "pip install polars"
        ) from None
    return polars


def table_files(source: Source) -> list[str]:
    """The files that a path, a glob or a list of them means, in order, each once.

    Args:
        source: a path; a pattern such as ``"part-*.csv"`` or ``"data/**/*.parquet"``, whose
            matches come sorted by name; or a list of paths and patterns. A file whose name has the
            characters of a pattern is taken as it is.

    Returns:
        At least one path of an existing file.

    Raises:
        DataError: no such file (names the nearest in its folder), a pattern without a match, a
            folder, an empty list.

    >>> table_files("no-such-table.csv")
    Traceback (most recent call last):
    ...
    chainrule.array.errors.DataError: no-such-table.csv: no such file...
    """
    if isinstance(source, str | os.PathLike):
        items = [os.fspath(source)]
    else:
        try:
            items = [os.fspath(item) for item in source]
        except TypeError:
            raise DataError(
                f"expected a path, a pattern or a list of them, got {source!r:.80}"
            ) from None
    if not items:
        raise DataError("no file given; expected a path, a pattern such as 'part-*.csv', or a list")
    found: dict[str, None] = {}
    for item in items:
        if not isinstance(item, str) or "\0" in item:
            raise DataError(f"{item!r:.80} is no name of a file")
        if os.path.isdir(item):
            raise DataError(f"{item} is a folder; {_in_folder(item)}")
        if os.path.exists(item):
            found[item] = None
        elif has_magic(item):
            matches = sorted(path for path in glob(item, recursive=True) if os.path.isfile(path))
            if not matches:
                raise DataError(f"no file matches {item}; {_nearest_file(item)}")
            found.update(dict.fromkeys(matches))
        else:
            raise DataError(f"{item}: no such file; {_nearest_file(item)}")
    return list(found)


def _in_folder(folder: str) -> str:
    tables = sorted(name for name in os.listdir(folder) if name.lower().endswith(_ENDINGS))
    if not tables:
        return f"there is no table in it; name {_TABLES}"
    endings = [os.path.splitext(name)[1] for name in tables]
    ending = max(endings, key=endings.count)
    pattern = os.path.join(folder, f"*{ending}")
    return f"name a file in it ({_listed(tables)}), or all of one kind: '{pattern}'"


def _nearest_file(path: str) -> str:
    folder, name = os.path.split(path)
    try:
        files = [e.name for e in os.scandir(folder or ".") if e.is_file()]
    except OSError:
        return f"there is no folder {folder}"
    close = nearest(name, files)
    if close.startswith("did"):
        return close
    tables = sorted(file for file in files if file.lower().endswith(_ENDINGS))
    where = folder or "this folder"
    return f"{where} has {_listed(tables)}" if tables else f"there is no table in {where}"


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def open_bytes(path: str) -> IO[bytes]:
    """A file opened for reading, unpacked on the way if it is compressed with gzip."""
    return gzip.open(path, "rb") if _packed(path) else open(path, "rb")  # type: ignore[return-value]


def _packed(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def kind_of(path: str) -> str:
    """``"csv"``, ``"parquet"``, ``"arrow"``, ``"arrow stream"`` or ``"npz"``, by the content.

    Raises:
        DataError: the file is empty.
        FileFormatError: it is something else (says what and how to make a table of it).
        OSError: it cannot be opened.
    """
    with guarded(path), open_bytes(path) as file:
        head = file.read(512)
    if not head:
        raise DataError(f"{path} is empty; expected a header line with the names of the columns")
    ending = os.path.splitext(path)[1].lower()
    for offset, mark, what, fix in _STRANGERS:
        if head[offset : offset + len(mark)].lower() == mark.lower():
            raise FileFormatError(f"{path} is {what}; {fix}")
    if head.startswith(_BINARY) and _packed(path):
        raise FileFormatError(f"{path} is compressed once more with gzip; unpack it first: gunzip")
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "arrow"
    if head.startswith(b"\xff\xff\xff\xff"):
        return "arrow stream"
    if head.startswith(_ZIPS):
        return _zip_kind(path)
    if ending in (".parquet", ".arrow", ".feather", ".ipc", ".npz"):
        raise FileFormatError(
            f"{path} is no {ending[1:]} file: it begins with {head[:8]!r}; it is damaged or has "
            f"the wrong ending (a text table is named .csv)"
        )
    return "csv"


def _zip_kind(path: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise FileFormatError(
            f"{path} cannot be read: a zip archive or .npz that is damaged or cut off ({error})"
        ) from None
    if any(name.startswith("xl/") for name in names):
        raise FileFormatError(
            f"{path} is an Excel workbook; open it and save the sheet as CSV UTF-8, then name that"
        )
    if "content.xml" in names:
        raise FileFormatError(f"{path} is an OpenDocument file; save the sheet as CSV (UTF-8)")
    if names and not all(name.endswith(".npy") for name in names):
        raise FileFormatError(f"{path} is a zip archive of {_listed(names)}; unpack it first")
    return "npz"


def check_columns(path: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    """Raise `DataError` with the nearest names if a wanted column is not there."""
    known = set(there)
    missing = [name for name in wanted if name not in known]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        raise DataError(
            f"{path} has no column {names}; "
            + "; ".join(nearest(name, there) for name in missing[:3])
        )


@contextmanager
def guarded(path: str) -> Iterator[None]:
    """Let no error of a reading library through as it is: it becomes a `FileFormatError`.

    polars stops on some damaged files with a panic, which is no `Exception`.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except (DataError, FileFormatError, MissingExtraError):
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileFormatError(
            f"{path} cannot be unpacked: the compressed file is damaged or cut off ({error})"
        ) from None
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        detail = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(
            f"{path} cannot be read, it is damaged or cut off ({detail:.120})"
        ) from None
