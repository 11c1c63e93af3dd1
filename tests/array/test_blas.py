"""The choice of BLAS kernel, made before NumPy loads, and what is told about it."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from chainrule.array import blas

AVX512 = "fpu sse2 avx2 avx512f avx512dq avx512bw avx512vl avx512cd"
LINUX_X86 = platform.machine() == "x86_64"


def cpuinfo(vendor: str = "AuthenticAMD", family: int = 26, flags: str = AVX512) -> str:
    return (
        f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 2\n"
        f"flags\t\t: {flags}\n\n"
    )


def run(code: str, coretype: str | None = None) -> Any:
    """The JSON that the code prints in a fresh interpreter."""
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    if coretype is not None:
        env["OPENBLAS_CORETYPE"] = coretype
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import json, os, sys\n" + code],
        env=env, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return json.loads(done.stdout)


def prepared(info: str, machine: str = "x86_64", coretype: str | None = None) -> Any:
    """What prepare_environment leaves in OPENBLAS_CORETYPE on a machine with this cpuinfo."""
    return run(
        f"from chainrule.array import blas\n"
        f"blas._cpuinfo = lambda: {info!r}\n"
        f"blas.platform.machine = lambda: {machine!r}\n"
        f"blas.prepare_environment()\n"
        f"print(json.dumps(os.environ.get('OPENBLAS_CORETYPE')))",
        coretype,
    )


def test_import_does_not_load_numpy() -> None:
    code = "import chainrule.array.blas\nprint(json.dumps('numpy' in sys.modules))"
    assert run(code) is False


def test_kernel_is_set_on_zen_5_and_a_users_choice_stays() -> None:
    assert prepared(cpuinfo()) == "SkylakeX"
    assert prepared(cpuinfo(), coretype="Haswell") == "Haswell"
    assert prepared(cpuinfo(), coretype="") == ""


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """This process, as if NumPy were not loaded and the variable were not set."""
    monkeypatch.delitem(sys.modules, "numpy")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "x")  # so that whatever is set gets undone
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    monkeypatch.setattr(blas.platform, "machine", lambda: "x86_64")
    return monkeypatch


@pytest.mark.parametrize(
    ("info", "set_"),
    [
        (cpuinfo(), True),
        (cpuinfo(family=25), False),
        (cpuinfo(family=23), False),
        (cpuinfo(vendor="GenuineIntel"), False),
        *[(cpuinfo(flags=AVX512.replace(f" {f}", "")), False) for f in AVX512.split()[3:]],
        ("", False),
        ("processor : 0\nFeatures : fp asimd\n", False),
    ],
)
def test_tune_sets_the_kernel_only_where_it_runs_and_gains(
    fresh: pytest.MonkeyPatch, info: str, set_: bool
) -> None:
    fresh.setattr(blas, "_cpuinfo", lambda: info)
    sentence = blas.tune()
    assert os.environ.get("OPENBLAS_CORETYPE") == ("SkylakeX" if set_ else None)
    assert sentence.startswith("OPENBLAS_CORETYPE=SkylakeX is set" if set_ else "Nothing set")


def test_tune_does_nothing_elsewhere(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(blas, "_cpuinfo", cpuinfo)
    fresh.setattr(blas.platform, "machine", lambda: "aarch64")
    assert blas.tune().startswith("Nothing set")
    fresh.setattr(blas.platform, "machine", lambda: "x86_64")
    fresh.setenv("OPENBLAS_CORETYPE", "Zen")
    assert blas.tune() == "OPENBLAS_CORETYPE is already set to 'Zen' and stays so."
    fresh.delenv("OPENBLAS_CORETYPE")
    fresh.setitem(sys.modules, "numpy", np)
    assert "already loaded" in blas.tune()
    assert "OPENBLAS_CORETYPE" not in os.environ


def test_cpu_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_cpuinfo", cpuinfo)
    assert blas.cpu_flags() == set(AVX512.split())
    monkeypatch.setattr(blas, "_cpuinfo", lambda: "processor : 0\nFeatures : fp asimd\n")
    assert blas.cpu_flags() == {"fp", "asimd"}
    monkeypatch.setattr(blas, "_cpuinfo", lambda: "")
    assert blas.cpu_flags() == frozenset()


def test_info_names_the_loaded_library() -> None:
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index]
    info = blas.blas_info()
    assert info["library"] == built["name"]
    assert info["version"] == built["version"]
    assert info["cpus"] >= 1
    if built["name"] == "scipy-openblas":
        assert info["kernel"]
        assert "OpenBLAS" in info["config"]
        assert info["threads"] >= 1


def test_info_is_none_without_openblas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_openblas", lambda: None)
    info = blas.blas_info()
    assert (info["kernel"], info["config"], info["threads"]) == (None, None, None)
    assert blas.set_threads(1) is None
    assert blas.advice() == [line for line in blas.advice() if "busy" in line]


def test_set_threads_round_trip() -> None:
    before = blas.get_threads()
    if before is None:
        pytest.skip("NumPy is not built with OpenBLAS here")
    try:
        assert blas.set_threads(1) == before
        assert blas.get_threads() == 1
        assert blas.set_threads(2) == 1
        assert blas.get_threads() == 2
    finally:
        blas.set_threads(before)
    with pytest.raises(ValueError, match="n >= 1, got 0"):
        blas.set_threads(0)


@pytest.mark.skipif(not LINUX_X86, reason="OPENBLAS_CORETYPE names x86 kernels")
def test_kernel_follows_the_variable() -> None:
    if "avx2" not in blas.cpu_flags() or blas.blas_info()["kernel"] is None:
        pytest.skip("needs OpenBLAS on a CPU with AVX2")
    code = "from chainrule.array import blas\nprint(json.dumps(blas.blas_info()))"
    info = run(code, coretype="Haswell")
    assert (info["kernel"], info["coretype"]) == ("Haswell", "Haswell")


def test_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    base = dict(blas.blas_info(), kernel="Haswell", threads=8, cpus=4)
    monkeypatch.setattr(blas, "blas_info", lambda: base)
    monkeypatch.setattr(blas, "_cpuinfo", cpuinfo)
    monkeypatch.setattr(blas.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(os, "getloadavg", lambda: (6.5, 0.0, 0.0), raising=False)
    kernel, threads, load = blas.advice()
    assert "OPENBLAS_CORETYPE=SkylakeX" in kernel
    assert "OPENBLAS_NUM_THREADS=4" in threads
    assert "load 6.5 on 4" in load
    base.update(kernel="SkylakeX", threads=4)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.0, 0.0, 0.0), raising=False)
    assert blas.advice() == []


def test_addresses_of_the_loaded_products(monkeypatch: pytest.MonkeyPatch) -> None:
    found = blas.cblas_addresses()
    if found is not None:
        single, double, bits, threads = found
        assert single != double
        assert ctypes.CFUNCTYPE(ctypes.c_int)(threads)() == blas.get_threads()
        integer = ctypes.c_int64 if bits == 64 else ctypes.c_int32
        for address, real in ((single, ctypes.c_float), (double, ctypes.c_double)):
            pointer, dtype = ctypes.c_void_p, "f4" if real is ctypes.c_float else "f8"
            gemm = ctypes.CFUNCTYPE(
                None, *[ctypes.c_int] * 3, *[integer] * 3, real, pointer, integer, pointer, integer,
                real, pointer, integer,
            )(address)  # fmt: skip
            a, b = np.arange(6, dtype=dtype).reshape(2, 3), np.arange(12, dtype=dtype).reshape(3, 4)
            c = np.empty((2, 4), dtype)
            gemm(101, 111, 111, 2, 4, 3, 1, a.ctypes.data, 3, b.ctypes.data, 4, 0, c.ctypes.data, 4)
            np.testing.assert_array_equal(c, a @ b)
    monkeypatch.setattr(blas, "_openblas", lambda: None)
    assert blas.cblas_addresses() is None
