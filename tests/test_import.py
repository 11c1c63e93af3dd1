"""Importing costs what NumPy costs (law 9), and the façade is complete for people and tools."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import assert_type

import pytest

import chainrule as cr

FACADE = Path(cr.__file__)
NAMES: dict[str, str] = cr._NAMES
MODULES: dict[str, str] = cr._MODULES


def exists(module: str) -> bool:
    """Whether a module's file is there, found without importing anything."""
    path = FACADE.parents[1].joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def loaded_by(code: str) -> set[str]:
    """Top-level packages, beyond the standard library, that a fresh interpreter has after `code`.

    Measured as the difference to a bare start, because tools that an environment loads at start-up
    (editable installs, coverage) are not of the library's doing.
    """
    program = (
        "import sys, json\n"
        "before = set(sys.modules)\n"
        f"{code}\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(json.dumps(sorted(tops - sys.stdlib_module_names - {'__main__'})))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_the_facade_alone_loads_nothing_but_itself() -> None:
    assert loaded_by("import chainrule") == {"chainrule"}


def test_errors_and_tune_come_without_numpy() -> None:
    # tune() chooses the BLAS kernel, which is possible only before NumPy is loaded
    assert loaded_by("import chainrule as cr; cr.tune; cr.ShapeError") == {"chainrule"}


def test_everything_public_loads_numpy_and_nothing_more() -> None:
    names = [name for name, module in (NAMES | MODULES).items() if exists(module)]
    code = f"import chainrule as cr\nfor name in {names!r}: getattr(cr, name)"
    assert loaded_by(code) == {"chainrule", "numpy"}


def test_the_command_line_module_comes_without_numpy() -> None:
    # the command chooses the BLAS kernel before NumPy is loaded, and --help answers at once
    assert loaded_by("import chainrule.cli") == {"chainrule"}


@pytest.mark.parametrize("name", sorted(NAMES | MODULES))
def test_every_name_of_the_facade_resolves(name: str) -> None:
    module = (NAMES | MODULES)[name]
    value = getattr(cr, name)
    expected = importlib.import_module(module)
    assert value is (getattr(expected, name) if name in NAMES else expected)


@pytest.mark.parametrize("first", ["grad", "value_and_grad", "vjp", "jacobian"])
def test_a_transformation_may_be_the_first_thing_used(first: str) -> None:
    # on an ndarray, before anything else has loaded Tensor, which the tape below it needs
    call = {
        "grad": "cr.grad(f)(x)",
        "value_and_grad": "cr.value_and_grad(f)(x)[1]",
        "vjp": "cr.vjp(f, x)[1](1.0)[0]",
        "jacobian": "cr.jacobian(f)(x)",
    }[first]
    code = (
        "import chainrule as cr, numpy as np\n"
        "f, x = lambda x: (x * x).sum(), np.ones(2)\n"
        f"assert {call}.numpy().tolist() == [2.0, 2.0]"
    )
    assert "numpy" in loaded_by(code)


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(
        AttributeError, match=r"no 'check_gradient'; did you mean 'check_gradients'"
    ):
        cr.check_gradient  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        exec("from chainrule import tensro")


def test_dir_lists_every_public_name_and_nothing_private() -> None:
    assert dir(cr) == sorted(["__version__", *NAMES, *MODULES])
    assert not NAMES.keys() & MODULES.keys()


def test_type_checkers_see_the_same_names() -> None:
    # the block under TYPE_CHECKING is a second writing of the tables: this holds the two together
    tree = ast.parse(FACADE.read_text("utf-8"))
    (block,) = [
        node.body
        for node in tree.body
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    ]
    seen: dict[str, str] = {}
    for node in block:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, (
                f"{alias.name}: write it `{alias.name} as {alias.name}`"
            )
            public = f"{node.module}.{alias.name}"
            seen[alias.name] = public if alias.name in MODULES else str(node.module)
    expected = {name: m for name, m in (NAMES | MODULES).items() if exists(m)}
    missing = [
        f"from {m if name in NAMES else m.rpartition('.')[0]} import {name} as {name}"
        for name, m in expected.items()
        if seen.get(name) != m
    ]
    assert seen == expected, f"the TYPE_CHECKING block of the façade should have: {missing}"


def test_type_checkers_know_what_the_names_are() -> None:
    # asserted by mypy, which reads this file (pyproject.toml); at run time assert_type does nothing
    assert_type(cr.tensor([1.0]), cr.Tensor)
    assert_type(cr.__version__, str)
    assert isinstance(cr.tensor([1.0]), cr.Tensor)
