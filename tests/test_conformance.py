"""The comparison with other people's tests: that it finds differences, and a part of it.

All of it is run by ``python benchmarks/conformance.py``, which takes minutes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import chainrule as cr

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
#: The tables are private to PyTorch; see benchmarks/conformance_torch.py.
TORCH = "2.13.0"


@pytest.fixture(scope="module")
def record() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import conformance_record
    finally:
        sys.path.remove(str(BENCHMARKS))
    return conformance_record


def test_differences_are_found(record: ModuleType) -> None:
    x = np.array([[1.0, 2.0], [np.nan, np.inf]])
    assert record.difference(x, x.copy(), "value") is None
    for changed, text in (
        (x.astype(np.float32), "value is float64, theirs float32"),
        (x[0], "value has shape (2, 2), theirs (2,)"),
        (np.where(x == 2.0, 2.0 + 1e-9, x), "theirs np.float64(2.000000001) at (0, 1)"),
        (np.where(np.isnan(x), 0.0, x), "value is np.float64(nan), theirs np.float64(0.0)"),
        (-x, "value is"),
    ):
        assert text in str(record.difference(x, changed, "value"))
    assert record.difference(x, x + 1e-9, "value", (1e-8, 0.0)) is None
    assert record.difference(np.array([1]), np.array([2]), "place") == "place differs"


def test_cases_are_counted(record: ModuleType) -> None:
    row = record.Row("torch.f", "f")
    row.count("one", None)
    row.count("two", "value differs")
    row.count("three", record.NotApplicable("complex numbers"))
    assert (row.passed, row.failures) == (1, ["two: value differs"])
    assert " ".join(row.line.split()) == "torch.f 1 pass 1 fail; 1 n/a: complex numbers"
    table = record.Table("title", "about", [row, row])
    assert (table.passed, table.failed, table.excluded["complex numbers"]) == (2, 2, 2)


def test_a_part_of_the_tables() -> None:
    torch = pytest.importorskip("torch")
    if torch.__version__.partition("+")[0] != TORCH:
        pytest.skip(f"the tables are those of PyTorch {TORCH}")
    command = [sys.executable, str(BENCHMARKS / "conformance.py")]
    command += ["--table", "functions", "--table", "modules"]
    command += ["--only", "einsum", "--only", "nn.functional.huber_loss", "--only", "nn.GELU"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("torch.")]
    assert ["torch.einsum", "22"] in rows
    assert {name for name, _ in rows} == {
        "torch.einsum", "torch.nn.functional.huber_loss", "torch.nn.GELU",
    }  # fmt: skip


def test_nothing_fails_on_the_page() -> None:
    """``python benchmarks/conformance.py --write docs/conformance.md`` wrote it."""
    page = (BENCHMARKS.parent / "docs" / "conformance.md").read_text("utf-8")
    assert page.endswith("## Failures\n\nNone.\n")
    assert f"torch {TORCH}" in page


def test_other_versions_are_refused(record: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """``chainrule`` itself is no part of this: it works with any PyTorch."""
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import conformance_torch

    monkeypatch.setattr(torch, "__version__", "2.4.0")
    with pytest.raises(SystemExit, match=rf"those of {TORCH}, and 2.4.0 is installed"):
        conformance_torch.check_version()
    assert cr.ops.einsum("i->", np.ones(3)) == 3
