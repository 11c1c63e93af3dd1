"""The words are true: every Python block of README and docs runs and prints what stands under it.

The blocks of a file run in order, in one namespace and a temporary folder. What a block prints
stands in the ``text`` block after it or in its ``# prints ...`` comments, one for each line; ``...``
there stands for anything. ``python tests/test_docs.py`` writes outdated ``text`` blocks anew.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n+```text\n(?P<text>.*?)^```$)?", re.MULTILINE | re.DOTALL
)
_PRINTS = re.compile(r"# prints (.*)$", re.MULTILINE)
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


def run(page: Path) -> Iterator[Block]:
    """Run the blocks of a page in the present folder."""
    text = page.read_text("utf-8")
    namespace: dict[str, Any] = {"__name__": page.stem}
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text("utf-8")):
        assert (page.parent / link).exists(), f"{page.name} links to {link}, which is not there"


def test_the_readme_gives_two_commands_and_ci_runs_them() -> None:
    (block,) = re.findall(r"^```sh\n(.*?)^```$", PAGES[0].read_text("utf-8"), re.M | re.S)[:1]
    commands = [line for line in block.splitlines() if line and not line.startswith("#")]
    assert len(commands) == 2
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    for step in ("-m venv", "pip install -q .", "bin/chainrule train"):
        assert step in commands[0]
        assert step.removeprefix("bin/") in ci
    assert commands[1] == "sh scripts/test"
    assert commands[1] in ci


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
