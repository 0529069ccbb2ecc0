"""What the demo writes beside its pictures: states of runs, labels, numbers, histograms."""

import html
import math
from collections.abc import Sequence

from retinex.demo.colour_map import list_colours
from retinex.demo.networks import describe_device
from retinex.demo.results import Measured, Results
from retinex.demo.settings import Settings
from retinex.demo.statistics import HISTOGRAM_BINS, Statistics
from retinex.experiments import EXPERIMENTS
from retinex.inference import Enhancement

HISTOGRAM_HEIGHT = 20
"""In the units of the drawing, of which one bin is 1 wide."""


def describe_running(results: Results, experiments: Sequence[str]) -> str:
    """Say which experiments run as one, and how many have run before them."""
    first, last = len(results.done) + 1, len(results.done) + len(experiments)
    numbers = f"{first}" if first == last else f"{first}–{last}"
    return f"Running **{name_titles(experiments)}** ({numbers} of {len(EXPERIMENTS)}) …"


def name_titles(experiments: Sequence[str]) -> str:
    """Name experiments as people read them."""
    return " and ".join(EXPERIMENTS[name].title for name in experiments)


def describe_results(results: Results, settings: Settings) -> str:
    """Say how large the photo is, how long its experiments took and what they ran on."""
    height, width = results.photo.rgb.shape[:2]
    done = list(results.done.values())
    if results.stopped and not done:
        return f"Stopped: {width}×{height} pixels. To run it after all, choose the photo again."
    seconds = sum(enhancement.seconds for enhancement in done)
    count = f"{len(done)} of {len(EXPERIMENTS)} experiments"
    return (
        f"{'Stopped: ' if results.stopped else ''}{width}×{height} pixels, {count} in "
        f"{seconds:.1f} s. {describe_device(settings, done[-1] if done else None)}."
    )


def label_result(done: Enhancement) -> str:
    """Name the experiment, its time and its device."""
    title = EXPERIMENTS[done.experiment].title
    seconds = f"{done.seconds * done.together:.1f} s{' for both' if done.together > 1 else ''}"
    return f"{title} · {seconds} on {done.device.label}"


def describe_output(before: Statistics, output: Measured) -> str:
    """Say how exposed, noisy and true the output is, and draw both histograms of luminance."""
    after = output.statistics
    numbers = [
        f"<b>Mean luminance</b> {before.mean_luminance:.0%} → {after.mean_luminance:.0%}",
        f"<b>clipped</b> {before.clipped_share:.1%} → {after.clipped_share:.1%}",
        f"<b>noise</b> {before.noise:.1f} → {after.noise:.1f} of 255",
    ]
    if "psnr" in output.scores:
        matched = f"{output.scores['psnr_gt_mean']:.2f} dB once brightness is matched"
        numbers.append(f"<b>PSNR</b> {output.scores['psnr']:.2f} dB, {matched}")
    if "ssim" in output.scores:
        numbers.append(f"<b>SSIM</b> {output.scores['ssim']:.3f}")
    if output.scores:
        numbers.append(f"compared with {html.escape(output.reference_name)}")
    return (
        f"<p>{' · '.join(numbers)}</p>"
        f"<svg viewBox='0 0 {HISTOGRAM_BINS} {HISTOGRAM_HEIGHT}' preserveAspectRatio='none' "
        f"role='img' aria-label='Histogram of luminance: mean {before.mean_luminance:.0%} before, "
        f"{after.mean_luminance:.0%} after'>"
        f"{_draw_histogram(before, 'before')}{_draw_histogram(after, 'after')}</svg>"
        "<p class='legend'><i class='before'></i> before <i class='after'></i> after "
        "<span>dark → bright</span></p>"
    )


def _draw_histogram(statistics: Statistics, css_class: str) -> str:
    """Draw a histogram as an SVG area, by square roots so that low bins show beside high ones."""
    highest = max(statistics.histogram)
    tops = [HISTOGRAM_HEIGHT * (1 - math.sqrt(n / highest)) for n in statistics.histogram]
    points = " ".join(f"{k},{top:.1f} {k + 1},{top:.1f}" for k, top in enumerate(tops))
    area = f"0,{HISTOGRAM_HEIGHT} {points} {HISTOGRAM_BINS},{HISTOGRAM_HEIGHT}"
    return f"<polygon points='{area}' class='{css_class}'/>"


def draw_colour_legend() -> str:
    """Draw what the colours of an illumination stand for."""
    return (
        "<p class='colour-legend'>0 (no light) "
        f"<i style='background: linear-gradient(to right, {', '.join(list_colours())})'></i>"
        " 1 (full light)</p>"
    )
