"""scikit-learn's tests of its metrics: how cases are counted, and a part of them.

All of them are run by ``python benchmarks/conformance_sklearn.py``, which takes half a minute.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def conformance() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import conformance_sklearn
    finally:
        sys.path.remove(str(BENCHMARKS))
    return conformance_sklearn


def case(functions: list[str], state: str, reason: str = "") -> dict[str, Any]:
    return {"case": "test", "functions": functions, "state": state, "reason": reason}


def test_cases_count_for_every_function_and_once_in_total(conformance: ModuleType) -> None:
    rows = conformance.rows_of(
        [
            case(["f1_score", "recall_score"], "passed"),
            case(["f1_score"], "failed"),
            case([], "not applicable", "why"),
        ]
    )
    assert [(r["function"], r["passed"], r["failed"], r["not_applicable"]) for r in rows] == [
        ("f1_score", 1, 1, 0),
        ("recall_score", 1, 0, 0),
        ("all cases", 1, 1, 1),
    ]
    assert rows[-1]["reasons"] == {"why": 1}
    assert "     1  why" in conformance.table(rows)


def test_types_are_compared_and_sentences_are_not(conformance: ModuleType) -> None:
    loose = conformance.without_sentences(pytest)
    with loose.raises(ValueError, match="another sentence"):
        raise ValueError("a sentence")
    with pytest.raises(TypeError), loose.raises(ValueError, match="a sentence"):
        raise TypeError("a sentence")


def test_a_part_of_the_cases(tmp_path: Path) -> None:
    if not os.environ.get("CI"):
        pytest.importorskip("sklearn")
    found = tmp_path / "found.json"
    command = [sys.executable, str(BENCHMARKS / "conformance_sklearn.py"), "--into", str(found)]
    chosen = ["--module", "test_regression"]
    subprocess.run([*command, *chosen], check=True, capture_output=True, timeout=300)
    cases = json.loads(found.read_text("utf-8"))
    assert [c for c in cases if c["state"] == "failed"] == []
    called = {name for c in cases if c["state"] == "passed" for name in c["functions"]}
    assert {"r2_score", "mean_tweedie_deviance", "d2_pinball_score"} <= called
