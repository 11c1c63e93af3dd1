"""scikit-learn's own tests of its metrics, run on chainrule's functions.

The test modules that scikit-learn installs are run as they are, with the functions of
``chainrule.metrics`` in place of those of ``sklearn.metrics`` under the same names. What is
compared is values, shapes, types of errors and categories of warnings; the sentences of errors and
warnings are ours (``match=`` of ``pytest.raises`` and ``pytest.warns`` is not looked at). A case
counts for every function that it calls, and is not applicable where it calls none, is skipped by
scikit-learn itself, or is named in EXCLUDED with its reason.

    python benchmarks/conformance_sklearn.py            the table
    python benchmarks/conformance_sklearn.py --verbose  with the errors of what fails
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

MODULES = ("test_classification", "test_ranking", "test_regression", "test_common")

#: Cases that ask for something else than the function: a pattern of the case's name, and why.
_SENTENCE = "compares the sentence of a warning"
_DEPRECATED = "asks for a deprecated form of the call"
EXCLUDED: dict[str, str] = {
    r"test_classification_report_zero_division_warning\[warn": _SENTENCE,
    r"test_(prf|recall|precision|fscore)_warnings(\[warn|$)": _SENTENCE,
    r"test_(d2_)?log_loss(_score)?_y_pred_deprecation": _DEPRECATED,
    r"test_confusion_matrix_at_thresholds_positional_args_deprecation": _DEPRECATED,
    r"test_confusion_matrix_dtype": "asks that a sum of weights overflows int64 (here it is exact)",
}


def run(verbose: bool = False) -> list[dict[str, Any]]:
    """A row per function: ``function``, ``passed``, ``failed``, ``not_applicable``, ``reasons``.

    ``reasons`` counts the cases that are not applicable by their reason. The last row is
    ``"all cases"``, each case counted once. The tests run in a process of their own, because the
    functions of scikit-learn are replaced in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        command = [sys.executable, str(Path(__file__).resolve()), "--into", str(found)]
        outcome = subprocess.run(
            command + ["--verbose"] * verbose, capture_output=not verbose, text=True, check=False
        )
        if not found.is_file():
            raise RuntimeError(f"the tests did not run:\n{outcome.stdout}\n{outcome.stderr}")
        cases = json.loads(found.read_text("utf-8"))
    return rows_of(cases)


