"""What can be typed: commands, options, their defaults, and what is said about a wrong one."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

from chainrule._version import __version__
from chainrule.array.errors import nearest

__all__ = ["UsageError", "parser"]

COMMANDS = ("train", "evaluate", "predict", "info", "check", "show")


class UsageError(Exception):
    """What was asked cannot be done; the text says what was expected and the likely fix."""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and name the nearest option."""

    def error(self, message: str) -> NoReturn:
        if found := re.fullmatch(r"unrecognized arguments: (\S+).*", message):
            word = found[1].partition("=")[0]
            message = f"unknown argument {word!r}"
            if word.startswith("-"):
                known = [o for o in self._option_string_actions if o.startswith("--")]
                message += f"; {nearest(word, known)}"
        elif found := re.search(r"invalid choice: '(.*?)'", message):
            message = f"unknown command {found[1]!r}; {nearest(found[1], COMMANDS)}"
        self.exit(2, f"chainrule: error: {message}\nsee: {self.prog} --help\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        # a command's own parser reports what it does not know, with its own options as hints
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            getattr(found, "parser", self).error(f"unrecognized arguments: {' '.join(rest)}")
        return found


def _integer(lowest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if value < lowest:
            raise argparse.ArgumentTypeError(f"expected a whole number from {lowest}, got {text!r}")
        return value

    return read


def _number(low: float, high: float = math.inf, open_low: bool = False) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value < high) or (open_low and value == low):
            above = "above" if open_low else "from"
            below = f" and below {high:g}" if high < math.inf else ""
            raise argparse.ArgumentTypeError(
                f"expected a number {above} {low:g}{below}, got {text!r}"
            )
        return value

    return read


def _widths(text: str) -> list[int]:
    words = [w for w in re.split(r"[,\s]+", text.strip()) if w]
    if any(not w.isdigit() or int(w) < 1 for w in words):
        raise argparse.ArgumentTypeError(
            f"expected the widths of the hidden layers, such as 256,128, got {text!r}"
        )
    return [int(w) for w in words]


def _one_of(*names: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"unknown value {text!r}; {nearest(text, names)}")
        return text

    return read


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; ``run`` in its result is the function of the command."""
    common = _Parser(add_help=False)
    common.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show the traceback of an error",
    )
    top = _Parser(
        prog="chainrule",
        description="Train and use neural networks.",
        epilog="Start with: chainrule train",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"chainrule {__version__}")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def run(arguments: argparse.Namespace) -> int:
        top.print_help()
        return 0

    top.set_defaults(run=run)
    commands = top.add_subparsers(metavar="command", parser_class=_Parser)

    def add(name: str, text: str, **more: Any) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            parents=[common],
            allow_abbrev=False,
            **more,
        )
        sub.set_defaults(parser=sub)
        return sub

    _train(add("train", "train a network on arrays, or on the digits that come along"))
    _evaluate(add("evaluate", "measure a trained model on data"))
    _predict(add("predict", "predict classes, probabilities or values"))
    _info(add("info", "say what is installed, how fast it runs, or what a model file holds"))
    _check(add("check", "prove every formula, loss and layer: value, first and second derivative"))
    _show(add("show", "print a training step, or a prediction, as the program that runs"))
    return top


def _train(p: argparse.ArgumentParser) -> None:
    p.add_argument("data", nargs="?", metavar="DATA.npz", help="arrays X and y (default: digits)")
    g = p.add_argument_group("model")
    g.add_argument(
        "--hidden",
        "--hidden-sizes",
        type=_widths,
        metavar="N,N",
        default=None,
        help="widths of the hidden layers; '' for none (default 128)",
    )
    g.add_argument(
        "--activation", metavar="NAME", default="relu", help="of the hidden layers (default relu)"
    )
    g.add_argument(
        "--dropout",
        type=_number(0, 1),
        metavar="P",
        default=0.2,
        help="share of hidden values left out while training (default 0.2)",
    )
    g = p.add_argument_group("training")
    g.add_argument(
        "--optimizer", metavar="NAME", default="adamw", help="adamw, adam, sgd, … (default adamw)"
    )
    g.add_argument(
        "--learning-rate",
        "--lr",
        type=_number(0, open_low=True),
        metavar="LR",
        help="the peak of the schedule (default 0.01 for adamw and adam, less with more than 64 "
        "features; else the optimizer's own)",
    )
    g.add_argument(
        "--weight-decay",
        type=_number(0),
        metavar="W",
        help="(default the optimizer's own: 0.01 for adamw)",
    )
    g.add_argument(
        "--schedule",
        default="one_cycle",
        metavar="NAME",
        help="of the learning rate: one_cycle, cosine, …, none (default one_cycle)",
    )
    g.add_argument(
        "--clip-norm",
        type=_number(0, open_low=True),
        metavar="N",
        help="the largest norm of a gradient (default: no limit)",
    )
    g.add_argument("--epochs", type=_integer(1), default=20, metavar="N", help="(default 20)")
    g.add_argument(
        "--batch-size",
        type=_integer(1),
        metavar="N",
        help="rows per step (default 32, from 10,000 rows on 128)",
    )
    g.add_argument(
        "--patience",
        type=_integer(0),
        default=0,
        metavar="N",
        help="stop after so many epochs without a better validation loss (default 0: "
        "never); the best weights are kept in any case",
    )
    g.add_argument(
        "--class-weight",
        type=_one_of("balanced"),
        metavar="balanced",
        help="give every class the same total weight",
    )
    g.add_argument(
        "--seed",
        type=_integer(0),
        default=0,
        metavar="N",
        help="of the split, the first weights, the order and dropout (default 0)",
    )
    g = p.add_argument_group("data")
    g.add_argument(
        "--task",
        type=_one_of("auto", "classification", "regression"),
        default="auto",
        metavar="TASK",
        help="classification or regression (default: integers and text "
        "are classes, floats are values)",
    )
    g.add_argument("--validation", metavar="FILE", help="validate on these X and y, no split")
    g.add_argument("--test", metavar="FILE", help="test on these X and y, no split")
    g.add_argument(
        "--validation-fraction",
        type=_number(0, 1),
        default=0.1,
        metavar="F",
        help="share of the rows to validate on (default 0.1)",
    )
    g.add_argument(
        "--test-fraction",
        type=_number(0, 1),
        default=0.2,
        metavar="F",
        help="share of the rows to test on (default 0.2)",
    )
    g = p.add_argument_group("files and output")
    g.add_argument(
        "-o", "--output", metavar="FILE", help="the model file (default DATA.safetensors)"
    )
    g.add_argument("--force", action="store_true", help="replace an existing output file")
    g.add_argument("--checkpoint", metavar="FILE", help="write the state of training every epoch")
    g.add_argument("--resume", metavar="FILE", help="go on from a checkpoint, bit for bit")
    g.add_argument("--quiet", action="store_true", help="print the final results alone")
    g.add_argument("--json", action="store_true", help="print one JSON object; the rest on stderr")

    def run(arguments: argparse.Namespace) -> int:
        from chainrule.cli import train

        return train.run(arguments)

    p.set_defaults(run=run)


def _evaluate(p: argparse.ArgumentParser) -> None:
    p.add_argument("model", metavar="MODEL", help="a file that chainrule train wrote")
    p.add_argument(
        "data",
        nargs="?",
        metavar="DATA.npz",
        help="arrays X and y (default, for a model of the digits: their test part)",
    )
    p.add_argument("--json", action="store_true", help="print one JSON object")

    def run(arguments: argparse.Namespace) -> int:
        from chainrule.cli import evaluate

        return evaluate.run(arguments)

    p.set_defaults(run=run)


def _predict(p: argparse.ArgumentParser) -> None:
    p.add_argument("model", metavar="MODEL", help="a file that chainrule train wrote")
    p.add_argument("data", metavar="DATA", help="an .npz with X, or an .npy of rows")
    p.add_argument(
        "-o", "--output", metavar="FILE.npy", help="write here; else print, a row a line"
    )
    p.add_argument(
        "--probabilities",
        action="store_true",
        help="of every class, in the order that chainrule info MODEL gives",
    )
    p.add_argument(
        "--batch-size",
        type=_integer(1),
        default=1024,
        metavar="N",
        help="rows computed at a time (default 1024)",
    )
    p.add_argument("--force", action="store_true", help="replace an existing output file")

    def run(arguments: argparse.Namespace) -> int:
        from chainrule.cli import predict

        return predict.run(arguments)

    p.set_defaults(run=run)


def _info(p: argparse.ArgumentParser) -> None:
    p.add_argument("model", nargs="?", metavar="MODEL", help="a model file to describe")

    def run(arguments: argparse.Namespace) -> int:
        from chainrule.cli import info

        return info.run(arguments)

    p.set_defaults(run=run)


def _show(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a file that chainrule train wrote (default: a small network for the digits)",
    )
    p.add_argument("--numpy", action="store_true", help="as calls of NumPy, not as C")
    p.add_argument("--predict", action="store_true", help="a prediction, not a training step")
    p.add_argument(
        "--batch", type=_integer(1), default=32, metavar="N", help="rows in a batch (default 32)"
    )

    def run(arguments: argparse.Namespace) -> int:
        from chainrule.cli import show

        return show.run(arguments)

    p.set_defaults(run=run)


def _check(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--exhaustive",
        action="store_true",
        help="measure the rounding errors of the primitives instead, over all float32 numbers "
        "(minutes for each)",
    )
    p.add_argument("--only", metavar="NAME", help="of this primitive; needs --exhaustive")
    p.add_argument(
        "--write",
        metavar="FILE",
        help="put the table between FILE's markers, as in docs/exactness.md; needs --exhaustive",
    )

    def run(arguments: argparse.Namespace) -> int:
        from chainrule.cli import check

        return check.run(arguments)

    p.set_defaults(run=run)
