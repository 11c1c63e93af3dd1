"""The native part of the build: the runtime module and the kernels, where there is a C compiler.

Everything else about the package stands in pyproject.toml. Without a compiler the package is built
and works all the same: formulas then run as NumPy, or are compiled on the machine that uses them.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = Path(__file__).resolve().parent / "src"
NATIVE = "chainrule/compile/native"


class BuildNative(build_ext):
    """Builds with the package's own code, as it does at run time for a person's own formulas."""

    made: tuple[str, ...] = ()

    def run(self) -> None:
        folder = SOURCE / NATIVE if self.inplace else Path(self.build_lib).resolve() / NATIVE
        folder.mkdir(parents=True, exist_ok=True)
        sys.path.insert(0, str(SOURCE))
        try:
            self._build(folder)
        except Exception as error:  # whatever it is, the package works without
            self.warn(f"no native code is built, formulas will run as NumPy: {error}")
        finally:
            sys.path.remove(str(SOURCE))

    def _build(self, folder: Path) -> None:
        build = importlib.import_module("chainrule.compile.build")
        made = build.build_runtime(folder)
        try:
            texts = importlib.import_module("chainrule.train.catalogue").sources()
        except ModuleNotFoundError as error:
            if error.name != "chainrule.train.catalogue":
                raise
            texts = {}
        if texts:
            made += build.build_catalogue(texts, folder)
        self.made = tuple(sorted({str(path) for path in made}))
        for path in self.made:
            self.announce(f"built {path}", level=2)

    def get_outputs(self) -> list[str]:
        return [] if self.inplace else list(self.made)

    def get_output_mapping(self) -> dict[str, str]:
        return {}


setup(
    ext_modules=[Extension("chainrule.compile._native", [f"src/{NATIVE}/runtime.c"])],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
