"""A real service on a real port for tests, in a thread of this process; and films to send."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from cxray.serve.run import make_server
from cxray.serve.settings import Limits, Settings

PNG = {"Content-Type": "image/png"}


@contextlib.contextmanager
def running(bundle: Path, **changes: Any) -> Iterator[httpx.Client]:
    """A service that is ready, as a client whose `service` attribute is the service itself; with one decoder unless
    `changes` say otherwise, for the sake of its start."""
    limits = Limits(**changes.pop("limits", {}))
    chosen = {"engine": "onnxruntime", "decoders": 1, **changes}
    settings = Settings(bundles={"tiny": bundle}, port=0, limits=limits, **chosen)
    address: list[str] = []
    is_ready = threading.Event()
    server = make_server(settings, on_ready=lambda found: (address.append(found), is_ready.set()))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert is_ready.wait(60), "the service did not become ready"
        with httpx.Client(base_url=address[0], timeout=60) as client:
            client.service = server.service  # type: ignore[attr-defined]
            yield client
    finally:
        server.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


def film(side: int = 96, seed: int = 0, kind: str = "PNG") -> bytes:
    """An encoded grey film of smooth noise."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(stream, kind)
    return stream.getvalue()
