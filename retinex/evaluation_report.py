"""An evaluation in writing: results.csv with every image, results.md and the terminal's table."""

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retinex.evaluation import ImageScores, mean_values
from retinex.experiments import EXPERIMENTS


@dataclass(frozen=True)
class Column:
    """How a number is shown: what stands above it, and its decimals."""

    title: str
    digits: int


COLUMNS = {
    "psnr": Column("PSNR, dB", 2),
    "ssim": Column("SSIM", 4),
    "psnr_gt_mean": Column("GT-mean PSNR, dB", 2),
    "flat_noise": Column("noise in plain areas", 2),
    "flat_noise_of_reference": Column("the reference's", 2),
    "enhanced_illumination_mean": Column("mean of Î", 3),
    "enhanced_illumination_spread": Column("spread of Î", 3),
    "unclipped_enhanced_illumination_mean": Column("mean, unclipped", 3),
    "unclipped_enhanced_illumination_spread": Column("spread, unclipped", 3),
    "decom_loss": Column("Decom loss", 4),
    "enhance_loss": Column("Enhance loss", 4),
    "lpips": Column("LPIPS", 4),
    "seconds_per_megapixel": Column("s/megapixel", 2),
}
"""All numbers, in the order of the tables."""
HEADLINES = {"psnr", "ssim", "psnr_gt_mean", "lpips", "seconds_per_megapixel"}
"""What fits into a terminal."""
OPTIONAL_COLUMNS = {"lpips"}
"""Left out where no image has the number; the others stay empty then."""

PROTOCOL = """\
8-bit RGB at full size. **PSNR** over all pixels and channels; **SSIM** with scikit-image's
defaults (uniform 7×7 window, K₁ = 0.01, K₂ = 0.03, mean over channels). **GT-mean PSNR**: PSNR
after scaling the output to the reference's mean gray value; such figures can't be compared with
plain PSNR. **Noise in plain areas**: standard deviation of the output's luma within 9×9 pixels, in
steps of 255, where that of the reference is below 2; empty if it is so nowhere. **Mean** and
**spread of Î**: mean and standard deviation of the enhanced illumination, clipped at white = 1;
**unclipped**: the same in PyTorch, of the photos resized to 297×297. **Decom** and **Enhance
loss**: the paper's training losses, with the weights of its code, of the pairs so resized.
**s/megapixel**: time of the networks alone, on the machine of this run, with all that ran beside.
All means are means over images; a number that an image hasn't got has none.
"""


def columns_of(scores: Sequence[ImageScores]) -> list[str]:
    """List the names of the columns that tables of `scores` have."""
    return [
        name
        for name in COLUMNS
        if name not in OPTIONAL_COLUMNS or any(name in s.values for s in scores)
    ]


def by_experiment(scores: Sequence[ImageScores]) -> dict[str, list[ImageScores]]:
    """Group scores; experiments come in the order of their first image."""
    groups: dict[str, list[ImageScores]] = {}
    for image_scores in scores:
        groups.setdefault(image_scores.experiment, []).append(image_scores)
    return groups


def write(
    scores: Sequence[ImageScores], heading: str, notes: Sequence[str], out: Path, complete: bool
) -> Path:
    """Write results.csv and results.md into the folder `out`; return the latter.

    A part of an evaluation doesn't take the place of the whole of an earlier one: its files are
    results-partial.csv and results-partial.md.
    """
    name = "results" if complete else "results-partial"
    for former in out.glob("results-partial.*"):
        former.unlink()
    write_csv(scores, out / f"{name}.csv")
    write_markdown(scores, heading, notes, out / f"{name}.md")
    return out / f"{name}.md"


def write_csv(scores: Sequence[ImageScores], path: Path) -> None:
    """Write one line per experiment and image, at full precision; "inf" for equal pictures."""
    columns = columns_of(scores)
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(["experiment", "image", *columns])
        for group in by_experiment(scores).values():
            for s in group:
                numbers = [s.values.get(name, "") for name in columns]
                writer.writerow([s.experiment, s.image, *numbers])


def mean_table(scores: Sequence[ImageScores], wanted: Collection[str] = tuple(COLUMNS)) -> str:
    """Draw the means, one line per experiment, as a Markdown table that is readable as text."""
    columns = [name for name in columns_of(scores) if name in wanted]
    rows = {name: mean_values(group) for name, group in by_experiment(scores).items()}
    return _draw_table("experiment", columns, rows)


def write_markdown(
    scores: Sequence[ImageScores], heading: str, notes: Sequence[str], path: Path
) -> None:
    """Write the table of means, what it means, `notes`, and a table of all images each."""
    columns = columns_of(scores)
    parts = [f"# {heading}\n", mean_table(scores), PROTOCOL]
    if notes:
        parts.append("".join(f"- {note}\n" for note in notes))
    for experiment, group in by_experiment(scores).items():
        title = EXPERIMENTS[experiment].title if experiment in EXPERIMENTS else experiment
        images = {s.image.replace("|", "\\|"): s.values for s in group}
        parts += [f"## {title} (`{experiment}`)\n", _draw_table("image", columns, images)]
    path.write_text("\n".join(parts), encoding="utf-8", errors="replace")


def _draw_table(first: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, float]]) -> str:
    cells = [[first, *(COLUMNS[name].title for name in columns)]]
    cells += [[row, *(_format(name, values) for name in columns)] for row, values in rows.items()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_draw_line(line, widths) for line in cells]
    rule = [f":{'-' * (widths[0] - 1)}", *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    lines.insert(1, _draw_line(rule, widths))
    return "\n".join(lines) + "\n"


def _draw_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return f"| {' | '.join([cells[0].ljust(widths[0]), *numbers])} |"


def _format(name: str, values: Mapping[str, float]) -> str:
    return f"{values[name]:.{COLUMNS[name].digits}f}" if name in values else ""
