"""Optional libraries: one place that says which feature needs which extra, and that keeps engines from reporting home.

The ranges come from the installed package's own metadata, so no second list has to be kept in step.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from types import ModuleType

from cxray.errors import MissingExtra

# Importing OpenVINO sends a message to its maker through this package, and none where it cannot be imported.
_REPORTERS = {"openvino": "openvino_telemetry"}


def require(module: str, extra: str, feature: str) -> ModuleType:
    """Import `module`, or explain which `extra` gives `feature`.

    Raises:
        MissingExtra: the module is not installed; the message names the feature, the accepted range and the
            install command.
    """
    if module in _REPORTERS:
        sys.modules.setdefault(_REPORTERS[module], None)  # type: ignore[arg-type]  # how an import is forbidden
    try:
        with native_chatter_hidden():
            return importlib.import_module(module)
    except ImportError as error:
        wanted = _declared_range(module, extra)
        raise MissingExtra(
            f"{feature} needs {wanted}, which cannot be imported here ({error}).",
            f"In the clone: pip install '.[{extra}]'",
        ) from error


def is_available(module: str) -> bool:
    """Whether `module` could be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a finder that refuses, or a half-removed package
        return False


@contextlib.contextmanager
def native_chatter_hidden() -> Iterator[None]:
    """Keep native libraries from greeting on stderr while they load, before any log level of theirs is in force."""
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a file descriptor is what is needed
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _declared_range(module: str, extra: str) -> str:
    top = module.partition(".")[0]
    try:
        declared = importlib.metadata.requires("cxray") or []
    except importlib.metadata.PackageNotFoundError:
        return top
    for line in declared:
        requirement, _, marker = line.partition(";")
        if requirement.strip().startswith(top) and extra in marker:
            return requirement.strip()
    return top
