"""Score weights on training photos, where nothing was held out: as results/choices.md does.

`python results/score_training_photos.py checkpoints/retinex_plus.safetensors` prints PSNR, PSNR
with the reference's mean and SSIM, means over every twelfth of LOL's photos that training with its
default seed doesn't hold out; then the same of every tenth of these whose view is there in other
light, too, against the references of that light. Exchanged pairs (`train.py --exchanged`) are such
as the latter, so neither tells what a network makes of photos that it doesn't know. With
`--jpeg 92` all dark photos are compressed first.
"""

from pathlib import Path

from score_weights import SEED, VAL_SHARE, score_named_files, show_scores, store, whole

from retinex.datasets import DatasetError
from retinex.photo import Pixels
from retinex.training.checkpoints import load_weights
from retinex.training.pairs import load_pairs
from retinex.training.scenes import find_others, split_by_scene

Photos = list[tuple[Pixels, Pixels]]
"""Dark photos and their references."""


def main() -> None:
    """Score what the command line names."""
    score_named_files(score_files, __doc__)


def score_files(files: list[Path], dataset: Path, jpeg: int | None = None) -> None:
    """Print a line for each file; `jpeg` is the quality that dark photos are compressed at."""
    loaded = {path: load_weights(path)[0] for path in files}
    chosen = choose_photos(dataset)
    print("own references: PSNR, with the mean, SSIM | other references of the view: the same")
    for path, net in loaded.items():
        shown = (
            show_scores(net, (whole(store(low, jpeg), high) for low, high in photos))
            for photos in chosen
        )
        print(" | ".join(shown), path, flush=True)


def choose_photos(dataset: Path) -> tuple[Photos, Photos]:
    """Return dark photos with their own references, and some with others of their view.

    Raises:
        DatasetError: no view is there in other light.
    """
    trained, _ = split_by_scene(load_pairs([dataset]), VAL_SHARE, SEED)
    pairs = [pair for pair in find_others(trained) if pair.low is not None]
    own = [(pair.low, pair.high) for pair in pairs[::12]]
    seen_again = [pair for pair in pairs if pair.others][::10]
    others = [(pair.low, other.high) for pair in seen_again for other in pair.others]
    if not others:
        raise DatasetError(f"{dataset} has no view in other light, which this compares")
    return own, others


if __name__ == "__main__":
    main()
