"""`results/make_epoch_strip.py`, which draws a photo over the epochs of a run."""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "results" / "make_epoch_strip.py"


def test_snapshots_are_in_the_order_of_training() -> None:
    names = ["decom_990", "decom_1000", "enhance_010", "enhance_200"]
    shuffled = [Path(f"{name}.safetensors") for name in (*names[1::2], *names[::2])]

    ordered = sorted(shuffled, key=runpy.run_path(str(SCRIPT))["phase_and_epoch"])

    assert [path.stem for path in ordered] == names
