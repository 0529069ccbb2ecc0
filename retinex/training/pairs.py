"""Training pairs: dark and normal photos from folders, held in memory, cropped at random.

Folders it reads:

- LOL: a folder with `our485/low` and `our485/high` (`eval15` beside it is for testing only and
  never read here);
- the paper's synthetic pairs, or anyone's: a folder with `low` and `high`, of mixed sizes;
- photos alone: any folder of normal photos, whose dark halves `retinex.training.low_light` makes
  anew at every draw.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from retinex.datasets import (
    LOL_TEST_FOLDER,
    LOL_TRAINING_FOLDER,
    DatasetError,
    list_photos,
    match_stems,
    read_pair,
    read_photo,
    read_size,
    shorten,
)
from retinex.machine import usable_memory
from retinex.photo import Pixels
from retinex.thumbnail import make_thumbnail
from retinex.training.low_light import (
    FULL_LIGHT,
    TINTS_ACROSS,
    Box,
    LowLight,
    Tints,
    compress,
    darken,
    random_low_light,
    random_tints,
    tint,
)

SMALLEST_VIEW = 0.4
"""Share of the sides of a normal photo, of the smallest part that a dark photo is made of."""
SAMPLED_SIDE = 512
"""Rows and columns, at least, that thumbnails of parts of larger photos are made of."""
UNCHANGED_SHARE = 0.4
"""Of dark photos that are synthesised though there are real ones, those that are the normal one: it
is to stay as it is."""
MILDNESS = 2.0
"""Of the other ones' exposures, as in `random_low_light`: half of them leave a quarter of the light
or more, so that photos which are a little dark aren't taken for well lit."""
JPEG_QUALITIES = (75, 98)
"""The least and the best of photos that are compressed."""
MIXING = 1.2
"""Both parameters of the beta distribution that mixed pairs' shares are drawn from."""

Window = tuple[slice, slice]
"""Rows and columns of a photo."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A photo in normal light and, unless it is to be synthesised, the same in low light.

    Attributes:
        path: the normal photo's file.
        high: (h, w, 3) uint8.
        low: (h, w, 3) uint8, or None to darken crops of `high` at random.
        others: of the same view in other light; their dark photos can stand in for `low`.
    """

    path: Path
    high: Pixels
    low: Pixels | None
    others: tuple["Pair", ...] = ()

    @cached_property
    def high_thumbnail(self) -> Pixels:
        """The whole normal photo, small."""
        return make_thumbnail(self.high)

    @cached_property
    def low_thumbnail(self) -> Pixels:
        """The whole dark photo, small."""
        assert self.low is not None
        return make_thumbnail(self.low)


class Crops(NamedTuple):
    """The same part of both photos of a pair, turned alike, and the dark one, upright; uint8."""

    low: Pixels
    """(h, w, 3)."""
    high: Pixels
    """(h, w, 3)."""
    thumbnail: Pixels
    """Of the dark photo, (64, 64, 3): all of it or, as `cut` says, a part around `low`."""


class Batch(NamedTuple):
    """Parts of several pairs as float tensors in [0, 1]."""

    low: Tensor
    """(b, 3, h, w)."""
    high: Tensor
    """(b, 3, h, w)."""
    thumbnail: Tensor
    """Of the dark photos, as in `Crops`, (b, 3, 64, 64)."""


class Variety(NamedTuple):
    """How far training goes beyond the pairs as they are; shares in [0, 1]."""

    synthetic: float = 0.0
    """Of pairs whose dark photo is made of the normal one though there is a real one. It is darker
    by anything from very much to nothing, in two fifths of them by nothing; both are tinted."""
    exchanged: float = 0.0
    """Of the other pairs, those whose dark photo is drawn from all of the same view, its own among
    them: how bright the normal photo was is then to be guessed by the view, not by the photo."""
    shuffled: float = 0.0
    """Of pairs whose colour channels change places, the same way in both photos."""
    mixed: float = 0.0
    """Of batches whose pairs are blended with one another (mixup, Zhang et al., ICLR 2018)."""
    compressed: float = 0.0
    """Of pairs whose dark photo comes from a JPEG file, as most photos do; one that is to stay as
    it is stays as it comes from there."""


PLAIN = Variety()


