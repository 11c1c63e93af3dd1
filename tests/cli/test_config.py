"""Options in a file: read as those that are typed, and written so that they are read again."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.array.errors import DataError, FileFormatError
from chainrule.cli.arguments import parser
from chainrule.cli.config import as_toml, read_config

from .conftest import Run

VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)


@given(st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), VALUES | st.lists(VALUES)))
def test_what_is_written_is_read_again(options: dict[str, object]) -> None:
    assert tomllib.loads(as_toml(options, ["A comment."])) == options


def config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "options.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_a_file_gives_options_and_typed_ones_win(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        'data = "a.csv"\ntarget = ["x", "y"]\nhidden = [64, 32]\nlearning-rate = 0.25\n'
        'epochs = 7\ncompare = true\nplots = false\nkind = "zip=categorical"\ntime_limit = "2m"\n'
        'order = ["size=S,M,L"]\n',
    )
    a = parser().parse_args(["train", "--config", path])
    assert (a.data, a.target, a.hidden) == (["a.csv"], ["x", "y"], [64, 32])
    assert (a.learning_rate, a.epochs, a.compare, a.plots) == (0.25, 7, True, False)
    assert (a.kind, a.time_limit) == ([("zip", "categorical")], 120)
    assert a.order == [("size", ["S", "M", "L"])]
    a = parser().parse_args(
        ["train", "b.csv", "--config", path, "--target", "z", "--hidden", "8", "--plots"]
    )
    assert (a.data, a.target, a.hidden, a.plots, a.epochs) == (["b.csv"], ["z"], [8], True, 7)
    assert parser().parse_args(["train"]).target is None  # nothing is left behind


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch = 3", "there is no option 'epoch'; did you mean 'epochs'"),
        ("epochs = 0", "epochs = 0: expected a whole number from 1"),
        ("epochs = true", "epochs = true: expected one value"),
        ('compare = "yes"', "expected true or false"),
        ("[hidden]\na = 1", "not a table"),
        ('hidden = ["a"]', "such as 256,128"),
        ("force = true", "there is no option 'force'"),
        ("target = [[1]]", "expected text"),
    ],
)
def test_a_wrong_file_says_where(text: str, says: str, tmp_path: Path) -> None:
    path = config(tmp_path, text)
    with pytest.raises(DataError) as error:
        parser().parse_args(["train", "--config", path])
    assert says in str(error.value)
    assert "options.toml" in str(error.value)


def test_what_is_no_toml(tmp_path: Path, run: Run) -> None:
    with pytest.raises(FileFormatError, match="line 2"):
        parser().parse_args(["train", "--config", config(tmp_path, "epochs = 1\nseed = \n")])
    result = run("train", "--config", "none.toml")
    assert (result.code, result.err) == (
        2,
        "chainrule: error: none.toml: No such file or directory\n",
    )
    assert read_config(config(tmp_path, ""), parser()) == {}


def test_a_file_may_train_the_digits(run: Run, tmp_path: Path) -> None:
    path = config(tmp_path, "epochs = 1\nhidden = [8]\n")
    assert run("train", "--config", path).code == 0
    assert "Dense(64 -> 8, relu)" in run("info", "digits.safetensors").out
