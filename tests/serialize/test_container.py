"""What is written is what is read, any reader of safetensors reads it, and damage never passes."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chainrule._version import __version__
from chainrule.array.errors import FileFormatError
from chainrule.serialize.container import (
    Container,
    read_container,
    read_tensors,
    write_container,
)

DTYPES = ["b1", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "f8", "i8", "u8"]
SMALL = {
    "net.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "steps": np.array(7),
    "mask": np.array([True, False]),
    "none\x1f": np.zeros((0, 4), np.float16),  # an escape in the header, whose case has no meaning
}
ABOUT = {"layers": [{"type": "Dense", "args": [3, 2]}], "note": 'a "quoted" µ \x1f', "lr": 1e-3}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.safetensors"


@pytest.fixture
def small(path: Path) -> bytes:
    write_container(path, SMALL, ABOUT, "model")
    return path.read_bytes()


def same(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Equal names, dtypes, shapes and bits (NaN payloads and signs of zero too)."""
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype.newbyteorder("<") == b[name].dtype.newbyteorder("<")
        assert a[name].shape == b[name].shape
        little = a[name].dtype.newbyteorder("<")
        assert a[name].astype(little).tobytes() == b[name].astype(little).tobytes()


def raw_file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# -- round trip ------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
arrays = hnp.arrays(
    st.sampled_from([o + d for d in DTYPES for o in "<>"]).map(np.dtype),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
layouts: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda a: a,
    lambda a: a.T,
    np.asfortranarray,
    lambda a: a[..., ::-1] if a.ndim else a,
    lambda a: np.broadcast_to(a, (2, *a.shape)),
]
tensors = st.dictionaries(
    text.filter(lambda name: name != "__metadata__"),
    st.builds(lambda a, f: f(a), arrays, st.sampled_from(layouts)),
    max_size=5,
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**256) + 1, 2**256 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tensors, st.dictionaries(text, values, max_size=3), text.filter(bool))
def test_round_trip(
    path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, Any], kind: str
) -> None:
    write_container(path, tensors, metadata, kind)
    back = read_container(path, kind=kind)
    assert isinstance(back, Container)
    same(back.tensors, tensors)
    assert back.metadata == metadata
    assert repr(back.metadata) == repr(metadata)  # -0.0, 1 and 1.0 and True apart
    assert (back.kind, back.format_version, back.library_version) == (kind, 1, __version__)
    for array in back.tensors.values():
        flags = array.flags
        assert all((flags.owndata, flags.writeable, flags.aligned, flags.c_contiguous))
        assert array.dtype.isnative
    same(safetensors.numpy.load_file(path), tensors)
    plain, strings = read_tensors(path)
    same(plain, tensors)
    assert strings["format"] == "chainrule"


def test_same_input_same_bytes(path: Path, small: bytes) -> None:
    write_container(path, dict(reversed(SMALL.items())), ABOUT, "model")
    assert path.read_bytes() == small


def test_metadata_conveniences(path: Path) -> None:
    write_container(path, {}, {"t": (1, (2,)), "n": np.int64(3), "f": np.float32(0.5)}, "model")
    assert read_container(path).metadata == {"t": [1, [2]], "n": 3, "f": 0.5}


def test_bool_of_another_byte_is_written_as_one(path: Path) -> None:
    odd = np.array([0, 1, 2, 255], np.uint8).view(np.bool_)
    write_container(path, {"odd": odd}, {}, "model")
    assert read_container(path).tensors["odd"].view(np.uint8).tolist() == [0, 1, 1, 1]


def test_digest_can_be_checked_by_hand(small: bytes) -> None:
    import hashlib

    digest = json.loads(small[8 : 8 + int.from_bytes(small[:8], "little")])["__metadata__"][
        "digest"
    ]
    blanked = small.replace(digest.encode(), b"0" * 64)
    assert hashlib.sha256(blanked).hexdigest() == digest


# -- safetensors as the oracle ---------------------------------------------------------------------


