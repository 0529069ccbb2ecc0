"""Make losses.webp of the log.csv files in this folder. Needs matplotlib."""

import csv
from pathlib import Path
from typing import NamedTuple

from matplotlib import pyplot
from matplotlib.axes import Axes

FOLDER = Path(__file__).parent
COLUMNS = 3

Row = dict[str, str]


class Panel(NamedTuple):
    """A part of the figure.

    Attributes:
        title: what its runs have in common.
        loss: the loss that is drawn, as log.csv's columns name it.
        runs: glob pattern of the runs' folders.
        end_to_end: each run goes on from what the ones before made.
    """

    title: str
    loss: str
    runs: str
    end_to_end: bool = False


PANELS = (
    Panel("Decom-Net, as released", "decom", "*"),
    Panel("Enhance-Net, as released", "enhance", "*"),
    Panel("PlusNet: runs end to end, pairs varied from 2 on", "plus", "retinex_plus/*", True),
    Panel("Decom-Net, 200 epochs", "decom", "long/*"),
    Panel("Enhance-Net, 200 epochs", "enhance", "long/*"),
    Panel("Enhance-Net, StepLR and ReduceLROnPlateau", "enhance", "schedules/*"),
)


def main() -> None:
    """Draw all panels."""
    rows = -(-len(PANELS) // COLUMNS)
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(13, 4 * rows), layout="constrained")
    figure.suptitle("Losses in validation (solid) and training (dotted)")
    for panel, drawn in zip(PANELS, axes.flat, strict=True):
        draw_panel(drawn, panel)
    figure.savefig(FOLDER / "losses.webp", dpi=100)


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw how the panel's loss fell in each of its runs that has it."""
    done = 0
    for number, path in enumerate(sorted(FOLDER.glob(f"{panel.runs}/log.csv"))):
        rows = [row for row in read_log(path) if row[f"train_{panel.loss}"]]
        if not rows:
            continue
        axes.plot([], [], f"C{number}", label=path.parent.name)
        for kind, style in (("val", "solid"), ("train", "dotted")):
            drawn = [row for row in rows if row[f"{kind}_{panel.loss}"]]  # nothing held out: none
            epochs = [done + int(row["epoch"]) for row in drawn]
            losses = [float(row[f"{kind}_{panel.loss}"]) for row in drawn]
            axes.plot(epochs, losses, f"C{number}", linestyle=style)
        if panel.end_to_end:
            done += len(rows)
    axes.set_title(panel.title, fontsize="medium")
    axes.set(xlabel="epoch", yscale="log")
    axes.legend(fontsize="small")


def read_log(path: Path) -> list[Row]:
    """Read the log that train.py wrote."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
