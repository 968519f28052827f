"""Random changes to a batch of training films, inside tf.data.

Every draw is a pure function of (seed, epoch, step): the same run gives the same films, whatever the number of
threads, and a resumed run continues with the films it would have seen.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from cxray.config import AugmentSettings
from cxray.model.looks import GREY_LEVELS, Looks, borrow_grain, borrow_grey, borrows
from cxray.model.share import WHOLE, Share

ERASE_PROBABILITY = 0.5
# (salt, films, limit, further shape) -> uniform draws in ± limit
Draw = Callable[..., Any]
# What was computed for every film of a batch -> its rows for the films at hand
Own = Callable[[Any], Any]


def augment(films: Any, settings: AugmentSettings, key: Any, share: Share = WHOLE, looks: Looks | None = None) -> Any:
    """Change float32 films (N, height, width, 1), 0–1, at random; same shape and range out.

    `key` is an int32 tensor (2,). Borrowed looks first, of `looks`, on films as they were made; then geometry (one
    interpolation for all of it), exchanged borders, grey values, rectangles and blackened borders. With a `share` the
    films are one worker's part of a batch and are changed as they would be in the whole one, to the last bit (but for
    exchanged borders): TensorFlow rounds a formula otherwise when its draws are cut first, so the results of it are
    cut.
    """
    draw, own = functools.partial(_uniform, key), functools.partial(_part, share)
    count = tf.shape(films)[0] * share.workers
    if borrows(settings):
        films = _borrow(films, looks, count, settings, draw, own)
    if _changes_geometry(settings):
        films = _move(films, own(_transforms(count, films.shape, settings, draw)))
    if settings.border_exchange_fraction:
        films = _exchange_borders(films, count, settings.border_exchange_fraction, draw, own)
    if settings.equalise_fraction:
        films = _towards_equalised(films, own((draw(16, count, 1.0) + 1) / 2 * settings.equalise_fraction))
    if settings.gamma or settings.contrast or settings.brightness:
        films = _expose(films, count, settings, draw, own)
    if settings.erase_fraction:
        films = _erase(films, count, settings.erase_fraction, draw, own)
    if settings.border_fraction:
        films = _blacken_borders(films, count, settings.border_fraction, draw, own)
    return films


def _changes_geometry(settings: AugmentSettings) -> bool:
    return bool(
        settings.crop_fraction
        or settings.aspect_fraction
        or settings.rotate_degrees
        or settings.shear_degrees
        or settings.shift_fraction
        or settings.zoom_fraction
        or settings.jitter_pixels
        or settings.flip
    )


def _uniform(key: Any, salt: int, count: Any, limit: float, shape: tuple[int, ...] = ()) -> Any:
    """float32 (count, *shape), uniform in ± limit; `salt` keeps the draws of one batch independent."""
    return tf.random.stateless_uniform(
        (count, *shape), seed=key + tf.constant([0, salt * 7919]), minval=-limit, maxval=limit
    )


def _part(share: Share, rows: Any) -> Any:
    """This worker's part of `rows`, one for each film of the batch."""
    if share.workers == 1:
        return rows
    first, behind = share.bounds(tf.shape(rows)[0])
    return rows[first:behind]


def _transforms(count: Any, shape: Any, settings: AugmentSettings, draw: Draw) -> Any:
    """float32 (count, 8): rotation, shear, zoom, stretch, shift, jitter and mirroring of each film in one."""
    height, width = shape[1], shape[2]
    angle = draw(1, count, math.radians(settings.rotate_degrees))
    shear = draw(2, count, math.radians(settings.shear_degrees))
    scale = 1.0 + draw(3, count, settings.zoom_fraction)
    shift_x = draw(4, count, settings.shift_fraction) * width
    shift_y = draw(5, count, settings.shift_fraction) * height
    if settings.jitter_pixels:
        # Enlarging by j pixels and cropping back at random is a zoom with a shift of at most j/2.
        scale *= width / (width + settings.jitter_pixels)
        shift_x += draw(6, count, settings.jitter_pixels / 2)
        shift_y += draw(7, count, settings.jitter_pixels / 2)
    if settings.crop_fraction:
        left_away = settings.crop_fraction * (draw(9, count, 1.0) + 1) / 2
        scale *= 1 - left_away
        # The crop may lie anywhere inside the film.
        shift_x += draw(14, count, 0.5) * left_away * width
        shift_y += draw(15, count, 0.5) * left_away * height
    stretch = tf.exp(draw(10, count, math.log1p(settings.aspect_fraction) / 2))
    mirror = tf.ones_like(angle)
    if settings.flip:
        mirror = tf.where(draw(8, count, 1.0) < 0, -1.0, 1.0)
    # Output pixel -> input pixel, as ImageProjectiveTransformV3 wants it; x' = a x + b y + c.
    wide, tall = mirror * scale * stretch, scale / stretch
    a, b = wide * tf.cos(angle), -tall * tf.sin(angle + shear)
    d, e = wide * tf.sin(angle), tall * tf.cos(angle + shear)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    c = centre_x - a * centre_x - b * centre_y + shift_x
    f = centre_y - d * centre_x - e * centre_y + shift_y
    zeros = tf.zeros_like(a)
    return tf.stack([a, b, c, d, e, f, zeros, zeros], axis=1)


