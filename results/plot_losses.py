"""Make losses.webp of every log.csv below `results/<experiment>`. Needs matplotlib."""

import csv
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes

FOLDER = Path(__file__).parent
LOSSES = {"decom": "Decom-Net", "enhance": "Enhance-Net", "plus": "PlusNet"}

Row = dict[str, str]


def main() -> None:
    """Draw one panel a loss, with a line a run."""
    paths = sorted(FOLDER.rglob("log.csv"))
    logs = {str(path.parent.relative_to(FOLDER)): read_log(path) for path in paths}
    figure, panels = pyplot.subplots(1, len(LOSSES), figsize=(12, 6), layout="constrained")
    figure.suptitle("Losses in validation (solid) and training (dotted)")
    for panel, (loss, title) in zip(panels, LOSSES.items(), strict=True):
        draw_panel(panel, loss, logs)
        panel.set(title=title, xlabel="epoch", yscale="log")
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), fontsize="small")
    figure.savefig(FOLDER / "losses.webp", dpi=100)


def read_log(path: Path) -> list[Row]:
    """Read the log that train.py wrote."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def draw_panel(panel: Axes, loss: str, logs: dict[str, list[Row]]) -> None:
    """Draw how `loss` fell in each run that has it; runs on all pairs have no validation."""
    for number, (experiment, rows) in enumerate(logs.items()):
        rows = [row for row in rows if row[f"train_{loss}"]]
        if not rows:
            continue
        panel.plot([], [], f"C{number}", label=experiment)
        for kind, style in (("val", "solid"), ("train", "dotted")):
            losses = {int(row["epoch"]): row[f"{kind}_{loss}"] for row in rows}
            drawn = {epoch: float(value) for epoch, value in losses.items() if value}
            panel.plot(drawn.keys(), drawn.values(), f"C{number}", linestyle=style)


if __name__ == "__main__":
    main()
