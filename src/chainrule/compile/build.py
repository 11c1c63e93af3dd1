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
import re
import shlex
import stat
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from chainrule._version import __version__
from chainrule.array import numerics, random
from chainrule.array.blas import cblas_addresses
from chainrule.compile.compiler import (
    Compiler,
    compile_c,
    enabled,
    find_compiler,
    flags,
    run_compiler,
    variants,
)

__all__ = [
    "Compiler",
    "Library",
    "build_catalogue",
    "build_runtime",
    "cache_folder",
    "catalogue",
    "compile_c",
    "enabled",
    "find_compiler",
    "flags",
    "library",
    "load",
    "prelude_source",
    "runtime",
    "shared_library",
    "variants",
]

NATIVE = Path(__file__).with_name("native")

_MOST_BYTES = 256 * 2**20  # of the cache; the files used longest ago go first
_OLD = 90 * 86400.0  # seconds after which a file that nobody used goes


# -- the cache ------------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """The folder of built libraries, private to the user and made if need be; None if impossible.

    It is `native` in the folder that CHAINRULE_CACHE names, or in `chainrule` in XDG_CACHE_HOME,
    ~/.cache, ~/Library/Caches (macOS) or LOCALAPPDATA (Windows).
    """
    named = os.environ.get("CHAINRULE_CACHE")
    try:
        if named:
            folder = Path(named).absolute()
        elif sys.platform == "darwin":
            folder = Path.home() / "Library" / "Caches" / "chainrule"
        elif sys.platform == "win32":
            folder = Path(os.environ["LOCALAPPDATA"]) / "chainrule"
        else:
            base = os.environ.get("XDG_CACHE_HOME", "")
            folder = (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "chainrule"
        folder /= "native"  # its rights are made ours alone; the named folder's stay as they are
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
    import shutil
    import tempfile

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
    import tempfile  # here, as `shutil` and `json` below: most processes need none of them

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


def _new_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # a child must not wait for a thread that it does not have
    os.register_at_fork(after_in_child=_new_lock)
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
            except RuntimeError as error:
                lines = str(error).splitlines() or ["it gave no reason"]
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


def load(path: Path) -> Library:
    """A shared library's functions by their addresses.

    Raises:
        OSError: it does not load.
    """
    return Library(path)


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


# -- what is shipped with the package -------------------------------------------------------------

_INDEX = "shipped.json"  # what the built files beside it were built from, and hold
_LEVELS = ("x86-64-v4", "x86-64-v3", "x86-64")
_UNIT = 24  # functions compiled together


def _digest(*texts: str) -> str:
    from hashlib import blake2b  # here, because it loads OpenSSL

    return blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()


def _recipe(text: str) -> str:
    """Tells whether a shipped file was built from the text as it is now."""
    return _digest(text, *(flag for variant in ("plain", *_LEVELS) for flag in flags(variant)))


def _index(folder: Path) -> dict[str, Any]:
    import json

    try:
        index = json.loads((folder / _INDEX).read_text("utf-8"))
        return index if isinstance(index, dict) else {}
    except (OSError, ValueError):
        return {}


def _add_to_index(folder: Path, **entries: Any) -> None:
    import json

    text = json.dumps({**_index(folder), **entries}, indent=1)
    (folder / _INDEX).write_text(text, "utf-8")


def _levels() -> tuple[str, ...]:
    """What a package is built for: this machine's best variant, or with CHAINRULE_VARIANTS=all, as
    for a wheel that others install, every variant of this kind of CPU."""
    if os.environ.get("CHAINRULE_VARIANTS") != "all":
        return variants()[:1]
    return _LEVELS if variants()[-1] == "x86-64" else ("plain",)


def build_runtime(folder: Path) -> list[Path]:
    """Compile the module `_native` for the package, once per variant that the compiler knows.

    Returns:
        The files made in `folder`.

    Raises:
        RuntimeError: there is no compiler, there are no headers, or nothing compiled.
    """
    compiler, extra = find_compiler(), runtime_flags()
    if compiler is None or extra is None:
        raise RuntimeError(
            "there is no C compiler"
            if compiler is None
            else "Python's or NumPy's headers are absent"
        )
    source = runtime_source()

    def build(level: str) -> Path:
        path = folder / f"_native-{level}.so"
        compile_c(compiler, source, path, level, extra)
        return path

    return _best_effort(folder, build, "runtime", _recipe(source))


def build_catalogue(sources: Mapping[str, str], folder: Path) -> list[Path]:
    """Compile kernels for the package: one library per variant, and an index of what they hold.

    Args:
        sources: symbol -> text of its function, without the prelude.
        folder: where the files go.

    Returns:
        The files made.

    Raises:
        RuntimeError: there is no compiler, or nothing compiled.
    """
    compiler = find_compiler()
    if compiler is None:
        raise RuntimeError("there is no C compiler")
    import tempfile
    from concurrent.futures import ThreadPoolExecutor

    prelude = prelude_source()
    names = sorted(sources)
    units = [names[i : i + _UNIT] for i in range(0, len(names), _UNIT)]

    def build(level: str) -> Path:
        path = folder / f"kernels-{level}.so"
        with tempfile.TemporaryDirectory() as objects:
            parts = [Path(objects, f"{i}.o") for i in range(len(units))]

            def unit(i: int) -> None:
                text = "\n".join([prelude, *(sources[name] for name in units[i])])
                compile_c(compiler, text, parts[i], level, ("-c",))

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(unit, range(len(units))))
            run_compiler(
                compiler, [*flags(level), "-shared", *map(str, parts), "-o", str(path), "-lm"]
            )
        return path

    return _best_effort(folder, build, "kernels", _recipe(prelude), symbols=names)


def _best_effort(folder: Path, build: Any, what: str, recipe: str, **entries: Any) -> list[Path]:
    """The variants that can be built; an old compiler may not know the newest."""
    paths, reasons = [], []
    for level in _levels():
        try:
            paths.append(build(level))
        except RuntimeError as error:
            reasons.append(f"{level}: {error}")
    if not paths:
        raise RuntimeError("; ".join(reasons))
    _add_to_index(folder, **{what: recipe}, **entries)
    return [*paths, folder / _INDEX]


class _Catalogue(Mapping[str, int]):
    """The shipped kernels: symbol -> address, looked up when asked for."""

    def __init__(self, symbols: frozenset[str], library: Library | None) -> None:
        self._symbols = symbols
        self._library = library

    def __getitem__(self, name: str) -> int:
        if self._library is None or name not in self._symbols:
            raise KeyError(name)
        return self._library.address(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._symbols)

    def __len__(self) -> int:
        return len(self._symbols)


@functools.cache
def catalogue() -> Mapping[str, int]:
    """The kernels shipped with the package, in the best variant that this CPU runs.

    Returns:
        symbol -> address; empty where native code is off, or nothing (or something outdated) is
        shipped.
    """
    index = _index(NATIVE) if enabled() else {}
    if index.get("symbols") and index.get("kernels") == _recipe(prelude_source()):
        for variant in variants():
            try:
                found = Library(NATIVE / f"kernels-{variant}.so")
            except OSError:
                continue
            return _Catalogue(frozenset(index["symbols"]), found)
    return _Catalogue(frozenset(), None)


def prelude_source() -> str:
    """The text that every kernel begins with."""
    return (NATIVE / "math.h").read_text("utf-8")


# -- the runtime ----------------------------------------------------------------------------------


def runtime_source() -> str:
    """The text of the module `_native`, one file."""

    def whole(name: str) -> str:
        text = (NATIVE / name).read_text("utf-8")
        return re.sub('#include "(.+)"', lambda found: whole(found[1]), text)

    return whole("runtime.c")


def runtime_flags() -> tuple[str, ...] | None:
    """Flags that find Python's and NumPy's headers and say how a module is linked; None without."""
    import sysconfig

    import numpy as np

    headers = [Path(sysconfig.get_paths()["include"]), Path(np.get_include())]
    if sys.implementation.name != "cpython" or "t" in getattr(sys, "abiflags", ""):
        return None  # without the GIL ("t") there is no stable ABI, nor a guard for the plans
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
        module = _shipped_runtime() or _built_runtime()
        if module is not None:
            addresses = cblas_addresses()
            if addresses is not None:
                module.set_blas(*addresses)
            random.sort_words = module.sort_words
            numerics.largest = module.largest
        return module


def _shipped_runtime() -> Any | None:
    if _index(NATIVE).get("runtime") == _recipe(runtime_source()):
        for variant in variants():
            with contextlib.suppress(ImportError):
                return _import(NATIVE / f"_native-{variant}.so")
    return None


def _built_runtime() -> Any | None:
    extra = runtime_flags()
    if extra is None or os.environ.get("CHAINRULE_NATIVE") == "shipped":
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

    name = "chainrule.compile._native"
    loader = ExtensionFileLoader(name, str(path))
    module = loader.create_module(ModuleSpec(name, loader, origin=str(path)))
    loader.exec_module(module)
    sys.modules[name] = module
    return module
