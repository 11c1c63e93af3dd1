"""The site builds, has a page of every formula, loads nothing from elsewhere, and shows."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chainrule.compile import build, native

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "formula_book.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="runs in a checkout alone")


@pytest.fixture(scope="module")
def book() -> ModuleType:
    spec = importlib.util.spec_from_file_location("formula_book", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
        build(config)
    return folder


class Page(HTMLParser):
    """What a page loads, what it leads to, and its equations."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.equations = 0
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.equations += tag == "math"
        if tag == "a":
            self.leads.append(given.get("href") or "")
        else:
            self.loads += [given[k] or "" for k in ("src", "href", "srcset") if k in given]


def test_every_formula_has_a_page(book: ModuleType, site: Path) -> None:
    from chainrule.ops import loss
    from chainrule.ops.formula import FORMULAS
    from chainrule.optim.registry import RULES

    names = {(e.family, e.name) for e in book.entries()}
    for family, of in (("Activations", FORMULAS), ("Losses", loss.LOSSES), ("Optimizers", RULES)):
        assert {(family, name) for name in of} == {n for n in names if n[0] == family}
    for e in book.entries():
        page = Page(site / f"{e.path}.html")
        assert page.equations >= (2 if e.formula is not None else 1), e.name
        assert (
            f"{e.path.removeprefix('formulas/')}.html" in Page(site / "formulas/index.html").leads
        )


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        outside = [x for x in Page(path).loads if re.match(r"(https?:)?//", x)]
        assert outside == [], path.name
    for path in (site / "assets").rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", path.read_text("utf-8")), path.name


def test_links_of_the_book_lead_somewhere(book: ModuleType, site: Path) -> None:
    for e in book.entries():
        path = site / f"{e.path}.html"
        for link in Page(path).leads:
            target, _, anchor = link.partition("#")
            found = (path.parent / target).resolve() if target else path
            assert found.exists(), (e.name, link)
            if anchor and found.suffix == ".html":
                assert f'id="{anchor}"' in found.read_text("utf-8"), (e.name, link)


def test_a_page_says_what_the_formula_is(book: ModuleType) -> None:
    (gelu,) = [e for e in book.entries() if e.name == "gelu"]
    text = book.page(gelu)
    for part in ("## Equation", "## Text", "## Derivative", "## Plot", "## Rounding", "erf",
                 "better conditioned", "_gelu_vjp", "[A-11](",
                 "[E004-11](../../errata.md#e004-11)"):  # fmt: skip
        assert part in text
    native, numpy = re.findall(r"\| value \| ([\d.–]+) \| ([\d.]+) \|", text)[0]
    assert 0 < float(numpy) <= 4
    assert native == "–" or 0 < float(native) <= 4


def test_a_plot_is_the_same_every_time(book: ModuleType) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    for e in book.entries():
        assert e.family == "Optimizers" or book.curve(e) is not None, e.name
    (silu,) = [e for e in book.entries() if e.name == "silu"]
    assert book.plot(book.curve(silu), "silu") == book.plot(book.curve(silu), "silu")


def test_every_optimizer_leads_to_its_row_of_the_ledger(book: ModuleType) -> None:
    for e in book.entries():
        if e.family == "Optimizers" and e.name not in ("rprop", "asgd"):  # not in the notes
            assert "](../../ledger.md)" in book.page(e), e.name


def test_rounding_is_within_the_bound_on_every_page(book: ModuleType) -> None:
    there = native.available() and build.find_compiler() is not None
    for e in book.entries():
        rows = re.findall(r"\| (?:value|derivative) \| ([\d.–]+) \| ([\d.]+) \|", book.page(e))
        assert rows, e.name
        assert all(float(cell) <= 4 for row in rows for cell in row if cell != "–"), (e.name, rows)
        # what only moves numbers has no native code
        assert not there or e.name == "identity" or all(row[0] != "–" for row in rows), e.name


#: Run by the browser in each page: what it made of it.
_LOOK = """<script>addEventListener("load", () => {
  const maths = [...document.querySelectorAll("math")].map(m => m.getBoundingClientRect());
  const images = [...document.images].map(i => i.naturalWidth);
  const report = {
    equations: maths.length,
    smallest: Math.min(...maths.map(r => Math.min(r.width, r.height * 2))),
    fractions: [...document.querySelectorAll("mfrac")].map(
      f => f.children[1].getBoundingClientRect().top - f.children[0].getBoundingClientRect().top),
    images: images,
    overflow: document.documentElement.scrollWidth - innerWidth,
    colour: getComputedStyle(document.querySelector(".md-header")).backgroundColor,
  };
  const out = document.createElement("pre");
  out.id = "report"; out.textContent = JSON.stringify(report);
  document.body.append(out);
});</script>"""

_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip


def look(page: Path, profile: Path) -> dict[str, Any]:
    """Open a page in a browser without a window, and report what is on it."""
    seen = page.with_name(f"seen_{page.name}")
    seen.write_text(page.read_text("utf-8").replace("</body>", f"{_LOOK}</body>"), "utf-8")
    assert _BROWSER is not None
    words = [_BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
             "--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", f"--user-data-dir={profile}", "--window-size=1300,1000",
             "--dump-dom", seen.as_uri()]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="report">(.*?)</pre>', done.stdout)
    assert found is not None, done.stdout[-500:]
    report: dict[str, Any] = json.loads(found[1])
    return report


@pytest.mark.skipif(_BROWSER is None, reason="there is no browser on this machine")
@pytest.mark.parametrize(
    ("path", "images"),
    [("activations/gelu", 1), ("activations/softmax", 1), ("losses/cross_entropy", 1),
     ("optimizers/adam", 1)],
)  # fmt: skip
def test_pages_show_in_a_browser(site: Path, tmp_path: Path, path: str, images: int) -> None:
    report = look(site / "formulas" / f"{path}.html", tmp_path)
    assert report["equations"] > 0
    assert report["smallest"] > 10
    assert all(below > 5 for below in report["fractions"])  # laid out as fractions, not in a row
    assert len(report["images"]) == images
    assert all(width > 100 for width in report["images"])
    assert report["overflow"] <= 0
    assert report["colour"] not in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)")  # styled
