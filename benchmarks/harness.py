"""What the benchmarks share: workers that take turns, statistics, machine facts, tables.

Each peer lives in a process of its own, because two libraries in one process share environment
variables and disturb each other's thread pools. The processes take turns: A B C, A B C, … A worker
that is not measured sleeps on its standard input, and the next one starts only when the one before
uses no CPU any more (the threads of a BLAS go on spinning for a while after the last product).

Speeds drift by the minute on shared and on laptop machines. So a ratio is taken inside each round,
where both sides ran within seconds of each other, and the median of these ratios is reported.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

#: Prepares a case; gives what it computed first, for comparison, and a function that runs n steps
Build = Callable[[str], tuple[list[float], Callable[[int], None]]]


@dataclass(frozen=True)
class Peer:
    """One row of the tables: a library as set up in one way."""

    name: str  # on the command line
    label: str  # in the tables
    needs: str  # the distribution that must be installed
    env: Mapping[str, str] = field(default_factory=dict)
    rtol: float = 2e-3  # how far its first results may be from the reference's

    def installed(self) -> bool:
        return version(self.needs) is not None


class Unavailable(Exception):
    """Raised by a peer that cannot do a case here, with the reason; an empty one is not shown."""


# ---------------------------------------------------------------------------- the worker's side


def serve(build: Build, facts: Callable[[], dict[str, Any]]) -> None:
    """Answer the driver's requests, one line of JSON each, until standard input closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    jobs: dict[str, Callable[[int], None]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        case = request.get("case", "")
        if request["do"] == "facts":
            answer = facts()
        elif request["do"] == "prepare":
            jobs.pop(case, None)
            try:
                answer["check"], jobs[case] = build(case)
            except Unavailable as reason:
                answer["unavailable"] = str(reason)
            else:
                answer["steps"] = _calibrate(jobs[case], request["seconds"])
        else:
            start = time.perf_counter()
            jobs[case](request["steps"])
            answer["seconds"] = time.perf_counter() - start
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _calibrate(run: Callable[[int], None], seconds: float) -> int:
    """How many steps take about `seconds`; the search is the warm-up."""
    n = 1
    while True:
        start = time.perf_counter()
        run(n)
        taken = time.perf_counter() - start
        if taken >= seconds / 2:
            return max(1, round(n * seconds / taken))
        n *= 2


# ---------------------------------------------------------------------------- the driver's side


#: Environment variables by which kernels are chosen.
_CHOICES = ("OPENBLAS_CORETYPE", "CHAINRULE_NATIVE")


