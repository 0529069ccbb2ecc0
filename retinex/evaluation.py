"""How close an experiment's output comes to photos taken in normal light.

The protocol is the one that makes published numbers comparable: RGB rounded to 8 bits, the whole
photo at its full size, no correction by the reference. The corrected PSNR, which many papers give
instead, has a column and a name of its own.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from retinex.adjustments import Adjustments, adjust
from retinex.contact_sheet import draw_contact_sheet
from retinex.datasets import (
    LOL_TEST_FOLDER,
    DatasetError,
    check_sizes,
    may_have_seen,
    name_dataset,
    read_pair,
)
from retinex.experiments import EXPERIMENTS
from retinex.inference import Enhancement, Enhancer, ModelError
from retinex.metrics import SSIM_WINDOW, WHITE, measure_flat_noise, psnr, psnr_gt_mean, ssim
from retinex.photo import Pixels
from retinex.stages import Stage
from retinex.tiles import TILE

Measure = Callable[[Pixels, Pixels, Pixels], dict[str, float]]
"""Numbers by name, made of a dark photo, what the networks made of it, and its reference; all
(h, w, 3) uint8."""


@dataclass(frozen=True)
class ImageScores:
    """What one experiment reached on one photo.

    Attributes:
        experiment: name of the experiment.
        image: the pair's stem.
        values: the numbers by name: "psnr", "ssim", "psnr_gt_mean", "enhanced_illumination_mean",
            "enhanced_illumination_spread", "seconds_per_megapixel", those of the extra measures
            and, where the reference has plain areas, "flat_noise" and "flat_noise_of_reference".
    """

    experiment: str
    image: str
    values: dict[str, float]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """One photo: its scores, the stages they came from and the reference, (h, w, 3) uint8."""

    scores: ImageScores
    enhancement: Enhancement
    reference: Pixels


def open_enhancers(experiments: Sequence[str], device: str, models: Path) -> list[Enhancer]:
    """Load the experiments named; all those with a file in `models` if none is.

    Raises:
        ModelError: an experiment has no file, or there is none at all.
        DeviceError: `device` is "cuda" or "openvino" and doesn't work here.
    """
    found = [name for name in EXPERIMENTS if (models / f"{name}.onnx").is_file()]
    names = list(dict.fromkeys(experiments)) or found
    if not names:
        raise ModelError(f"no experiment's ONNX file in {models}; `python export_onnx.py` makes it")
    return [Enhancer(name, device, models) for name in names]


def load_training_losses(enhancer: Enhancer, checkpoints: Path) -> tuple[list[Measure], str]:
    """Return the measure of an experiment's training losses, or none and the reason.

    PyTorch is imported only if there is a checkpoint to use it on.
    """
    weights = checkpoints / f"{enhancer.experiment}.safetensors"
    facts = weights.with_suffix(".json")
    if not weights.is_file() or not facts.is_file():
        return [], f"there is no {weights.name}, with its .json, in {checkpoints.name}"
    try:
        is_exported = json.loads(facts.read_text()) == enhancer.training
    except ValueError as error:
        return [], f"{facts} is damaged: {error}"
    if not is_exported:
        return [], f"the ONNX file wasn't exported from {checkpoints.name}/{weights.name}"
    try:
        from retinex.training.checkpoints import CheckpointError
        from retinex.training.pair_losses import PairLosses
    except ImportError as error:
        return [], f'{error}; `pip install -e ".[train]"` installs PyTorch'
    try:
        return [PairLosses(weights, enhancer.experiment)], ""
    except CheckpointError as error:
        return [], str(error)


def choose_measures(
    enhancers: Sequence[Enhancer], checkpoints: Path
) -> tuple[dict[str, list[Measure]], list[str]]:
    """Load all further measures that there are, by experiment; return notes on those missing."""
    notes = []
    lpips, why_not = load_lpips()
    if why_not:
        notes.append(f"No LPIPS: {why_not}.")
    measures = {}
    for enhancer in enhancers:
        name = enhancer.experiment
        losses, why_not = load_training_losses(enhancer, checkpoints)
        if why_not:
            notes.append(f"No losses and no unclipped Î of {name}: {why_not}.")
        measures[name] = [*losses, *lpips]
    return measures, notes


def warn_of_training_pairs(
    enhancers: Sequence[Enhancer], pairs: Sequence[tuple[Path, Path]]
) -> list[str]:
    """Return a note for each experiment whose weights may have been trained on some of the pairs.

    Datasets are known by their names, a linked one by the link's and its own; LOL's test pairs are
    never trained on.
    """
    folder = pairs[0][0].parent.parent
    if folder.resolve().name == LOL_TEST_FOLDER:
        return []
    datasets = {name_dataset(folder), name_dataset(folder.resolve())}
    names = [{f"{dataset}/{low.stem}" for dataset in datasets} for low, _ in pairs]
    notes = []
    for enhancer in enhancers:
        seen = sum(may_have_seen(enhancer.training, {"held_out": either}) for either in names)
        if seen:
            notes.append(
                f"{enhancer.experiment} may have been trained on {seen} of these {len(pairs)} "
                "pairs, which flatters it."
            )
    return notes


def load_lpips() -> tuple[list[Measure], str]:
    """Return the measure LPIPS, or none and the reason."""
    try:
        from retinex.training.perceptual_distance import PerceptualDistance
    except ImportError as error:
        return [], f'{error}; `pip install -e ".[lpips]"` installs it'
    try:
        return [PerceptualDistance()], ""
    except OSError as error:  # the backbone's weights come from the network
        return [], f"the backbone's weights can't be downloaded ({error})"


def evaluate(
    pairs: Sequence[tuple[Path, Path]],
    enhancers: Sequence[Enhancer],
    measures: Mapping[str, Sequence[Measure]],
    adjustments: Adjustments,
) -> Iterator[Evaluated]:
    """Run every experiment on every pair, pair by pair.

    Args:
        pairs: the (low, high) files.
        enhancers: the experiments.
        measures: further measures by experiment.
        adjustments: what is made of the outputs before they are scored.

    Raises:
        DatasetError: a pair can't be read, is smaller than SSIM's window, or its photos differ in
            size, which is found before any network runs.
    """
    check_sizes(pairs)
    for low_path, high_path in pairs:
        low, high = read_pair(low_path, high_path)
        if min(low.shape[:2]) < SSIM_WINDOW:
            raise DatasetError(
                f"{low_path} is smaller than SSIM's window of {SSIM_WINDOW}×{SSIM_WINDOW} pixels; "
                "remove the pair"
            )
        for enhancer in enhancers:
            if low_path == pairs[0][0]:
                enhancer.enhance(low[:TILE, :TILE])  # the first run of a session is slower
            enhancement = enhancer.enhance(low)
            output = adjust(enhancement, adjustments)
            enhancement = replace(enhancement, stages=enhancement.stages | {Stage.OUTPUT: output})
            values = score(enhancement, high, measures.get(enhancer.experiment, ()))
            scores = ImageScores(enhancer.experiment, low_path.stem, values)
            yield Evaluated(scores, enhancement, high)


def score(
    enhancement: Enhancement, reference: Pixels, measures: Sequence[Measure]
) -> dict[str, float]:
    """Compare one output with its reference, (h, w, 3) uint8; numbers by name."""
    output = enhancement.output
    brightened = enhancement.stages[Stage.ENHANCED_ILLUMINATION] / WHITE
    megapixels = output.shape[0] * output.shape[1] / 1e6
    values = {
        "psnr": psnr(output, reference),
        "ssim": ssim(output, reference),
        "psnr_gt_mean": psnr_gt_mean(output, reference),
        "enhanced_illumination_mean": float(brightened.mean()),
        "enhanced_illumination_spread": float(brightened.std()),
        "seconds_per_megapixel": enhancement.seconds / megapixels,
    }
    if (noise := measure_flat_noise(output, reference)) is not None:
        values["flat_noise"], values["flat_noise_of_reference"] = noise
    for measure in measures:
        values |= measure(enhancement.photo.rgb, output, reference)
    return values


def mean_values(scores: Sequence[ImageScores]) -> dict[str, float]:
    """Mean over images of every number that all of `scores` have; inf if one of them is."""
    names = [name for name in scores[0].values if all(name in s.values for s in scores)]
    return {name: float(np.mean([s.values[name] for s in scores])) for name in names}


def draw_sheet(evaluated: Evaluated) -> Image.Image:
    """Draw input, R, I, Î, output and reference side by side."""
    stages = evaluated.enhancement.stages
    pictures = [*(stages[stage] for stage in Stage), evaluated.reference]
    return draw_contact_sheet([pictures], [*(stage.label for stage in Stage), "Reference"])