def load_pairs(paired: Sequence[Path], photos: Sequence[Path] = ()) -> list[Pair]:
    """Decode all pairs of the `paired` folders and all photos of the folders `photos`.

    Raises:
        DatasetError: a folder is missing, empty or LOL's for testing, stems don't match, the sizes
            within a pair differ, a file can't be read, or all together are larger than the memory.
    """
    for root in (*paired, *photos):
        if LOL_TEST_FOLDER in {*root.absolute().parts, *root.resolve().parts}:
            raise DatasetError(
                f"{root} is for testing: whoever trains on it can't be compared with others. "
                f"Train on the {LOL_TRAINING_FOLDER} beside it"
            )
    files: list[tuple[Path | None, Path]] = []
    for root in paired:
        files += match_stems(root, LOL_TRAINING_FOLDER)
    for root in photos:
        files += [(None, path) for path in list_photos(root)]
    check_memory(path for pair in files for path in pair if path is not None)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_read_pair, files))


def check_memory(photos: Iterable[Path]) -> None:
    """Raise `DatasetError` if decoded photos are larger than this machine's memory."""
    memory = usable_memory()
    sizes = (read_size(photo) or (0, 0) for photo in photos)
    needed = sum(3 * width * height for width, height in sizes)
    if memory is not None and needed > memory:
        raise DatasetError(
            f"the photos take {needed / 1e9:.3g} GB once decoded, and there are only "
            f"{memory / 1e9:.3g} GB of memory: make them smaller or train on fewer of them"
        )


def _read_pair(files: tuple[Path | None, Path]) -> Pair:
    low_path, high_path = files
    if low_path is None:
        return Pair(high_path, read_photo(high_path), None)
    low, high = read_pair(low_path, high_path)
    return Pair(high_path, high, low)


def check_crop(pairs: Sequence[Pair], crop: int) -> None:
    """Raise `DatasetError` if a photo is smaller than `crop` × `crop` pixels."""
    small = [str(pair.path) for pair in pairs if min(pair.high.shape[:2]) < crop]
    if small:
        raise DatasetError(
            f"photos smaller than the crop of {crop} pixels: {shorten(small)}. "
            "Remove them or train with a smaller --crop."
        )


def cut(pair: Pair, window: Window, rng: np.random.Generator, variety: Variety = PLAIN) -> Crops:
    """Cut the same window out of both photos.

    The thumbnail of a real dark photo shows all of it, so that networks know places again; that of
    one made though there is a real one shows a part around the window, so that they learn to judge
    places they don't know, too.
    `rng` is drawn from only where a dark photo has to be synthesised, or may be anything else than
    the pair's own.
    """
    if pair.low is None:
        return synthesise(pair, window, random_low_light(rng), rng)
    if variety.synthetic and rng.random() < variety.synthetic:
        light = random_low_light(rng, brightest=1.0, mildness=MILDNESS)
        if rng.random() < UNCHANGED_SHARE:
            light = FULL_LIGHT
        view = random_view(pair.high, window, rng)
        return synthesise(pair, window, light, rng, random_tints(rng), view)
    dark = pair
    if pair.others and variety.exchanged and rng.random() < variety.exchanged:
        dark = (pair, *pair.others)[rng.integers(1 + len(pair.others))]
    assert dark.low is not None  # scenes.find_others takes no other
    return Crops(dark.low[window], pair.high[window], dark.low_thumbnail)


def synthesise(
    pair: Pair,
    window: Window,
    light: LowLight,
    rng: np.random.Generator,
    tints: Tints | None = None,
    view: Window | None = None,
) -> Crops:
    """Cut a window out of a normal photo, tint it, and make the dark photo of that.

    Args:
        view: the part of the normal photo that the thumbnail shows; None for all of it.
    """
    high = pair.high[window]
    thumbnail = pair.high_thumbnail if view is None else make_thumbnail(sample(pair.high[view]))
    if tints is not None:
        high = tint(high, tints, tint_box(pair.high, window))
        thumbnail = tint(thumbnail, tints, view and tint_box(pair.high, view))
    without_noise = replace(light, shot_noise=0.0, read_noise=0.0)
    return Crops(darken(high, light, rng), high, darken(thumbnail, without_noise, rng))


