"""Where the ImageNet weights of a MobileNet lie, and how they get there without Keras.

They are looked for in Keras' own cache (`KERAS_HOME` or `~/.keras`, folder `models`) and fetched into it from the
address that Keras itself publishes. The weights are those that Google trained, under Apache-2.0.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from cxray import progress
from cxray.errors import ConfigError
from cxray.model.mobilenet import Weights, read_weights
from cxray.rundir import atomic_open

ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/"
_TIMEOUT_SECONDS = 30.0
# One file of Keras a width; the one for 224 pixels fits every size, since no layer knows the size.
FILES = {
    "mobilenet_0.25": "mobilenet_2_5_224_tf_no_top.h5",
    "mobilenet_0.5": "mobilenet_5_0_224_tf_no_top.h5",
    "mobilenet_0.75": "mobilenet_7_5_224_tf_no_top.h5",
    "mobilenet_1.0": "mobilenet_1_0_224_tf_no_top.h5",
}


def load_imagenet(backbone: str) -> Weights:
    """The weights of `backbone`, a key of `FILES`, from the cache or, once, from the network.

    Raises:
        ConfigError: they are neither cached nor to be had, or the file holds something else.
    """
    path = cache_folder() / FILES[backbone]
    if not path.is_file():
        _fetch(ADDRESS + path.name, path)
    return read_weights(path)


def cache_folder() -> Path:
    """Keras' own folder for weights."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def _fetch(address: str, path: Path) -> None:
    progress.say(f"Fetching {path.name}, once.")
    try:
        with (
            urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer,
            atomic_open(path, "wb") as stream,
        ):
            shutil.copyfileobj(answer, stream)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = str(getattr(error, "reason", error))[:200]
        raise ConfigError(
            f"The ImageNet weights {path.name} are not in {path.parent} and cannot be fetched ({reason}).",
            f"Put the file there by hand, from {address}; or train a network that needs none: --recipe demo",
        ) from error
