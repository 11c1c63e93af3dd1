"""One safetensors file: named arrays, a JSON description, and a digest over every byte of both.

The layout is that of safetensors: eight bytes, the length of the header (unsigned, little-endian);
the header, a JSON object that gives each tensor's dtype, shape and place; the tensors' bytes.
Loading it is copying numbers: nothing in such a file can run. `safetensors` itself, and with it
PyTorch, JAX and the others, reads the tensors of these files.

What makes it ours stands in the header's `__metadata__`, a map of strings:

    digest             SHA-256 of the whole file as it is with these 64 digits set to 0
    format             "chainrule"
    format_version     "1"
    kind               "model", "checkpoint", ...
    chainrule_version  of the library that wrote the file
    chainrule          the description, as JSON
"""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import stat
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from chainrule._version import __version__
from chainrule.array.errors import FileFormatError
from chainrule.serialize.atomic import atomic_write

__all__ = ["Container", "read_container", "read_tensors", "write_container"]

Array = npt.NDArray[Any]

_FORMAT_VERSION = 1
_MAX_HEADER = 100_000_000  # bytes, the limit of safetensors
_MAX_DEPTH = 100  # of nested lists and objects in a description
_MAX_INT_BITS = 256  # a random stream's state fits; a number with a million digits does not
_MAX_DIGITS = 80  # of an integer, 2**256 has 78
_BLANK = "0" * 64

# The names of safetensors for the types of NumPy, in the order in which its files hold them.
_DTYPES = {
    "BOOL": "b1",
    "U8": "u1",
    "I8": "i1",
    "I16": "i2",
    "U16": "u2",
    "F16": "f2",
    "I32": "i4",
    "U32": "u4",
    "F32": "f4",
    "F64": "f8",
    "I64": "i8",
    "U64": "u8",
}
_NAMES = {code: name for name, code in _DTYPES.items()}
_RANK = {name: rank for rank, name in enumerate(_DTYPES)}
_HELD = "float16/32/64, int8 to int64, uint8 to uint64 and bool"

# Files people take for models. Tried only where the first bytes are no safetensors header.
_RESAVE = "save its weights with safetensors instead: chainrule runs no code from a file"
_FOREIGN = [
    (rb"PK\x03\x04", f"a zip file (PyTorch .pt, Keras .keras or NumPy .npz?); {_RESAVE}"),
    (rb"\x80[\x02-\x05][^\0]", f"a pickle file (PyTorch, scikit-learn or joblib?); {_RESAVE}"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras?); save its weights with safetensors instead"),
    (rb"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42]", "an ONNX file; see chainrule.onnx.load"),
    (rb"\x93NUMPY", "a NumPy .npy file; numpy.load reads it"),
    (rb"\x89PNG\r\n\x1a\n", "a PNG image"),
    (rb"\xff\xd8\xff", "a JPEG image"),
    (rb"GGUF", "a GGUF file"),
    (rb"\x1f\x8b\x08", "a gzip file; unpack it first"),
    (rb"version https://git-lfs", "a Git LFS pointer; get the file itself with git lfs pull"),
    (rb"\s*<(!DOCTYPE|!doctype|html|\?xml)", "an HTML or XML page (a download that failed?)"),
    (rb"\s*[\[{]", "a JSON or text file"),
]

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80
_show = _repr.repr


@dataclass(frozen=True)
class Container:
    """What a file of ours holds.

    Attributes:
        tensors: name to array, in the order of the file. Each array has its own writable memory.
        metadata: the description, as given to `write_container` (tuples come back as lists).
        kind: what the file is, such as "model" or "checkpoint".
        format_version: of the file, 1 today.
        library_version: of the chainrule that wrote it.
    """

    tensors: dict[str, Array]
    metadata: dict[str, Any]
    kind: str
    format_version: int
    library_version: str


def _sha256(data: bytes = b"") -> Any:
    from hashlib import sha256  # here, because it loads OpenSSL: 3 ms of every import

    return sha256(data)