def sample(photo: Pixels) -> Pixels:
    """Leave rows and columns out of large photos, evenly, whose thumbnails would take long."""
    down, across = (max(1, side // SAMPLED_SIDE) for side in photo.shape[:2])
    return photo[::down, ::across]


def tint_box(photo: Pixels, window: Window) -> Box:
    """Tell where among a photo's tints a window within it lies."""
    (rows, columns), (height, width) = window, photo.shape[:2]
    left, right = (TINTS_ACROSS * edge / width for edge in (columns.start, columns.stop))
    top, bottom = (TINTS_ACROSS * edge / height for edge in (rows.start, rows.stop))
    return left, top, right, bottom


def random_crop(pair: Pair, crop: int, rng: np.random.Generator, variety: Variety = PLAIN) -> Crops:
    """Cut a random square out of both photos, flipped and quarter-turned at random.

    The thumbnail stays upright, as photos are.
    """
    height, width = pair.high.shape[:2]
    top, left = rng.integers(height - crop + 1), rng.integers(width - crop + 1)
    crops = cut(pair, np.s_[top : top + crop, left : left + crop], rng, variety)
    if variety.shuffled and rng.random() < variety.shuffled:
        order = rng.permutation(3)
        crops = Crops(*(image[:, :, order] for image in crops))
    if variety.compressed and rng.random() < variety.compressed:
        crops = compress_low(crops, rng)
    turns = int(rng.integers(4))
    step = -1 if rng.integers(2) else 1
    low, high = (np.rot90(image, turns)[:, ::step] for image in (crops.low, crops.high))
    return Crops(low, high, crops.thumbnail)


def compress_low(crops: Crops, rng: np.random.Generator) -> Crops:
    """Compress the dark photo as JPEG.

    Where both are the same they stay so: else a network would learn to brighten what is compressed.
    """
    quality = int(rng.integers(*JPEG_QUALITIES, endpoint=True))
    low = compress(crops.low, quality, halve_colours=bool(rng.integers(2)))
    unchanged = np.array_equal(crops.low, crops.high)
    return Crops(low, low if unchanged else crops.high, crops.thumbnail)


def random_view(photo: Pixels, window: Window, rng: np.random.Generator) -> Window:
    """Draw a part of a photo around a window to stand for the whole.

    It has the photo's proportions, unless the window is larger. There are many more such parts than
    photos: too many to know them by heart.
    """
    share = rng.uniform(SMALLEST_VIEW, 1.0)
    rows, columns = (
        _random_span(part, length, share, rng)
        for part, length in zip(window, photo.shape[:2], strict=True)
    )
    return rows, columns


def _random_span(part: slice, length: int, share: float, rng: np.random.Generator) -> slice:
    """Draw a share of 0 … `length` that `part` lies in."""
    span = max(round(share * length), part.stop - part.start)
    first = rng.integers(max(0, part.stop - span), min(part.start, length - span) + 1)
    return slice(first, first + span)


def central_crop(pair: Pair, crop: int, rng: np.random.Generator) -> Crops:
    """Cut the central square, or what there is of it, out of both photos."""
    height, width = pair.high.shape[:2]
    top, left = max(0, (height - crop) // 2), max(0, (width - crop) // 2)
    return cut(pair, np.s_[top : top + crop, left : left + crop], rng)


def to_tensor(images: Sequence[Pixels]) -> Tensor:
    """Stack (h, w, 3) uint8 images to a float tensor (b, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255.0


def to_batch(crops: Sequence[Crops]) -> Batch:
    """Stack crops of equal size."""
    return Batch(*map(to_tensor, zip(*crops, strict=True)))


def training_batches(
    pairs: Sequence[Pair],
    crop: int,
    batch_size: int,
    rng: np.random.Generator,
    variety: Variety = PLAIN,
) -> Iterator[Batch]:
    """Yield one epoch: a random crop of every pair, in random order.

    The crops are squares of `crop` pixels; the last batch may be smaller.
    """
    order = rng.permutation(len(pairs))
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        batch = to_batch([random_crop(pairs[k], crop, rng, variety) for k in part])
        if variety.mixed and rng.random() < variety.mixed:
            batch = mix(batch, rng)
        yield batch


def mix(batch: Batch, rng: np.random.Generator) -> Batch:
    """Blend each pair with another of the batch, all in the same random proportion."""
    share = float(rng.beta(MIXING, MIXING))
    order = torch.from_numpy(rng.permutation(len(batch.low)))
    return Batch(*(share * part + (1 - share) * part[order] for part in batch))


def validation_batches(pairs: Sequence[Pair], crop: int, batch_size: int) -> Iterator[Batch]:
    """Yield the central crop of every pair, the same at every call."""
    rng = np.random.default_rng(0)
    crops = [central_crop(pair, crop, rng) for pair in pairs]
    for start in range(0, len(crops), batch_size):
        yield to_batch(crops[start : start + batch_size])
