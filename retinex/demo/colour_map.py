"""Illuminations in colours, which tell small differences of light that grays hide."""

import cv2
import numpy as np

from retinex.photo import Pixels

COLOUR_MAP = cv2.COLORMAP_VIRIDIS
"""From dark blue to yellow: as bright as what it stands for, and told apart by the colour-blind."""


def colour(illumination: Pixels) -> Pixels:
    """Colour an illumination, (h, w) uint8; returns (h, w, 3) uint8 RGB."""
    return np.asarray(
        cv2.cvtColor(cv2.applyColorMap(illumination, COLOUR_MAP), cv2.COLOR_BGR2RGB), np.uint8
    )


def list_colours() -> list[str]:
    """List nine evenly spaced colours from dark to bright as CSS writes them."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return [f"rgb({red} {green} {blue})" for red, green, blue in colour(levels[None])[0]]