def _move(films: Any, transforms: Any) -> Any:
    """Move each film as its transform says with one bilinear resampling, black outside."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=films,
        transforms=transforms,
        output_shape=tf.constant([films.shape[1], films.shape[2]]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _borrow(films: Any, looks: Looks | None, count: Any, settings: AugmentSettings, draw: Draw, own: Own) -> Any:
    """Draw each film towards the look of another one, which is drawn as well."""
    if looks is None:
        raise ValueError("films shall borrow looks, and none were handed over: see looks_to_borrow")
    lenders = tf.shape(looks.grey)[0]
    unit = own((draw(31, count, 1.0, (3,)) + 1) / 2)
    other = tf.minimum(tf.cast(unit[:, 0] * tf.cast(lenders, tf.float32), tf.int32), lenders - 1)
    if settings.grain_exchange_fraction:
        films = borrow_grain(films, tf.gather(looks.grain, other), unit[:, 1] * settings.grain_exchange_fraction)
    if settings.grey_exchange_fraction:
        films = borrow_grey(films, tf.gather(looks.grey, other), unit[:, 2] * settings.grey_exchange_fraction)
    return films


def _towards_equalised(films: Any, weight: Any) -> Any:
    """Draw grey values towards their rank among the film's own, as if another display curve had made the film.

    `weight` float32 (N,), 0 keeps a film, 1 equalises it. Black pixels do not count: most lie outside of the patient.
    """
    levels = tf.reshape(tf.cast(films * (GREY_LEVELS - 1), tf.int32), (tf.shape(films)[0], -1))
    counts = tf.math.bincount(levels, minlength=GREY_LEVELS, maxlength=GREY_LEVELS, axis=-1)
    lighter = tf.cumsum(tf.cast(counts, tf.float32)[:, 1:], axis=1)
    ranks = tf.pad(lighter / tf.maximum(lighter[:, -1:], 1.0), [[0, 0], [1, 0]])
    equalised = tf.reshape(tf.gather(ranks, levels, batch_dims=1), tf.shape(films))
    return films + weight[:, None, None, None] * (equalised - films)


def _expose(films: Any, count: Any, settings: AugmentSettings, draw: Draw, own: Own) -> Any:
    gamma = own(tf.exp(draw(11, count, settings.gamma, (1, 1, 1))))
    gain = own(1.0 + draw(12, count, settings.contrast, (1, 1, 1)))
    offset = own(draw(13, count, settings.brightness, (1, 1, 1)))
    bent = tf.pow(tf.maximum(films, 1e-4), gamma) if settings.gamma else films
    middle = tf.reduce_mean(bent, axis=(1, 2, 3), keepdims=True)
    return tf.clip_by_value((bent - middle) * gain + middle + offset, 0.0, 1.0)


def _erase(films: Any, count: Any, largest_fraction: float, draw: Draw, own: Own) -> Any:
    """Paint one rectangle a film with a random grey, in half of the films."""
    height, width = films.shape[1], films.shape[2]
    unit = (draw(21, count, 1.0, (6,)) + 1) / 2
    side = tf.sqrt(largest_fraction * unit[:, 0])
    half_height, half_width = side * height * (0.5 + unit[:, 1]) / 2, side * width * (1.5 - unit[:, 1]) / 2
    rows = tf.abs(tf.range(height, dtype=tf.float32)[None, :] - (unit[:, 2] * height)[:, None]) < half_height[:, None]
    columns = tf.abs(tf.range(width, dtype=tf.float32)[None, :] - (unit[:, 3] * width)[:, None]) < half_width[:, None]
    chosen, grey = own(unit[:, 4] < ERASE_PROBABILITY), own(unit[:, 5])
    hit = own(rows)[:, :, None] & own(columns)[:, None, :] & chosen[:, None, None]
    return tf.where(hit[..., None], grey[:, None, None, None], films)


def _blacken_borders(films: Any, count: Any, largest_fraction: float, draw: Draw, own: Own) -> Any:
    """Blacken the margins of half of the films, as a collimator does."""
    return tf.where(_inside(films.shape, count, largest_fraction, functools.partial(draw, 22), own), films, 0.0)


def _exchange_borders(films: Any, count: Any, largest_fraction: float, draw: Draw, own: Own) -> Any:
    """Give half of the films the margins of the film before them in the batch: its arms, frame and print."""
    inside = _inside(films.shape, count, largest_fraction, functools.partial(draw, 23), own)
    return tf.where(inside, films, tf.roll(films, 1, axis=0))


def _inside(shape: Any, count: Any, largest_fraction: float, draw: Draw, own: Own) -> Any:
    """What lies inside of the margins, a width for each side: bool (N, height, width, 1), all of it in half of them."""
    margins = (draw(count, 1.0, (5,)) + 1) / 2
    hit = tf.where(margins[:, 4:] < ERASE_PROBABILITY, margins[:, :4] * largest_fraction, 0.0)
    rows, columns = _relative(shape[1]), _relative(shape[2])
    kept_rows = own((rows >= hit[:, 0:1]) & (rows <= 1 - hit[:, 1:2]))
    kept_columns = own((columns >= hit[:, 2:3]) & (columns <= 1 - hit[:, 3:4]))
    return (kept_rows[:, :, None] & kept_columns[:, None, :])[..., None]


def _relative(side: int) -> Any:
    """float32 (1, side): where the middle of each pixel lies, 0 to 1."""
    return ((tf.range(side, dtype=tf.float32) + 0.5) / side)[None, :]
