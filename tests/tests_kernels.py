"""Kernels for tests: formulas of networks, and texts compiled and called as they are."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
from importlib.resources import files

import numpy as np
import pytest

from chainrule.compile.derivative import derive
from chainrule.compile.lower import lower
from chainrule.compile.print_c import print_c
from chainrule.compile.trace import trace

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
FLAGS = ["-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-ffp-contract=off"]
FLAGS += ["-Wall", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"]
TYPES = [np.float32, np.float64]
F, D, L = (np.dtype(t) for t in (np.float32, np.float64, np.int64))

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


def bias_gelu(xp, z, b):
    x = z + b
    return 0.5 * x * (1.0 + xp.erf(x * math.sqrt(0.5)))


def adam(xp, p, g, m, v, a, c1, beta2, c2, eps):
    m = m + c1 * (g - m)
    v = beta2 * v + c2 * g * g
    return p - a * m / (xp.sqrt(v) + eps), m, v


def log_softmax(xp, x):
    top = xp.max(x, axis=-1, keepdims=True)
    shifted = x - xp.where(xp.isfinite(top), top, 0.0)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def loss_of(xp, log_p, labels):
    hit = xp.one_hot(labels, log_p)
    return xp.mean(-xp.sum(xp.where(hit, log_p, 0.0), axis=-1, keepdims=True))


def gradient_of(xp, log_p, labels):
    hit = xp.one_hot(labels, log_p)
    return (xp.exp(log_p) - xp.where(hit, xp.ones_like(log_p), 0.0)) / log_p.shape[0]


def cross_entropy(xp, x, labels):
    log_p = log_softmax(xp, x)
    return loss_of(xp, log_p, labels), gradient_of(xp, log_p, labels)


def layer_norm(xp, x, gamma, beta):
    d = x - xp.mean(x, axis=-1, keepdims=True)
    return gamma * (d / xp.sqrt(xp.mean(d * d, axis=-1, keepdims=True) + 1e-5)) + beta


def batch_norm(xp, x, mean, var, gamma, beta):
    return gamma * ((x - mean) / xp.sqrt(var + 1e-5)) + beta


def statistics(xp, x, running):
    mean = xp.mean(x, axis=0)
    return mean, 0.9 * running + 0.1 * mean


ADAM = trace(adam, ["p", "g", "m", "v", "a", "c1", "beta2", "c2", "eps"])
ADAM_INTO = {0: 0, 1: 2, 2: 3}
GELU = trace(bias_gelu, ["z", "b"])
GELU_VJP = derive(GELU, (True, True)).program
CROSS_ENTROPY = trace(cross_entropy, ["x", "labels"])


def printed(program, arrays, into=None):
    return print_c(lower(program, [(a.shape, a.dtype) for a in arrays]), into)


class Built:
    """A kernel as a function of its operands, each an array of the operand's shape."""

    def __init__(self, function, text):
        self.function, self.text = function, text
        function.restype = None

    def __call__(self, rows, columns, *operands):
        steps = []
        for o, a in zip(self.text.operands, operands, strict=True):
            assert o.dtype == a.dtype, o
            stride = {"full": columns * a.itemsize, "row": a.itemsize}.get(o.layout, 0)
            if stride and a.ndim > 1 and a.shape[-1] == (columns if o.layout == "full" else 1):
                stride = a.strides[-2]
            steps.append(stride // a.itemsize)
        n, size = len(operands), self.text.scratch(columns) * 8 * ((columns + 15) // 16 * 16)
        scratch = np.full(size + 64 + 64, 0xFF, np.uint8)  # NaN
        start = -scratch.ctypes.data % 64
        self.function(
            ctypes.c_ssize_t(rows),
            ctypes.c_ssize_t(columns),
            (ctypes.c_void_p * n)(*(a.ctypes.data for a in operands)),
            (ctypes.c_ssize_t * n)(*steps),
            ctypes.c_void_p(scratch.ctypes.data + start),
        )
        assert (scratch[start + size :] == 0xFF).all()  # not beyond its tiles


class Builder:
    """Compiles texts, all at once, and gives their functions."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, *texts, level="-O1", machine=()):
        prelude = files("chainrule.compile").joinpath("native", "math.h").read_text("utf-8")
        path = self.folder / f"kernels{len(list(self.folder.iterdir()))}"
        sources = {t.name: t.source for t in texts}
        path.with_suffix(".c").write_text("\n".join([prelude, *sources.values()]))
        command = [COMPILER, level, *FLAGS, *machine, "-shared", "-fPIC"]
        subprocess.run([*command, "-o", f"{path}.so", f"{path}.c", "-lm"], check=True)
        library = ctypes.CDLL(f"{path}.so")
        return [Built(library[t.name], t) for t in texts]
