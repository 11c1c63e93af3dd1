"""The cache of built libraries: private, whole, shared by processes, and never needed."""

from __future__ import annotations

import ctypes
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.compile import build, compiler

HAVE = compiler.find_compiler()
needs_compiler = pytest.mark.skipif(HAVE is None, reason="there is no C compiler")
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no Unix rights")

SOURCE = '__attribute__((visibility("default"))) int answer(void) { return %d; }\n'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a process that has not failed at anything yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CHAINRULE_CACHE", str(folder))
    monkeypatch.delenv("CHAINRULE_NATIVE", raising=False)
    monkeypatch.setattr(build, "_failed", set())
    monkeypatch.setattr(build, "_warned", False)
    return folder / "native"


def answer(library: build.Library | None) -> int:
    assert library is not None
    return ctypes.CFUNCTYPE(ctypes.c_int)(library.address("answer"))()


def built(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.so"))


def run(code: str, **env: str) -> Any:
    """The JSON that the code prints in a fresh interpreter, in which no warning is tolerated."""
    code = f"import json\nfrom chainrule.compile import build\n{code}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **env}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def use_compiler(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> Path:
    """A script as the compiler; returns the file it may count its calls in."""
    folder.mkdir(exist_ok=True)
    path, count = folder / "mycc", folder / "calls"
    path.write_text(f"#!/bin/sh\necho >> '{count}'\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    return count


# -- building and finding again -------------------------------------------------------------------


@needs_compiler
def test_a_library_is_built_once_and_found_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HAVE is not None
    calls = use_compiler(monkeypatch, tmp_path / "bin", f'exec {HAVE.command[0]} "$@"')
    assert answer(build.library(SOURCE % 42, "answer")) == 42
    assert answer(build.library(SOURCE % 42, "answer")) == 42
    assert len(calls.read_text().splitlines()) == 1
    (path,) = built(cache)
    assert path.name.startswith("answer-")
    with pytest.raises(KeyError, match="no function question"):
        build.load(path).address("question")
    assert run("print(json.dumps(str(build.library(%r, 'answer').path)))" % (SOURCE % 42)) == str(
        path
    )
    assert len(calls.read_text().splitlines()) == 1


@needs_compiler
def test_what_a_file_is_built_from_is_in_its_name(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HAVE is not None
    first = build.shared_library(SOURCE % 1, "a")
    others = [
        build.shared_library(SOURCE % 2, "a"),
        build.shared_library(SOURCE % 1, "a", ("-DX",)),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(build, "variants", lambda: (compiler.variants()[-1],))
        if len(compiler.variants()) > 1:
            others.append(build.shared_library(SOURCE % 1, "a"))
    with monkeypatch.context() as patch:
        patch.setattr(build, "__version__", "0.0.1")
        others.append(build.shared_library(SOURCE % 1, "a"))
    with monkeypatch.context() as patch:
        use_compiler(patch, tmp_path / "bin", f'exec {HAVE.command[0]} "$@"')
        others.append(build.shared_library(SOURCE % 1, "a"))
    assert len({first, *others}) == 1 + len(others)
    assert build.shared_library(SOURCE % 1, "a") == first


@needs_compiler
@posix
def test_the_cache_is_private(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.parent.mkdir(mode=0o755)
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    path = build.shared_library(SOURCE % 1, "a")
    assert path is not None
    assert path.parent == cache
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(cache.parent.stat().st_mode) == 0o755  # a named folder stays as it is
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    assert build.cache_folder() is None  # another's folder is not used


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHAINRULE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(build.sys, "platform", "linux")
    assert build.cache_folder() == tmp_path / ".cache" / "chainrule" / "native"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the standard
    assert build.cache_folder() == tmp_path / ".cache" / "chainrule" / "native"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert build.cache_folder() == tmp_path / "xdg" / "chainrule" / "native"
    monkeypatch.setattr(build.sys, "platform", "darwin")
    assert build.cache_folder() == tmp_path / "Library" / "Caches" / "chainrule" / "native"
    monkeypatch.setattr(build.sys, "platform", "win32")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    assert build.cache_folder() is None
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert build.cache_folder() == tmp_path / "local" / "chainrule" / "native"
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "named"))
    assert build.cache_folder() == tmp_path / "named" / "native"


@needs_compiler
def test_two_processes_build_one_file_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HAVE is not None
    calls = use_compiler(monkeypatch, tmp_path / "bin", f'sleep 0.5; exec {HAVE.command[0]} "$@"')
    code = (
        "import ctypes\nfrom chainrule.compile import build\n"
        f"library = build.library({SOURCE % 7!r}, 'answer')\n"
        "print(ctypes.CFUNCTYPE(ctypes.c_int)(library.address('answer'))())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [p.communicate(timeout=120)[0].strip() for p in processes] == ["7"] * 3
    assert len(built(cache)) == 1
    assert len(calls.read_text().splitlines()) == 1


@needs_compiler
@pytest.mark.parametrize("damage", ["empty", "short", "changed"])
def test_a_damaged_file_is_built_again(cache: Path, damage: str) -> None:
    path = build.shared_library(SOURCE % 5, "answer")
    assert path is not None
    data = path.read_bytes()
    broken = {"empty": b"", "short": data[: len(data) // 2], "changed": data[:-1] + b"?"}[damage]
    path.write_bytes(broken)
    assert answer(build.library(SOURCE % 5, "answer")) == 5
    (path,) = built(cache)
    assert path.read_bytes() != broken


@needs_compiler
def test_a_file_that_does_not_load_is_built_once_more(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = use_compiler(
        monkeypatch,
        tmp_path / "bin",
        'while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"',
    )
    with pytest.warns(RuntimeWarning, match="does not load"):
        assert build.library(SOURCE % 5, "answer") is None
    assert len(calls.read_text().splitlines()) == 2
    assert built(cache) == []


@needs_compiler
def test_old_files_and_remains_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [build.shared_library(SOURCE % i, "a") for i in range(4)]
    assert None not in paths
    now, sizes = time.time(), [p.stat().st_size for p in paths if p]
    for path, days in zip(paths, (100, 20, 10, 0), strict=True):
        assert path is not None
        os.utime(path, (now - days * 86400, now - days * 86400))
    left = cache / ".build-x.so"
    left.write_bytes(b"x")
    os.utime(left, (now - 7200, now - 7200))
    build._prune(cache)
    assert set(built(cache)) == set(paths[1:])
    assert not left.exists()
    assert build.shared_library(SOURCE % 1, "a") == paths[1]  # a use makes it young
    monkeypatch.setattr(build, "_MOST_BYTES", sum(sizes[:2]))
    build._prune(cache)
    assert set(built(cache)) == {paths[1], paths[3]}


# -- what may be missing --------------------------------------------------------------------------


def test_native_code_turned_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", "0")
    assert build.shared_library(SOURCE % 1, "a") is None
    assert build.library(SOURCE % 1, "a") is None
    assert not cache.exists()
    assert run("print(json.dumps([build.runtime(), len(build.catalogue())]))") == [None, 0]


def test_no_compiler(cache: Path) -> None:
    code = (
        "build._index = lambda folder: {}\n"  # as if nothing were shipped
        "print(json.dumps([build.runtime(), build.library('', 'a'), len(build.catalogue())]))"
    )
    assert run(code, PATH="", CC="") == [None, None, 0]
    assert not cache.exists()


@needs_compiler
def test_a_compiler_that_fails_is_told_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = use_compiler(
        monkeypatch, tmp_path / "bin", "echo note >&2; echo 'x: error: broken' >&2; exit 1"
    )
    with pytest.warns(RuntimeWarning, match=r"mycc failed on a: x: error: broken"):
        assert build.shared_library(SOURCE % 1, "a") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build.shared_library(SOURCE % 1, "a") is None
        assert len(calls.read_text().splitlines()) == 1
        assert build.shared_library(SOURCE % 2, "b") is None  # another text may compile
    assert len(calls.read_text().splitlines()) == 2
    assert built(cache) == []


@needs_compiler
def test_without_a_lasting_folder_there_is_one_for_the_process(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("CHAINRULE_CACHE", str(file / "below"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = (
        f"library = build.library({SOURCE % 3!r}, 'a')\n"
        f"again = build.shared_library({SOURCE % 3!r}, 'a')\n"
        "mode = library.path.parent.stat().st_mode & 0o777\n"
        "print(json.dumps([str(library.path), str(again), mode]))"
    )
    first, second, mode = run(code)
    assert first == second
    assert mode == 0o700
    assert Path(first).parent.parent == tmp_path
    assert not Path(first).parent.exists()  # it went with its process


@needs_compiler
def test_a_folder_that_cannot_be_written_to(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tempfile.mkstemp

    def mkstemp(*, dir: Any, **options: Any) -> Any:
        if dir == cache:
            raise PermissionError(13, "read-only")
        return real(dir=dir, **options)

    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
    path = build.shared_library(SOURCE % 1, "a")
    assert path is not None
    assert path.parent != cache

    def full(**options: Any) -> Any:
        raise OSError(28, "no space")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with pytest.warns(RuntimeWarning, match="no private folder"):
        assert build.shared_library(SOURCE % 2, "a") is None


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_during_a_build_builds_too(cache: Path) -> None:
    import threading

    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with build._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if build.shared_library(SOURCE % 1, "a") else 1)
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert status == 0


# -- what is shipped ------------------------------------------------------------------------------

KERNELS = {
    f"kernel_{i}": f"CR_EXPORT int kernel_{i}(int x) {{ return x + {i}; }}" for i in range(50)
}


@needs_compiler
def test_a_catalogue_is_built_and_read(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "native"
    folder.mkdir()
    monkeypatch.setattr(build, "NATIVE", folder)
    (folder / "math.h").write_text('#define CR_EXPORT __attribute__((visibility("default")))\n')
    build.catalogue.cache_clear()
    try:
        assert len(build.catalogue()) == 0
        made = build.build_catalogue(KERNELS, folder)
        assert {path.name for path in made} == {
            *(f"kernels-{level}.so" for level in build._levels()),
            "shipped.json",
        }
        build.catalogue.cache_clear()
        catalogue = build.catalogue()
        assert set(catalogue) == set(KERNELS)
        function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
        assert all(function(catalogue[f"kernel_{i}"])(1) == i + 1 for i in range(50))
        assert "other" not in catalogue
        (folder / f"kernels-{compiler.variants()[0]}.so").unlink()
        build.catalogue.cache_clear()
        assert len(build.catalogue()) == (50 if len(compiler.variants()) > 1 else 0)
        (folder / "math.h").write_text("changed\n")  # then the kernels are outdated
        build.catalogue.cache_clear()
        assert len(build.catalogue()) == 0
        (folder / "shipped.json").write_text("not JSON")
        build.catalogue.cache_clear()
        assert len(build.catalogue()) == 0
        with pytest.raises(RuntimeError, match="error"):
            build.build_catalogue({"bad": "int bad("}, folder)
        monkeypatch.setenv("PATH", "")
        monkeypatch.setenv("CC", "")
        with pytest.raises(RuntimeError, match="no C compiler"):
            build.build_catalogue(KERNELS, folder)
        with pytest.raises(RuntimeError, match="no C compiler"):
            build.build_runtime(folder)
    finally:
        build.catalogue.cache_clear()


@needs_compiler
@pytest.mark.skipif(build.runtime_flags() is None, reason="Python's or NumPy's headers are absent")
def test_the_runtime_that_is_shipped_is_used_while_its_text_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHAINRULE_NATIVE", raising=False)
    for path in (*build.NATIVE.glob("*.c"), *build.NATIVE.glob("*.h")):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(build, "_levels", lambda: (compiler.variants()[0],))
    build.build_runtime(tmp_path)
    code = (
        f"from pathlib import Path\nbuild.NATIVE = Path({str(tmp_path)!r})\n"
        "print(json.dumps(build.runtime().__file__))"
    )
    cache = str(tmp_path / "cache")
    name = f"_native-{compiler.variants()[0]}.so"
    assert run(code, CHAINRULE_CACHE=cache) == str(tmp_path / name)
    assert run(code, CHAINRULE_CACHE=cache, PATH="", CC="") == str(tmp_path / name)
    with open(tmp_path / "runtime.c", "a") as file:
        file.write("/* changed */\n")
    assert Path(run(code, CHAINRULE_CACHE=cache)).parent == tmp_path / "cache" / "native"
    (tmp_path / name).write_bytes(b"damaged")
    assert Path(run(code, CHAINRULE_CACHE=cache)).parent == tmp_path / "cache" / "native"


def test_loading_leaves_numpys_subnormals_alone() -> None:
    code = (
        "import numpy as np\nbuild.runtime(), len(build.catalogue())\n"
        "a = np.full(64, 1e-40, 'f4')\nb = np.full(64, 5e-324)\n"
        "print(json.dumps([bool((a / 2 > 0).all()), bool((b * 1 > 0).all()), "
        "bool(np.isnan(np.array([np.nan])).all())]))"
    )
    assert run(code) == [True, True, True]


def test_the_runtime_multiplies_with_numpys_blas() -> None:
    native = build.runtime()
    if native is None:
        pytest.skip("there is no native runtime here")
    assert build.runtime() is native
    assert sys.modules["chainrule.compile._native"] is native
    a = np.arange(6, dtype="f4").reshape(2, 3)
    np.testing.assert_array_equal(native.product(a, a.T), a @ a.T)
