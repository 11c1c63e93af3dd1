"""The words are true: every Python block of README and docs runs and prints what stands under it.

The blocks of a file run in order, in one namespace and a temporary folder. What a block prints
stands in the ``text`` block after it or in its ``# prints ...`` comments, one for each line, where
``...`` stands for anything. ``python tests/test_docs.py`` writes outdated ``text`` blocks anew.

A ``c`` block quotes what ``cr.show(step)`` prints, of the captured step that the page calls so.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import chainrule as cr

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n+```text\n(?P<text>.*?)^```$)?", re.MULTILINE | re.DOTALL
)
_PRINTS = re.compile(r"# prints (.*)$", re.MULTILINE)
_QUOTED = re.compile(r"^```c\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
_LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A block of a page and what it printed."""

    match: re.Match[str]
    line: int
    printed: str

    @property
    def expected(self) -> str:
        lines = _PRINTS.findall(self.match["code"])
        return (self.match["text"] or "") + "".join(f"{line}\n" for line in lines)

    @property
    def is_true(self) -> bool:
        return doctest.OutputChecker().check_output(self.expected, self.printed, _LOOSE)


def run(page: Path, names: dict[str, Any] | None = None) -> Iterator[Block]:
    """Run the blocks of a page in the present folder; `names` receives what they define."""
    text = page.read_text("utf-8")
    namespace: dict[str, Any] = {} if names is None else names
    namespace["__name__"] = page.stem
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        # the blank lines before the code let a traceback show the lines of the page itself
        code = compile("\n" * (line - 1) + match["code"], str(page), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        yield Block(match, line, printed.getvalue())


def write(page: Path) -> None:
    """Replace the output blocks that are no longer true, up to the first block that fails."""
    before = text = page.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        try:
            for block in run(page):
                if block.match["text"] is not None and not block.is_true:
                    old = f"```text\n{block.match['text']}"
                    new = block.match[0].replace(old, f"```text\n{block.printed}")
                    text = text.replace(block.match[0], new)
        finally:
            if text != before:
                page.write_text(text, "utf-8")
                print(f"{page.relative_to(ROOT)}: written anew")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run_and_print_what_stands_under_them(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = [
        f"{page.name}:{b.line}: the page says\n{b.expected}but the block prints\n{b.printed}"
        for b in run(page)
        if not b.is_true
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", [p for p in PAGES if _QUOTED.search(p.read_text("utf-8"))])
def test_quoted_c_is_what_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    assert list(run(page, names))
    shown = io.StringIO()
    cr.show(names["step"], file=shown)
    if shown.getvalue().startswith("def "):
        pytest.skip("there is no native code here, and the step runs as NumPy")
    text = shown.getvalue()
    for quoted in _QUOTED.findall(page.read_text("utf-8")):
        at = 0
        for part in quoted.split("...\n"):  # lines left out
            assert part in text[at:], f"{page.name} quotes\n{part}but the step is\n{text}"
            at = text.index(part, at) + len(part)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text("utf-8")):
        assert (page.parent / link).exists(), f"{page.name} links to {link}, which is not there"


def test_the_readme_gives_two_commands_and_ci_runs_them() -> None:
    (block,) = re.findall(r"^```sh\n(.*?)^```$", PAGES[0].read_text("utf-8"), re.M | re.S)[:1]
    commands = [line for line in block.splitlines() if line and not line.startswith("#")]
    assert len(commands) == 2
    ci = (ROOT / ".ci" / "run").read_text("utf-8").replace('"', "")
    for step in ("-m venv", "bin/pip install -q .", "bin/chainrule train"):
        assert step in commands[0]
        assert step in ci
    assert commands[1] == "sh scripts/test"
    assert commands[1] in ci


#: What docs/differences.md says of PyTorch, as conditions on it.
_OF_TORCH: dict[str, Callable[[Any], bool]] = {
    "var divides by n - 1": lambda torch: torch.tensor([1.0, 2.0, 3.0, 5.0]).var() > 2.9,
    "its sigmoid has slope 0 at 40": lambda torch: _slope(torch, torch.sigmoid, 40.0) == 0,
    "its softplus is x above 20": lambda torch: (
        torch.nn.functional.softplus(_double(torch, 25)) == 25
    ),
    "its silu is NaN at -inf": lambda torch: torch.nn.functional.silu(
        _double(torch, -np.inf)
    ).isnan(),
    "its gelu is NaN at -inf": lambda torch: torch.nn.functional.gelu(
        _double(torch, -np.inf)
    ).isnan(),
    "amax shares": lambda torch: _slope(torch, lambda x: x.amax(0), [3.0, 1.0, 3.0])[0] == 0.5,
    "max(dim) does not": lambda torch: (
        0.5 not in _slope(torch, lambda x: x.max(0).values, [3.0, 1.0, 3.0])
    ),
    "an unused input raises": lambda torch: _raises(
        RuntimeError,
        lambda: torch.autograd.grad(
            torch.ones(1, requires_grad=True).sum(), torch.ones(1, requires_grad=True)
        ),
    ),
    "shapes that broadcast warn": lambda torch: _raises(
        UserWarning, lambda: torch.nn.functional.mse_loss(torch.ones(4, 1), torch.ones(4))
    ),
    "a number has an axis to sort": lambda torch: torch.sort(torch.tensor(2.0), dim=0).values == 2,
    "squeeze leaves a long axis": lambda torch: torch.ones(1, 3).squeeze(1).shape == (1, 3),
    "any number is a label": lambda torch: (
        torch.nn.functional.soft_margin_loss(torch.ones(1), torch.tensor([0.5])) > 0
    ),
}


def _double(torch: Any, x: Any) -> Any:
    return torch.tensor(x, dtype=torch.float64)


def _slope(torch: Any, f: Callable[[Any], Any], x: Any) -> Any:
    t = _double(torch, x).requires_grad_()
    f(t).backward()
    return t.grad


def _raises(kind: type[BaseException], f: Callable[[], Any]) -> bool:
    with pytest.raises(kind):
        f()
    return True


@pytest.mark.parametrize("claim", _OF_TORCH)
def test_pytorch_is_as_the_page_on_differences_says(claim: str) -> None:
    torch = pytest.importorskip("torch")
    assert _OF_TORCH[claim](torch)


def test_a_pytorch_state_dict_loads_as_it_is() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    ours = cr.nn.Sequential(cr.nn.Dense(4, 3), cr.nn.ReLU(), cr.nn.Dense(3, 2))
    ours.load_state_dict(theirs.state_dict())
    x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_wrong_page_is_caught(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 2\nprint(x)  # prints 3\n```\n\n```python\nprint(x)\n```\n")
    first, silent = run(page)
    assert not first.is_true  # a wrong comment
    assert not silent.is_true  # an output that the page does not show
    page.write_text("```python\nprint(2.5)  # prints 2...\n```\n")
    assert all(block.is_true for block in run(page))


if __name__ == "__main__":
    for argument in sys.argv[1:] or PAGES:
        write(Path(argument).resolve())
