"""The code in CONTRIBUTING.md is the code of the repository, and its examples run."""

from __future__ import annotations

import doctest
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "CONTRIBUTING.md"

#: A fenced block of Python, at any indentation.
BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def test_quoted_code_stands_in_the_file_it_names() -> None:
    quoted = 0
    for indent, body in BLOCK.findall(GUIDE.read_text("utf-8")):
        code = re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) if indent else body
        heading, _, rest = code.partition("\n")
        if not heading.startswith("# src/"):
            assert rest.strip().startswith(">>>") or heading.startswith(">>>")
            continue
        assert rest in (ROOT / heading.removeprefix("# ")).read_text("utf-8"), (
            f"{heading}: the guide quotes\n{textwrap.indent(rest, '    ')}"
        )
        quoted += 1
    assert quoted >= 5


def test_examples_run() -> None:
    # quoted code has examples of its own, which run where it stands
    own = "\n".join(
        textwrap.dedent(body)
        for _, body in BLOCK.findall(GUIDE.read_text("utf-8"))
        if not body.lstrip().startswith("# src/")
    )
    test = doctest.DocTestParser().get_doctest(own, {}, GUIDE.name, str(GUIDE), 0)
    result = doctest.DocTestRunner().run(test)
    assert result.attempted >= 8
    assert result.failed == 0


def test_every_file_it_names_exists() -> None:
    text = GUIDE.read_text("utf-8")
    named = set(re.findall(r"`((?:src|tests|benchmarks|docs|scripts|\.ci)/[\w/.]+\w)`", text))
    assert len(named) > 8
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
