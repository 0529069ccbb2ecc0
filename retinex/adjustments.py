"""Changes to an enhanced photo that need no network: they combine the stages anew."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from retinex.inference import Enhancement
from retinex.photo import Pixels, split_rows
from retinex.stages import Stage

Floats = NDArray[np.float32]

MAX_EXPOSURE = 5.0
"""Stops that `Adjustments.exposure` goes up or down."""
GAMMA = 2.2
"""Light is about sRGB's values to this power: a stop makes them 2^(1 / 2.2) times as large."""

BRIGHT = 128
"""Illumination of 255 from which noise isn't amplified enough to touch the reflectance."""
NOISE = 1.0
"""Standard deviation of a dark photo's noise, in steps of 255; set on pairs of LOL's our485."""
SMALLEST_ILLUMINATION = 8.0
"""Added to the illumination, of 255: below, rounding says more than light."""
DENOISE_RADIUS = 2
"""Of the windows noise is averaged in; set on the same pairs."""
DENOISE_HALO = 4 * DENOISE_RADIUS
"""How far a pixel of a denoised reflectance sees: two guided filters, each twice its radius."""

SHOULDER = 0.8
"""Brightness from which more exposure compresses instead of multiplying."""

MASK_SIDE = 512
"""Longer side of the small copy that finds the bright areas, in pixels."""
DETAIL = 9
"""Dark details up to this size belong to the bright area around them, in pixels of that copy."""
MASK_RADIUS, MASK_CONTRAST = 12, 0.05
"""Of the guided filter: its window there, and the contrast that counts as an edge."""
DARK_AREA, BRIGHT_AREA = 0.12, 0.35
"""Brightness of the input where protection of highlights starts and where it is whole."""


@dataclass(frozen=True)
class Adjustments:
    """What `adjust` makes of an enhancement; the defaults change nothing.

    Attributes:
        strength: share of the enhancement, from 0 (the input) to 1 (all of it).
        highlight_protection: how far areas that are bright in the input stay as they are, 0 to 1.
        denoise: how much of the noise of dark areas is taken out of the reflectance, 0 to 1.
        exposure: in stops, how often the light is doubled, or halved below 0, from -5 to 5.
    """

    strength: float = 1.0
    highlight_protection: float = 0.0
    denoise: float = 0.0
    exposure: float = 0.0

    def __post_init__(self) -> None:
        """Raise a ValueError that names the range if a value isn't in it."""
        for name in ("strength", "highlight_protection", "denoise"):
            _check_range(name, getattr(self, name), 0.0, 1.0)
        _check_range("exposure", self.exposure, -MAX_EXPOSURE, MAX_EXPOSURE)


def adjust(enhancement: Enhancement, adjustments: Adjustments) -> Pixels:
    """Compute the final picture, (h, w, 3) uint8 RGB, from the stages alone.

    Noise is taken out first, then comes exposure, then strength and highlight protection mix the
    result with the input: both say how much of it a pixel gets. Mixing keeps colours because
    input = R · I and output = R · Î: w · output + (1 - w) · input = R · (w · Î + (1 - w) · I)
    is the same reflectance in another light, and black stays black.

    Where nothing is to be changed, this is the stage itself and not a copy.
    """
    stages = enhancement.stages
    if adjustments.strength == 0:
        return stages[Stage.INPUT]
    output = enhancement.output
    if adjustments.denoise > 0:
        output = _denoise_output(stages, adjustments.denoise)
    if adjustments.exposure != 0:
        output = _expose(output, adjustments.exposure)
    if adjustments.strength == 1 and adjustments.highlight_protection == 0:
        return output
    return _mix(stages[Stage.INPUT], output, adjustments.strength, adjustments.highlight_protection)


