"""C text made into machine code: find a compiler, build once, keep in a private cache, load.

Everything here may find nothing: no compiler, no headers, no place to write, or CHAINRULE_NATIVE=0.
Then the answer is None, and programs run as printed NumPy.

The cache is a folder of the user alone: CHAINRULE_CACHE, or `chainrule` in the system's folder for
caches. A file's name holds a digest of what it was built from (text, flags, compiler, variant,
version) and a checksum of its own bytes, so that nothing outdated and nothing damaged is loaded.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from chainrule._version import __version__
from chainrule.array.blas import cblas_addresses, cpu_flags

__all__ = [
    "Compiler",
    "Library",
    "cache_folder",
    "compile_c",
    "enabled",
    "find_compiler",
    "library",
    "runtime",
    "shared_library",
    "variants",
]

NATIVE = Path(__file__).with_name("native")

_FLAGS = (
    "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-ffp-contract=off",
    "-fPIC", "-shared", "-fvisibility=hidden",
)  # fmt: skip
_V3 = frozenset("avx avx2 bmi1 bmi2 f16c fma abm movbe popcnt sse4_2 ssse3 cx16".split())
_V4 = _V3 | frozenset("avx512f avx512bw avx512cd avx512dq avx512vl".split())
_MOST_BYTES = 256 * 2**20  # of the cache; the files used longest ago go first
_OLD = 90 * 86400.0  # seconds after which a file that nobody used goes
_SECONDS = 300.0  # for one run of the compiler


def enabled() -> bool:
    """Whether native code may be used: CHAINRULE_NATIVE is not 0.

    >>> enabled() or os.environ["CHAINRULE_NATIVE"] in ("0", "off", "no", "false")
    True
    """
    return os.environ.get("CHAINRULE_NATIVE", "1").lower() not in ("0", "off", "no", "false")


@functools.cache
def variants() -> tuple[str, ...]:
    """The kinds of machine code that this CPU runs, best first.

    On x86-64 the levels x86-64-v4 (AVX-512), x86-64-v3 (AVX2) and x86-64; elsewhere "plain".

    >>> variants()[-1] in ("x86-64", "plain")
    True
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return ("plain",)
    flags = cpu_flags()
    better = [name for name, needed in (("x86-64-v4", _V4), ("x86-64-v3", _V3)) if flags >= needed]
    return (*better, "x86-64")


class Compiler:
    """A C compiler: the command, and what tells one from another without running it."""

    def __init__(self, command: list[str], program: Path) -> None:
        self.command = command
        state = program.stat()
        self.identity = f"{shlex.join(command)} {program} {state.st_size} {state.st_mtime_ns}"

    def __repr__(self) -> str:
        return f"<compiler {shlex.join(self.command)}>"


def find_compiler() -> Compiler | None:
    """The C compiler named by the variable CC, else cc, gcc or clang of the PATH; None without.

    >>> found = find_compiler()
    >>> found is None or isinstance(found.command, list)
    True
    """
    if sys.platform == "win32":
        return None
    chosen = os.environ.get("CC", "").strip()
    for words in [shlex.split(chosen)] if chosen else [["cc"], ["gcc"], ["clang"]]:
        program = shutil.which(words[0])
        if program:
            return Compiler([program, *words[1:]], Path(os.path.realpath(program)))
    return None


def flags(variant: str) -> list[str]:
    """The compiler's flags for one of `variants()`."""
    machine = [] if variant == "plain" else [f"-march={variant}"]
    return [*_FLAGS, *machine]


def compile_c(
    compiler: Compiler, source: str, target: Path, variant: str, extra: tuple[str, ...] = ()
) -> None:
    """Compile a C text into the shared library `target`, in place.

    Raises:
        OSError, subprocess.SubprocessError: the compiler could not be run or took too long.
        RuntimeError: it refused, with what it said.
    """
    done = subprocess.run(
        [*compiler.command, *flags(variant), *extra, "-x", "c", "-", "-o", str(target), "-lm"],
        input=source, capture_output=True, text=True, errors="replace", timeout=_SECONDS,
        env={**os.environ, "LC_ALL": "C"}, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"exit status {done.returncode}")