def write_container(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array],
    metadata: Mapping[str, Any],
    kind: str,
) -> None:
    """Write arrays and their description to one safetensors file, all of it or nothing.

    Args:
        path: the file, usually `*.safetensors`; see `atomic_write` for how it is replaced.
        tensors: name to array of any shape (0-d and empty ones too), float16/32/64, intN, uintN or
            bool. Memory layout and byte order do not matter: written C-contiguous, little-endian.
        metadata: the description, of what JSON has: None, bool, int (up to 256 bits), finite float,
            str, list or tuple, and dict with str keys. A tuple is read back as a list.
        kind: what the file is; `read_container(kind=...)` asks for it.

    Raises `TypeError` or `ValueError` for what a file cannot hold, naming the tensor or the place
    in the description, and `OSError` as `atomic_write` does; `path` is untouched in each case.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "net.safetensors")
    >>> write_container(path, {"weight": np.eye(2)}, {"layers": [2, 2]}, kind="model")
    >>> net = read_container(path, kind="model")
    >>> net.tensors["weight"].tolist(), net.metadata
    ([[1.0, 0.0], [0.0, 1.0]], {'layers': [2, 2]})
    """
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata: expected a mapping, got {type(metadata).__name__}")
    if not isinstance(kind, str) or not kind:
        raise TypeError(f"kind: expected a name such as 'model', got {_show(kind)}")
    _unicode(kind, "kind")
    description = {
        "digest": _BLANK,  # first in the header, so that its place is found at once
        "format": "chainrule",
        "format_version": str(_FORMAT_VERSION),
        "kind": kind,
        "chainrule_version": __version__,
        "chainrule": _dump(_plain(metadata, "metadata", 0)),
    }
    header: dict[str, Any] = {"__metadata__": description}
    names = {name: _dtype_name(name, array) for name, array in tensors.items()}
    order = sorted(names, key=lambda name: (-_RANK[names[name]], name))
    end = 0
    for name in order:
        array = tensors[name]
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": names[name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = _dump(header).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors begin at a multiple of eight
    if len(text) > _MAX_HEADER:
        raise ValueError(
            f"names, shapes and metadata take {len(text):,} bytes; a file holds {_MAX_HEADER:,}: "
            "put large things into tensors"
        )
    digest = _sha256()
    with atomic_write(path) as file:
        for block in (len(text).to_bytes(8, "little"), text):
            file.write(block)
            digest.update(block)
        for name in order:
            data = _bytes_of(tensors[name])
            file.write(data)
            digest.update(data)
        file.seek(8 + text.index(_BLANK.encode()))
        file.write(digest.hexdigest().encode())


def read_container(
    path: str | os.PathLike[str], *, kind: str | None = None, max_bytes: int | None = None
) -> Container:
    """Read a file that `write_container` wrote, checking all of it. No code from the file runs.

    Args:
        path: the file.
        kind: the kind it has to be of, such as "model"; None for any.
        max_bytes: the largest file to read; None for any. No more memory than this is taken for
            tensors, whatever the file claims: sizes are compared with the file's before.

    Raises `FileFormatError` saying what is wrong and where, for a file that is truncated, damaged
    (one changed bit is enough), of another format, of another kind, too large, or written by a
    newer version. `FileNotFoundError` and `PermissionError` as `open` does.
    """
    file, size = _open(path, max_bytes)
    with file:
        header = _read_header(file, size, path)
        about = header.metadata
        if about.get("format") != "chainrule":
            _fail(
                path,
                "is a safetensors file, but carries no chainrule model; load its weights with "
                "chainrule.serialize.container.read_tensors and give them to load_state_dict",
            )
        version = about.get("format_version", "")
        if not re.fullmatch("[1-9][0-9]{0,5}", version):
            _fail(path, f"damaged: format_version is {_show(version)}")
        if int(version) > _FORMAT_VERSION:
            _fail(
                path,
                f"written by chainrule {_show(about.get('chainrule_version'))} with format "
                f"{version}; this version, {__version__}, reads up to format {_FORMAT_VERSION}: "
                "upgrade with pip install --upgrade chainrule",
            )
        missing = {"digest", "kind", "chainrule_version", "chainrule"} - about.keys()
        if missing:
            _fail(path, f"damaged: the metadata lacks {', '.join(sorted(missing))}")
        if kind is not None and about["kind"] != kind:
            _fail(path, f"expected a {kind}, this file is a {_show(about['kind'])}")
        tensors = _read_data(file, header, path)
    metadata = _parse(about["chainrule"].encode(), "chainrule metadata", path)
    if not isinstance(metadata, dict):
        _fail(path, f"chainrule metadata: expected an object, got {_show(metadata)}")
    return Container(tensors, metadata, about["kind"], int(version), about["chainrule_version"])


