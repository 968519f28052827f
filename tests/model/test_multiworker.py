"""The parts of a batch make the batch, and what would train wrongly without a word is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cxray.config import AugmentSettings, load_recipe
from cxray.errors import ConfigError, MissingExtra, UsageError
from cxray.model.share import WHOLE, Share

tf = pytest.importorskip("tensorflow", reason="needs the extra train")
import keras  # noqa: E402 - after the skip

from cxray.model import multiworker  # noqa: E402
from cxray.model.batches import own_part, training_batches  # noqa: E402
from cxray.model.looks import looks_to_borrow  # noqa: E402
from tests.cluster.member import films  # noqa: E402

RECIPE = load_recipe("demo", ["input.height=32", "input.width=32"])
CHANGES = AugmentSettings(
    crop_fraction=0.1, aspect_fraction=0.3, rotate_degrees=6.0, shift_fraction=0.1, zoom_fraction=0.1, brightness=0.1,
    contrast=0.1, gamma=0.2, equalise_fraction=0.5, erase_fraction=0.2, border_fraction=0.1,
    grey_exchange_fraction=0.5, grain_exchange_fraction=0.5,
)  # fmt: skip


def epoch(share: Share, count: int, batch_size: int = 8) -> list[Any]:
    given = films(count, 0, RECIPE)
    looks = looks_to_borrow(given, CHANGES, seed=1)
    batches = training_batches(
        given, CHANGES, batch_size=batch_size, seed=1, epoch=2, share=share, looks=looks
    )  # fmt: skip
    return [[column.numpy() for column in batch] for batch in batches]


def test_the_workers_parts_are_the_batches_of_one_process() -> None:
    count = 22  # the last batch has six films
    whole, parts = epoch(WHOLE, count), [epoch(Share(rank, 2), count) for rank in (0, 1)]
    assert len(whole) == len(parts[0]) == len(parts[1]) == Share(0, 2).steps(count, 8)
    for batch, first, second in zip(whole, *parts, strict=True):
        for column, left, right in zip(batch, first, second, strict=True):
            assert len(left) == len(right) == len(column) // 2
            np.testing.assert_array_equal(np.concatenate([left, right]), column)  # to the last bit


def test_of_a_last_batch_that_cannot_be_shared_fewer_films_than_workers_are_left_out() -> None:
    for films_, batch, workers in ((20, 8, 3), (17, 8, 2), (16, 8, 2), (9, 8, 4), (5, 8, 2)):
        share = Share(workers - 1, workers)
        kept = share.even(np.arange(films_), batch)
        assert 0 <= films_ - len(kept) < workers
        assert (len(kept) % batch) % workers == 0
        assert share.steps(films_, batch) == -(-len(kept) // batch)


def test_a_batch_of_features_is_cut_as_one_of_films() -> None:
    data = tf.data.Dataset.range(9).batch(4)
    assert [part.tolist() for part in own_part(data, Share(1, 2)).as_numpy_iterator()] == [[2, 3], [6, 7]]
    assert own_part(data, WHOLE) is data


def network(optimizer: Any, *, synchronized: bool) -> Any:
    layers = [keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    if synchronized:
        multiworker.synchronize(model)
    model.compile(optimizer, "mse")
    return model


def refused(model: Any, batches: Any = None, steps: int | None = 3, replicas: int = 2) -> str:
    with pytest.raises(UsageError) as caught:
        multiworker.check_fit(model, batches, replicas, steps)
    return caught.value.message


def test_combinations_that_would_silently_train_wrongly_are_refused() -> None:
    good = network("sgd", synchronized=True)
    multiworker.check_fit(good, None, 2, 3)
    data = tf.data.Dataset.range(4)
    assert "decoded whole by every worker" in refused(good, data)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    assert "half of the films would never be seen" in refused(good, data.with_options(options))
    assert "one more step, on no film at all" in refused(good, steps=None)
    assert "statistics would drift apart" in refused(network("sgd", synchronized=False))
    for limit in ({"clipnorm": 1.0}, {"clipvalue": 1.0}, {"global_clipnorm": 1.0}):
        said = refused(network(keras.optimizers.SGD(**limit), synchronized=True))
        assert said.startswith(f"{next(iter(limit))} would clip each worker's gradient before the sum")
    clips = type("Clips", (multiworker.ClipsTheSum, keras.optimizers.SGD), {})
    multiworker.check_fit(network(clips(global_clipnorm=1.0), synchronized=True), None, 2, 3)
    multiworker.check_fit(network("sgd", synchronized=False), data, 1, None)  # one replica can do no harm


def test_synchronised_statistics_are_those_of_one_process_far_from_zero() -> None:
    """Values around 1000 that vary by 1: the mean of squares, a million, has a digit or two left for the variance."""
    values = tf.constant(np.random.default_rng(0).normal(1000.0, 1.0, (16, 2, 2, 3)).astype(np.float32))
    push = tf.constant(np.random.default_rng(1).normal(size=values.shape).astype(np.float32))
    found = []
    for synchronized in (False, True):
        layer = keras.layers.BatchNormalization()
        model = keras.Sequential([keras.Input(values.shape[1:]), layer])
        if synchronized:
            multiworker.synchronize(model)
        with tf.GradientTape() as tape:
            tape.watch(values)
            pushed = tf.reduce_sum(push * layer(values, training=True))
        found.append([layer.moving_mean, layer.moving_variance, pushed, tape.gradient(pushed, values)])
    for plain, synchronised in zip(*found, strict=True):
        np.testing.assert_allclose(synchronised, plain, rtol=1e-5, atol=1e-6)


def test_other_backends_and_unproven_versions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    multiworker.check_versions()
    with monkeypatch.context() as patch:
        patch.setattr(keras.backend, "backend", lambda: "torch")
        with pytest.raises(MissingExtra, match="Keras runs on torch here, where every worker would train a network of"):
            multiworker.check_versions()
    monkeypatch.setattr(keras, "__version__", "3.16.0")
    with pytest.raises(MissingExtra, match=r"proven with Keras 3\.15; 3\.16\.0 is installed"):
        multiworker.check_versions()


def test_recipes_that_workers_cannot_follow_are_refused() -> None:
    multiworker.check_settings(RECIPE, 4)
    with pytest.raises(ConfigError, match="train.batch_size=32 cannot be shared evenly by 3 workers") as caught:
        multiworker.check_settings(RECIPE, 3)
    assert caught.value.next_step == "Example: --set train.batch_size=33"
    with pytest.raises(ConfigError, match="has no gradient to share"):
        multiworker.check_settings(load_recipe("fast"), 2)


def test_clipping_in_one_process_limits_the_norm_of_all_gradients() -> None:
    clips = type("Clips", (multiworker.ClipsTheSum, keras.optimizers.SGD), {})
    steps = []
    for kind in (keras.optimizers.SGD, clips):
        variable = keras.Variable([3.0, 4.0])
        kind(1.0, global_clipnorm=0.5).apply([tf.constant([3.0, 4.0])], [variable])
        steps.append(variable.numpy())
    np.testing.assert_allclose(steps[0], [2.7, 3.6], rtol=1e-6)  # Keras, one process
    np.testing.assert_array_equal(steps[1], steps[0])
