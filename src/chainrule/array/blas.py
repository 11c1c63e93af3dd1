"""Which BLAS NumPy multiplies matrices with, and how to get its best kernel.

NumPy's wheels carry OpenBLAS, which chooses a kernel for the CPU when it is loaded, together with
NumPy. The choice can only be changed before that, by the environment variable OPENBLAS_CORETYPE. So
this module does not import NumPy: the command line calls `prepare_environment` first of all, and a
library user may call `tune`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

__all__ = [
    "advice",
    "blas_info",
    "cblas_addresses",
    "cpu_flags",
    "get_threads",
    "prepare_environment",
    "set_threads",
    "tune",
]

_VARIABLE = "OPENBLAS_CORETYPE"
_KERNEL = "SkylakeX"
# What the SkylakeX kernels execute. On a CPU without one of these the process would die.
_NEEDED = frozenset({"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"})
# The family of AMD's Zen 5: OpenBLAS takes its AVX2 kernels there, at half the speed (float32
# products on two cores: 235 GFLOP/s, with SkylakeX 445). On Zen 4 (family 25) OpenBLAS 0.3.31 takes
# SkylakeX by itself: 1024×1024 products ran at 101-104 GFLOP/s on one core with and without the
# variable, so nothing is set there. To measure, run with and without OPENBLAS_CORETYPE=SkylakeX:
#   OPENBLAS_NUM_THREADS=1 python -m timeit -s
#       "import numpy; a = numpy.ones((1024, 1024), 'f4')" "a @ a"
_ZEN_5 = 26


def prepare_environment() -> None:
    """Let OpenBLAS use its AVX-512 kernels on CPUs where it would not; call before NumPy loads.

    Sets OPENBLAS_CORETYPE=SkylakeX for this process and those it starts, if NumPy is not loaded
    yet, the variable is not set, and the CPU is an AMD Zen 5 under Linux that lists AVX-512.
    Otherwise nothing happens. `tune` does the same and says what it did.
    """
    tune()


def tune() -> str:
    """Choose the fastest BLAS kernel for this CPU; call it before NumPy is imported.

    Returns:
        One sentence: what was set, or why there was nothing to do.

    >>> import numpy
    >>> tune()
    'NumPy is already loaded, and its BLAS has chosen a kernel: call tune() before importing it.'
    """
    if "numpy" in sys.modules:
        return (
            "NumPy is already loaded, and its BLAS has chosen a kernel: "
            "call tune() before importing it."
        )
    if _VARIABLE in os.environ:
        return f"{_VARIABLE} is already set to {os.environ[_VARIABLE]!r} and stays so."
    if not _gains():
        return "Nothing set: OpenBLAS is not known to choose a slow kernel on this CPU."
    os.environ[_VARIABLE] = _KERNEL
    return f"{_VARIABLE}={_KERNEL} is set: OpenBLAS will use its AVX-512 kernels."


def cpu_flags() -> frozenset[str]:
    """The instruction sets that Linux lists for the first CPU; empty where it lists none.

    >>> ("avx2" in cpu_flags()) <= ("avx" in cpu_flags())  # who has AVX2 has AVX
    True
    """
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", _cpuinfo(), re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def blas_info() -> dict[str, Any]:
    """What NumPy multiplies matrices with. Imports NumPy.

    Returns:
        A dict of `library` and `version` (as NumPy was built with), `config` and `kernel` (as the
        loaded OpenBLAS tells: its build options and the CPU type whose kernels are in use),
        `threads`, `cpus` (that this process may run on) and `coretype` (the value of
        OPENBLAS_CORETYPE). What cannot be found out is None.

    >>> sorted(blas_info())
    ['config', 'coretype', 'cpus', 'kernel', 'library', 'threads', 'version']
    """
    import numpy as np

    built: Any = np.show_config(mode="dicts")
    blas = (built or {}).get("Build Dependencies", {}).get("blas", {})
    return {
        "library": blas.get("name"),
        "version": blas.get("version"),
        "config": _text("get_config"),
        "kernel": _text("get_corename"),
        "threads": get_threads(),
        "cpus": _cpus(),
        "coretype": os.environ.get(_VARIABLE),
    }


def get_threads() -> int | None:
    """How many threads OpenBLAS uses for a product; None with another BLAS. Imports NumPy."""
    function = _function("get_num_threads")
    if function is None:
        return None
    function.restype = ctypes.c_int
    return int(function())


def set_threads(n: int) -> int | None:
    """Use n threads for the products from here on, in the whole process. Imports NumPy.

    Args:
        n: number of threads, 1 or more. OpenBLAS caps it at the limit it was built with.

    Returns:
        The number before, to set back; None, and nothing changed, with another BLAS than OpenBLAS.

    Raises:
        ValueError: n is below 1.

    >>> before = set_threads(1)
    >>> get_threads() in (1, None)
    True
    >>> if before is not None:
    ...     _ = set_threads(before)
    """
    if n < 1:
        raise ValueError(f"set_threads: expected a number of threads n >= 1, got {n}")
    before = get_threads()
    function = _function("set_num_threads")
    if before is None or function is None:
        return None
    function.argtypes = [ctypes.c_int]
    function.restype = None
    function(n)
    return before


def cblas_addresses() -> tuple[int, int, int, int] | None:
    """Where NumPy's own OpenBLAS multiplies matrices. Imports NumPy.

    Returns:
        The addresses of cblas_sgemm and cblas_dgemm in memory, how many bits their integers have,
        32 or 64, and the address of openblas_get_num_threads; None with another BLAS than OpenBLAS,
        or where the loaded one is not found.

    >>> found = cblas_addresses()
    >>> found is None or found[2] in (32, 64)
    True
    """
    functions = [_function(f"{letter}gemm", "cblas_") for letter in "sd"]
    functions.append(_function("get_num_threads"))
    places = [ctypes.cast(f, ctypes.c_void_p).value if f else None for f in functions]
    single, double, threads = places
    if not single or not double or not threads:
        return None
    return single, double, 64 if "USE64BITINT" in (_text("get_config") or "") else 32, threads


def advice() -> list[str]:
    """What could make products faster on this machine, one sentence each. Imports NumPy.

    >>> all(isinstance(line, str) for line in advice())
    True
    """
    info = blas_info()
    lines = []
    if _gains() and info["kernel"] in ("Haswell", "Zen"):
        lines.append(
            f"The BLAS uses its {info['kernel']} (AVX2) kernels, but the CPU has AVX-512: set "
            f"{_VARIABLE}={_KERNEL} before Python starts, or call chainrule.tune() before NumPy "
            f"is imported; products run up to twice as fast."
        )
    threads, cpus = info["threads"], info["cpus"]
    if threads is not None and threads > cpus:
        lines.append(
            f"The BLAS uses {threads} threads on {cpus} CPU(s), which slows every product down: "
            f"set OPENBLAS_NUM_THREADS={cpus} before Python starts."
        )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > cpus:
        lines.append(
            f"The machine is busy (load {load:.1f} on {cpus} CPU(s)): a neighbour that takes a core"
            f" from the BLAS can make products 5 to 50 times slower. Wait for it, or use fewer "
            f"threads: set OPENBLAS_NUM_THREADS=1 before Python starts."
        )
    return lines


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _gains() -> bool:
    """Whether the SkylakeX kernels run on this CPU, and are faster than OpenBLAS's own choice."""
    info = _cpuinfo()
    family = re.search(r"^cpu family\s*:\s*(\d+)$", info, re.MULTILINE)
    return (
        platform.machine() == "x86_64"
        and re.search(r"^vendor_id\s*:\s*AuthenticAMD$", info, re.MULTILINE) is not None
        and family is not None
        and int(family[1]) == _ZEN_5
        and cpu_flags() >= _NEEDED
    )


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _openblas() -> ctypes.CDLL | None:
    """The OpenBLAS that NumPy has loaded."""
    import numpy as np

    home = Path(np.__file__).parent
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        maps = ""
    loaded = {Path(p) for p in re.findall(r"(/\S.*openblas\S*)$", maps, re.MULTILINE)}
    # SciPy loads an OpenBLAS of its own, so the one beside NumPy comes first. Where the loaded
    # libraries are not listed (macOS, Windows), the wheel's folders tell.
    candidates = sorted(loaded, key=lambda p: "numpy" not in str(p.parent).lower()) or [
        path
        for folder in (home.parent / "numpy.libs", home / ".dylibs")
        for path in sorted(folder.glob("*openblas*"))
    ]
    for path in candidates:
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            continue
    return None


def _function(name: str, family: str = "openblas_") -> Any | None:
    """OpenBLAS's function by its name, with the prefix and suffix that some builds add."""
    library = _openblas()
    for prefix in ("scipy_", ""):
        for suffix in ("64_", ""):
            function = getattr(library, f"{prefix}{family}{name}{suffix}", None)
            if function is not None:
                return function
    return None


def _text(name: str) -> str | None:
    function = _function(name)
    if function is None:
        return None
    function.restype = ctypes.c_char_p
    value = function()
    return value.decode(errors="replace") if value else None