def read_tensors(
    path: str | os.PathLike[str], *, max_bytes: int | None = None
) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors and the metadata strings of any safetensors file, to load other people's weights.

    Checked as strictly as `read_container` does, apart from the digest, which only our files have
    (there it is checked too). A type NumPy does not have, such as bfloat16, is a `FileFormatError`.

    Args:
        path: the file.
        max_bytes: the largest file to read; None for any.

    >>> import tempfile, pathlib
    >>> from safetensors.numpy import save_file
    >>> path = pathlib.Path(tempfile.mkdtemp(), "theirs.safetensors")
    >>> save_file({"bias": np.zeros(3, np.float32)}, path, {"format": "np"})
    >>> read_tensors(path)
    ({'bias': array([0., 0., 0.], dtype=float32)}, {'format': 'np'})
    """
    file, size = _open(path, max_bytes)
    with file:
        header = _read_header(file, size, path)
        return _read_data(file, header, path), header.metadata


# -- writing ---------------------------------------------------------------------------------------


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _plain(value: Any, where: str, depth: int) -> Any:
    """The same value in the types of JSON; raises where reading would not give it back."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"{where[:80]}...: nested more than {_MAX_DEPTH} deep, or in itself")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _unicode(value, where)
    if isinstance(value, int):
        if value.bit_length() > _MAX_INT_BITS:
            raise ValueError(f"{where}: an integer of more than {_MAX_INT_BITS} bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where}: JSON has no {value}; use None or a string")
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: expected names as keys, got {_show(key)}")
            _unicode(key, f"{where}: key")
        return {k: _plain(v, f"{where}[{_show(k)}]", depth + 1) for k, v in value.items()}
    hint = "put arrays into tensors" if isinstance(value, np.ndarray) else "convert it first"
    raise TypeError(
        f"{where}: expected None, bool, int, float, str, list or dict, "
        f"got {type(value).__name__}; {hint}"
    )


def _unicode(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where}: {_show(text)} has half a surrogate pair, no Unicode") from None
    return text


def _dtype_name(name: str, array: Array) -> str:
    """The dtype's name in the file; raises for a name or a tensor that a file cannot hold."""
    if not isinstance(name, str):
        raise TypeError(f"tensors: expected names as keys, got {_show(name)}")
    _unicode(name, "tensors: name")
    if name == "__metadata__":
        raise ValueError("tensors: the name '__metadata__' is taken by the format; rename it")
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"tensor {_show(name)}: expected a NumPy array, got {type(array).__name__}; "
            "use numpy.asarray or .numpy()"
        )
    code = array.dtype.str[1:]
    if code not in _NAMES:
        raise TypeError(
            f"tensor {_show(name)}: expected {_HELD}, got {array.dtype}; convert it with astype"
        )
    return _NAMES[code]