class Worker:
    """A process that holds one peer."""

    def __init__(self, script: str, peer: Peer, cpus: int | None = None) -> None:
        # The libraries' own choices unless the peer says otherwise, whatever the shell has.
        env = {k: v for k, v in os.environ.items() if k not in _CHOICES} | dict(peer.env)
        command = [sys.executable, script, "--worker", peer.name]
        self.peer = peer
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if cpus is not None:  # before the worker has imported anything that starts threads
            os.sched_setaffinity(self.process.pid, sorted(os.sched_getaffinity(0))[:cpus])
        self.facts = self.ask(do="facts")

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SystemExit(f"the worker of {self.peer.label!r} died at {request}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def settle(self) -> None:
        """Return when the worker's threads have stopped spinning, after half a second at most."""
        before = _ticks(self.process.pid)
        for _ in range(10):
            time.sleep(0.05)
            now = _ticks(self.process.pid)
            if now == before and now is not None:
                return
            before = now

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def working(script: str, peers: Sequence[Peer], cpus: int | None = None) -> Iterator[list[Worker]]:
    """A worker for each peer, closed in the end."""
    workers: list[Worker] = []
    try:
        for peer in peers:
            print(f"starting {peer.label}", file=sys.stderr)
            workers.append(Worker(script, peer, cpus))
        yield workers
    finally:
        for w in workers:
            w.close()


@dataclass(frozen=True)
class Entry:
    """What one line of a table is measured with: a worker and the name of its work."""

    name: str
    label: str
    worker: Worker
    case: str


@dataclass
class Result:
    """What one case gave: seconds a step by entry and round, and what could not be measured."""

    case: str
    times: dict[str, list[float]]
    labels: dict[str, str]
    notes: list[str]


class Neighbours:
    """How much of the machine's CPU time went to processes that are not measured, and how far its
    CPUs were apart.

    `patience`: seconds to wait for others to become quiet, and to spend on repeating what they
    disturbed, over all measurements together.
    """

    def __init__(self, patience: float = 0.0) -> None:
        self.shares: list[float] = []
        self.distances: list[float] = []
        self.patience = patience
        self._seconds = 0.0  # of the last measurement
        self._distance = _distance()

    def _wait(self) -> None:
        """Until others took less than a tenth of the time of three looks of 50 ms."""
        calm = 0
        while self.patience > 0 and calm < 3:
            busy, start = _machine_ticks(), time.perf_counter()
            time.sleep(0.05)
            seconds = time.perf_counter() - start
            if busy is None:
                return
            taken = (_machine_ticks() - busy) / os.sysconf("SC_CLK_TCK") / _cpus()
            calm = calm + 1 if taken < 0.1 * seconds else 0
            self.patience -= seconds

    @contextlib.contextmanager
    def watched(self, ticks: Callable[[], Any]) -> Iterator[None]:
        """Around one measurement; `ticks` gives the CPU time of what is measured."""
        self._wait()
        start, busy, mine = time.perf_counter(), _machine_ticks(), ticks()
        yield
        self._seconds = time.perf_counter() - start
        if busy is not None and mine is not None:
            others = _machine_ticks() - busy - (ticks() - mine)
            possible = self._seconds * os.sysconf("SC_CLK_TCK") * _cpus()
            self.shares.append(max(0.0, others / possible))
        if self._distance is not None:
            self.distances.append(self._distance())

    def disturbed(self) -> bool:
        """Whether to repeat the last measurement, which is then forgotten: while patience lasts."""
        busy = bool(self.shares) and self.shares[-1] >= 0.1
        apart = bool(self.distances) and self.distances[-1] > 2 * min(self.distances)
        if self.patience <= 0 or not (busy or apart):
            return False
        if apart:  # they may be together again in a moment
            time.sleep(0.2)
            self.patience -= 0.2
        self.patience -= self._seconds
        for found in (self.shares, self.distances):
            del found[-1:]
        return True

    def text(self) -> str:
        if not self.shares:
            return "How busy other processes were is not known on this system."
        text = (
            f"Other processes took {statistics.median(self.shares):.0%} of the machine's CPU time "
            f"in the median measurement, {max(self.shares):.0%} in the worst."
        )
        if self.distances:
            median, most = statistics.median(self.distances), max(self.distances)
            text += (
                f" From one CPU to another and back a number took {median:.0f} ns after the "
                f"median measurement, {most:.0f} ns after the worst."
            )
        return text


def _distance() -> Callable[[], float] | None:
    """What measures how far two CPUs are apart; None without a compiler or a second CPU."""
    name = shutil.which("cc")
    if name is None or _cpus() < 2:
        return None
    folder = tempfile.TemporaryDirectory()
    program = f"{folder.name}/distance"
    source = Path(__file__).with_name("distance.c")
    done = subprocess.run([name, "-O2", "-pthread", "-o", program, str(source)], check=False)
    if done.returncode:
        return None

    def measure() -> float:
        assert folder  # which is there as long as this function
        return float(subprocess.run([program], capture_output=True, check=True).stdout)

    return measure


def own_ticks() -> float:
    """CPU time of this process and of the processes it has waited for, in clock ticks."""
    return sum(os.times()[:4]) * os.sysconf("SC_CLK_TCK")


def measure(
    case: str, entries: Sequence[Entry], rounds: int, seconds: float, neighbours: Neighbours
) -> Result:
    """Let every worker prepare its work, then time blocks of about `seconds`, taking turns.

    What does not compute what the first one computed is not timed: it would mean nothing. (What
    gives nothing to compare, such as products alone, is.)
    """
    steps: dict[str, int] = {}
    right: list[float] | None = None
    first, notes = "", []
    for e in entries:
        answer = e.worker.ask(do="prepare", case=e.case, seconds=seconds)
        if "unavailable" in answer:
            notes += [f"{e.label}: {answer['unavailable']}"] if answer["unavailable"] else []
            continue
        values = answer["check"]
        if right is None:
            right, first = values, e.label
        if values and differ(values, right, e.worker.peer.rtol):
            notes.append(f"{DIFFERS}: {e.label} {values}, {first} {right}")
            continue
        steps[e.name] = answer["steps"]
        e.worker.settle()
    entries = [e for e in entries if e.name in steps]
    times: dict[str, list[float]] = {e.name: [] for e in entries}
    for _ in range(rounds):
        for e in entries:
            again = True
            while again:
                with neighbours.watched(lambda e=e: _ticks(e.worker.process.pid)):
                    taken = e.worker.ask(do="time", case=e.case, steps=steps[e.name])["seconds"]
                again = neighbours.disturbed()
            times[e.name].append(taken / steps[e.name])
            e.worker.settle()
    return Result(case, times, {e.name: e.label for e in entries}, notes)


#: How the note of a peer begins that computed something else.
DIFFERS = "NOT THE SAME"


def differ(values: Sequence[float], right: Sequence[float], rtol: float) -> bool:
    return len(values) != len(right) or any(
        not abs(a - b) <= 1e-5 + rtol * abs(b) for a, b in zip(values, right, strict=True)
    )


def _ticks(pid: int) -> Any:
    """CPU time of a process in clock ticks; None where there is no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    values = text.rpartition(")")[2].split()
    return int(values[11]) + int(values[12])


def _machine_ticks() -> Any:
    """CPU time spent by all processes of the machine (and taken by others on its host)."""
    try:
        user, nice, system, _, _, *rest = Path("/proc/stat").read_text().split()[1:11]
    except OSError:
        return None
    return sum(int(v) for v in (user, nice, system, *rest[:3]))  # guest time is in user already


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def interleave(
    commands: Mapping[str, Callable[[], dict[str, float]]], rounds: int, neighbours: Neighbours
) -> dict[str, dict[str, list[float]]]:
    """Measure whole processes, taking turns; the first round, which fills caches, is dropped."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in commands}
    for i in range(rounds + 1):
        for name, command in commands.items():
            again = True
            while again:
                with neighbours.watched(own_ticks):
                    values = command()
                again = neighbours.disturbed()
            for key, value in values.items():
                if i:
                    found[name].setdefault(key, []).append(value)
    return found


@contextlib.contextmanager
def installed() -> Iterator[dict[str, str]]:
    """The environment in which every package has compiled Python files, as after its installation:
    in a folder of their own, which the first round fills, whatever a checkout or a shell has."""
    with tempfile.TemporaryDirectory() as folder:
        dropped = (*_CHOICES, "PYTHONDONTWRITEBYTECODE")
        env = {k: v for k, v in os.environ.items() if k not in dropped}
        yield env | {"PYTHONPYCACHEPREFIX": folder}


# ---------------------------------------------------------------------------- facts and tables


def version(distribution: str) -> str | None:
    """The installed version; None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def machine() -> list[str]:
    """What the numbers depend on, one line each."""
    model = family = ""
    if Path("/proc/cpuinfo").exists():
        info = Path("/proc/cpuinfo").read_text(errors="replace")
        found = {k: re.search(rf"^{k}\s*:\s*(.+)$", info, re.MULTILINE) for k in _CPU_FIELDS}
        values = {k: m[1] for k, m in found.items() if m}
        model = values.get("model name", "")
        if "cpu family" in values:
            family = f" (family {values['cpu family']}, model {values.get('model', '?')})"
    cores = f"{_cpus()} core{'s' if _cpus() > 1 else ''}"
    return [
        f"Machine: {model or platform.processor() or platform.machine()}{family}, {cores}, "
        f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        f"Python {platform.python_version()}; "
        + ", ".join(f"{d} {v}" for d in _DISTRIBUTIONS if (v := version(d)) is not None)
        + f"; {compiler()}",
    ]


def compiler() -> str:
    """The C compiler that comes first on the path."""
    name = next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
    if name is None:
        return "no C compiler"
    done = subprocess.run([name, "--version"], capture_output=True, text=True)
    return f"C compiler {done.stdout.partition(chr(10))[0]}"


_CPU_FIELDS = ("model name", "cpu family", "model")
_DISTRIBUTIONS = (
    "chainrule", "numpy", "torch", "jax", "keras", "scikit-learn", "onnxruntime",
)  # fmt: skip


def command() -> str:
    """The command that makes these numbers again; folders of this machine are left out."""
    words, skip = [], ""
    for word in sys.argv[1:]:
        name, _, value = word.partition("=")
        if skip:
            skip = ""
            continue
        if name in ("--write", "--json", "--plot", "--patience"):
            skip = "" if value else name
            continue
        if name == "--data":
            skip = "" if value else name
            word = "--data FOLDER"
        words.append(word)
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    unit, size = next(
        (pair for pair in (("s", 1.0), ("ms", 1e-3)) if seconds >= 0.9995 * pair[1]), ("µs", 1e-6)
    )
    value = seconds / size
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f} {unit}"


def spread(values: Sequence[float]) -> tuple[str, str]:
    """(median, least – most), of durations."""
    return duration(statistics.median(values)), f"{duration(min(values))} – {duration(max(values))}"


def compared(measured: Mapping[str, Sequence[float]]) -> list[tuple[str, str, str, str]]:
    """A table's rows: name, median, least to most, and the median ratio to the first in a round."""
    reference = next(iter(measured.values()))
    rows = []
    for name, seconds in measured.items():
        rows.append((name, *spread(seconds), f"{ratio(seconds, reference):.2f}×"))
    return rows


def ratio(seconds: Sequence[float], reference: Sequence[float]) -> float:
    """The median of the ratios of two measurements of the same round."""
    return statistics.median(a / b for a, b in zip(seconds, reference, strict=True))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, aligned so that it reads well in a terminal too."""
    lines = [list(header), *(list(r) for r in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * w for w in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


# ---------------------------------------------------------------------------- options and results


def options(
    description: str | None, rounds: int | None = None, peers: Sequence[Peer] = ()
) -> argparse.ArgumentParser:
    """A parser with what every benchmark understands."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help=f"default {rounds}")
        parser.add_argument(
            "--patience",
            type=float,
            default=0.0,
            metavar="SECONDS",
            help="to wait in all while others are busy, and to repeat what they disturbed; 0",
        )
    if peers:
        parser.add_argument(
            "--peers", help=f"comma-separated; of {', '.join(p.name for p in peers)}"
        )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single value")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put the tables between the file's markers"
    )
    return parser


