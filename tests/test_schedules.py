import pytest
import torch

from retinex.training.schedules import Schedule, build_schedule, step_schedule


def learning_rates(kind: Schedule, epochs: int, validation_losses: list[float]) -> list[float]:
    """The rate of every epoch, of one that starts at 1."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = build_schedule(kind, optimizer, epochs)
    rates = []
    for loss in validation_losses:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        step_schedule(schedule, loss)
    return rates


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Schedule.STEP, [1, 1, 0.3, 0.3, 0.09, 0.09]),
        # 0.01 + 0.99 · (1 + cos(π · epoch / 6)) / 2
        (Schedule.COSINE, [1, 0.9337, 0.7525, 0.505, 0.2575, 0.0763]),
    ],
)
def test_rates_that_fall_by_the_clock(kind: Schedule, expected: list[float]) -> None:
    assert learning_rates(kind, 6, [0.5] * 6) == pytest.approx(expected, abs=1e-4)


def test_plateau_halves_after_six_epochs_without_a_better_loss() -> None:
    better_until_the_third = [3.0, 2.0, 1.0] + [1.5] * 7
    rates = learning_rates(Schedule.PLATEAU, 10, better_until_the_third)
    assert rates == [1.0] * 9 + [0.5]