# -- the cache ------------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """The folder of built libraries, private to the user and made if need be; None if impossible.

    CHAINRULE_CACHE names it; otherwise it is `chainrule` in XDG_CACHE_HOME, ~/.cache,
    ~/Library/Caches (macOS) or LOCALAPPDATA (Windows).
    """
    named = os.environ.get("CHAINRULE_CACHE")
    try:
        if named:
            folder = Path(named)
        elif sys.platform == "darwin":
            folder = Path.home() / "Library" / "Caches" / "chainrule"
        elif sys.platform == "win32":
            folder = Path(os.environ["LOCALAPPDATA"]) / "chainrule"
        else:
            base = os.environ.get("XDG_CACHE_HOME", "")
            folder = (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "chainrule"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if _private(folder) else None
    except (OSError, RuntimeError, KeyError):  # RuntimeError: no home directory
        return None


def _private(folder: Path) -> bool:
    """Whether only we write to a folder; others' rights to it are taken away where we can."""
    if not hasattr(os, "geteuid"):
        return os.access(folder, os.W_OK)
    state = folder.stat()
    if state.st_uid != os.geteuid():  # another could put his code there for us to run
        return False
    if stat.S_IMODE(state.st_mode) & 0o077:
        folder.chmod(0o700)
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK)


@functools.cache
def _temporary_folder(pid: int) -> Path:
    """A private folder that goes when this process ends, for want of a lasting one."""
    folder = Path(tempfile.mkdtemp(prefix="chainrule-"))

    def remove() -> None:
        if os.getpid() == pid:  # a forked child still uses its parent's
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


@contextlib.contextmanager
def _locked(folder: Path, key: str) -> Iterator[None]:
    """Only one process builds a file; where locks do not work, several do, to the same end."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        lock = os.open(folder / f"lock-{key[0]}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _key(source: str, compiler: Compiler, variant: str, extra: tuple[str, ...]) -> str:
    from hashlib import blake2b  # here, because it loads OpenSSL

    parts = [source, *flags(variant), *extra, compiler.identity, variant, __version__]
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _find(folder: Path, stem: str) -> Path | None:
    """The whole file of this stem; a damaged one is removed."""
    for path in folder.glob(f"{stem}-*.so"):
        try:
            data = path.read_bytes()
            if path.name == f"{stem}-{zlib.crc32(data):08x}.so":
                if time.time() - path.stat().st_mtime > 86400.0:
                    os.utime(path)  # in use: pruning spares it
                return path
            path.unlink()
        except OSError:  # removed by another process, or not ours to remove
            continue
    return None


def _build(
    folder: Path, stem: str, compiler: Compiler, source: str, variant: str, extra: tuple[str, ...]
) -> Path:
    handle, name = tempfile.mkstemp(prefix=".build-", suffix=".so", dir=folder)
    os.close(handle)
    temporary = Path(name)
    try:
        compile_c(compiler, source, temporary, variant, extra)
        with open(temporary, "r+b") as file:
            target = folder / f"{stem}-{zlib.crc32(file.read()):08x}.so"
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _prune(folder)
    return target


def _prune(folder: Path) -> None:
    """Remove what nobody used for long, what exceeds the cache, and what a crash left behind."""
    now = time.time()
    kept: list[tuple[float, int, Path]] = []
    for path in folder.glob("*.so"):
        with contextlib.suppress(OSError):
            state = path.stat()
            age = now - state.st_mtime
            if age > (3600.0 if path.name.startswith(".build-") else _OLD):
                path.unlink()
            else:
                kept.append((age, state.st_size, path))
    total = 0
    for _, size, path in sorted(kept):
        total += size
        if total > _MOST_BYTES:
            with contextlib.suppress(OSError):
                path.unlink()


_lock = threading.RLock()
_failed: set[str] = set()  # what this process could not build, so that it does not try again
_warned = False


def _warn(text: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"native code is not available, and formulas run as NumPy, slower: {text} "
            f"(CHAINRULE_NATIVE=0 turns native code off and this warning too)",
            RuntimeWarning,
            stacklevel=3,
        )


def shared_library(source: str, name: str, extra: tuple[str, ...] = ()) -> Path | None:
    """The shared library of a C text: from the cache, or built now and kept there.

    Args:
        source: the whole text of one C file.
        name: how its file name begins; letters, digits, - and _.
        extra: further flags of the compiler.

    Returns:
        Its path; None where native code is off, there is no compiler, or it refused: then one
        warning a process tells why.
    """
    if not enabled():
        return None
    compiler = find_compiler()
    if compiler is None:
        return None
    variant = variants()[0]
    key = _key(source, compiler, variant, extra)
    with _lock:
        if key in _failed:
            return None
        for folder in (cache_folder(), _temporary_folder):
            if callable(folder):
                folder = folder(os.getpid())
            if folder is None:
                continue
            stem = f"{name}-{key}"
            found = _find(folder, stem)
            if found is not None:
                return found
            try:
                with _locked(folder, key):
                    return _find(folder, stem) or _build(
                        folder, stem, compiler, source, variant, extra
                    )
            except OSError:  # no space, or no right to write: try the other folder
                continue
            except (RuntimeError, subprocess.SubprocessError) as error:
                lines = str(error).splitlines() or [type(error).__name__]
                first = next((line for line in lines if "error" in line), lines[0])
                _failed.add(key)
                _warn(f"{shlex.join(compiler.command)} failed on {name}: {first}")
                return None
        _failed.add(key)
        _warn("there is no private folder that can be written to")
        return None


# -- loading --------------------------------------------------------------------------------------


class Library:
    """A loaded shared library, which stays loaded while the process lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = ctypes.CDLL(str(path))

    def address(self, name: str) -> int:
        """The address of a function.

        Raises:
            KeyError: there is none of this name.
        """
        try:
            function = getattr(self._handle, name)
        except AttributeError:
            raise KeyError(f"{self.path.name} has no function {name}") from None
        return ctypes.cast(function, ctypes.c_void_p).value or 0


