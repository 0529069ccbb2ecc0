"""What whoever starts the demo decides: by the command line or, on a server, the environment."""

import argparse
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from retinex.device import Device
from retinex.inference import MODELS_FOLDER

LARGEST_MEGAPIXELS = 178
"""Pillow refuses more."""


@dataclass(frozen=True)
class Settings:
    """How the demo runs.

    Attributes:
        device: what the networks run on.
        models: folder of the ONNX files.
        max_megapixels: larger photos are refused.
    """

    device: Device
    models: Path
    max_megapixels: float


def parse_arguments() -> Settings:
    """Read the command line; its defaults come from the environment, for servers.

    Variables without a value count as not set: Compose sets them so.
    """
    parser = argparse.ArgumentParser(description="Open the demo in the browser.")
    parser.add_argument(
        "--device",
        type=parse_device,
        metavar=f"{{{','.join(Device)}}}",
        default=os.environ.get("RETINEX_DEVICE") or "auto",
        help="what the networks run on (environment: RETINEX_DEVICE; default auto)",
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=os.environ.get("RETINEX_MODELS") or str(MODELS_FOLDER),
        help="folder of the ONNX files (environment: RETINEX_MODELS; default onnx_models)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=parse_megapixels,
        default=os.environ.get("RETINEX_MAX_MEGAPIXELS") or "24",
        help="largest photo accepted (environment: RETINEX_MAX_MEGAPIXELS; default 24)",
    )
    return Settings(**vars(parser.parse_args()))


def parse_device(text: str) -> Device:
    """Read the name of a device; unlike `choices`, this checks the environment's, too."""
    with suppress(ValueError):
        return Device(text)
    raise argparse.ArgumentTypeError(f"expected {', '.join(Device)}, got {text!r}")


def parse_megapixels(text: str) -> float:
    """Read a number of megapixels."""
    with suppress(ValueError):  # no number at all
        megapixels = float(text)
        if 0 < megapixels <= LARGEST_MEGAPIXELS:
            return megapixels
    raise argparse.ArgumentTypeError(
        f"expected a number above 0, up to {LARGEST_MEGAPIXELS}, got {text!r}"
    )
