"""Make the example photos: freely licensed ones, as they would look in very little light.

`python examples/make_examples.py` (needs scikit-image and scikit-learn, whose packages carry the
photos) darkens each with the model described in `retinex/training/low_light.py`. Sources and
licences are in examples/README.md.
"""

from pathlib import Path

import numpy as np
from skimage import data
from sklearn.datasets import load_sample_image

from retinex import save_photo
from retinex.photo import Photo, Pixels
from retinex.training.low_light import LowLight, darken

FOLDER = Path(__file__).parent
SEED = 0

EXAMPLES: dict[str, tuple[Pixels, LowLight]] = {
    "coffee": (data.coffee(), LowLight(exposure=0.02)),
    "cat": (data.chelsea(), LowLight(exposure=0.01, colour=(1.1, 1.0, 0.9))),
    "astronaut": (data.astronaut(), LowLight(exposure=0.012)),
    "temple": (load_sample_image("china.jpg"), LowLight(exposure=0.015, colour=(0.9, 1.0, 1.15))),
    "flower": (load_sample_image("flower.jpg"), LowLight(exposure=0.03, shot_noise=6e-5)),
    "rocket": (data.rocket(), LowLight(exposure=0.05)),
}
"""By file name: the photo and the light it is put in."""


def main() -> None:
    """Write one JPEG per example beside this file."""
    for name, (photo, light) in EXAMPLES.items():
        dark = darken(photo, light, np.random.default_rng(SEED))
        save_photo(dark, FOLDER / f"{name}.jpg", original=Photo(photo))


if __name__ == "__main__":
    main()
