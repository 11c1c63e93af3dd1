"""The rows of the tables: libraries, each set up in its best ways, and what each can do.

A module here has the name of the library and a function ``build(case, mode)``, written as the users
of the library would, that gives what the driver compares (the losses of the first steps, or what is
predicted) and a function that does the work n times.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import os
import statistics
from dataclasses import dataclass
from typing import Any

from cases import Job, find
from chainrule.array.blas import cpu_flags
from harness import Peer, Unavailable

_TUNED = {"OPENBLAS_CORETYPE": "SkylakeX"}
_PYTHON = {"CHAINRULE_NATIVE": "0"}
_KERAS = {"KERAS_BACKEND": "jax"}
_AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


@dataclass(frozen=True)
class Row(Peer):
    """A library, set up in one way."""

    module: str = ""  # of this package
    mode: str = ""  # its word for the way
    does: frozenset[str] = frozenset({"step", "penalty", "row"})  # kinds of cases


def _row(
    name: str, label: str, module: str, mode: str = "", env: Any = None, does: str = "", **more: Any
) -> Row:
    needs = {"sklearn": "scikit-learn"}.get(module, module)
    if does:
        more["does"] = frozenset(does.split())
    return Row(name, label, needs, env or {}, module=module, mode=mode, **more)


_ALL, _STEPS = "step penalty row fit products", "step penalty"
_ROWS = [
    _row("chainrule", "chainrule, captured", "chainrule", "captured", does=_ALL),
    _row("chainrule-tuned", "chainrule, captured, BLAS set to SkylakeX", "chainrule", "captured",
         _TUNED, _ALL),
    _row("chainrule-python", "chainrule, captured, no compiler", "chainrule", "captured", _PYTHON,
         "step penalty row fit"),
    _row("eager", "chainrule, eager", "chainrule", "eager", does=_STEPS),
    _row("eager-tuned", "chainrule, eager, BLAS set to SkylakeX", "chainrule", "eager", _TUNED,
         _STEPS),
    _row("eager-python", "chainrule, eager, no compiler", "chainrule", "eager", _PYTHON, _STEPS),
    _row("numpy", "NumPy by hand", "numpy"),
    _row("numpy-tuned", "NumPy by hand, BLAS set to SkylakeX", "numpy", env=_TUNED),
    _row("torch", "PyTorch, eager, fused Adam", "torch", "eager", does="step penalty row fit"),
    _row("torch-compile", "PyTorch, torch.compile", "torch", "compile",
         {"TORCHINDUCTOR_COMPILE_THREADS": "1"}),
    _row("jax", "JAX, jit, donated buffers", "jax", does=_STEPS),
    _row("jax-now", "JAX, jit, run at once", "jax", "now", does="row"),
    # Their Adam adds epsilon to the uncorrected √v: the first losses differ by half a percent.
    _row("keras", "Keras on JAX, jit, donated buffers", "keras", env=_KERAS, does=_STEPS,
         rtol=0.01),
    _row("keras-now", "Keras on JAX, jit, run at once", "keras", "now", _KERAS, "row"),
    _row("sklearn", "scikit-learn MLP", "sklearn", does="step row fit", rtol=0.01),
    _row("onnxruntime", "onnxruntime", "onnxruntime", does="row"),
]  # fmt: skip

#: the tuned ones only where the CPU can run the AVX-512 kernels
ROWS = [row for row in _ROWS if row.env != _TUNED or cpu_flags() >= _AVX512]


def build(row: Row, name: str) -> Job:
    """Prepare a case. Under dropout the random numbers of the peers differ: what is compared are
    the losses of the same net without it, and those with it must be of the same size."""
    case = find(name)
    if case.kind not in row.does:
        raise Unavailable("")  # nothing to be said about
    module = importlib.import_module(f"peers.{row.module}")
    if not case.dropout:
        losses, run = module.build(case, row.mode)
        # behind many layers a rounding error grows tenfold a step, in every library
        return losses[:3] if len(case.sizes) > 20 else losses, run
    exact, _ = module.build(dataclasses.replace(case, dropout=0.0), row.mode)
    losses, run = module.build(case, row.mode)
    size = statistics.mean(losses) / statistics.mean(exact)
    if not (all(map(math.isfinite, losses)) and 0.75 < size < 1.5):
        raise Unavailable(f"its losses under dropout, {losses}, do not fit those without, {exact}")
    return exact, run


def facts(row: Row) -> dict[str, Any]:
    """Threads and kernels of this worker's matrix products."""
    if row.module == "torch":
        import torch

        kernel = torch.backends.cpu.get_cpu_capability()
        library = "MKL" if torch.backends.mkl.is_available() else "own BLAS"
        threads = f"1 or {torch.get_num_threads()}, the faster"
        return {"products": f"{library}, {kernel}", "threads": threads}
    if row.module in ("jax", "keras"):
        return {"products": "XLA (Eigen)", "threads": len(os.sched_getaffinity(0))}
    if row.module == "onnxruntime":
        return {"products": "MLAS", "threads": "1 or 2, the faster"}
    from chainrule.array.blas import blas_info

    info = blas_info()
    return {"products": f"{info['library']}, {info['kernel']}", "threads": info["threads"]}
