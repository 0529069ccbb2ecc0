"""Training pairs: dark and normal photos from folders, held in memory, cropped at random.

Folders it reads:

- LOL: a folder with `our485/low` and `our485/high` (`eval15` beside it is for testing only and
  never read here);
- the paper's synthetic pairs, or anyone's: a folder with `low` and `high`, of mixed sizes;
- photos alone: any folder of normal photos, whose dark halves `retinex.low_light` makes anew at
  every draw.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from retinex.datasets import (
    LOL_TRAINING_FOLDER,
    DatasetError,
    list_photos,
    match_stems,
    read_pair,
    read_photo,
    shorten,
)
from retinex.low_light import darken, random_low_light
from retinex.photo import Pixels

SAME_SCENE_CORRELATION = 0.9
"""Thumbnails correlated above this show one scene. On LOL's 485 photos any value from 0.8 to 0.97
finds between 227 and 240 scenes, none with more than six photos."""
THUMBNAIL_SIZE = (24, 16)

Window = tuple[slice, slice]
"""Rows and columns of a photo."""


@dataclass(frozen=True)
class Pair:
    """A photo in normal light and, unless it is to be synthesised, the same in low light.

    Attributes:
        name: for messages: the normal photo's path.
        high: (h, w, 3) uint8.
        low: (h, w, 3) uint8, or None to darken crops of `high` at random.
    """

    name: str
    high: Pixels
    low: Pixels | None


def load_pairs(paired: Sequence[Path], photos: Sequence[Path] = ()) -> list[Pair]:
    """Decode all pairs of the `paired` folders and all photos of the folders `photos`.

    Raises:
        DatasetError: a folder is missing or empty, stems don't match, the sizes within a pair
            differ, or a file can't be read.
    """
    files: list[tuple[Path | None, Path]] = []
    for root in paired:
        files += match_stems(root, LOL_TRAINING_FOLDER)
    for root in photos:
        files += [(None, path) for path in list_photos(root)]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_read_pair, files))


def _read_pair(files: tuple[Path | None, Path]) -> Pair:
    low_path, high_path = files
    if low_path is None:
        return Pair(str(high_path), read_photo(high_path), None)
    low, high = read_pair(low_path, high_path)
    return Pair(str(high_path), high, low)


def group_scenes(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Group pairs that show one scene, told by thumbnails of their normal photos.

    Datasets repeat scenes (LOL's 485 pairs show about 230): a random split would validate on
    rooms the network was trained on.
    """
    thumbnails = np.stack([_thumbnail(pair.high) for pair in pairs])
    same = thumbnails @ thumbnails.T > SAME_SCENE_CORRELATION
    scene_of = np.arange(len(pairs))
    for i, j in np.argwhere(np.triu(same, k=1)):
        scene_of[scene_of == scene_of[j]] = scene_of[i]
    return [[pairs[k] for k in np.flatnonzero(scene_of == s).tolist()] for s in np.unique(scene_of)]


def _thumbnail(photo: Pixels) -> NDArray[np.float32]:
    """A tiny version of `photo` as a vector of mean 0 and length 1."""
    small = Image.fromarray(photo).resize(THUMBNAIL_SIZE, Image.Resampling.BOX)
    vector = np.asarray(small, np.float32).ravel()
    vector -= vector.mean()
    return vector / (np.linalg.norm(vector) + 1e-6)


def split_by_scene(
    pairs: Sequence[Pair], validation_share: float, seed: int
) -> tuple[list[Pair], list[Pair]]:
    """Split into training and validation pairs so that no scene is in both.

    At least one scene is held out, and at least one is left; `seed` alone decides which.

    Raises:
        DatasetError: the pairs show a single scene.
    """
    scenes = group_scenes(pairs)
    if len(scenes) < 2:
        raise DatasetError(
            f"the {len(pairs)} training pair(s) show a single scene; validation needs another one"
        )
    order = np.random.default_rng(seed).permutation(len(scenes)).tolist()
    held_out = min(max(1, round(validation_share * len(scenes))), len(scenes) - 1)
    validation = [pair for k in order[:held_out] for pair in scenes[k]]
    training = [pair for k in order[held_out:] for pair in scenes[k]]
    return training, validation


def check_crop(pairs: Sequence[Pair], crop: int) -> None:
    """Raise `DatasetError` if a photo is smaller than `crop` × `crop` pixels."""
    small = [pair.name for pair in pairs if min(pair.high.shape[:2]) < crop]
    if small:
        raise DatasetError(
            f"photos smaller than the crop of {crop} pixels: {shorten(small)}. "
            "Remove them or train with a smaller --crop."
        )


def cut(pair: Pair, window: Window, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Cut the same window out of both photos: low and high, each (h, w, 3) uint8.

    `rng` is drawn from only where the dark photo has to be synthesised.
    """
    high = pair.high[window]
    if pair.low is None:
        return darken(high, random_low_light(rng), rng), high
    return pair.low[window], high


def random_crop(pair: Pair, crop: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Cut a random square out of both photos, flipped and quarter-turned at random."""
    height, width = pair.high.shape[:2]
    top, left = rng.integers(height - crop + 1), rng.integers(width - crop + 1)
    low, high = cut(pair, np.s_[top : top + crop, left : left + crop], rng)
    turns = int(rng.integers(4))
    low, high = np.rot90(low, turns), np.rot90(high, turns)
    return (low[:, ::-1], high[:, ::-1]) if rng.integers(2) else (low, high)


def central_crop(pair: Pair, crop: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Cut the central square, or what there is of it, out of both photos."""
    height, width = pair.high.shape[:2]
    top, left = max(0, (height - crop) // 2), max(0, (width - crop) // 2)
    return cut(pair, np.s_[top : top + crop, left : left + crop], rng)


def to_tensor(images: Sequence[Pixels]) -> Tensor:
    """Stack (h, w, 3) uint8 images to a float tensor (b, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255.0


def training_batches(
    pairs: Sequence[Pair], crop: int, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch: a random crop of every pair, in random order.

    Yields:
        low and high, each (b, 3, crop, crop) in [0, 1]; the last batch may be smaller.
    """
    order = rng.permutation(len(pairs))
    for start in range(0, len(order), batch_size):
        crops = [random_crop(pairs[k], crop, rng) for k in order[start : start + batch_size]]
        yield to_tensor([low for low, _ in crops]), to_tensor([high for _, high in crops])


def validation_batches(
    pairs: Sequence[Pair], crop: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the central crop of every pair, the same at every call."""
    rng = np.random.default_rng(0)
    crops = [central_crop(pair, crop, rng) for pair in pairs]
    for start in range(0, len(crops), batch_size):
        part = crops[start : start + batch_size]
        yield to_tensor([low for low, _ in part]), to_tensor([high for _, high in part])
