"""The laws that a machine can hold: who imports whom, what is where, and what is nowhere."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from chainrule.array.errors import MissingExtraError

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "chainrule"
TESTS = ROOT / "tests"

FLOORS = {
    "array": 1,
    "compile": 2,
    "autograd": 3,
    "ops": 4,
    **dict.fromkeys(["nn", "init", "optim", "metrics"], 5),
    **dict.fromkeys(["data", "diagnose", "serialize"], 6),
    "train": 7,
    **dict.fromkeys(["estimators", "interop", "distributed"], 8),
    "cli": 9,
}

#: The rooms that people meet; `array`, `compile` and `autograd` below them are the engine.
PUBLIC = [room for room, floor in FLOORS.items() if floor >= 4 and room != "cli"]

#: Convenience methods: one line that hands over to the room above that owns the function.
DELEGATES = {("nn/module.py", "summary"): "chainrule.diagnose.summary"}

#: Files over 600 lines, each with its reason.
LONG = {
    "tests/serialize/test_container.py": "a file can be broken in many ways, and each has its test",
}

#: Modules whose tests stand in another file, named here.
TESTED_IN = {
    **{
        f"diagnose/proof/{family}.py": "diagnose/proof/test_checks.py"
        for family in ("activations", "elementary", "linear", "losses")
    },
    "metrics/_counts.py": "metrics/test_classification.py",
    "metrics/_input.py": "metrics/test_classification.py",
    "metrics/_numbers.py": "metrics/test_regression.py",
}

#: Where text becomes code, and why that is safe. Nowhere else.
RUNS_CODE = {
    "compile/": "runs what it printed itself from a traced formula",
    "ops/signature.py": "builds the shape test of an op from its own signature",
}

#: The public names of the design, room by room. Each must be reachable once it is written.
DESIGN = {
    "ops": """relu leaky_relu prelu rrelu elu selu gelu silu glu sigmoid tanh softplus softmax
        log_softmax logistic mse_loss l1_loss huber_loss binary_cross_entropy
        binary_cross_entropy_with_logits cross_entropy nll_loss kl_div hinge_loss conv1d conv2d
        conv_transpose2d max_pool2d avg_pool2d batch_norm layer_norm dropout embedding
        scaled_dot_product_attention where concatenate stack split pad clip maximum minimum
        logsumexp einsum norm take_along_axis cumsum sort topk""",
    "nn": """Module Parameter Sequential ModuleList ModuleDict Identity Dense Conv1d Conv2d
        ConvTranspose2d MaxPool2d AvgPool2d Flatten BatchNorm1d BatchNorm2d LayerNorm Dropout
        Embedding RNN GRU LSTM MultiheadAttention""",
    "optim": """SGD Adagrad Adadelta RMSprop Adam AdamW Adamax NAdam RAdam LBFGS Momentum
        lr_scheduler clip_grad_norm clip_grad_value""",
    "metrics": "accuracy_score matthews_corrcoef specificity_score negative_predictive_value",
    "data": "Batches",
    "train": "Trainer",
    "estimators": "MLPClassifier MLPRegressor",
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def sources(room: str | None = None) -> list[Path]:
    return sorted((PACKAGE / room if room else PACKAGE).rglob("*.py"))


def label(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_name(path: Path) -> str:
    return ".".join(["chainrule", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(
        ".__init__"
    )


def functions_around(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Every node of a file with the name of the function it stands in ("" at the top)."""
    waiting: list[tuple[str, ast.AST]] = [("", tree(path))]
    while waiting:
        name, node = waiting.pop()
        yield name, node
        inner = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else name
        waiting += [(inner, child) for child in ast.iter_child_nodes(node)]


