"""Which compiler is found, what the CPU runs, and that its flags leave numbers alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainrule.compile import compiler

V3 = {*compiler._V3}


@pytest.fixture
def no_memory() -> object:
    """What was found out about this machine is forgotten, before and after."""
    compiler.variants.cache_clear()
    yield
    compiler.variants.cache_clear()


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", compiler._V4, ("x86-64-v4", "x86-64-v3", "x86-64")),
        ("AMD64", compiler._V4, ("x86-64-v4", "x86-64-v3", "x86-64")),
        ("x86_64", compiler._V4 - {"avx512vl"}, ("x86-64-v3", "x86-64")),
        ("x86_64", compiler._V3, ("x86-64-v3", "x86-64")),
        ("x86_64", compiler._V4 - {"fma"}, ("x86-64",)),
        ("x86_64", frozenset(), ("x86-64",)),
        ("aarch64", frozenset({"asimd"}), ("plain",)),
    ],
)
def test_variants_follow_the_cpu(
    no_memory: object,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    flags: frozenset[str],
    expected: tuple[str, ...],
) -> None:
    monkeypatch.setattr(compiler.platform, "machine", lambda: machine)
    monkeypatch.setattr(compiler, "cpu_flags", lambda: flags)
    assert compiler.variants() == expected


def test_flags_change_no_number() -> None:
    for variant in ("plain", "x86-64", "x86-64-v3", "x86-64-v4"):
        flags = compiler.flags(variant)
        assert not [f for f in flags if f in ("-ffast-math", "-Ofast") or "finite" in f]
        assert "-ffp-contract=off" in flags
        assert (f"-march={variant}" in flags) == (variant != "plain")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, True), ("1", True), ("", True), ("0", False), ("off", False), ("False", False)],
)
def test_native_code_can_be_turned_off(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: bool
) -> None:
    monkeypatch.delenv("CHAINRULE_NATIVE", raising=False)
    if value is not None:
        monkeypatch.setenv("CHAINRULE_NATIVE", value)
    assert compiler.enabled() is expected


def script(folder: Path, name: str, text: str = "exit 0") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(compiler.sys.platform == "win32", reason="no compiler is looked for there")
def test_the_compiler_is_looked_for_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert compiler.find_compiler() is None
    found = []
    for name in ("clang", "gcc", "cc"):
        path = script(tmp_path, name)
        compiler._compiler.cache_clear()
        chosen = compiler.find_compiler()
        assert chosen is not None
        assert chosen.command == [str(path)]
        found.append(chosen.identity)
    monkeypatch.setenv("CC", "gcc -m64")
    chosen = compiler.find_compiler()
    assert chosen is not None
    assert chosen.command == [str(tmp_path / "gcc"), "-m64"]
    assert repr(chosen).endswith("gcc -m64>")
    found.append(chosen.identity)
    assert len(set(found)) == 4
    monkeypatch.setenv("CC", "no-such-compiler")
    assert compiler.find_compiler() is None
    monkeypatch.setattr(compiler.sys, "platform", "win32")
    assert compiler.find_compiler() is None


@pytest.mark.skipif(compiler.sys.platform == "win32", reason="no compiler is looked for there")
def test_what_the_compiler_said_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = script(tmp_path, "bad", "echo 'x.c:1: error: no' >&2; exit 3")
    with pytest.raises(RuntimeError, match=r"x\.c:1: error: no"):
        compiler.compile_c(compiler.Compiler([str(path)], path), "", tmp_path / "x.so", "plain")
    silent = script(tmp_path, "silent", "exit 3")
    with pytest.raises(RuntimeError, match="exit status 3"):
        compiler.run_compiler(compiler.Compiler([str(silent)], silent), [])
    slow = script(tmp_path, "slow", "exec sleep 5")
    monkeypatch.setattr(compiler, "_SECONDS", 0.1)
    with pytest.raises(RuntimeError, match="timed out"):
        compiler.run_compiler(compiler.Compiler([str(slow)], slow), [])
    gone = compiler.Compiler([str(slow)], slow)
    slow.unlink()
    with pytest.raises(RuntimeError, match="No such file"):
        compiler.run_compiler(gone, [])
