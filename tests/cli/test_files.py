"""Files that cannot be used: what is said, and that nothing half-written is left."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.array.errors import DataError, FileFormatError
from chainrule.cli.arguments import UsageError
from chainrule.cli.files import check_output, fingerprint, read_arrays, read_rows, write_array

from .conftest import Run, blobs

X, Y = blobs(30)


def npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def damaged(path: Path) -> str:
    """A compressed file with bytes changed in the middle of its data."""
    np.savez_compressed(path, X=np.random.default_rng(0).random((40, 50)), y=np.zeros(40, int))
    content = bytearray(path.read_bytes())
    content[2000:2040] = bytes(40)
    path.write_bytes(content)
    return str(path)


def objects(path: Path) -> str:
    """An .npz with an object array, as an older program would write it."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([1, "a", None], object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", buffer.getvalue())
    return str(path)


def test_arrays_come_by_name(tmp_path: Path) -> None:
    path = npz(tmp_path / "d.npz", y=Y, X=X, more=np.zeros(3))
    x, y = read_arrays(path)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda p: npz(p, x=X, y=Y), DataError, "no array 'X'; it has 'x', 'y': rename 'x' to 'X'"),
        (lambda p: npz(p, X=X, label=Y), DataError, "no array 'y'; it has 'X', 'label'"),
        (lambda p: npz(p), DataError, "no array 'X'; it has none"),
        (lambda p: npz(p, X=X, y=Y[:9]), DataError, "X has 30 rows and y has 9"),
        (lambda p: npz(p, X=X[:0], y=Y[:0]), DataError, r"X has shape \(0, 2\)"),
        (lambda p: npz(p, X=1.0, y=Y), DataError, r"X has shape \(\); expected a row per sample"),
        (objects, DataError, "X holds Python objects"),
        (damaged, FileFormatError, "array X cannot be read, it is damaged or cut off"),
        (
            lambda p: p.write_bytes(Path(npz(p, X=X, y=Y)).read_bytes()[:-200]) and str(p),
            FileFormatError,
            "damaged or cut off",
        ),
        (lambda p: p.write_bytes(b"") or str(p), FileFormatError, "is empty"),
        (lambda p: p.write_text("a,b\n1,2\n") and str(p), FileFormatError, "not an .npz file"),
        (
            lambda p: np.save(p.with_suffix(".npy"), X) or str(p.with_suffix(".npy")),
            FileFormatError,
            r"\.npy file with one array; expected an \.npz with X and y",
        ),
    ],
)
def test_a_file_that_cannot_be_used(make: Any, kind: type, text: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=text):
        read_arrays(make(tmp_path / "d.npz"))


def test_rows_come_from_npz_or_mapped_npy(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_rows(npz(tmp_path / "d.npz", X=X)), X)
    np.save(tmp_path / "d.npy", X)
    rows = read_rows(str(tmp_path / "d.npy"))
    assert isinstance(rows, np.memmap)
    np.testing.assert_array_equal(rows, X)


def test_rows_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "d.npy"
    np.save(path, np.array([1, "a"], object), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects"):
        read_rows(str(path))
    np.save(path, X)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FileFormatError, match="damaged or cut off"):
        read_rows(str(path))
    np.save(path, X[:0])
    with pytest.raises(DataError, match="expected a row per sample"):
        read_rows(str(path))


def test_output_is_checked_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "there"
    there.write_text("old")
    check_output(str(there), replace=True)
    check_output(str(tmp_path / "new"), replace=False)
    for path, text in (
        (there, "exists; give another name, or --force"),
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "file", "there is no folder"),
    ):
        with pytest.raises(UsageError, match=text):
            check_output(str(path), replace=False)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="no permission"):
        check_output(str(tmp_path / "new"), replace=False)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission(run: Run, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    result = run("train", data, "-o", folder / "m.safetensors")
    assert result.code == 2
    assert "no permission" in result.err


def test_an_array_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.npy"
    write_array(str(path), np.array(["cat", "whale"]))
    assert np.load(path, allow_pickle=False).tolist() == ["cat", "whale"]
    with pytest.raises(ValueError, match="Object arrays"):
        write_array(str(path), np.array([None]))
    assert np.load(path).tolist() == ["cat", "whale"]
    assert os.listdir(tmp_path) == ["out.npy"]


def test_the_fingerprint_sees_every_value() -> None:
    text = np.array(["a", "b"] * 15)
    assert fingerprint(X, Y) == fingerprint(np.asfortranarray(X), Y)
    assert len({fingerprint(X, Y), fingerprint(X, Y[::-1]), fingerprint(X, text)}) == 3
