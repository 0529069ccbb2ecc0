"""Learning-rate schedules, stepped once an epoch."""

import math
from enum import StrEnum

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, ReduceLROnPlateau, StepLR


class Schedule(StrEnum):
    """How the learning rate falls over a phase."""

    STEP = "step"
    """To 30 % after each third of the epochs (StepLR)."""
    PLATEAU = "plateau"
    """Halved after more than five epochs without a better validation loss (as the study ran)."""
    COSINE = "cosine"
    """Along a half cosine to a hundredth of the smaller rate."""


def build_schedule(schedule: Schedule, optimizer: Optimizer, epochs: int) -> LRScheduler:
    """Attach `schedule` to `optimizer` for a phase of `epochs` epochs."""
    match schedule:
        case Schedule.STEP:
            return StepLR(optimizer, step_size=math.ceil(epochs / 3), gamma=0.3)
        case Schedule.PLATEAU:
            return ReduceLROnPlateau(optimizer, patience=5, factor=0.5)
        case Schedule.COSINE:
            lowest = 0.01 * min(group["lr"] for group in optimizer.param_groups)
            return CosineAnnealingLR(optimizer, T_max=epochs, eta_min=lowest)


def step_schedule(schedule: LRScheduler, validation_loss: float) -> None:
    """Advance `schedule` by one epoch that ended with `validation_loss`."""
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(validation_loss)
    else:
        schedule.step()