def chosen(peers: Sequence[Peer], names: str | None) -> list[Peer]:
    """The peers asked for; without a wish, those that are installed."""
    if names is None:
        for p in peers:
            if not p.installed():
                print(f"left out: {p.label} ({p.needs} is not installed)", file=sys.stderr)
        return [p for p in peers if p.installed()]
    known = {p.name: p for p in peers}
    for name in names.split(","):
        if name not in known:
            raise SystemExit(f"--peers: no {name!r}; known are {', '.join(known)}")
        if not known[name].installed():
            raise SystemExit(f"--peers: {name} needs {known[name].needs}, which is not installed")
    return [known[name] for name in names.split(",")]


def section(conditions: str, *parts: str) -> str:
    """Tables under what they depend on."""
    head = [*machine(), f"`{command()}`: {conditions}"]
    return "\n\n".join(["  \n".join(head), *parts])


def publish(args: argparse.Namespace, text: str, data: Any) -> None:
    """Print the result; write it where the options say."""
    print(text)
    if args.json:
        args.json.write_text(json.dumps(data, indent=1) + "\n")
    if args.write:
        write_section(args.write, Path(sys.argv[0]).stem, text)


def write_section(path: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name:begin -->`` and ``<!-- name:end -->``."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = path.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{path} has no lines {begin} and {end}")
    path.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")
