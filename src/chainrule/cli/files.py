"""Reading arrays from files, and making sure early that a result can be written."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.array.errors import DataError, FileFormatError, nearest
from chainrule.cli.arguments import UsageError
from chainrule.serialize.atomic import atomic_write

__all__ = ["check_output", "fingerprint", "is_table", "read_arrays", "read_rows", "write_array"]

Array = npt.NDArray[Any]

_UNREADABLE = (
    ValueError,
    EOFError,
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    KeyError,
    SyntaxError,
    MemoryError,
    OverflowError,
)


def is_table(sources: Sequence[str], asked: bool) -> bool:
    """Whether the data is a table, rather than arrays X and y as ``numpy.savez`` writes them.

    Arguments:
        asked: whether something was asked that only a table has, such as a target.
    """
    if asked or len(sources) > 1:
        return True
    if not sources:
        return False
    path = sources[0]
    if not os.path.isfile(path):
        return not path.lower().endswith((".npz", ".npy"))
    with open(path, "rb") as file:
        return not file.read(6).startswith((b"PK", b"\x93NUMPY"))


def read_arrays(path: str, names: Sequence[str] = ("X", "y")) -> tuple[Array, ...]:
    """Arrays from an ``.npz`` file, by name. Object arrays are refused: nothing in a file runs.

    Arguments:
        path: what ``numpy.savez("data.npz", X=X, y=y)`` writes.
        names: the arrays wanted, all with one row per sample.

    Raises:
        OSError: if the file cannot be opened.
        FileFormatError: if it is no ``.npz`` or damaged.
        DataError: if an array is missing (says which are there), holds Python objects, is empty, or
            has another number of rows than the others.
    """
    with open(path, "rb") as file:
        head = file.read(6)
        if head == b"\x93NUMPY":
            raise FileFormatError(
                f"{path} is an .npy file with one array; expected an .npz with "
                f"{' and '.join(names)}, as numpy.savez('data.npz', X=X, y=y) writes it"
            )
        _check_head(path, head)
        file.seek(0)
        try:
            archive = np.load(file, allow_pickle=False)
            there = archive.files
        except _UNREADABLE as error:
            raise _damaged(path, error) from error
        arrays = []
        for name in names:
            if name not in there:
                raise DataError(f"{path} has no array {name!r}; {_hint(name, there)}")
            try:
                array = archive[name]
            except _UNREADABLE as error:
                if "Object arrays" in str(error) or "allow_pickle" in str(error):
                    raise DataError(
                        f"{path}: {name} holds Python objects; store numbers or text, for example "
                        f"numpy.savez(…, {name}={name}.astype(float)) or .astype(str)"
                    ) from error
                raise _damaged(f"{path}, array {name}", error) from error
            if array.ndim == 0 or not len(array):
                raise DataError(
                    f"{path}: {name} has shape {array.shape}; expected a row per sample"
                )
            arrays.append(array)
    for name, array in zip(names[1:], arrays[1:], strict=True):
        if len(array) != len(arrays[0]):
            raise DataError(
                f"{path}: {names[0]} has {len(arrays[0])} rows and {name} has {len(array)}; every "
                f"row of {names[0]} needs one of {name}"
            )
    return tuple(arrays)


def read_rows(path: str) -> Array:
    """The rows to predict for: ``X`` of an ``.npz``, or an ``.npy``, which is mapped, not read."""
    with open(path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            return read_arrays(path, ("X",))[0]
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except _UNREADABLE as error:
        if "object" in str(error).lower() or "pickle" in str(error):
            raise DataError(
                f"{path} holds Python objects; store numbers, for example X.astype(float)"
            ) from error
        raise _damaged(path, error) from error
    if rows.ndim == 0 or not len(rows):
        raise DataError(f"{path} has shape {rows.shape}; expected a row per sample")
    return np.asarray(rows) if rows.size == 0 else rows


def _check_head(path: str, head: bytes) -> None:
    if not head:
        raise FileFormatError(f"{path} is empty; expected an .npz file with X and y")
    if not head.startswith(b"PK"):
        raise FileFormatError(
            f"{path} is not an .npz file; write one with numpy.savez('data.npz', X=X, y=y)"
        )


def _hint(name: str, there: Sequence[str]) -> str:
    if not there:
        return "it has none"
    swapped = [n for n in there if n.lower() == name.lower()]
    listed = ", ".join(repr(n) for n in there)
    if swapped:
        return f"it has {listed}: rename {swapped[0]!r} to {name!r}"
    hint = nearest(name, there)
    return f"it has {listed}" + (f"; {hint}" if hint.startswith("did") else "")


def _damaged(where: str, error: BaseException) -> FileFormatError:
    detail = " ".join(str(error).split()) or type(error).__name__
    return FileFormatError(f"{where} cannot be read, it is damaged or cut off ({detail:.120})")


def check_output(path: str, replace: bool) -> None:
    """Find out before the work whether `path` can be written.

    Raises `UsageError` if it exists and may not be replaced, and the `OSError` that writing would.
    """
    folder = os.path.dirname(os.path.realpath(path)) or "."
    if os.path.isdir(path):
        raise UsageError(
            f"{path} is a folder; name a file in it, such as "
            f"{os.path.join(path, 'model.safetensors')}"
        )
    if os.path.exists(path) and not replace:
        raise UsageError(f"{path} exists; give another name, or --force to replace it")
    if not os.path.isdir(folder):
        raise UsageError(f"{path}: there is no folder {os.path.dirname(path)}; create it first")
    if not os.access(folder, os.W_OK) or (os.path.exists(path) and not os.access(path, os.W_OK)):
        raise UsageError(f"{path} cannot be written: no permission; choose another place with -o")


def write_array(path: str, array: Array) -> None:
    """Write an ``.npy`` file, whole or not at all."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def fingerprint(x: Array, y: Array) -> str:
    """A checksum of the data, to notice another file under the same name."""
    total = 0
    for array in (x, y):
        total = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data, total)
    return f"{total:08x}"
