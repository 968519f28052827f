"""From a recipe to a Keras network.

Input is always float32 (N, height, width, 1), 0–1; what the backbone was trained on is produced inside the graph, so
no caller can forget it. Output is logits (N, K). Layers are named `feature_map`, `features` and `logits`: what the
bundle's graph publishes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import layers

from cxray.config import InputCard, ModelSettings
from cxray.model.backbones import BACKBONES, check_backbone, load_backbone
from cxray.model.harmonise import early_maps, with_correction
from cxray.model.views import mean_feature_map

# ImageNet statistics, RGB, of values 0–1 (torch) and 0–255 (caffe, BGR), as in keras.applications.imagenet_utils.
_TORCH_MEAN, _TORCH_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


@dataclasses.dataclass(frozen=True)
class Network:
    """A trainable network and what is known about it.

    `model` maps films to logits; `weights` is "imagenet" or "none", as really loaded; `head` is "pooled_linear" when
    the logits are a linear function of the globally averaged feature map (so that class activation is exact), else
    "dense".
    """

    model: keras.Model
    weights: str
    head: str
    mirror_average: bool = False
    stretch_average: float = 0.0

    def inference(self) -> keras.Model:
        """The same weights with three named outputs: `logits`, `features`, `feature_map`.

        With `mirror_average` or `stretch_average` all three are means over several views of a film (`views.py`), if the
        head is linear.
        """
        if not ((self.mirror_average or self.stretch_average) and self.head == "pooled_linear"):
            outputs = {name: self.model.get_layer(name).output for name in ("logits", "features", "feature_map")}
            return keras.Model(self.model.input, outputs)
        one_view = keras.Model(self.model.input, self.model.get_layer("feature_map").output, name="look")
        films = keras.Input(self.model.input_shape[1:], name="films")
        feature_map = mean_feature_map(one_view, films, mirrored=self.mirror_average, stretch=self.stretch_average)
        features = self.model.get_layer("features")(feature_map)
        logits = self.model.get_layer("logits")(features)
        return keras.Model(films, {"logits": logits, "features": features, "feature_map": feature_map})


def build_network(settings: ModelSettings, card: InputCard, outputs: int) -> Network:
    """Build the network of a recipe with `outputs` logits.

    Raises:
        ConfigError: unknown backbone, or films too small for it.
    """
    check_backbone(settings.backbone, min(card.height, card.width))
    films = keras.Input((card.height, card.width, 1), name="films")
    if settings.backbone == "article_cnn":
        features, weights, head = _article_features(films), "none", "dense"
    elif settings.backbone == "small_cnn":
        features, weights, head = _small_features(films), "none", "pooled_linear"
    else:
        features, weights = _pretrained_features(films, settings, card)
        head = "pooled_linear"
    dropped = layers.Dropout(settings.dropout, name="dropout")(features)
    logits = layers.Dense(outputs, name="logits", dtype="float32")(dropped)
    model = keras.Model(films, logits, name=settings.backbone.replace(".", "_"))
    return Network(model, weights, head, settings.mirror_average, settings.stretch_average)


def _pretrained_features(films: Any, settings: ModelSettings, card: InputCard) -> tuple[Any, str]:
    backbone, weights = load_backbone(settings.backbone, card.height, card.width, weights=settings.weights)
    if weights != "none":  # random layers must learn, whatever the recipe hoped for
        for layer in backbone.layers[: round(settings.frozen_fraction * len(backbone.layers))]:
            layer.trainable = False
    scaled = _scale(films, BACKBONES[settings.backbone].scaling)
    if settings.look_directions:
        outputs = [*early_maps(backbone), backbone.output]
        *early, top = keras.Model(backbone.input, outputs, name=backbone.name)(scaled)
        top = with_correction(top, early)
    else:
        top = backbone(scaled)
    feature_map = layers.Identity(name="feature_map")(top)
    return layers.GlobalAveragePooling2D(name="features")(feature_map), weights


def _scale(films: Any, scaling: str) -> Any:
    colour = layers.Concatenate(name="grey_to_rgb")([films, films, films])
    if scaling == "unit":
        return layers.Rescaling(2.0, -1.0, name="scale")(colour)
    if scaling == "torch":
        scale = [1 / deviation for deviation in _TORCH_DEVIATION]
        offset = [-mean / deviation for mean, deviation in zip(_TORCH_MEAN, _TORCH_DEVIATION, strict=True)]
        return layers.Rescaling(scale, offset, name="scale")(colour)
    if scaling == "caffe":
        return layers.Rescaling(255.0, [-mean for mean in _CAFFE_MEAN_BGR], name="scale")(colour)
    return layers.Rescaling(255.0, name="scale")(colour)


def _article_features(films: Any) -> Any:
    """Three plain convolution blocks, flattened into a dense layer: the kind of network the article's recipe uses."""
    x = films
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(layers.Identity(name="feature_map")(x))
    return layers.Dense(512, activation="relu", name="features")(x)


def _small_features(films: Any) -> Any:
    """Separable convolutions with batch normalisation and a pooled linear head: trains from scratch in minutes."""
    x = films
    for block, filters in enumerate((16, 32, 64, 96, 128)):
        convolution = layers.Conv2D if block == 0 else layers.SeparableConv2D
        x = convolution(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation("relu")(x)
        if block:
            x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization(momentum=0.9)(x)
            x = layers.Activation("relu")(x)
    feature_map = layers.Identity(name="feature_map")(x)
    return layers.GlobalAveragePooling2D(name="features")(feature_map)
