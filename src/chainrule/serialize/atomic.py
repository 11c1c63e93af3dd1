"""Writing a file so that a reader sees the old one or the new one, never a part of either."""

from __future__ import annotations

import errno
import os
import platform
import re
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

__all__ = ["atomic_write", "check_writable"]

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Temporaries this process is writing now. A pid alone does not tell: in a container every run of a
# program may have the same pid, so a temporary with our pid is ours only if it is listed here.
_active: set[str] = set()


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the `with` block ends without an exception.

    The bytes go to a hidden file in the same directory, are synced to disk, and then renamed over
    `path` in one step; the directory is synced too. After a crash, a full disk, `KeyboardInterrupt`
    or `kill -9`, `path` holds all of the old content or all of the new. What a killed process left
    behind is removed by the next write to the same path from the same host (not on Windows, where
    one process cannot safely ask whether another lives).

    Args:
        path: the file to write. A symbolic link is followed. A new file gets the permissions `open`
            would give it (the umask), a replaced one keeps its own.

    Yields:
        A seekable binary file, open for writing. Do not close it in the block.

    Several writers may write one path at once: the last to finish wins, with a whole file.

    Errors (all `OSError`): `FileNotFoundError` when the directory is missing, `IsADirectoryError`
    when `path` is one, `PermissionError` when the directory or an existing file is write-protected,
    `OSError` for a full disk or when `path` is a device or a pipe. `path` is then untouched.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.bin")
    >>> with atomic_write(path) as file:
    ...     _ = file.write(b"first")
    >>> with atomic_write(path) as file:
    ...     _ = file.write(b"second, but")
    ...     raise RuntimeError("stopped halfway")
    Traceback (most recent call last):
    ...
    RuntimeError: stopped halfway
    >>> path.read_bytes(), len(list(path.parent.iterdir()))
    (b'first', 1)
    """
    target = os.path.realpath(path)
    mode = _existing_mode(target)
    directory, name = os.path.split(target)
    prefix = _prefix(name)
    _remove_stale(directory, prefix)
    temporary = os.path.join(directory, f"{prefix}{os.getpid()}-{os.urandom(8).hex()}.tmp")
    _active.add(temporary)
    try:
        file = _create(temporary, directory)
        try:
            if mode is not None:
                os.chmod(temporary, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()  # Windows renames no open file
            os.replace(temporary, target)
        except BaseException as exc:
            with suppress(OSError):
                file.close()  # flushes what is left, which fails again on a full disk
            with suppress(OSError):
                os.unlink(temporary)
            if isinstance(exc, OSError) and exc.errno in _NO_SPACE and exc.filename is None:
                raise OSError(
                    exc.errno,
                    f"no space to write the file ({exc.strerror}); "
                    "what was there before is unchanged: free some space and save again",
                    target,
                ) from exc
            raise
        _sync_directory(directory)
    finally:
        _active.discard(temporary)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise what `atomic_write` would for this path, as far as can be known before; writes nothing.

    >>> check_writable("no such directory/weights.bin")
    Traceback (most recent call last):
    ...
    FileNotFoundError: [Errno 2] the directory to write to does not exist; ...
    """
    target = os.path.realpath(path)
    _existing_mode(target)
    directory = os.path.dirname(target)
    if not os.access(directory, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(
            errno.EACCES,
            "cannot create a file in this directory; choose one you may write to",
            directory,
        )


def _existing_mode(target: str) -> int | None:
    """The permissions of the file to replace, None where there is none; raises what `open` would.

    A rename needs permission on the directory only: without these checks it would replace a
    write-protected file, or `/dev/null`.
    """
    directory = os.path.dirname(target)
    try:
        directory_mode = os.stat(directory).st_mode
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT,
            "the directory to write to does not exist; create it first, "
            "with pathlib.Path(...).mkdir(parents=True)",
            directory,
        ) from None
    if not stat.S_ISDIR(directory_mode):
        raise NotADirectoryError(
            errno.ENOTDIR, "the place to write to is a file, not a directory", directory
        )
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(
            errno.EISDIR, "expected the path of a file, got a directory; add a file name", target
        )
    if not stat.S_ISREG(mode):
        raise OSError(
            errno.EINVAL, "expected the path of a file, got a device, pipe or socket", target
        )
    if not os.access(target, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(
            errno.EACCES, "the file is write-protected; unprotect it or choose another path", target
        )
    return stat.S_IMODE(mode)


def _create(temporary: str, directory: str) -> BinaryIO:
    """A new file, with the permissions the umask gives."""
    try:
        return open(temporary, "xb")
    except OSError as exc:
        raise OSError(
            exc.errno,
            f"cannot create a file in this directory ({exc.strerror}); choose one you may write to",
            directory,
        ) from exc


def _prefix(name: str) -> str:
    """How the temporaries of the file `name` begin on this host; the owner's pid follows."""
    if len(os.fsencode(name)) > 180:  # a file name has at most 255 bytes
        from hashlib import sha256  # here, because it loads OpenSSL

        name = sha256(os.fsencode(name)).hexdigest()
    # A pid means something on its own host only, and directories are shared over networks.
    host = zlib.crc32(platform.node().encode("utf-8", "surrogateescape"))
    return f".{name}.{host:08x}-"


def _remove_stale(directory: str, prefix: str) -> None:
    """Remove the temporaries whose writer was killed."""
    pattern = re.compile(re.escape(prefix) + r"(\d{1,10})-[0-9a-f]{16}\.tmp")
    with suppress(OSError):  # housekeeping: a directory that cannot be listed is still written to
        for name in os.listdir(directory):
            match = pattern.fullmatch(name)
            if match and not _in_use(os.path.join(directory, name), int(match[1])):
                with suppress(OSError):
                    os.unlink(os.path.join(directory, name))


def _in_use(temporary: str, pid: int) -> bool:
    """Whether the process that made this temporary may still be writing it."""
    if pid == os.getpid():
        return temporary in _active
    if sys.platform == "win32":  # there os.kill(pid, 0) is no question but a signal
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # alive, and another user's
        return True
    return True


def _sync_directory(directory: str) -> None:
    """Make the rename itself survive a power failure, where the system knows how."""
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:  # one may write to a directory without being allowed to list it
        return
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)
