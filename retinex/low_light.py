"""A model of what a camera makes of a scene in little light, to make dark photos of normal ones.

The steps are those of a camera (a short form of Foi et al., "Practical Poissonian-Gaussian Noise
Modeling and Fitting for Single-Image Raw-Data", IEEE TIP 2008, between two tone curves):

1. undo the tone curve: x = v^2.2 is proportional to light, v the photo in [0, 1];
2. less light, each colour channel with its own share: x ← exposure · colour · x;
3. noise: x ← x + N(0, shot · x + read²), the shot noise of photons and the sensor's read noise;
4. a tone curve again: v = x^(1 / gamma); a gamma below 2.2 darkens shadows further;
5. round to 8 bits.
"""

from dataclasses import dataclass

import numpy as np

from retinex.photo import Pixels

CAMERA_GAMMA = 2.2
DARKEST_EXPOSURE = 0.004


@dataclass(frozen=True)
class LowLight:
    """How dark, how noisy and how tinted; the defaults resemble the LOL dataset's dark photos.

    Attributes:
        exposure: share of the light that is left, in (0, 1].
        gamma: the tone curve applied at the end is x^(1 / gamma).
        shot_noise: variance of the noise per unit of light.
        read_noise: standard deviation of the noise in the dark, in units of full light.
        colour: relative share of red, green and blue light.
    """

    exposure: float = 0.01
    gamma: float = 2.2
    shot_noise: float = 2e-5
    read_noise: float = 2e-4
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


def random_low_light(rng: np.random.Generator, brightest: float = 0.1) -> LowLight:
    """Draw conditions for one training photo: noise, mild tints, and a log-uniform exposure.

    The exposure lies between 0.4 % and `brightest`, a share of the light as well.
    """
    red, blue = rng.uniform(0.85, 1.15, size=2)
    return LowLight(
        exposure=float(np.exp(rng.uniform(np.log(DARKEST_EXPOSURE), np.log(brightest)))),
        gamma=float(rng.uniform(1.9, 2.3)),
        shot_noise=float(np.exp(rng.uniform(np.log(3e-6), np.log(6e-5)))),
        read_noise=float(np.exp(rng.uniform(np.log(3e-5), np.log(4e-4)))),
        colour=(float(red), 1.0, float(blue)),
    )


def darken(photo: Pixels, light: LowLight, rng: np.random.Generator) -> Pixels:
    """Return `photo`, (h, w, 3) uint8, as it would look under `light`; same shape and dtype."""
    scene = (photo.astype(np.float32) / 255.0) ** CAMERA_GAMMA
    scene *= light.exposure * np.asarray(light.colour, np.float32)
    noise = rng.standard_normal(scene.shape, dtype=np.float32)
    scene += noise * np.sqrt(light.shot_noise * scene + light.read_noise**2)
    dark = scene.clip(0.0, 1.0) ** (1.0 / light.gamma)
    return np.rint(dark * 255.0).astype(np.uint8)
