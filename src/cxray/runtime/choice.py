"""Which engine is faster here: measured on first use, remembered for the next time.

The answer belongs to one graph, machine, set of versions, batch and number of threads, and is kept in the cache folder.
Losing it costs a second; nothing else depends on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cxray import extras
from cxray.data.cache import cache_folder
from cxray.errors import BundleError, CxrayError
from cxray.rundir import file_sha256, write_json
from cxray.runtime.engine import Engine, opener

_KEPT_ANSWERS = 64
_SECONDS_EACH = 0.25
_FEWEST_RUNS = 3
_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino"}


def fastest(graph: Path, threads: int, batch: int, runs: int = 1) -> str:
    """The name of the faster engine for `graph`; the only one without a measurement.

    Raises:
        BundleError: no engine can open the graph.
    """
    candidates = ["onnxruntime", *(["openvino"] if extras.is_available("openvino") else [])]
    if len(candidates) == 1:
        return candidates[0]
    key = _key(graph, threads, batch, runs)
    store = cache_folder() / "engines.json"
    answers = _read(store)
    if answers.get(key) in candidates:
        return str(answers[key])
    speeds = measure(graph, candidates, threads, batch, runs)
    chosen = max(speeds, key=lambda name: speeds[name])
    kept = dict(list(answers.items())[-_KEPT_ANSWERS + 1 :])
    with contextlib.suppress(CxrayError, OSError):  # a cache that cannot be written costs a second the next time
        write_json(store, {**kept, key: chosen})
    return chosen


def measure(graph: Path, candidates: list[str], threads: int, batch: int, runs: int = 1) -> dict[str, float]:
    """Films a second of each candidate that opens the graph, in alternation, so that a busy moment hits all alike;
    `runs` batches at once.

    Raises:
        BundleError: none of them opens the graph.
    """
    engines: dict[str, Engine] = {}
    refusal: BundleError | None = None
    for name in candidates:
        try:
            engines[name] = opener(name)(graph, threads, batch, runs)
        except BundleError as error:
            refusal = error
    if not engines:
        raise refusal or BundleError(f"No engine can open {graph}.")
    films = [np.full((batch, *_shape(graph)), 0.5, dtype=np.float32)] * runs
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        engine.run(films[0])
    with ThreadPoolExecutor(runs) as pool:
        started = time.perf_counter()
        while time.perf_counter() - started < _SECONDS_EACH * len(engines) or len(seconds[name]) < _FEWEST_RUNS:
            for name, engine in engines.items():
                begun = time.perf_counter()
                list(pool.map(engine.run, films))
                seconds[name].append(time.perf_counter() - begun)
    return {name: runs * batch / float(np.median(spent)) for name, spent in seconds.items()}


def _shape(graph: Path) -> list[int]:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.read_bytes(), providers=["CPUExecutionProvider"])
    return [int(side) for side in session.get_inputs()[0].shape[1:]]


def _key(graph: Path, threads: int, batch: int, runs: int) -> str:
    versions = {name: importlib.metadata.version(package) for name, package in _PACKAGES.items()}
    facts = [file_sha256(graph), platform.node(), platform.machine(), threads, batch, runs, sorted(versions.items())]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _read(store: Path) -> dict[str, Any]:
    try:
        answers = json.loads(store.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}
