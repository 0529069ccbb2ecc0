"""Optional experiment trackers behind two calls; a run's CSV file is written whatever is chosen."""

import importlib
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class TrackerName(StrEnum):
    """A tracker `train.py` can log to; all but `NONE` need `pip install -e ".[track]"`."""

    NONE = "none"
    TRACKIO = "trackio"
    """Local dashboard, no account."""
    WANDB = "wandb"
    """Weights & Biases; WANDB_MODE=offline works without an account."""
    TENSORBOARD = "tensorboard"


class TrackerError(RuntimeError):
    """A tracker can't be used; the message says how to install it."""


class Tracker:
    """Where the numbers and pictures of a run go: this one records nothing."""

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Record the numbers of one epoch."""

    def log_image(self, name: str, path: Path, step: int) -> None:
        """Record the picture at `path`."""

    def finish(self) -> None:
        """Write out what is pending."""


def start_tracker(
    name: TrackerName, run: str, folder: Path, settings: dict[str, Any], done: int
) -> Tracker:
    """Start recording the run called `run`, or go on with it; local files go below `folder`.

    Args:
        done: epochs recorded so far; TensorBoard hides what it has of later ones.

    Raises:
        TrackerError: the tracker's package isn't installed, or it can't start.
    """
    try:
        match name:
            case TrackerName.NONE:
                return Tracker()
            case TrackerName.TENSORBOARD:
                return TensorBoardTracker(folder / "tensorboard", done)
            case TrackerName.TRACKIO | TrackerName.WANDB:
                return WandbTracker(name, name_of(run, folder, done), folder, settings)
    except ModuleNotFoundError as error:
        raise TrackerError(f'{error}; install {name} with pip install -e ".[track]"') from error
    except Exception as error:  # each has its own kinds: nobody is logged in, there is no network
        raise TrackerError(f"{name} can't record this run: {error}") from error


def name_of(run: str, folder: Path, done: int) -> str:
    """Name a run as no other is, and as it was named if it goes on: the name is in `folder`."""
    file = folder / "tracker_name"
    if done == 0 or not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{run}-{secrets.token_hex(4)}")
    return file.read_text()


class WandbTracker(Tracker):
    """Records to wandb, or to trackio, which has the same interface."""

    def __init__(self, name: TrackerName, run: str, folder: Path, settings: dict[str, Any]) -> None:
        # trackio knows runs by their names, and its folder by TRACKIO_DIR in the environment.
        where = {"dir": folder, "id": run} if name is TrackerName.WANDB else {}
        self._module = importlib.import_module(name)
        self._module.init(project="retinex", name=run, config=settings, resume="allow", **where)

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Record the numbers of one epoch."""
        self._module.log(numbers, step=step)

    def log_image(self, name: str, path: Path, step: int) -> None:
        """Record the picture at `path`."""
        self._module.log({name: self._module.Image(str(path))}, step=step)

    def finish(self) -> None:
        """Wait until everything is recorded."""
        self._module.finish()


class TensorBoardTracker(Tracker):
    """Records event files for TensorBoard."""

    def __init__(self, folder: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=done + 1)

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Record the numbers of one epoch."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def log_image(self, name: str, path: Path, step: int) -> None:
        """Record the picture at `path`."""
        pixels = np.asarray(Image.open(path).convert("RGB"))
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def finish(self) -> None:
        """Write out what is pending."""
        self._writer.close()