def test_layout_is_that_of_safetensors(path: Path) -> None:
    """Same places, order and alignment; the metadata alone differs."""
    rng = np.random.default_rng(0)
    tensors = {f"{d}.{i}": rng.integers(0, 2, (3, i)).astype(d) for d in DTYPES for i in (0, 1, 2)}
    write_container(path, tensors, {}, "model")
    ours, theirs = path.read_bytes(), safetensors.numpy.save(tensors, {"a": "b"})
    headers = []
    for data in (ours, theirs):
        length = int.from_bytes(data[:8], "little")
        assert length % 8 == 0
        header = json.loads(data[8 : 8 + length])
        del header["__metadata__"]
        headers.append((list(header.items()), data[8 + length :]))
    assert headers[0] == headers[1]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# With {} for both, safetensors 0.8 writes a header that is no JSON and refuses to read it.
@given(tensors, st.dictionaries(text, text, min_size=1, max_size=2) | st.none())
def test_reads_what_safetensors_writes(
    path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None
) -> None:
    native = {
        n: np.ascontiguousarray(a, a.dtype.newbyteorder("=")).reshape(a.shape)
        for n, a in tensors.items()
    }
    path.write_bytes(safetensors.numpy.save(native, metadata))
    back, strings = read_tensors(path)
    same(back, native)
    assert strings == (metadata or {})
    with pytest.raises(FileFormatError, match=r"no chainrule model.*read_tensors"):
        read_container(path)


def test_never_more_lenient_than_safetensors(path: Path, small: bytes) -> None:
    """What the oracle refuses is refused here too, for thousands of damaged files."""
    rng = random.Random(0)
    refused = 0
    theirs = safetensors.numpy.save({k: v for k, v in SMALL.items() if "\x1f" not in k})
    for _ in range(1500):
        data = bytearray(rng.choice([small, theirs]))
        for _ in range(rng.choice([1, 1, 2, 5])):
            place = rng.randrange(min(len(data), 8 + int.from_bytes(theirs[:8], "little")))
            data[place] = rng.choice([rng.randrange(256), ord(rng.choice('0123456789{}[]",: '))])
        path.write_bytes(data)
        try:
            safetensors.numpy.load(bytes(data))
        except Exception:
            refused += 1
            with pytest.raises(FileFormatError):
                read_tensors(path)
    assert refused > 700


# -- damage ----------------------------------------------------------------------------------------


def test_truncation_at_every_byte(path: Path, small: bytes) -> None:
    for length in range(len(small)):
        path.write_bytes(small[:length])
        for read in (read_container, read_tensors):
            with pytest.raises(FileFormatError, match=r"truncated|empty") as caught:
                read(path)
            assert str(path) in str(caught.value)


def test_flip_of_every_bit(path: Path, small: bytes) -> None:
    with path.open("r+b", buffering=0) as file:
        for place, bit in itertools.product(range(len(small)), range(8)):
            os.pwrite(file.fileno(), bytes([small[place] ^ 1 << bit]), place)
            with pytest.raises(FileFormatError):
                read_container(path)
            os.pwrite(file.fileno(), small[place : place + 1], place)
    read_container(path)  # whole again


def test_inserted_deleted_and_trailing_bytes(path: Path, small: bytes) -> None:
    rng = random.Random(1)
    for _ in range(500):
        a, b = sorted(rng.randrange(len(small) + 1) for _ in range(2))
        for data in (
            small[:a] + small[b:],
            small[:b] + small[a:],
            small[:a] + rng.randbytes(rng.randrange(1, 9)) + small[a:],
            small + rng.randbytes(rng.randrange(1, 9)),
        ):
            if data != small:
                path.write_bytes(data)
                with pytest.raises(FileFormatError):
                    read_container(path)
    path.write_bytes(small + b"\0")
    with pytest.raises(FileFormatError, match="bytes left over at the end"):
        read_container(path)


def test_random_bytes(path: Path) -> None:
    rng = random.Random(2)
    for _ in range(500):
        data = rng.randbytes(rng.randrange(200))
        for content in (data, raw_file(data), raw_file(b"{" + data)):
            path.write_bytes(content)
            for read in (read_container, read_tensors):
                with pytest.raises(FileFormatError):
                    read(path)


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


