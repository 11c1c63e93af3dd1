"""The C compiler: which one there is, what this CPU runs, and the flags that keep numbers exact."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import sys
from pathlib import Path

from chainrule.array.blas import cpu_flags

__all__ = ["Compiler", "compile_c", "enabled", "find_compiler", "flags", "run_compiler", "variants"]

# Nothing here lets a compiler change a number: no reordering of sums, no contraction into fma, no
# assumption that there is neither NaN nor infinity; and linking does not touch the FPU's modes.
_FLAGS = (
    "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-ffp-contract=off",
    "-fPIC", "-fvisibility=hidden",
)  # fmt: skip
_V3 = frozenset(
    ["abm", "avx", "avx2", "bmi1", "bmi2", "cx16", "f16c", "fma", "movbe", "popcnt", "sse4_2"]
)
_V4 = _V3 | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}
_SECONDS = 300.0  # for one run


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
    return _compiler(os.environ.get("CC", "").strip(), os.environ.get("PATH"))


@functools.cache
def _compiler(chosen: str, path: str | None) -> Compiler | None:
    for words in [shlex.split(chosen)] if chosen else [["cc"], ["gcc"], ["clang"]]:
        program = _program(words[0], path or "")
        if program:
            return Compiler([program, *words[1:]], Path(os.path.realpath(program)))
    return None


def _program(name: str, path: str) -> str | None:
    """`shutil.which`, without the milliseconds that importing shutil takes."""
    folders = [""] if os.path.dirname(name) else [f for f in path.split(os.pathsep) if f]
    for program in (os.path.join(folder, name) for folder in folders):
        if os.path.isfile(program) and os.access(program, os.X_OK):
            return program
    return None


def flags(variant: str) -> list[str]:
    """The compiler's flags for one of `variants()`.

    Some compilers would take half of AVX-512's width for x86-64-v4. On a Zen 4, the whole takes
    0.33 ns for an exp in float32 and 0.86 in float64, the half 0.44 and 1.20; an Adam update is
    limited by memory, the same at both. Only rows of about 20 columns are faster at half.

    >>> flags("plain")[0]
    '-O3'
    """
    machine = {"plain": [], "x86-64-v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"]}
    return [*_FLAGS, *machine.get(variant, [f"-march={variant}"])]


def compile_c(
    compiler: Compiler, source: str, target: Path, variant: str, extra: tuple[str, ...] = ()
) -> None:
    """Compile a C text into `target`: a shared library, or an object with "-c" among the extras.

    Raises:
        RuntimeError: the compiler could not be run, took too long or refused, with what it said.
    """
    arguments = [*flags(variant), *extra, "-x", "c", "-", "-o", str(target)]
    if "-c" not in extra:
        arguments += ["-shared", "-lm"]
    run_compiler(compiler, arguments, source)


def run_compiler(compiler: Compiler, arguments: list[str], source: str = "") -> None:
    """Call the compiler, with a text on its standard input; RuntimeError as for `compile_c`."""
    import subprocess  # here, as it takes milliseconds, and most processes call no compiler

    try:
        done = subprocess.run(
            [*compiler.command, *arguments], input=source, capture_output=True, text=True,
            errors="replace", timeout=_SECONDS, env={**os.environ, "LC_ALL": "C"}, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(str(error)) from error
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"exit status {done.returncode}")
