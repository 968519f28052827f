"""cxray: from a folder of chest radiographs to a classifier that can be defended.

The names below are the commands of the command line as functions. They load their rooms when first used, so that
`import cxray` costs nothing and TensorFlow is touched by `train` and `export` alone.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# ONNX Runtime from 1.32 on writes an identifier of the machine to disk and sends usage to its maker, unless this stands
# in the environment before it is loaded. Of OpenVINO's messages see `extras`.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "Bundle": "bundle",
    "CxrayError": "errors",
    "Predictions": "records",
    "Predictor": "runtime.predict",
    "audit": "workflow.audit",
    "demo": "workflow.demo",
    "export": "workflow.export",
    "load_bundle": "bundle",
    "predict": "workflow.predict",
    "train": "workflow.train",
}

__all__ = [
    "Bundle",
    "CxrayError",
    "Predictions",
    "Predictor",
    "__version__",
    "audit",
    "demo",
    "evaluate",
    "export",
    "load_bundle",
    "predict",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "evaluate":  # a room whose module can be called: `cxray.evaluate(table)`
        return importlib.import_module("cxray.evaluate")
    if name in _HOME:
        return getattr(importlib.import_module(f"cxray.{_HOME[name]}"), name)
    raise AttributeError(f"module 'cxray' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
