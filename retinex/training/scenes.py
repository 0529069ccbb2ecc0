"""Which pairs show the same scene or view, and which scenes are held out of training."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse.csgraph import connected_components

from retinex.datasets import DatasetError, name_dataset
from retinex.photo import Pixels
from retinex.training.pairs import Pair

SAME_SCENE_CORRELATION = 0.9
"""Thumbnails correlated above this show one scene. On LOL's 485 photos any value from 0.8 to 0.97
finds between 227 and 240 scenes, none with more than six photos."""
SCENE_THUMBNAIL = (24, 16)
"""Width and height of what scenes are compared by."""
SAME_VIEW_CORRELATION = 0.6
"""Edges correlated above this lie on one another. Of the 371 pairs of LOL's photos that show one
scene all but four do, most by 0.9 and more; moved by one pixel, they fall by a half."""


def group_scenes(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Group pairs that show one scene, told by thumbnails of their normal photos.

    Datasets repeat scenes (LOL's 485 pairs show about 230): a random split would validate on
    scenes the network was trained on. What was photographed from elsewhere is another scene.
    """
    if not pairs:
        return []
    thumbnails = np.stack([_shrink(pair.high) for pair in pairs])
    same = thumbnails @ thumbnails.T > SAME_SCENE_CORRELATION
    count, scene_of = connected_components(same, directed=False)
    return [[pairs[k] for k in np.flatnonzero(scene_of == s).tolist()] for s in range(count)]


def find_others(pairs: Sequence[Pair]) -> list[Pair]:
    """Tell each pair which others show the same view, pixel by pixel; the order stays.

    Datasets take a view in several lights (most of LOL's do): each dark photo goes with each of the
    normal ones. Views count as the same by their edges; where photos are soft, they may be a few
    pixels apart.
    """
    others: dict[int, tuple[Pair, ...]] = {}
    for scene in group_scenes([pair for pair in pairs if pair.low is not None]):
        if len(scene) == 1:
            continue
        edges = [_edges(pair.high) for pair in scene]
        for pair, its_edges in zip(scene, edges, strict=True):
            others[id(pair)] = tuple(
                other
                for other, other_edges in zip(scene, edges, strict=True)
                if other is not pair
                and other.high.shape == pair.high.shape
                and its_edges @ other_edges > SAME_VIEW_CORRELATION
            )
    return [replace(pair, others=others.get(id(pair), ())) for pair in pairs]


def _edges(photo: Pixels) -> NDArray[np.float32]:
    """Differences of horizontal and vertical neighbours as a vector of mean 0 and length 1."""
    gray = photo.astype(np.float32).mean(axis=2)
    across, down = gray[1:, 1:] - gray[1:, :-1], gray[1:, 1:] - gray[:-1, 1:]
    return _normalise(np.stack([across, down]).ravel())


def _shrink(photo: Pixels) -> NDArray[np.float32]:
    """A tiny version of `photo` as a vector of mean 0 and length 1."""
    small = Image.fromarray(photo).resize(SCENE_THUMBNAIL, Image.Resampling.BOX)
    return _normalise(np.asarray(small, np.float32).ravel())


def _normalise(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shift and scale to mean 0 and length 1."""
    centred: NDArray[np.float32] = vector - vector.mean()
    return centred / (np.linalg.norm(centred) + 1e-6)


def split_by_scene(
    pairs: Sequence[Pair], validation_share: float, seed: int
) -> tuple[list[Pair], list[Pair]]:
    """Split into training and validation pairs so that no scene is in both.

    At least one scene is held out, and at least one is left; `seed` alone decides which. With a
    share of 0 nothing is held out.

    Raises:
        DatasetError: the pairs show a single scene.
    """
    if validation_share == 0:
        return list(pairs), []
    scenes = group_scenes(pairs)
    if len(scenes) < 2:
        raise DatasetError(
            f"the {len(pairs)} training pair(s) show a single scene; validation needs another one, "
            "or --val_share 0, which does without"
        )
    order = np.random.default_rng(seed).permutation(len(scenes)).tolist()
    held_out = min(max(1, round(validation_share * len(scenes))), len(scenes) - 1)
    validation = [pair for k in order[:held_out] for pair in scenes[k]]
    training = [pair for k in order[held_out:] for pair in scenes[k]]
    return training, validation


def names_of(pairs: Iterable[Pair], folders: Sequence[Path]) -> list[str]:
    """Name pairs as on any machine, sorted: "lol/179", of the dataset and the stem.

    Args:
        folders: what the pairs were loaded from.
    """
    return sorted(_name_photo(pair.path, folders) for pair in pairs)


def check_names(pairs: Iterable[Pair], folders: Sequence[Path]) -> None:
    """Raise `DatasetError` if `names_of` would give two photos one name.

    Of a photo by such a name nobody could tell afterwards whether it was held out.
    """
    paths: dict[str, Path] = {}
    for path in (pair.path for pair in pairs):
        name = _name_photo(path, folders)
        if (other := paths.setdefault(name, path)) != path:
            raise DatasetError(
                f"{other} and {path} would both be known as {name}, so that nobody could tell "
                "which was held out: rename one of them, or its dataset's folder"
            )


def _name_photo(path: Path, folders: Sequence[Path]) -> str:
    """Name a photo by the innermost of `folders` that holds it."""
    folder = max(set(folders) & set(path.parents), key=lambda holder: len(holder.parts))
    return f"{name_dataset(folder)}/{path.stem}"
