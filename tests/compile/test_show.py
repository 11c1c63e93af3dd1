"""The text that `cr.show` prints is the program that runs: compiled by itself it gives the same."""

from __future__ import annotations

import ctypes
import io

import numpy as np
import pytest

import chainrule as cr
from chainrule.compile import build, native

needs_compiler = pytest.mark.skipif(
    build.find_compiler() is None or build.runtime() is None, reason="there is no C compiler"
)

CBLAS = """
enum { CblasRowMajor = 101, CblasNoTrans = 111, CblasTrans = 112 };
static void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float one, const float *a,
                        int lda, const float *b, int ldb, float zero, float *c, int ldc)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int l = 0; l < k; l++)
                sum += (double)(ta == CblasTrans ? a[l * lda + i] : a[i * lda + l])
                     * (tb == CblasTrans ? b[j * ldb + l] : b[l * ldb + j]);
            c[i * ldc + j] = one * sum + zero;
        }
}
"""


def step_of(activation, loss):
    cr.seed(0)
    model = cr.nn.Sequential(cr.nn.Dense(5, 7), activation, cr.nn.Dense(7, 3))
    optimizer = cr.optim.AdamW(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return model, cr.capture(step)


def text_of(step, **options):
    file = io.StringIO()
    cr.show(step, file=file, **options)
    return file.getvalue()


X = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
LABELS = np.arange(9) % 3
VALUES = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)


@needs_compiler
@pytest.mark.parametrize(
    ("activation", "loss", "y"),
    [
        (cr.nn.ReLU(), cr.ops.cross_entropy, LABELS),
        (cr.nn.GELU(), cr.ops.mse_loss, VALUES),
        (cr.nn.Softmax(), cr.ops.l1_loss, VALUES),
    ],
    ids=["relu", "gelu", "softmax"],
)
@pytest.mark.parametrize("rows", [9, 32, 41])  # one by one, sixteen at a time, both
def test_the_text_is_the_program(activation, loss, y, rows):
    _, step = step_of(activation, loss)
    x, y = (np.resize(a, (rows, *a.shape[1:])) for a in (X, y))
    for _ in range(3):
        step(x, y)
    text = text_of(step)
    for line in text.splitlines():
        assert len(line) < 200
    source = native.prelude() + CBLAS + "\nCR_EXPORT " + text[text.index("void step(") :]
    library = build.library(source, "shown")
    assert library is not None
    (program,) = step.programs()
    replay = program.replay
    live = [*replay.recorder.bases, *replay.layout.constants]
    before = [a.copy() for a in live]
    assert program.hosts[0][0]()  # the numbers of the next update
    before[4][...] = live[4]
    (expected,) = replay.run(x, y)
    after = [a.copy() for a in live]

    run_the_text(library, x, y, before, after, expected)


def run_the_text(library, x, y, before, after, expected):
    pointers = (ctypes.c_void_p * len(before))(*(a.ctypes.data for a in before))
    loss_value = np.zeros((), np.float32)
    workspace, scratch = np.zeros(1 << 16, np.uint8), np.zeros(1 << 16)
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 6)(library.address("step"))(
        x.ctypes.data, np.ascontiguousarray(y).ctypes.data, loss_value.ctypes.data,
        ctypes.addressof(pointers), workspace.ctypes.data, scratch.ctypes.data,
    )  # fmt: skip
    np.testing.assert_allclose(loss_value, expected, rtol=1e-6)
    for shown, ran in zip(before, after, strict=True):
        np.testing.assert_allclose(shown, ran, rtol=1e-4, atol=1e-6)


@needs_compiler
def test_the_text_of_tables():
    cr.seed(0)
    columns = cr.nn.EmbedColumns(5, [(4, 3), (2, 2)])
    codes = cr.nn.Embedding(3, 3, padding_idx=2)
    layer = cr.nn.Dense(8, 3)
    modules = cr.nn.ModuleList([columns, codes, layer])
    optimizer = cr.optim.SGD(modules.parameters(), lr=0.1)

    @cr.capture
    def step(x, y):
        optimizer.zero_grad()
        value = cr.ops.cross_entropy(layer(columns(x)) + codes(y), y)
        value.backward()
        optimizer.step()
        return value

    x = X.copy()
    x[:, 3], x[:, 4] = np.arange(9) % 4, np.arange(9) % 2
    for _ in range(3):
        step(x, LABELS)
    text = text_of(step)
    assert "rows of weights_0 at x1 from column 3 */" in text
    assert "for (ptrdiff_t j = 0; j < 3 && (int)x2[i] != 2; j++)" in text
    source = native.prelude() + CBLAS + "\nCR_EXPORT " + text[text.index("void step(") :]
    library = build.library(source, "shown")
    (program,) = step.programs()
    live = [*program.replay.recorder.bases, *program.replay.layout.constants]
    assert program.prepared()
    before = [a.copy() for a in live]
    (expected,) = program.replay.run(x, LABELS)
    run_the_text(library, x, LABELS, before, [a.copy() for a in live], expected)


@needs_compiler
def test_it_names_formulas_and_parameters():
    _, step = step_of(cr.nn.Tanh(), cr.ops.cross_entropy)
    step(X, LABELS)
    text = text_of(step)
    for name in ("weight_0", "bias_2", "grad_weight_2", "/* bias_tanh", "cross_entropy", "/* adam"):
        assert name in text
    assert len(text.splitlines()) < 190


def test_the_numpy_form_runs():
    _, step = step_of(cr.nn.Tanh(), cr.ops.cross_entropy)
    for _ in range(3):
        step(X, LABELS)
    text = text_of(step, numpy=True)
    assert text.startswith("def step(x1, x2):\n")
    for line in ("matmul(", "bias_tanh(", "def bias_tanh(z, b):", "tanh(z, out=z)", "def adam"):
        assert line in text


def test_what_cannot_be_shown_says_why():
    @cr.capture
    def step(x):
        return x

    with pytest.raises(RuntimeError, match="no captured program of step to show: it has not been"):
        cr.show(step)
    with pytest.raises(TypeError, match="show takes a captured step, not function"):
        cr.show(lambda x: x)
    eager = cr.capture(lambda x: cr.tensor(x).sum().item())
    with pytest.warns(RuntimeWarning, match=r"test_show.py:\d+: \.item\(\) needs a value"):
        eager(X)
    with pytest.raises(RuntimeError, match=r"\.item\(\) needs a value"):
        cr.show(eager)
