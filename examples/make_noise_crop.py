"""Make noise.webp: a plain wall of an example photo, enlarged, as every experiment leaves it."""

from pathlib import Path

import numpy as np

from retinex import EXPERIMENTS, Stage, enhance
from retinex.contact_sheet import draw_contact_sheet

FOLDER = Path(__file__).parent
PHOTO = FOLDER / "astronaut.jpg"
WALL = np.s_[90:150, 290:370]
"""Rows and columns that show little but wall."""
ENLARGED = 3
SHOWN = (Stage.REFLECTANCE, Stage.OUTPUT)


def main() -> None:
    """Run all experiments on the example and write the crops side by side."""
    results = [enhance(PHOTO, name) for name in EXPERIMENTS]
    crops = [[result.stages[stage][WALL] for result in results] for stage in SHOWN]
    sheet = draw_contact_sheet(
        rows=[[crop.repeat(ENLARGED, 0).repeat(ENLARGED, 1) for crop in row] for row in crops],
        columns=[experiment.title for experiment in EXPERIMENTS.values()],
        captions=[stage.label for stage in SHOWN],
        cell_width=ENLARGED * crops[0][0].shape[1],
    )
    sheet.save(FOLDER / "noise.webp", lossless=True)


if __name__ == "__main__":
    main()
