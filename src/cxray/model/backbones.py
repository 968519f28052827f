"""The networks a recipe may name, as a literal table, and how their weights are found.

ImageNet weights come through Keras' own loader and its cache (`~/.keras/models`). When they are neither cached nor
to be had (offline), the network starts from random weights and one warning says so: training still runs, only worse.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import socket
import sys
from typing import Any

from cxray import progress
from cxray.errors import ConfigError

_DOWNLOAD_TIMEOUT_SECONDS = 30.0
_ONE_FILE_A_SIZE = ("MobileNet", "MobileNetV2")
_WEIGHTS_SIDE = 224


@dataclasses.dataclass(frozen=True)
class Backbone:
    """One family member of `keras.applications`.

    `scaling` maps a grey value 0–1 to what the weights were trained on: "unit" −1 to 1; "torch" ImageNet mean and
    standard deviation a channel; "caffe" 0–255 minus the mean in BGR; "raw" 0–255, the network scales by itself.
    """

    application: str
    scaling: str
    million_parameters: float
    options: tuple[tuple[str, Any], ...] = ()
    minimum_side_pixels: int = 32


# Constants of a Normalization layer inside the network do not survive the export; `scaling` does the same work outside.
# Absent because their graphs cannot be exported: EfficientNetB0 (always normalises inside) and ConvNeXt.
_WITHOUT_NORMALIZATION = (("include_preprocessing", False),)

BACKBONES: dict[str, Backbone] = {
    "mobilenet_0.25": Backbone("MobileNet", "unit", 0.2, (("alpha", 0.25),)),
    "mobilenet_0.5": Backbone("MobileNet", "unit", 0.8, (("alpha", 0.5),)),
    "mobilenet_0.75": Backbone("MobileNet", "unit", 1.8, (("alpha", 0.75),)),
    "mobilenet_1.0": Backbone("MobileNet", "unit", 3.2),
    "mobilenet_v2": Backbone("MobileNetV2", "unit", 2.3),
    "mobilenet_v3_small": Backbone("MobileNetV3Small", "raw", 0.9),
    "mobilenet_v3_large": Backbone("MobileNetV3Large", "raw", 3.0),
    "efficientnet_v2_b0": Backbone("EfficientNetV2B0", "torch", 5.9, _WITHOUT_NORMALIZATION),
    "densenet_121": Backbone("DenseNet121", "torch", 7.0),
    "resnet_50": Backbone("ResNet50", "caffe", 23.6),
    "resnet_50_v2": Backbone("ResNet50V2", "unit", 23.6),
    "xception": Backbone("Xception", "unit", 20.9, minimum_side_pixels=71),
    "inception_v3": Backbone("InceptionV3", "unit", 21.8, minimum_side_pixels=75),
}
# Built from single layers in `build.py`, always from random weights.
PLAIN_NETWORKS = ("article_cnn", "small_cnn")


def check_backbone(name: str, shortest_side: int) -> None:
    """Refuse a name that is not in the table, or films too small for the network.

    Raises:
        ConfigError: naming the nearest known backbone, or the side in pixels that is needed.
    """
    known = [*BACKBONES, *PLAIN_NETWORKS]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            f"There is no backbone {name!r}.{f' Did you mean {near[0]!r}?' if near else ''}",
            f"Known backbones: {', '.join(known)}.",
        )
    if name in BACKBONES and shortest_side < BACKBONES[name].minimum_side_pixels:
        raise ConfigError(
            f"Backbone {name!r} needs films of at least {BACKBONES[name].minimum_side_pixels} pixels a side, "
            f"the recipe says {shortest_side}.",
            "Set input.height and input.width higher.",
        )


def load_backbone(name: str, height: int, width: int, *, weights: str) -> tuple[Any, str]:
    """Build a backbone without its head, input (height, width, 3).

    Returns:
        The Keras model and the weights it really got: "imagenet" or "none".
    """
    import keras

    backbone = BACKBONES[name]
    build = getattr(keras.applications, backbone.application)
    options = {"include_top": False, **dict(backbone.options)}
    shape = (height, width, 3)
    if weights == "imagenet":
        try:
            with _patience(), contextlib.redirect_stdout(sys.stderr):
                if backbone.application not in _ONE_FILE_A_SIZE:
                    return build(weights="imagenet", input_shape=shape, **options), "imagenet"
                # The file for 224 pixels fits every size, since no layer of these families knows the size.
                model = build(weights=None, input_shape=shape, **options)
                donor = build(weights="imagenet", input_shape=(_WEIGHTS_SIDE, _WEIGHTS_SIDE, 3), **options)
                model.set_weights(donor.get_weights())
                return model, "imagenet"
        except Exception as error:  # URLError, socket.timeout, OSError, ValueError for a damaged download, ...
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            progress.say(
                f"Warning: ImageNet weights of {name} are not in the Keras cache and cannot be downloaded ({reason}). "
                "Training starts from random weights instead; expect a much weaker model. Put the weights into "
                "~/.keras/models, or use a network that needs none: --set model.backbone=small_cnn"
            )
    return build(weights=None, input_shape=shape, **options), "none"


@contextlib.contextmanager
def _patience() -> Any:
    # urlretrieve has no timeout of its own: behind a silent firewall it would hang for minutes.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
