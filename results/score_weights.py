"""Score weights as the tables of results/choices.md do: on scenes held out, and on other photos.

`python results/score_weights.py runs/join/snapshots/*.safetensors` prints PSNR, PSNR with the
reference's mean and SSIM, means over LOL's photos that training with its default seed holds out,
unless the weights may have seen these; then PSNR with the reference's mean and PSNR of photos from
elsewhere, darkened to shares of their light. With `--jpeg 92` all dark photos are compressed first.
Needs `pip install scikit-learn`, for two of the photos from elsewhere.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage import data

from retinex.datasets import DatasetError, may_have_seen, name_dataset
from retinex.photo import Pixels
from retinex.thumbnail import make_thumbnail
from retinex.training.build import Network
from retinex.training.checkpoints import CheckpointError, Facts, load_weights
from retinex.training.low_light import LowLight, compress, darken
from retinex.training.pairs import Crops, central_crop, load_pairs
from retinex.training.scenes import names_of, split_by_scene
from retinex.training.scores import score

VAL_SHARE, SEED = 0.05, 0
"""Those of train.py."""
WIDTH = 384
LARGEST_SIDE = 1024
"""Of larger photos their middle is scored: PyTorch would need gigabytes for the whole."""
SHARES_OF_LIGHT = (1.0, 0.6, 0.4, 0.3, 0.1, 0.03, 0.01)


def main() -> None:
    """Score what the command line names."""
    score_named_files(score_files, __doc__)


def score_named_files(
    score_files: Callable[[list[Path], Path, int | None], None], about: str
) -> None:
    """Score the files of weights and with the dataset that the command line names.

    Args:
        about: its first line describes the script.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("weights", type=Path, nargs="+", help=".safetensors files")
    parser.add_argument("--data", type=Path, default=Path("data/lol"), help="(default data/lol)")
    parser.add_argument("--jpeg", type=int, metavar="QUALITY", help="compress dark photos first")
    args = parser.parse_args()
    try:
        score_files(args.weights, args.data, args.jpeg)
    except (CheckpointError, DatasetError) as error:
        parser.error(str(error))


def score_files(files: list[Path], dataset: Path, jpeg: int | None = None) -> None:
    """Print a line for each file; `jpeg` is the quality that dark photos are compressed at."""
    pairs = load_pairs([dataset])
    _, held_out = split_by_scene(pairs, VAL_SHARE, SEED)
    settings = {
        **{"val_share": VAL_SHARE, "seed": SEED, "pairs": len(pairs)},
        "held_out": names_of(held_out, [dataset]),
    }
    loaded = {path: load_weights(path) for path in files}
    photos = load_photos()
    shares = " ".join(f"{share:6.0%}" for share in SHARES_OF_LIGHT)
    print(f"{len(held_out)} photos held out: PSNR, with the mean, SSIM |{shares} |{shares}")
    for path, (net, _, facts) in loaded.items():
        shown = "may have seen them, or this dataset by another name"
        if is_new_to(facts, name_dataset(dataset), settings):
            middles = (
                central_crop(pair, LARGEST_SIDE, np.random.default_rng(0)) for pair in held_out
            )
            stored = (crops._replace(low=store(crops.low, jpeg)) for crops in middles)
            shown = show_scores(net, stored)
        darkened = [
            score(net, (whole(store(darken_evenly(photo, share), jpeg), photo) for photo in photos))
            for share in SHARES_OF_LIGHT
        ]
        for name in ("psnr_gt_mean", "psnr"):
            shown += " |" + " ".join(f"{of_share[name]:6.2f}" for of_share in darkened)
        print(shown, path, flush=True)


def show_scores(net: Network, photos: Iterable[Crops]) -> str:
    """Return PSNR, PSNR with the reference's mean and SSIM, means over the photos."""
    return "{:.2f} {:.2f} {:.3f}".format(*score(net, photos).values())


def is_new_to(facts: Facts, data: str, settings: dict[str, Any]) -> bool:
    """Tell whether what a run holds out is new to a network and those it comes from.

    Datasets are known by their names: a network trained on no dataset `data` can't be judged.
    """
    return data in facts.get("settings", {}).get("data", []) and not may_have_seen(facts, settings)


def load_photos() -> list[Pixels]:
    """Return the photos that the demo's examples were made of, but the rocket, which is dark."""
    from sklearn.datasets import load_sample_image

    photos = [data.coffee(), data.astronaut(), data.chelsea()]
    photos += [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    sizes = [(WIDTH, WIDTH * photo.shape[0] // photo.shape[1]) for photo in photos]
    return [
        np.asarray(Image.fromarray(photo).resize(size))
        for photo, size in zip(photos, sizes, strict=True)
    ]


def whole(low: Pixels, high: Pixels) -> Crops:
    """Take both photos of a pair whole."""
    return Crops(low, high, make_thumbnail(low))


def store(photo: Pixels, jpeg: int | None) -> Pixels:
    """Return a photo as a JPEG file of this quality keeps it, or as it is."""
    return photo if jpeg is None else compress(photo, jpeg)


def darken_evenly(photo: Pixels, share: float) -> Pixels:
    """Leave a share of the light; all of it leaves the photo as it is."""
    if share == 1:
        return photo
    return darken(photo, LowLight(exposure=share), np.random.default_rng(0))


if __name__ == "__main__":
    main()