def library(source: str, name: str) -> Library | None:
    """A C text as a loaded library, as `shared_library` builds it; None where that gives None.

    >>> square = library("__attribute__((visibility(\\"default\\"))) int f(int x) {return x * x;}",
    ...                  "square")
    >>> square is None or ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(square.address("f"))(3) == 9
    True
    """
    for _ in range(2):  # a file that does not load is built once more
        path = shared_library(source, name)
        if path is None:
            return None
        try:
            return Library(path)
        except OSError as error:
            reason = str(error)
            path.unlink(missing_ok=True)
    _warn(f"what the compiler built does not load: {reason}")
    return None


# -- the runtime ----------------------------------------------------------------------------------


def runtime_source() -> str:
    """The text of the module `_native`, one file."""
    product = (NATIVE / "product.h").read_text("utf-8")
    text = (NATIVE / "runtime.c").read_text("utf-8")
    return text.replace('#include "product.h"', product)


def runtime_flags() -> tuple[str, ...] | None:
    """Flags that find Python's and NumPy's headers and say how a module is linked; None without."""
    import sysconfig

    import numpy as np

    headers = [Path(sysconfig.get_paths()["include"]), Path(np.get_include())]
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    if not ((headers[0] / "Python.h").is_file() and (headers[1] / "numpy").is_dir()):
        return None
    link = ("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()
    return ("-ffp-contract=fast", *(f"-I{folder}" for folder in headers), *link)


@functools.cache
def runtime() -> Any | None:
    """The module `_native`, which runs plans: as shipped, or built at first use; None without.

    It is given NumPy's own OpenBLAS for its products.

    >>> native = runtime()
    >>> native is None or callable(native.Plan)
    True
    """
    with _lock:
        if not enabled():
            return None
        module = _built_runtime()
        if module is not None:
            addresses = cblas_addresses()
            if addresses is not None:
                module.set_blas(*addresses)
        return module


def _built_runtime() -> Any | None:
    extra = runtime_flags()
    if extra is None:
        return None
    for _ in range(2):
        path = shared_library(runtime_source(), "native", extra)
        if path is None:
            return None
        try:
            return _import(path)
        except ImportError as error:
            reason = str(error)
            path.unlink(missing_ok=True)
    _warn(f"the built module does not load: {reason}")
    return None


def _import(path: Path) -> ModuleType:
    from importlib.machinery import ExtensionFileLoader, ModuleSpec
    from importlib.util import module_from_spec

    name = "chainrule.compile._native"
    loader = ExtensionFileLoader(name, str(path))
    spec = ModuleSpec(name, loader, origin=str(path))
    module = module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[name] = module
    return module
