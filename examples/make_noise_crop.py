"""Make noise.webp: a plain wall of an example photo as every experiment leaves it.

Enlarged, and with its contrast raised around its mean to make noise visible.
"""

from pathlib import Path

import numpy as np

from retinex import EXPERIMENTS, Stage, enhance
from retinex.contact_sheet import draw_contact_sheet
from retinex.photo import Pixels

FOLDER = Path(__file__).parent
PHOTO = FOLDER / "astronaut.jpg"
WALL = np.s_[90:150, 315:375]
"""Rows and columns that show little but wall."""
ENLARGED = 4
CONTRAST = 4
SHOWN = (Stage.REFLECTANCE, Stage.OUTPUT)


def main() -> None:
    """Run all experiments on the example and write the crops side by side."""
    results = [enhance(PHOTO, name) for name in EXPERIMENTS]
    crops = [[result.stages[stage][WALL] for result in results] for stage in SHOWN]
    sheet = draw_contact_sheet(
        rows=[[magnify(crop) for crop in row] for row in crops],
        columns=[experiment.title for experiment in EXPERIMENTS.values()],
        captions=[stage.label for stage in SHOWN],
        cell_width=ENLARGED * crops[0][0].shape[1],
    )
    sheet.save(FOLDER / "noise.webp", lossless=True)


def magnify(crop: Pixels) -> Pixels:
    """Enlarge a crop and raise its contrast."""
    mean = crop.mean(axis=(0, 1))
    stretched = mean + CONTRAST * (crop - mean)
    pixels = stretched.clip(0, 255).astype(np.uint8)
    return pixels.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)


if __name__ == "__main__":
    main()