def denoise_reflectance(reflectance: Pixels, illumination: Pixels, strength: float) -> Pixels:
    """Take noise out of the reflectance in proportion to darkness, as the paper asks for.

    R = S / I: where I is small, the division amplifies the noise of the photo S (Wei et al.,
    BMVC 2018). So the contrast taken for noise is NOISE / I, in a guided filter (He
    et al., "Guided Image Filtering", TPAMI 2013): brightness guides itself, then the colours.
    What it changes counts in full at I = 0 and, linearly less, not at all from `BRIGHT` up.

    Args:
        reflectance: (h, w, 3) uint8 RGB.
        illumination: (h, w) uint8, that of the input.
        strength: share of the filter, from 0 (`reflectance` itself) to 1.

    Returns:
        A new image of the shape of `reflectance`, equal to it where the illumination is bright.

    Raises:
        ValueError: `strength` is out of range.
    """
    _check_range("strength", strength, 0.0, 1.0)
    denoised = reflectance.copy()
    height = len(reflectance)
    for rows in split_rows(height):
        if strength == 0 or not (illumination[rows] < BRIGHT).any():
            continue
        seen = slice(max(0, rows.start - DENOISE_HALO), min(height, rows.stop + DENOISE_HALO))
        inside = slice(rows.start - seen.start, rows.stop - seen.start)
        smooth = _smooth(reflectance[seen], illumination[seen])[inside]
        darkness = 1 - illumination[rows].astype(np.float32) / BRIGHT
        weight = np.asarray(strength * darkness.clip(0, 1)[:, :, None], np.float32)
        denoised[rows] = _mix_pixels(reflectance[rows], smooth, weight)
    return denoised


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # so written, it refuses NaN too
        raise ValueError(f"{name} must be from {low:g} to {high:g}, not {value}")


def _mix_pixels(start: Pixels, end: Pixels | Floats, weight: Floats) -> Pixels:
    """Go from `start` to `end`, both 0…255, by `weight` in [0, 1]; 0 and 1 give them exactly."""
    mixed = start + weight * (end.astype(np.float32) - start)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def _box_mean(image: Floats, radius: int) -> Floats:
    side = 2 * radius + 1
    return np.asarray(
        cv2.boxFilter(image, -1, (side, side), borderType=cv2.BORDER_REFLECT), np.float32
    )


def _guided_coefficients(
    image: Floats, guide: Floats, radius: int, noise_variance: Floats | float
) -> tuple[Floats, Floats]:
    """Return a and b of the guided filter a · guide + b of `image`; all (h, w)."""
    guide_mean, image_mean = _box_mean(guide, radius), _box_mean(image, radius)
    variance = _box_mean(guide * guide, radius) - guide_mean * guide_mean
    covariance = _box_mean(guide * image, radius) - guide_mean * image_mean
    slope = np.asarray(covariance / (variance + noise_variance), np.float32)
    return _box_mean(slope, radius), _box_mean(image_mean - slope * guide_mean, radius)


def _guided_filter(image: Floats, guide: Floats, noise_variance: Floats) -> Floats:
    slope, offset = _guided_coefficients(image, guide, DENOISE_RADIUS, noise_variance)
    return slope * guide + offset


def _smooth(reflectance: Pixels, illumination: Pixels) -> Floats:
    """Filter a whole reflectance, noise variance (NOISE / I)²; returns values in 0…255."""
    noise_variance = (NOISE / (illumination.astype(np.float32) + SMALLEST_ILLUMINATION)) ** 2
    scaled = reflectance.astype(np.float32) / 255
    in_planes = cv2.split(cv2.cvtColor(scaled, cv2.COLOR_RGB2YCrCb))
    luma, *chroma = (np.asarray(plane, np.float32) for plane in in_planes)
    luma = _guided_filter(luma, luma, noise_variance)
    chroma = [_guided_filter(plane, luma, noise_variance) for plane in chroma]
    smooth = cv2.cvtColor(cv2.merge([luma, *chroma]), cv2.COLOR_YCrCb2RGB)
    return np.asarray(smooth * 255, np.float32)


def _denoise_output(stages: dict[Stage, Pixels], strength: float) -> Pixels:
    """Add to the output what denoising changes in R, in the light of Î.

    Not R · Î from the stages: Î is clipped at 1 there, the output was multiplied before.
    """
    reflectance, output = stages[Stage.REFLECTANCE], stages[Stage.OUTPUT]
    denoised = denoise_reflectance(reflectance, stages[Stage.ILLUMINATION], strength)
    for rows in split_rows(len(output)):
        change = denoised[rows].astype(np.float32) - reflectance[rows]
        light = stages[Stage.ENHANCED_ILLUMINATION][rows, :, None].astype(np.float32) / 255
        denoised[rows] = np.rint(output[rows] + change * light).clip(0, 255).astype(np.uint8)
    return denoised


