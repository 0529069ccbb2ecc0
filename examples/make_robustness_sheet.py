"""Make robustness.webp: what every experiment makes of photos from elsewhere.

Freely licensed photos (examples/README.md names them) as they are and in less and less light, and
synthetic extremes: street lights at night, and a frame of nothing but noise. Needs scikit-image.
"""

from pathlib import Path

import numpy as np
from skimage import data

from retinex import EXPERIMENTS, enhance
from retinex.contact_sheet import draw_contact_sheet
from retinex.photo import Pixels
from retinex.training.low_light import LowLight, darken

FOLDER = Path(__file__).parent
SEED = 0
EXPOSURES = (0.3, 0.1, 0.03, 0.01)


def main() -> None:
    """Enhance every case by every experiment and write the sheet."""
    cases = list_cases()
    rows = [
        [photo, *(enhance(photo, experiment).output for experiment in EXPERIMENTS)]
        for photo in cases.values()
    ]
    columns = ["Input", *(experiment.title for experiment in EXPERIMENTS.values())]
    sheet = draw_contact_sheet(rows, columns, list(cases), cell_width=200)
    sheet.save(FOLDER / "robustness.webp", quality=75)


def list_cases() -> dict[str, Pixels]:
    """Make the photos, by what is said above them."""
    rng = np.random.default_rng(SEED)
    cases = {}
    for name, photo in (("Astronaut", data.astronaut()), ("Coffee", data.coffee())):
        cases[f"{name}, as photographed"] = photo
        for exposure in EXPOSURES:
            dark = darken(photo, LowLight(exposure=exposure), rng)
            cases[f"{name}, {exposure:.0%} of the light"] = dark
    cases["Rocket launch at night, as photographed"] = data.rocket()
    cases["Street lights (synthetic)"] = paint_street_lights(rng)
    cases["Nothing but noise (synthetic)"] = rng.poisson(3, (300, 450, 3)).astype(np.uint8)
    return cases


def paint_street_lights(rng: np.random.Generator) -> Pixels:
    """Paint lamps of several colours and their glow on a dark street, (300, 450, 3)."""
    rows, columns = np.indices((300, 450))
    street = np.full((300, 450, 3), 0.004)
    street[180:] = 0.008
    lamps = {(90, 60): (1.0, 0.55, 0.1), (80, 180): (1.0, 0.9, 0.7), (100, 300): (0.1, 0.9, 0.3)}
    lamps[95, 400] = (0.9, 0.1, 0.1)
    for (row, column), colour in lamps.items():
        distance = np.hypot(rows - row, columns - column)
        light = np.exp(-((distance / 6) ** 2)) + 0.02 * np.exp(-distance / 40)
        street += light[:, :, None] * np.asarray(colour)
    scene = (street.clip(0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
    return darken(scene, LowLight(exposure=1.0, shot_noise=6e-5), rng)


if __name__ == "__main__":
    main()
