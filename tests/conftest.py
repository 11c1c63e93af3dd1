"""What every test stands on: no deadlines, the same draws, and no oracle skipped in CI."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator, Iterator

import hypothesis
import pytest

from chainrule.array import random
from chainrule.compile import build

# a shared machine may pause anything for longer than the usual deadline of 200 ms
hypothesis.settings.register_profile("chainrule", deadline=None)
hypothesis.settings.load_profile("chainrule")

# a shell has its background processes ignore Ctrl-C; the tests of interruption send it
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: What a skip for want of another library says: `pytest.importorskip`, or the fixtures of a room.
_ABSENT = re.compile(r"could not import|oracle", re.IGNORECASE)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Every test begins at the same place of the random stream, whatever ran before it."""
    random.seed(0)


@pytest.fixture(scope="module", params=["native", "numpy"])
def executor(request: pytest.FixtureRequest) -> Iterator[str]:
    """Everything that follows in this module runs as native code, also what is small, or as NumPy.

    Tests that take it run once with each.
    """
    from tests_steps import forget_plans  # this file must be of use by itself

    if request.param == "native" and build.find_compiler() is None:
        pytest.skip("there is no C compiler")
    if request.param == "native" and build.runtime() is None:
        pytest.skip("there is no native runtime here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINRULE_NATIVE", {"native": "always", "numpy": "0"}[request.param])
        forget_plans()
        yield request.param
    forget_plans()


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """CI installs the libraries that serve as oracles: there, a test without one has failed."""
    skipped = report.outcome == "skipped" and not hasattr(report, "wasxfail")
    if skipped and os.environ.get("CI") and _ABSENT.search(str(report.longrepr)):
        report.outcome = "failed"
        report.longrepr = f"skipped, but CI must run it: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report
