"""Draw R, I, Î and the output of an example photo over the epochs of a run of train.py.

`python results/make_epoch_strip.py runs/join results/join` makes results/join/epochs.webp of its
snapshots. Where Decom-Net is trained alone first, Î stays white until Enhance-Net's turn.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from retinex import open_photo
from retinex.contact_sheet import draw_contact_sheet
from retinex.photo import Pixels
from retinex.stages import COMPUTED_STAGES
from retinex.thumbnail import make_thumbnail
from retinex.training.checkpoints import CheckpointError, load_weights
from retinex.training.grids import run_stages

PHOTO = Path(__file__).parent.parent / "examples" / "astronaut.jpg"
MOST_COLUMNS = 6


def main() -> None:
    """Run snapshots from the first epochs to the last on the photo and write the strip."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder that train.py wrote")
    parser.add_argument("out", type=Path, help="folder that epochs.webp is written into")
    args = parser.parse_args()
    snapshots = sorted(args.run.glob("snapshots/*.safetensors"), key=phase_and_epoch)
    if not snapshots:
        parser.error(f"there are no snapshots in {args.run}")
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        strip = draw_strip(spread(snapshots))
    except CheckpointError as error:
        parser.error(str(error))
    strip.save(args.out / "epochs.webp", quality=75)


def phase_and_epoch(snapshot: Path) -> tuple[str, int]:
    """What snapshots are sorted by: decom before enhance, and epoch 1000 after 990."""
    phase, epoch = snapshot.stem.split("_")
    return phase, int(epoch)


def spread(snapshots: list[Path]) -> list[Path]:
    """Choose the first, the last and some evenly between them."""
    places = np.linspace(0, len(snapshots) - 1, min(MOST_COLUMNS, len(snapshots)))
    return [snapshots[k] for k in places.round().astype(int)]


def draw_strip(snapshots: list[Path]) -> Image.Image:
    """One row a stage, one column a snapshot."""
    photo = open_photo(PHOTO).rgb
    columns = [compute_stages(path, photo) for path in snapshots]
    rows = list(zip(*columns, strict=True))
    titles = [path.stem.replace("_", " epoch ") for path in snapshots]
    return draw_contact_sheet(rows, titles, [stage.label for stage in COMPUTED_STAGES], 160)


def compute_stages(weights: Path, photo: Pixels) -> list[Pixels]:
    """Run the network of `weights` on the photo."""
    net, *_ = load_weights(weights)
    return run_stages(net, photo, make_thumbnail(photo))


if __name__ == "__main__":
    main()