def imports(path: Path) -> Iterator[tuple[str, int, str]]:
    """``(function, line, module)`` for every import, also those inside functions, under
    TYPE_CHECKING, relative ones, and by ``import_module("...")``."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for function, node in functions_around(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield function, node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                yield function, node.lineno, f"{origin}.{alias.name}"
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            name = called.id if isinstance(called, ast.Name) else called
            if name in ("import_module", "__import__") and node.args:
                (first, *_) = node.args
                yield function, node.lineno, str(getattr(first, "value", "a computed name"))


# -- who imports whom -----------------------------------------------------------------------------


def trespasses(path: Path) -> list[str]:
    """What a file of a room imports that it must not."""
    room = path.relative_to(PACKAGE).parts[0]
    found = []
    for function, line, module in imports(path):
        where = f"{label(path)}:{line}"
        if module == "a computed name":
            found.append(f"{where} imports a module by a computed name")
            continue
        top, _, rest = module.partition(".")
        if top != "chainrule" or rest.startswith("_version"):
            continue
        other = rest.partition(".")[0]
        if DELEGATES.get((label(path), function)) == module:
            continue
        if other not in FLOORS:
            found.append(
                f"{where} imports {module} through the façade; import it from its own room"
            )
        elif other != room and FLOORS[other] >= FLOORS[room]:
            found.append(
                f"{where}: {room} (floor {FLOORS[room]}) imports {module} (floor {FLOORS[other]})"
            )
    return found


def rooms_files() -> list[Path]:
    return [path for path in sources() if path.parent != PACKAGE]


def test_every_folder_is_a_room_of_the_house() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= FLOORS.keys()
    assert {p.name for p in PACKAGE.glob("*.py")} <= {"__init__.py", "__main__.py", "_version.py"}


def test_imports_go_one_way() -> None:
    assert [line for path in rooms_files() for line in trespasses(path)] == []


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("from chainrule.nn.module import Module", r"ops \(floor 4\) imports chainrule.nn.module"),
        ("from chainrule import nn", "imports chainrule.nn"),
        ("import chainrule as cr", "façade"),
        ("from chainrule import tensor", "façade"),
        ("def f():\n    from chainrule.train import trainer", "imports chainrule.train.trainer"),
        ("from ..optim import sgd", "imports chainrule.optim.sgd"),
        ("if TYPE_CHECKING:\n    import chainrule.nn.module", "imports chainrule.nn.module"),
        ("importlib.import_module('chainrule.cli')", "imports chainrule.cli"),
        ("import_module(name)", "computed name"),
        ("from chainrule.autograd import tape\nfrom . import shape\nimport numpy", None),
        ("from chainrule._version import __version__", None),
    ],
)
def test_a_trespass_is_seen(
    code: str, complaint: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    path = tmp_path / "ops" / "x.py"
    path.parent.mkdir()
    path.write_text(code, "utf-8")
    found = trespasses(path)
    assert len(found) == (complaint is not None)
    if complaint:
        assert re.search(complaint, found[0])


def test_a_delegate_is_one_line() -> None:
    for (file, function), module in DELEGATES.items():
        body = [
            node
            for _, node in functions_around(PACKAGE / file)
            if isinstance(node, ast.FunctionDef) and node.name == function
        ]
        assert len(body) == 1, f"{file} has no {function}; take it off DELEGATES"
        statements = body[0].body[bool(ast.get_docstring(body[0])) :]
        assert len(statements) <= 2, f"{file}: {function} does more than hand over to {module}"


# -- nn holds no mathematics, ops no parameters ---------------------------------------------------

_PRODUCTS = {"dot", "einsum", "inner", "kron", "linalg", "outer", "tensordot", "vdot", "fft"}
_REDUCTIONS = {"sum", "mean", "var", "std", "prod", "max", "min", "amax", "amin", "cumsum"}


def mathematics(path: Path) -> list[str]:
    """NumPy's mathematics in a file: ufuncs, products, reductions, and the operator ``@``."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
            found.append(f"{label(path)}:{node.lineno} @")
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("np", "numpy")
            and (
                isinstance(getattr(np, node.attr, None), np.ufunc)
                or node.attr in _PRODUCTS | _REDUCTIONS
            )
        ):
            found.append(f"{label(path)}:{node.lineno} np.{node.attr}")
        if isinstance(node, ast.ImportFrom) and node.module == "numpy":
            found.append(f"{label(path)}:{node.lineno} names imported from numpy")
    return found


def test_nn_holds_no_mathematics() -> None:
    assert [line for path in sources("nn") for line in mathematics(path)] == []
    # and the search does find it where it belongs
    assert [line for path in sources("array") for line in mathematics(path)]


def test_ops_hold_no_parameters() -> None:
    named = [
        f"{label(path)}:{node.lineno}"
        for path in sources("ops")
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Name) and node.id == "Parameter")
        or (isinstance(node, ast.Attribute) and node.attr == "Parameter")
    ]
    assert named == []


# -- what is where --------------------------------------------------------------------------------


def test_files_are_short() -> None:
    folders = ("src", "tests", "benchmarks", "examples", "scripts", "docs")
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines())
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }
    long = {name: n for name, n in lines.items() if n > 600}
    assert long.keys() - LONG.keys() == set(), "split the file, or give a reason in LONG"
    assert LONG.keys() - long.keys() == set(), "no longer over 600 lines; take it off LONG"


def test_tests_mirror_the_source() -> None:
    missing = []
    for path in rooms_files():
        usual = path.relative_to(PACKAGE).with_name(f"test_{path.name}").as_posix()
        mirror = TESTED_IN.get(label(path), usual)
        if path.name != "__init__.py" and not (TESTS / mirror).is_file():
            missing.append(f"{label(path)} has no tests/{mirror}")
    assert missing == []


