"""ONNX: a model, with what stands before and after it, as a file that other runtimes execute.

Needs the extra `onnx`: ``pip install "chainrule[onnx]"``. Nothing of it is loaded before `export`
is called.
"""

from chainrule.interop.onnx.exporting import Exported, export
from chainrule.interop.onnx.feeds import feeds
from chainrule.interop.onnx.loading import load
from chainrule.interop.onnx.verify import Port
from chainrule.interop.onnx.writer import ExportError

__all__ = ["ExportError", "Exported", "Port", "export", "feeds", "load"]
