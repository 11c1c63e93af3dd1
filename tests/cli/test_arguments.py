"""What is said about a wrong word."""

from __future__ import annotations

import pytest

from .conftest import Run


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["train", "--epoch", "3"], "unknown argument '--epoch'; did you mean '--epochs'"),
        (["check", "now"], "unknown argument 'now'"),
        (["evaluate"], "the following arguments are required: MODEL"),
        (["train", "--epochs", "0"], "expected a whole number from 1, got '0'"),
        (["train", "--batch-size", "few"], "expected a whole number from 1, got 'few'"),
        (["train", "--seed", "-1"], "expected a whole number from 0, got '-1'"),
        (["train", "--lr", "0"], "expected a number above 0, got '0'"),
        (["train", "--lr", "nan"], "expected a number above 0, got 'nan'"),
        (["train", "--dropout", "1"], "expected a number from 0 and below 1, got '1'"),
        (["train", "--hidden", "64x"], "such as 256,128, got '64x'"),
        (["train", "--hidden", "64,0"], "such as 256,128, got '64,0'"),
        (["train", "--task", "clasification"], "did you mean 'classification'?"),
        (["train", "--class-weight", "even"], "'even'; known: 'auto', 'balanced', 'none'"),
        (["train", "--activation", "rellu"], "no activation 'rellu'; did you mean 'relu'"),
        (
            ["train", "--optimizer", "adamx"],
            "'adamx'; did you mean 'adamax' or 'adam'",
        ),
        (["train", "--optimizer", "lbfgs"], "--optimizer: LBFGS needs all rows in each step"),
        (["train", "--schedule", "onecycle"], "'onecycle'; did you mean 'one_cycle'?"),
        (["train", "--patience", "3", "--validation-fraction", "0"], "needs validation data"),
        (["train", "--test-fraction", "0.95"], "leave no rows to train on"),
    ],
)
def test_misuse_is_one_line_with_the_nearest_word(words: list[str], text: str, run: Run) -> None:
    result = run(*words)
    assert (result.code, result.out) == (2, "")
    first, *rest = result.err.splitlines()
    assert first.startswith("chainrule: error: ")
    assert text in first
    assert all(line.startswith("see: chainrule") for line in rest)


def test_every_command_has_help(run: Run) -> None:
    for name in ("train", "evaluate", "predict", "info", "check"):
        result = run(name, "--help")
        assert (result.code, result.err) == (0, "")
        assert f"usage: chainrule {name}" in result.out
        assert name in run("--help").out
