"""Score weights on training photos, where nothing was held out: as results/choices.md does.

`python results/score_training_photos.py checkpoints/retinex_plus.safetensors` prints PSNR, PSNR
with the reference's mean and SSIM, means over every twelfth of LOL's photos that training with its
default seed doesn't hold out; then the same of every tenth photo whose view is there in other
light, too, against the references of that light: what the network doesn't know by heart from it.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from score_weights import SEED, VAL_SHARE, whole

from retinex.datasets import DatasetError
from retinex.training.checkpoints import CheckpointError, load_weights
from retinex.training.pairs import Crops, Pair, load_pairs
from retinex.training.scenes import find_others, split_by_scene
from retinex.training.scores import score


def main() -> None:
    """Score what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, nargs="+", help=".safetensors files")
    parser.add_argument("--data", type=Path, default=Path("data/lol"), help="(default data/lol)")
    args = parser.parse_args()
    try:
        score_files(args.weights, args.data)
    except (CheckpointError, DatasetError) as error:
        parser.error(str(error))


def score_files(files: list[Path], dataset: Path) -> None:
    """Print a line for each file."""
    loaded = {path: load_weights(path)[0] for path in files}
    pairs = load_pairs([dataset])
    trained, _ = split_by_scene(pairs, VAL_SHARE, SEED)
    print("own references: PSNR, with the mean, SSIM | other references of the view: the same")
    for path, net in loaded.items():
        shown = (
            "{:.2f} {:.2f} {:.3f}".format(*score(net, photos).values())
            for photos in (own_references(trained[::12]), other_references(find_others(pairs)))
        )
        print(" | ".join(shown), path, flush=True)


def own_references(pairs: Sequence[Pair]) -> Iterator[Crops]:
    """Take both photos of each pair."""
    for pair in pairs:
        assert pair.low is not None
        yield whole(pair.low, pair.high)


def other_references(pairs: Sequence[Pair]) -> Iterator[Crops]:
    """Take each tenth dark photo with a view in other light, and the normal ones of that light."""
    for pair in [pair for pair in pairs if pair.others][::10]:
        for other in pair.others:
            assert pair.low is not None
            yield whole(pair.low, other.high)


if __name__ == "__main__":
    main()
