"""A model of what a camera makes of a scene in little light, to make dark photos of normal ones.

The steps are those of a camera (a short form of Foi et al., "Practical Poissonian-Gaussian Noise
Modeling and Fitting for Single-Image Raw-Data", IEEE TIP 2008, between two tone curves):

1. undo the tone curve: x = v^2.2 is proportional to light, v the photo in [0, 1];
2. less light, each colour channel with its own share: x ← exposure · colour · x;
3. noise: x ← x + N(0, shot · x + read²), the shot noise of photons and the sensor's read noise;
4. a tone curve again: v = x^(1 / gamma); a gamma below 2.2 darkens shadows further;
5. round to 8 bits;
6. compress as JPEG, if at all (`compress`).
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retinex.photo import Pixels

CAMERA_GAMMA = 2.2
STEEPEST_GAMMA = 1.2
"""The tone curve of the darkest photos; LOL's dark ones have 1.0 to 1.75."""
DARKEST_EXPOSURE = 0.004
TINTS_ACROSS = 4
"""Places along each side of a photo that get a tint of their own."""
STRONGEST_TINT = 0.3
"""Standard deviation of the logarithm of a channel's brightness."""

Tints = NDArray[np.float32]
"""Factors of red, green and blue in places evenly spread, around 1, (h, w, 3)."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in tints' places."""


@dataclass(frozen=True)
class LowLight:
    """How dark, how noisy and how tinted; the defaults are a camera's in a hundredth of the light.

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


FULL_LIGHT = LowLight(exposure=1, shot_noise=0, read_noise=0)
"""Leaves a photo as it is."""


def random_low_light(
    rng: np.random.Generator, brightest: float = 0.1, mildness: float = 1.0
) -> LowLight:
    """Draw conditions for one training photo: noise, mild tints, and an exposure.

    The darker, the steeper tone curves may be: a photo in full light is to keep its own.

    Args:
        brightest: exposures lie between 0.4 % and this, a share of the light as well.
        mildness: 1 spreads their logarithms evenly; more draws brighter ones more often.
    """
    red, blue = rng.uniform(0.85, 1.15, size=2)
    exposure = brightest * (DARKEST_EXPOSURE / brightest) ** (rng.random() ** mildness)
    darkness = np.log(exposure) / np.log(DARKEST_EXPOSURE)
    steepest = CAMERA_GAMMA + darkness * (STEEPEST_GAMMA - CAMERA_GAMMA)
    return LowLight(
        exposure=float(exposure),
        gamma=float(rng.uniform(steepest, CAMERA_GAMMA + 0.1 * darkness)),
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


def random_tints(rng: np.random.Generator) -> Tints:
    """Draw tints of random strength that differ from place to place, as no room's light does."""
    strength = rng.uniform(0, STRONGEST_TINT)
    logarithms = strength * rng.standard_normal((TINTS_ACROSS, TINTS_ACROSS, 3), dtype=np.float32)
    tints: Tints = np.exp(logarithms - logarithms.mean())
    return tints


def tint(photo: Pixels, tints: Tints, box: Box | None = None) -> Pixels:
    """Return `photo`, (h, w, 3) uint8, tinted smoothly and clipped; same shape and dtype.

    Args:
        box: where among the tints `photo` lies, if not in all of them.
    """
    height, width = photo.shape[:2]
    factors = [
        np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR, box))
        for channel in np.moveaxis(tints, 2, 0).copy()
    ]
    tinted = photo * np.stack(factors, axis=2)
    pixels: Pixels = np.rint(tinted.clip(0, 255)).astype(np.uint8)
    return pixels


def compress(photo: Pixels, quality: int, halve_colours: bool = True) -> Pixels:
    """Return `photo`, (h, w, 3) uint8, as a JPEG file keeps it; same shape and dtype.

    Args:
        quality: Pillow's, from 0 to 100.
        halve_colours: keep them at half resolution (4:2:0), as most files do, or else at full.
    """
    file = io.BytesIO()
    subsampling = "4:2:0" if halve_colours else "4:4:4"
    Image.fromarray(photo).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))