def _expose(output: Pixels, stops: float) -> Pixels:
    """Double light `stops` times, in all channels alike, with a shoulder instead of clipping."""
    gains = _exposure_gains(stops)
    exposed = np.empty_like(output)
    for rows in split_rows(len(output)):
        gain = gains[output[rows].max(axis=2)]
        exposed[rows] = np.rint(output[rows] * gain[:, :, None]).astype(np.uint8)
    return exposed


def _exposure_gains(stops: float) -> Floats:
    """Return the factor for a pixel of each brightness (largest channel) from 0 to 255.

    Less light only multiplies. More light multiplies up to `SHOULDER`; from there to white a
    hyperbola goes on with the same slope, so that nothing clips and 0 stops change nothing.
    """
    gain = 2.0 ** (stops / GAMMA)
    if gain <= 1:
        return np.full(256, gain, np.float32)
    brightness = np.arange(256) / 255
    start = SHOULDER / gain
    along = ((brightness - start) / (1 - start)).clip(0, 1)
    slope = gain * (1 - start) / (1 - SHOULDER)
    shoulder = SHOULDER + (1 - SHOULDER) * slope * along / (1 + (slope - 1) * along)
    exposed = np.where(brightness <= start, gain * brightness, shoulder)
    gains = np.full(256, gain, np.float32)
    gains[1:] = exposed[1:] / brightness[1:]
    return gains


def _mix(rgb: Pixels, output: Pixels, strength: float, protection: float) -> Pixels:
    """Give each pixel its share of `output`: less of it in the bright areas of the input."""
    mixed = np.empty_like(output)
    areas = _BrightAreas(rgb) if protection > 0 else None
    for rows in split_rows(len(rgb)):
        weight = np.full((1, 1, 1), strength, np.float32)
        if areas is not None:
            weight = np.asarray(
                weight * (1 - protection * areas.mask(rows)[:, :, None]), np.float32
            )
        mixed[rows] = _mix_pixels(rgb[rows], output[rows], weight)
    return mixed


class _BrightAreas:
    """Where a photo is bright already: smooth within areas, sharp at their edges.

    A guided filter of which only the application is done at full size (He and Sun, "Fast Guided
    Filter", 2015). Small dark details, as letters on paper, are closed before: treated as dark
    they would lose their contrast to the paper.
    """

    def __init__(self, rgb: Pixels) -> None:
        self._rgb = rgb
        height, width = rgb.shape[:2]
        shrink = max(1.0, max(height, width) / MASK_SIDE)
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.float32)
        guide = small.max(axis=2) / 255
        detail = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (DETAIL, DETAIL))
        closed = np.asarray(cv2.morphologyEx(guide, cv2.MORPH_CLOSE, detail), np.float32)
        coefficients = _guided_coefficients(closed, guide, MASK_RADIUS, MASK_CONTRAST**2)
        # Wide already, high only in `mask`, a block at a time.
        self._slope, self._offset = (
            np.asarray(cv2.resize(plane, (width, size[1])), np.float32) for plane in coefficients
        )

    def mask(self, rows: slice) -> Floats:
        """Return (rows, w) from 0, dark, to 1, bright."""
        last, height = len(self._slope) - 1, len(self._rgb)
        centres = np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5
        position = (centres * np.float32((last + 1) / height) - 0.5).clip(0, last)
        above = position.astype(np.intp)
        below = np.minimum(above + 1, last)
        share = (position - above).astype(np.float32)[:, None]
        slope = self._slope[above] * (1 - share) + self._slope[below] * share
        offset = self._offset[above] * (1 - share) + self._offset[below] * share
        brightness = slope * (self._rgb[rows].max(axis=2).astype(np.float32) / 255) + offset
        ramp = ((brightness - DARK_AREA) / (BRIGHT_AREA - DARK_AREA)).clip(0, 1)
        return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)
