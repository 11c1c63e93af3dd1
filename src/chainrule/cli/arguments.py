"""What can be typed: commands, options, their defaults, and what is said about a wrong one."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from chainrule._version import __version__
from chainrule.array.errors import nearest
from chainrule.cli.options import character, integer, one_of, train_options

__all__ = ["UsageError", "parser"]

COMMANDS = ("train", "evaluate", "predict", "export", "info", "check", "show")


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
        command = getattr(found, "parser", self)
        if rest:
            command.error(f"unrecognized arguments: {' '.join(rest)}")
        if getattr(found, "config", None):
            from chainrule.cli.config import read_config

            command.set_defaults(**read_config(found.config, command))  # typed options win
            found, _ = self.parse_known_args(args, namespace)
        return found


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

    _train(add("train", "train a network on a table, on arrays, or on digits that come along"))
    _evaluate(add("evaluate", "measure a trained model on data"))
    _predict(add("predict", "predict classes, probabilities or values"))
    _export(add("export", "write a trained model, with its preparation, as an ONNX file"))
    _info(add("info", "say what is installed, how fast it runs, or what a model file holds"))
    _check(
        add("check", "prove every operation, loss and layer: value, first and second derivative")
    )
    _show(add("show", "print a training step, or a prediction, as the program that runs"))
    return top


def _train(p: argparse.ArgumentParser) -> None:
    train_options(p)

    def run(arguments: argparse.Namespace) -> int:
        from chainrule.cli import train

        return train.run(arguments)

    p.set_defaults(run=run)


def _evaluate(p: argparse.ArgumentParser) -> None:
    p.add_argument("model", metavar="MODEL", help="a file that chainrule train wrote")
    p.add_argument(
        "data",
        nargs="*",
        metavar="DATA",
        help="a table with the model's columns, or an .npz with X and y "
        "(default, for a model of the digits: their test part)",
    )
    _reading(p)
    p.add_argument("--json", action="store_true", help="print one JSON object")

    def run(arguments: argparse.Namespace) -> int:
        from chainrule.cli import evaluate

        return evaluate.run(arguments)

    p.set_defaults(run=run)


def _reading(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--delimiter",
        type=character,
        metavar="C",
        help="between the fields of a CSV (default: found)",
    )
    p.add_argument("--encoding", metavar="NAME", help="of a CSV (default: found)")


def _predict(p: argparse.ArgumentParser) -> None:
    p.add_argument("model", metavar="MODEL", help="a file that chainrule train wrote")
    p.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="a table of any size, an .npz with X, or an .npy of rows",
    )
    p.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write here: .csv or .parquet for a table, .npy (default: print)",
    )
    p.add_argument(
        "--probabilities",
        action="store_true",
        help="of every class, in the order that chainrule info MODEL gives",
    )
    p.add_argument(
        "--keep",
        type=one_of("all", "id", "none"),
        metavar="WHICH",
        help="columns of the table to write before the predictions: all, id or none "
        "(default: id where the model knows one, else all)",
    )
    p.add_argument(
        "--batch-size",
        type=integer(1),
        default=1024,
        metavar="N",
        help="rows computed at a time (default 1024)",
    )
    _reading(p)
    p.add_argument("--force", action="store_true", help="replace an existing output file")

    def run(arguments: argparse.Namespace) -> int:
        from chainrule.cli import predict

        return predict.run(arguments)

    p.set_defaults(run=run)


def _export(p: argparse.ArgumentParser) -> None:
    p.add_argument("model", metavar="MODEL", help="a file that chainrule train wrote")
    p.add_argument(
        "-o", "--output", metavar="FILE", help="write here (default: MODEL's name with .onnx)"
    )
    p.add_argument(
        "--check",
        metavar="DATA",
        help="compare the file with the model on these rows too: a table, an .npz with X, or an "
        ".npy",
    )
    p.add_argument(
        "--opset",
        type=integer(15),
        default=17,
        metavar="N",
        help="version of ONNX's operators (default 17)",
    )
    p.add_argument("--force", action="store_true", help="replace an existing output file")
    p.add_argument("--json", action="store_true", help="print one JSON object")

    def run(arguments: argparse.Namespace) -> int:
        from chainrule.cli import export

        return export.run(arguments)

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
        "--batch", type=integer(1), default=32, metavar="N", help="rows in a batch (default 32)"
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
    p.add_argument(
        "--only",
        metavar="NAME",
        help="of this operation, loss or layer; of this primitive with --exhaustive",
    )
    p.add_argument(
        "--write",
        metavar="FILE",
        help="put the table between FILE's markers, as in docs/exactness.md; needs --exhaustive",
    )

    def run(arguments: argparse.Namespace) -> int:
        from chainrule.cli import check

        return check.run(arguments)

    p.set_defaults(run=run)