def rows_of(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of :func:`run` from single cases."""
    names = sorted({name for case in cases for name in case["functions"]})
    rows = []
    for name in [*names, "all cases"]:
        own = [c for c in cases if name in c["functions"] or name == "all cases"]
        state = Counter(c["state"] for c in own)
        rows.append(
            {
                "function": name,
                "passed": state["passed"],
                "failed": state["failed"],
                "not_applicable": state["not applicable"],
                "reasons": dict(Counter(c["reason"] for c in own if c["reason"])),
            }
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text, and every reason with its count."""
    lines = [f"{'function':40} {'pass':>6} {'fail':>6} {'n/a':>6}"]
    lines += [
        f"{r['function']:40} {r['passed']:6} {r['failed']:6} {r['not_applicable']:6}" for r in rows
    ]
    reasons = sorted(rows[-1]["reasons"].items(), key=lambda item: -item[1])
    return "\n".join([*lines, "", "not applicable:", *(f"{n:6}  {why}" for why, n in reasons)])


class Watch:
    """A pytest plugin: which of our functions each case calls, and how the case ends."""

    def __init__(self, verbose: bool) -> None:
        self.cases: list[dict[str, Any]] = []
        self.called: set[str] = set()
        self.verbose = verbose

    def recorded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which notes that it was called."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.called.add(function.__name__)
            return function(*args, **kwargs)

        return call

    def pytest_collection_finish(self, session: Any) -> None:
        for module in {item.module for item in session.items}:
            module.pytest = without_sentences(module.pytest)

    def pytest_runtest_setup(self, item: Any) -> None:
        self.called.clear()

    def pytest_runtest_logreport(self, report: Any) -> None:
        over = report.when == "call" or report.outcome != "passed"
        if not over or (report.when == "teardown"):
            return
        case = report.nodeid.split("::", 1)[1]
        functions, reason = sorted(self.called), ""
        excluded = next((why for pattern, why in EXCLUDED.items() if re.match(pattern, case)), "")
        if report.outcome == "skipped":
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else "expected to fail"
            reason = skipped(str(why))
        elif not functions:
            reason = "tests private helpers of scikit-learn only"
        elif excluded:
            reason = excluded
        state = "not applicable" if reason else report.outcome
        if self.verbose and state == "failed":
            print(f"\nFAILED {case} {functions}\n{report.longreprtext[-1500:]}", flush=True)
        if self.verbose and excluded and report.outcome == "passed":
            print(f"\nEXCLUDED BUT PASSES {case}", flush=True)
        self.cases.append({"case": case, "functions": functions, "state": state, "reason": reason})


def skipped(why: str) -> str:
    """Why scikit-learn skips a case, in few kinds."""
    kinds = {
        "array_api|ARRAY_API": "asks for arrays of other libraries by the array API",
        "pandas": "asks for pandas",
        "1d inputs": "its metric takes no one-dimensional input",
    }
    kind = next((kind for pattern, kind in kinds.items() if re.search(pattern, why)), why)
    return f"skipped by scikit-learn: {kind}"


def without_sentences(pytest: ModuleType) -> SimpleNamespace:
    """pytest whose ``raises`` and ``warns`` look at types only."""
    loose = SimpleNamespace(**{name: getattr(pytest, name) for name in pytest.__all__})

    def raises(expected: Any, *args: Any, match: Any = None, **kwargs: Any) -> Any:
        return pytest.raises(expected, *args, **kwargs)

    def warns(expected: Any = Warning, *args: Any, match: Any = None, **kwargs: Any) -> Any:
        return pytest.warns(expected, *args, **kwargs)

    loose.raises, loose.warns = raises, warns
    return loose


def replaced(watch: Watch) -> Iterator[str]:
    """Put our functions under scikit-learn's names, before its test modules are imported."""
    import sklearn.exceptions
    import sklearn.metrics
    from sklearn.metrics import _classification

    from chainrule import metrics

    for name in metrics.__all__:
        if hasattr(sklearn.metrics, name) and callable(getattr(metrics, name)):
            function = watch.recorded(getattr(metrics, name))
            setattr(sklearn.metrics, name, function)
            if name in ("d2_brier_score", "d2_log_loss_score"):  # imported from there
                setattr(_classification, name, function)
            yield name
    exceptions: Any = sklearn.exceptions
    exceptions.UndefinedMetricWarning = metrics.UndefinedMetricWarning


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--into", help="write the single cases as JSON here (used by run)")
    parser.add_argument("--verbose", action="store_true", help="print the errors of what fails")
    parser.add_argument("-k", default="", help="only these cases, as pytest's -k")
    parser.add_argument("--module", choices=MODULES, help="only this module of tests")
    options = parser.parse_args()
    if not options.into and not options.k and not options.module:
        rows = run(options.verbose)
        print(table(rows))
        return int(rows[-1]["failed"] > 0)
    import pytest

    watch = Watch(options.verbose)
    list(replaced(watch))
    names = [options.module] if options.module else MODULES
    modules = [f"sklearn.metrics.tests.{name}" for name in names]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # no configuration of ours
        quiet = ["-p", "no:cacheprovider", "-q", "--no-header", "--no-summary", "--tb=short"]
        chosen = ["-k", options.k, "--rootdir", folder]
        pytest.main(["--pyargs", *modules, *quiet, *chosen], plugins=[watch])
    if options.into:
        Path(options.into).write_text(json.dumps(watch.cases), "utf-8")
    else:
        print(table(rows_of(watch.cases)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
