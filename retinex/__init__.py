"""Brings dark photos to light with Retinex networks.

>>> import retinex
>>> result = retinex.enhance("dark.jpg")
>>> retinex.save_photo(result.output, "bright.jpg", original=result.photo)
>>> result.stages[retinex.Stage.ILLUMINATION].shape, result.device, result.seconds
"""

__version__ = "0.1.0"

from retinex.adjustments import Adjustments, adjust
from retinex.device import Device, DeviceError
from retinex.experiments import EXPERIMENTS, Experiment
from retinex.inference import Enhancement, Enhancer, ModelError, enhance
from retinex.photo import Photo, PhotoError, open_photo, save_photo
from retinex.stages import Stage

__all__ = [
    "EXPERIMENTS",
    "Adjustments",
    "Device",
    "DeviceError",
    "Enhancement",
    "Enhancer",
    "Experiment",
    "ModelError",
    "Photo",
    "PhotoError",
    "Stage",
    "adjust",
    "enhance",
    "open_photo",
    "save_photo",
]