FOUR = b"\0" * 4
HEADERS = {
    "header longer than the file": (struct.pack("<Q", 2**40) + b"{}", "not a safetensors|header"),
    "header of 2**64 - 1": (b"\xff" * 8 + b"{}", "not a safetensors"),
    "header of nothing": (raw_file(b""), "truncated|JSON"),
    "not UTF-8": (raw_file(b'{"\xff":1}'), "header: not valid JSON: 'utf-8'"),
    "UTF-16": (raw_file('{"a":1}'.encode("utf-16-le")), "not valid JSON"),
    "not JSON": (raw_file(b"{]"), "not valid JSON"),
    "two values": (raw_file(b"{}{}"), "not valid JSON"),
    "key twice": (
        raw_file(b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), FOUR),
        "'a'",
    ),
    "field twice": (raw_file(b'{"a":{"dtype":"F32","dtype":"F32"}}'), "'dtype' stands twice"),
    "half a surrogate": (raw_file(rb'{"__metadata__":{"\ud800":""}}'), "surrogates not allowed"),
    "nested objects": (raw_file(b'{"a":' * 200_000), "not valid JSON"),
    "nested lists": (raw_file(b'{"a":' + b"[" * 200_000), "not valid JSON"),
    "NaN": (raw_file({"a": entry(shape=[float("nan")])}, FOUR), "'NaN' is not finite"),
    "infinity": (raw_file({"a": entry(shape=[float("inf")])}, FOUR), "not finite"),
    "1e999": (raw_file(b'{"a":1e999}'), "'1e999' is not finite"),
    "huge integer": (raw_file(b'{"a":%s}' % (b"9" * 5000)), "an integer of 5000 digits"),
    "entry is no object": (raw_file({"a": [1]}), "expected dtype, shape and data_offsets"),
    "field missing": (raw_file({"a": {"dtype": "F32", "shape": []}}), "expected dtype, shape"),
    "field too many": (raw_file({"a": entry() | {"code": "x"}}, FOUR), "expected dtype, shape"),
    "metadata of numbers": (raw_file({"__metadata__": {"a": 1}}), "object of strings"),
    "metadata is a list": (raw_file({"__metadata__": ["a"]}), "object of strings"),
    "dtype unknown": (raw_file({"a": entry("F31")}, FOUR), "dtype 'F31' is not one of float16"),
    "dtype in lower case": (raw_file({"a": entry("f32")}, FOUR), "dtype 'f32' is not one of"),
    "dtype is a list": (raw_file({"a": entry(["F32"])}, FOUR), "is not one of float16"),
    "float8": (raw_file({"a": entry("F8_E4M3", [4])}, FOUR), "'F8_E4M3' is not one of"),
    "bfloat16": (raw_file({"a": entry("BF16", [2])}, FOUR), "bfloat16.*save it as float32"),
    "negative size": (raw_file({"a": entry(shape=[-1])}, FOUR), "expected a shape"),
    "size is a float": (raw_file({"a": entry(shape=[1.0])}, FOUR), "expected a shape"),
    "size is a bool": (raw_file({"a": entry(shape=[True])}, FOUR), "expected a shape"),
    "shape is a number": (raw_file({"a": entry(shape=1)}, FOUR), "expected a shape"),
    "65 dimensions": (raw_file({"a": entry(shape=[1] * 65)}, FOUR), "at most 64"),
    "overflow to 4": (raw_file({"a": entry(shape=[2**32 + 1, 2**32])}, FOUR), "any memory"),
    "empty and huge": (raw_file({"a": entry(shape=[0, 2**62], offsets=[0, 0])}), "any memory"),
    "larger than the file": (
        raw_file({"a": entry(shape=[2**40], offsets=[0, 2**42])}),
        "truncated",
    ),
    "bytes do not fit": (raw_file({"a": entry(shape=[2])}, FOUR), "takes 8 bytes, data_offsets 4"),
    "more bytes than fit": (raw_file({"a": entry(offsets=[0, 8])}, FOUR * 2), "takes 4 bytes"),
    "offsets reversed": (raw_file({"a": entry(offsets=[4, 0])}, FOUR), "data_offsets"),
    "offsets negative": (raw_file({"a": entry(offsets=[-4, 0])}, FOUR), "data_offsets"),
    "three offsets": (raw_file({"a": entry(offsets=[0, 4, 4])}, FOUR), "data_offsets"),
    "offset too big": (raw_file({"a": entry(offsets=[2**70, 2**70 + 4])}, FOUR), "hole before"),
    "hole": (raw_file({"a": entry(offsets=[4, 8])}, FOUR * 2), "leaves a hole before it"),
    "overlap": (raw_file({"a": entry(), "b": entry(offsets=[2, 6])}, FOUR * 2), "overlaps the one"),
    "same bytes": (raw_file({"a": entry(), "b": entry()}, FOUR), "overlaps the one"),
    "left over": (raw_file({"a": entry()}, FOUR * 2), "bytes left over"),
    "bool of 2": (raw_file({"a": entry("BOOL", [1], [0, 1])}, b"\2"), "neither 0 nor 1"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_bad_header(path: Path, case: str) -> None:
    data, message = HEADERS[case]
    path.write_bytes(data)
    for read in (read_tensors, read_container):
        if read is read_container and case == "bool of 2":
            message = "no chainrule model"  # said before any tensor is read
        with pytest.raises(FileFormatError, match=message) as caught:
            read(path)
        assert len(str(caught.value)) < 1000


def sealed(metadata: dict[str, str]) -> bytes:
    """A file of ours with a right digest and whatever metadata."""
    import hashlib

    data = raw_file({"__metadata__": {"digest": "0" * 64, "format": "chainrule"} | metadata})
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


GOOD = {"format_version": "1", "kind": "model", "chainrule_version": "9.8.7", "chainrule": "{}"}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (GOOD | {"format_version": "2"}, r"written by chainrule '9.8.7' with format 2.*upgrade"),
        (GOOD | {"format_version": "0"}, "format_version is '0'"),
        (GOOD | {"format_version": "1.0"}, "format_version is '1.0'"),
        (GOOD | {"format_version": "9" * 9999}, "format_version is"),
        ({"format_version": "1"}, "lacks chainrule, chainrule_version, kind"),
        (GOOD | {"chainrule": "[1]"}, "expected an object"),
        (GOOD | {"chainrule": "{"}, "chainrule metadata: not valid JSON"),
        (GOOD | {"chainrule": '{"a": NaN}'}, "not finite"),
        (GOOD | {"chainrule": '{"a": 1, "a": 2}'}, "stands twice"),
        (GOOD | {"chainrule": '{"a":' + "[" * 200_000}, "not valid JSON"),
        (GOOD | {"digest": ""}, "64 hexadecimal digits"),
        (GOOD | {"digest": "F" * 64}, "64 hexadecimal digits"),
        (GOOD | {"digest": "f" * 64}, "do not match the digest"),
    ],
)
def test_bad_description(path: Path, metadata: dict[str, str], message: str) -> None:
    path.write_bytes(sealed(metadata))
    with pytest.raises(FileFormatError, match=message):
        read_container(path)