def public(module: object) -> Iterator[tuple[str, object]]:
    for name in getattr(module, "__all__", ()):
        yield name, getattr(module, name)


def imported(path: Path) -> object:
    try:
        return importlib.import_module(module_name(path))
    except MissingExtraError as absent:  # an extra that is not installed here
        pytest.skip(str(absent))


@pytest.mark.parametrize("path", rooms_files(), ids=label)
def test_everything_public_is_documented(path: Path) -> None:
    bare = []
    for name, value in public(imported(path)):
        if inspect.ismodule(value) or not callable(value):
            continue
        own = value.__doc__
        if not isinstance(value, type) and own == type(value).__doc__:
            own = None  # an object, such as a formula, that shows its class's text
        if not own:
            bare.append(name)
    assert bare == [], f"without a docstring in {label(path)}"


@pytest.mark.parametrize("room", sorted(r for r in DESIGN if (PACKAGE / r).is_dir()))
def test_the_designs_names_are_reachable_once_written(room: str) -> None:
    written = {path.stem for path in sources(room)}  # a module counts too, such as lr_scheduler
    written |= {name for path in sources(room) for name, _ in public(imported(path))}
    facade = importlib.import_module("chainrule")
    names = [name for name in DESIGN[room].split() if name in written]
    assert [name for name in names if not hasattr(getattr(facade, room), name)] == []


def test_every_public_room_is_in_the_facade() -> None:
    facade = importlib.import_module("chainrule")
    here = [room for room in PUBLIC if (PACKAGE / room / "__init__.py").is_file()]
    assert [room for room in here if room not in facade._MODULES] == []


# -- what is nowhere ------------------------------------------------------------------------------

_UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def test_nothing_reads_pickles() -> None:
    for path in sources():
        for _, line, module in imports(path):
            assert module.partition(".")[0] not in _UNSAFE, f"{label(path)}:{line} {module}"
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert getattr(node.value, "value", None) is False, f"{label(path)}:{node.lineno}"


def test_text_becomes_code_in_two_places_only() -> None:
    found = [
        f"{label(path)}:{node.lineno} {node.func.id}"
        for path in sources()
        if not label(path).startswith(tuple(RUNS_CODE))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("eval", "exec", "compile", "__import__")
    ]
    assert found == []


def test_files_name_no_code() -> None:
    # a model file chooses among the registered modules; it never names something to look up
    for path in sources("serialize"):
        for _, line, module in imports(path):
            assert not module.startswith("importlib"), f"{label(path)}:{line}"
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                by_name = node.func.id == "getattr" and not isinstance(node.args[1], ast.Constant)
                assert not by_name, f"{label(path)}:{node.lineno}: getattr by a computed name"
                assert node.func.id not in ("globals", "vars"), f"{label(path)}:{node.lineno}"


def test_nothing_is_vectorized_by_a_python_loop() -> None:
    found = [
        f"{label(path)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in ("vectorize", "frompyfunc")
    ]
    assert found == []


def test_no_dependency_has_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = [project["requires-python"], *(line for group in groups for line in group)]
    assert [line for line in wanted if re.search(r"<|==|~=|!=", line)] == []


def texts() -> Iterator[tuple[str, str]]:
    """The project's own text files: whatever is neither hidden, built, nor binary."""
    hidden = {".git", ".venv", "build", "dist", "runs", "__pycache__"}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in hidden
            and not name.startswith(".venv")
            and not name.endswith(("_cache", ".egg-info", ".hypothesis"))
        ]
        for name in names:
            data = (Path(folder) / name).read_bytes()
            if b"\0" not in data:
                relative = (Path(folder) / name).relative_to(ROOT).as_posix()
                yield relative, data.decode("utf-8")


def test_no_text_names_a_path_of_some_machine() -> None:
    roots = "|".join(["work", "tmp", "root", "home", "Users"])
    machine = re.compile(rf"(?<![\w.)}}\]/~-])/(?:{roots})\b")
    found = [
        f"{name}: {match.group()}" for name, text in texts() for match in machine.finditer(text)
    ]
    assert found == []
    for root in ("work", "tmp", "home"):
        assert machine.search(f"'/{root}/x'")
        assert not machine.search(f"src/{root}/x https://example.org/{root}")


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 failed")])
def test_a_missing_oracle_fails_in_ci(ci: str, outcome: str, tmp_path: Path) -> None:
    shutil.copy(TESTS / "conftest.py", tmp_path)
    test = "import pytest\n\ndef test_x():\n    pytest.importorskip('no_such_library')\n"
    (tmp_path / "test_x.py").write_text(test, "utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "CI": ci},
        cwd=tmp_path,
    )
    assert outcome in run.stdout, run.stdout + run.stderr