def _bytes_of(array: Array) -> memoryview:
    """The elements in C order, little-endian, as a flat view; copied only if need be."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    data = little.reshape(-1).view(np.uint8)
    # A view of other data as bool may hold any byte; files hold 0 and 1.
    return (data != 0).data if array.dtype == np.bool_ else data.data


# -- reading ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Header:
    raw: bytes  # as in the file, the eight bytes of its length included
    tensors: list[tuple[str, str, tuple[int, ...]]]  # name, type code, shape, as they follow
    metadata: dict[str, str]


def _fail(path: str | os.PathLike[str], problem: str) -> NoReturn:
    raise FileFormatError(f"{os.fspath(path)}: {problem}")


def _open(path: str | os.PathLike[str], max_bytes: int | None) -> tuple[BufferedReader, int]:
    """The open file and its size in bytes."""
    mode = os.stat(path).st_mode  # FileNotFoundError names the path
    if stat.S_ISDIR(mode):
        _fail(path, "is a directory; expected a .safetensors file")
    if not stat.S_ISREG(mode):  # opening a pipe would wait forever
        _fail(path, "is a device, pipe or socket; expected a .safetensors file")
    file = open(path, "rb")  # noqa: SIM115  (the caller closes it)
    size = os.fstat(file.fileno()).st_size
    if max_bytes is not None and size > max_bytes:
        file.close()
        _fail(path, f"has {size:,} bytes, more than the {max_bytes:,} allowed by max_bytes")
    return file, size


def _read_header(file: BufferedReader, size: int, path: str | os.PathLike[str]) -> _Header:
    start = file.read(64)
    length = int.from_bytes(start[:8], "little")
    if size > 8 and (length > _MAX_HEADER or start[8:9] != b"{"):
        for pattern, what in _FOREIGN:
            if re.match(pattern, start):
                _fail(path, f"expected a chainrule .safetensors file, this is {what}")
        _fail(path, "not a safetensors file (no header where one begins), or a damaged one")
    if size < 8:
        _fail(path, "the file is empty" if not size else f"truncated: only {size} bytes")
    if length > size - 8:
        _fail(path, f"truncated: {size} bytes, the header alone takes {8 + length}")
    file.seek(0)
    raw = file.read(8 + length)
    if len(raw) != 8 + length:
        _fail(path, "the file shrank while it was read")
    header = _parse(raw[8:], "header", path)
    if not isinstance(header, dict):
        _fail(path, "header: expected a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _fail(path, "header: expected __metadata__ to be an object of strings")
    entries = sorted(
        (_entry(name, entry, path) for name, entry in header.items()), key=lambda entry: entry[:2]
    )
    end = 0
    for begin, stop, name, *_ in entries:
        if begin != end:
            problem = "overlaps the one before" if begin < end else "leaves a hole before it"
            _fail(path, f"tensor {_show(name)} {problem}: begins at byte {begin}, expected {end}")
        end = stop
    if end != size - len(raw):
        problem = "truncated" if end > size - len(raw) else "bytes left over at the end"
        _fail(path, f"{problem}: the tensors take {end} bytes, the file has {size - len(raw)}")
    return _Header(raw, [(name, code, shape) for _, _, name, code, shape in entries], metadata)


def _entry(
    name: str, entry: Any, path: str | os.PathLike[str]
) -> tuple[int, int, str, str, tuple[int, ...]]:
    """One tensor's (begin, end, name, type code, shape), checked alone."""
    where = f"tensor {_show(name)}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        _fail(path, f"{where}: expected dtype, shape and data_offsets, got {_show(entry)}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        if dtype == "BF16":
            _fail(path, f"{where} is bfloat16, which NumPy lacks; save it as float32 (F32)")
        _fail(path, f"{where}: dtype {_show(dtype)} is not one of {_HELD}")
    if not _naturals(shape) or len(shape) > 64:
        _fail(path, f"{where}: expected a shape of at most 64 sizes, got {_show(shape)}")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        _fail(path, f"{where}: expected data_offsets [begin, end], got {_show(offsets)}")
    itemsize = int(_DTYPES[dtype][1])
    # NumPy's own limit leaves sizes of 0 out of the product, so an empty array can be too big.
    if math.prod(n or 1 for n in shape) * itemsize > sys.maxsize:
        _fail(path, f"{where}: shape {_show(shape)} is more than any memory")
    size, (begin, end) = math.prod(shape) * itemsize, offsets
    if end - begin != size:
        _fail(
            path, f"{where}: {dtype} {_show(shape)} takes {size} bytes, data_offsets {end - begin}"
        )
    return begin, end, name, _DTYPES[dtype], tuple(shape)


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _read_data(
    file: BufferedReader, header: _Header, path: str | os.PathLike[str]
) -> dict[str, Array]:
    """The tensors; the digest is checked where the file has one of ours."""
    about = header.metadata
    ours = about.get("format") == "chainrule" and about.get("format_version") == "1"
    claimed = about.get("digest", "")
    if ours and not re.fullmatch("[0-9a-f]{64}", claimed):
        _fail(path, f"damaged: expected a digest of 64 hexadecimal digits, got {_show(claimed)}")
    digest = _sha256(header.raw.replace(claimed.encode(), _BLANK.encode()) if ours else b"")
    tensors: dict[str, Array] = {}
    for name, code, shape in header.tensors:
        array = np.empty(shape, f"<{code}")
        if array.size:
            data = array.reshape(-1).view(np.uint8)
            if file.readinto(data.data) != data.size:
                _fail(path, f"tensor {_show(name)}: the file shrank while it was read")
            if ours:
                digest.update(data.data)
            if code == "b1" and data.max() > 1:
                _fail(path, f"tensor {_show(name)}: a bool that is neither 0 nor 1")
        tensors[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    if ours and digest.hexdigest() != claimed:
        _fail(path, "damaged: the contents do not match the digest; take another copy of the file")
    return tensors


def _parse(text: bytes, where: str, path: str | os.PathLike[str]) -> Any:
    """JSON, strictly: UTF-8, no key twice, no NaN or infinity, no integer of endless digits."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise ValueError(f"the key {_show(twice)} stands twice")
        return result

    def integer(digits: str) -> int:
        if len(digits) > _MAX_DIGITS:
            raise ValueError(f"an integer of {len(digits)} digits")
        return int(digits)

    def finite(number: str) -> float:
        if not math.isfinite(float(number)):
            raise ValueError(f"the number {_show(number)} is not finite")
        return float(number)

    try:
        value = json.loads(
            text.decode(),
            object_pairs_hook=unique,
            parse_int=integer,
            parse_float=finite,
            parse_constant=finite,
        )
        if rb"\u" in text:  # an escape can spell half a surrogate pair, which is no text
            _dump(value).encode()
    except (ValueError, RecursionError) as exc:
        _fail(path, f"{where}: not valid JSON: {exc}")
    return value