def test_sealed_is_read_where_nothing_is_wrong(path: Path) -> None:
    path.write_bytes(sealed(GOOD))
    assert read_container(path) == Container({}, {}, "model", 1, "9.8.7")


# -- files that are something else -----------------------------------------------------------------


def test_missing_directory_pipe_and_empty(path: Path, tmp_path: Path) -> None:
    for read in (read_container, read_tensors):
        with pytest.raises(FileNotFoundError, match=r"net\.safetensors"):
            read(path)
        with pytest.raises(FileFormatError, match="is a directory"):
            read(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(FileFormatError, match="the file is empty"):
        read_container(path)
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FileFormatError, match="pipe"):
            read_container(tmp_path / "pipe")
        with pytest.raises(FileFormatError, match="device"):
            read_container("/dev/zero")


def test_unreadable_file(path: Path, small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path.chmod(0)
    if os.name != "posix" or not os.geteuid():  # nothing is unreadable to root

        def refuse(*args: Any) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError, match=r"net\.safetensors"):
        read_container(path)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(Path(__file__).with_suffix(".exploded")),)


FOREIGN = {
    **{f"pickle {p}": (pickle.dumps({"a": Bomb()}, p), "a pickle file") for p in range(2, 6)},
    "HDF5": (b"\x89HDF\r\n\x1a\n\0\0\0\0", "an HDF5 file"),
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
    "ONNX": (b"\x08\x0a\x12\x07pytorch\x1a\x032.1:\x0f", r"an ONNX file.*chainrule\.onnx\.load"),
    "GGUF": (b"GGUF\3\0\0\0\0\0\0\0", "a GGUF file"),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0\0\xff", "a gzip file"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "HTML": (b"<!DOCTYPE html>\n<html><title>404", "a download that failed"),
    "JSON": (b'{"format": "chainrule"}', "a JSON or text file"),
    "text": (b"0.1, 0.2, 0.3\n0.4, 0.5, 0.6\n", "not a safetensors file"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_file_is_named(path: Path, case: str) -> None:
    data, message = FOREIGN[case]
    for content in (data, data + b"\0" * 300):
        path.write_bytes(content)
        for read in (read_container, read_tensors):
            with pytest.raises(FileFormatError, match=message):
                read(path)
    assert not Path(__file__).with_suffix(".exploded").exists()


def test_files_of_numpy_are_named(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(FileFormatError, match=r"numpy\.load reads it"):
        read_container(path)
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))
    assert zipfile.is_zipfile(path)
    with pytest.raises(FileFormatError, match=r"a zip file \(PyTorch"):
        read_container(path)


def test_kind_and_size(path: Path, small: bytes) -> None:
    with pytest.raises(FileFormatError, match="expected a checkpoint, this file is a 'model'"):
        read_container(path, kind="checkpoint")
    assert read_container(path, max_bytes=len(small)).kind == "model"
    for read in (read_container, read_tensors):
        with pytest.raises(FileFormatError, match="allowed by max_bytes"):
            read(path, max_bytes=len(small) - 1)


def test_claimed_sizes_take_no_memory(path: Path) -> None:
    """The largest claims that are consistent in themselves stop at the size of the file."""
    import tracemalloc

    size = 2**40
    path.write_bytes(raw_file({"a": entry("U8", [size], [0, size])}, b"\0" * 100))
    tracemalloc.start()
    with pytest.raises(FileFormatError, match="truncated"):
        read_tensors(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


# -- what cannot be written ------------------------------------------------------------------------

loop: list[Any] = []
loop.append(loop)
ZERO = np.zeros(1)


@pytest.mark.parametrize(
    ("tensors", "metadata", "kind", "error", "message"),
    [
        ({"z": ZERO + 1j}, {}, "model", TypeError, "'z': expected float16.*got complex128"),
        ({"z": np.array(["a"])}, {}, "model", TypeError, "'z': expected float16.*got <U1"),
        ({"z": np.array([None])}, {}, "model", TypeError, "got object"),
        ({"z": np.zeros(2, "f4,i4")}, {}, "model", TypeError, "'z': expected"),
        ({"z": np.zeros(2, np.longdouble)}, {}, "model", TypeError, r"longdouble|float128|float96"),
        ({"z": np.zeros(2, ml_dtypes.bfloat16)}, {}, "model", TypeError, "got bfloat16; convert"),
        ({"z": np.zeros(2, "m8[s]")}, {}, "model", TypeError, "got timedelta64"),
        ({"z": [1.0]}, {}, "model", TypeError, "expected a NumPy array, got list"),
        ({1: ZERO}, {}, "model", TypeError, "expected names as keys, got 1"),
        ({"__metadata__": ZERO}, {}, "model", ValueError, "taken by the format"),
        ({"\ud800": ZERO}, {}, "model", ValueError, "surrogate"),
        ({}, {"a": {"b": [1, float("nan")]}}, "model", ValueError, r"\['a'\]\['b'\]\[1\].*nan"),
        ({}, {"a": float("inf")}, "model", ValueError, "JSON has no inf"),
        ({}, {"a": ZERO}, "model", TypeError, "got ndarray; put arrays into tensors"),
        ({}, {"a": {1, 2}}, "model", TypeError, "got set"),
        ({}, {"a": {1: 2}}, "model", TypeError, "expected names as keys, got 1"),
        ({}, {"a": "\udc80"}, "model", ValueError, "surrogate"),
        ({}, {"a": 2**256}, "model", ValueError, "more than 256 bits"),
        ({}, {"a": loop}, "model", ValueError, "nested"),
        ({}, [1], "model", TypeError, "expected a mapping, got list"),
        ({}, {}, "", TypeError, "expected a name such as 'model'"),
        ({}, {}, None, TypeError, "expected a name such as 'model'"),
    ],
)
def test_refuses_to_write(
    path: Path, tensors: Any, metadata: Any, kind: Any, error: type[Exception], message: str
) -> None:
    path.write_bytes(b"old")
    with pytest.raises(error, match=message):
        write_container(path, tensors, metadata, kind)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def test_header_too_long_to_be_read_is_not_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainrule.serialize.container._MAX_HEADER", 1000)
    with pytest.raises(ValueError, match="put large things into tensors"):
        write_container(path, {}, {"a": "x" * 1000}, "model")
    assert not path.exists()


def test_nesting_up_to_the_limit_is_read_back(path: Path) -> None:
    value: Any = 1
    for _ in range(99):
        value = [value]
    write_container(path, {}, {"a": value}, "model")
    assert read_container(path).metadata == {"a": value}
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        write_container(path, {}, {"a": [value]}, "model")


# -- crashes and company ---------------------------------------------------------------------------

LOOP = """
import sys
import numpy as np
from chainrule.serialize.container import write_container
i = int(sys.argv[2])
print("ready", flush=True)
while True:
    i += 1
    tensors = {name: np.full(400_000, i) for name in "ab"}
    write_container(sys.argv[1], tensors, {"i": i}, "checkpoint")
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_killed_at_any_moment(path: Path) -> None:
    """Whole, consistent, never older than before; and nothing is left lying about."""
    rng = random.Random(3)
    write_container(path, {"a": np.zeros(1), "b": np.zeros(1)}, {"i": 0}, "checkpoint")
    last = left = rounds = 0
    while rounds < 6 or (rounds < 40 and not (last and left)):  # more on a very busy machine
        rounds += 1
        process = subprocess.Popen(
            [sys.executable, "-c", LOOP, str(path), str(last)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.01, 0.15))
        process.kill()
        process.communicate()
        back = read_container(path, kind="checkpoint")
        assert back.metadata["i"] >= last
        last = back.metadata["i"]
        assert all(np.all(array == last) for array in back.tensors.values())
        left += len(os.listdir(path.parent)) - 1
        assert len(os.listdir(path.parent)) <= 2  # what the kill before left was cleared
    assert last > 0
    assert left > 0  # else no kill came in the middle of a write
    write_container(path, {}, {}, "checkpoint")
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="RLIMIT_FSIZE")
def test_full_disk_keeps_the_old_model(path: Path, small: bytes) -> None:
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="no space to write the file"):
            write_container(path, {"big": np.zeros(5_000)}, {}, "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    same(read_container(path).tensors, SMALL)
    assert os.listdir(path.parent) == [path.name]


def test_two_writers_and_a_reader(path: Path) -> None:
    failures: list[BaseException] = []

    def write(value: int) -> None:
        try:
            for _ in range(15):
                tensors = {"w": np.full(20_000 * value, value)}
                write_container(path, tensors, {"value": value}, "checkpoint")
        except BaseException as exc:
            failures.append(exc)

    write(1)
    threads = [threading.Thread(target=write, args=(value,)) for value in (1, 2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        back = read_container(path)
        value = back.metadata["value"]
        assert back.tensors["w"].shape == (20_000 * value,)
        assert np.all(back.tensors["w"] == value)
    for thread in threads:
        thread.join()
    assert not failures
    assert os.listdir(path.parent) == [path.name]
