"""Make the picture at the top of README: every stage of every experiment on one example photo."""

from pathlib import Path

from retinex import EXPERIMENTS, Stage, enhance
from retinex.contact_sheet import draw_contact_sheet

FOLDER = Path(__file__).parent
PHOTO = FOLDER / "coffee.jpg"


def main() -> None:
    """Run all experiments on the example and write stages.webp."""
    results = [enhance(PHOTO, name) for name in EXPERIMENTS]
    sheet = draw_contact_sheet(
        rows=[[result.stages[stage] for stage in Stage] for result in results],
        columns=[stage.label for stage in Stage],
        captions=[experiment.title for experiment in EXPERIMENTS.values()],
        cell_width=240,
    )
    sheet.save(FOLDER / "stages.webp", quality=90)


if __name__ == "__main__":
    main()
