"""A file is the old one or the new one, whatever happens to its writer."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chainrule.serialize import atomic
from chainrule.serialize.atomic import atomic_write, check_writable

posix = pytest.mark.skipif(os.name != "posix", reason="permissions, signals and pipes of POSIX")


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """A file that holds b"old"; no test may leave anything beside it."""
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")
    yield path
    assert os.listdir(tmp_path) == [path.name]


def save(path: Path, data: bytes) -> None:
    with atomic_write(path) as file:
        file.write(data)


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Permissions do not bind root: be nobody for a while."""
    if os.geteuid():
        yield
    else:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)


def test_replaces_and_reader_keeps_the_old(old: Path) -> None:
    with old.open("rb") as reader, atomic_write(old) as file:
        file.write(b"new")
        file.flush()
        assert old.read_bytes() == b"old"
        file.seek(0)
        file.write(b"N")
        assert reader.read() == b"old"
    assert old.read_bytes() == b"New"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
def test_exception_keeps_the_old(old: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), atomic_write(old) as file:
        file.write(b"x" * 100_000)
        raise error
    assert old.read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failing_system_call_keeps_the_old(
    old: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(OSError, match="broken disk"):
        save(old, b"new")
    monkeypatch.undo()
    assert old.read_bytes() == b"old"


def test_synced_before_renamed_and_directory_after(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def logged_fsync(fd: int) -> None:
        state = os.fstat(fd)
        calls.append("directory" if stat.S_ISDIR(state.st_mode) else f"{state.st_size} bytes")
        fsync(fd)

    def logged_replace(source: str, target: str) -> None:
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(atomic.os, "fsync", logged_fsync)
    monkeypatch.setattr(atomic.os, "replace", logged_replace)
    save(old, b"12345")
    assert calls == ["5 bytes", "replace"] + ["directory"] * (os.name == "posix")


@posix
def test_full_disk(old: Path) -> None:
    """A real limit on the size of files makes the system refuse the bytes."""
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        for size in (60_000, 51_000, 500_000):
            with pytest.raises(OSError, match=r"unchanged: free some space.*net\.safetensors"):
                save(old, b"x" * size)
            with pytest.raises(OSError, match="no space to write"), atomic_write(old) as file:
                for _ in range(size // 100):
                    file.write(b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert old.read_bytes() == b"old"


def test_no_space_elsewhere_is_not_ours_to_explain(old: Path) -> None:
    with pytest.raises(OSError) as caught, atomic_write(old):
        raise OSError(errno.ENOSPC, "full", "another file")
    assert caught.value.filename == "another file"


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"create it first.*runs.7"):
        save(tmp_path / "runs" / "7" / "net", b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="not a directory"):
        save(tmp_path / "file" / "net", b"")


def test_target_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="add a file name"):
        save(tmp_path, b"")
    assert not os.listdir(tmp_path)


@posix
def test_pipe_and_device_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(OSError, match="got a device, pipe or socket"):
            save(path, b"")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@posix
def test_read_only_directory_and_file() -> None:
    directory = Path(tempfile.mkdtemp())  # outside pytest's, which nobody but root may enter
    try:
        path = directory / "net"
        path.write_bytes(b"old")
        path.chmod(0o444)
        directory.chmod(0o777)
        with unprivileged(), pytest.raises(PermissionError, match="write-protected"):
            save(path, b"new")
        path.chmod(0o666)
        directory.chmod(0o555)
        with unprivileged(), pytest.raises(PermissionError, match="cannot create a file") as caught:
            save(path, b"new")
        assert caught.value.filename == str(directory.resolve())
        assert path.read_bytes() == b"old"
        directory.chmod(0o333)  # writable, not listable: the write has to work
        with unprivileged():
            save(path, b"new")
        assert path.read_bytes() == b"new"
    finally:
        directory.chmod(0o700)
        shutil.rmtree(directory)


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_open(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        save(tmp_path / "ours", b"")
        (tmp_path / "opened").write_bytes(b"")
    finally:
        os.umask(before)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "opened").stat().st_mode
    (tmp_path / "ours").chmod(0o640)
    save(tmp_path / "ours", b"again")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == 0o640


@posix
def test_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "latest").symlink_to(tmp_path / "runs" / "7")
    for data in (b"created", b"replaced"):
        save(tmp_path / "latest", data)
        assert (tmp_path / "latest").is_symlink()
        assert (tmp_path / "runs" / "7").read_bytes() == data


@pytest.mark.parametrize("name", ["a", "é" * 100, "x" * 255, ".hidden", "a[1]*(b", "line\nbreak"])
def test_any_file_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with contextlib.suppress(ValueError), atomic_write(path):
        raise ValueError
    assert not os.listdir(tmp_path)
    save(path, b"1")
    save(path, b"2")
    assert os.listdir(tmp_path) == [name]
    assert path.read_bytes() == b"2"


WRITER = """
import sys, time
from chainrule.serialize.atomic import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


@posix
def test_killed_writer(old: Path) -> None:
    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(old)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        return process

    def kill(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.communicate()

    dead, alive = start(), start()
    try:
        kill(dead)
        assert old.read_bytes() == b"old"
        assert len(os.listdir(old.parent)) == 3
        unrelated = old.parent / "other"
        save(unrelated, b"")  # clears nobody else's temporaries
        unrelated.unlink()
        assert len(os.listdir(old.parent)) == 3
        save(old, b"new")  # clears the dead writer's, not the living one's
        assert len(os.listdir(old.parent)) == 2
    finally:
        kill(alive)
    save(old, b"newer")
    assert old.read_bytes() == b"newer"


@posix
def test_stale_temporary_of_an_earlier_process_with_our_pid(old: Path) -> None:
    """As when a container starts again and its program has the same number."""
    prefix = atomic._prefix(old.name)
    stale = old.parent / f"{prefix}{os.getpid()}-{'0' * 16}.tmp"
    stale.write_bytes(b"half")
    far = old.parent / f".{old.name}.otherhost-1-{'0' * 16}.tmp"
    far.write_bytes(b"half")
    with atomic_write(old) as outer:
        outer.write(b"outer")
        assert not stale.exists()
        save(old, b"inner")  # leaves the outer one's temporary alone
    assert old.read_bytes() == b"outer"
    assert far.exists()  # another host's processes cannot be asked
    far.unlink()


def test_concurrent_writers(old: Path) -> None:
    """Many threads write, one reads: every content seen is one writer's, whole."""
    blocks = [bytes([65 + i]) * 200_000 for i in range(3)]
    failures: list[BaseException] = []

    def write(block: bytes) -> None:
        try:
            for _ in range(8):
                with atomic_write(old) as file:
                    for start in range(0, len(block), 50_000):
                        file.write(block[start : start + 50_000])
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=write, args=(block,)) for block in blocks]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert old.read_bytes() in (b"old", *blocks)
    for thread in threads:
        thread.join()
    assert not failures
    assert old.read_bytes() in blocks


def test_check_writable_says_what_writing_would(old: Path) -> None:
    check_writable(old)
    check_writable(old.parent / "new")
    for path, kind in (
        (old.parent, IsADirectoryError),
        (old.parent / "none" / "file", FileNotFoundError),
        (old / "file", NotADirectoryError),
    ):
        with pytest.raises(kind):
            check_writable(path)


@posix
def test_check_writable_sees_a_protected_directory(old: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        os, "access", lambda path, mode, **_: not (mode == os.W_OK and os.path.isdir(path))
    )
    monkeypatch.setattr(os, "supports_effective_ids", {os.access})
    with pytest.raises(PermissionError, match="cannot create a file in this directory"):
        check_writable(old.parent / "new")
