"""What programs can call of a running demo: /enhance and /compare, as web API and as MCP tools."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gradio as gr

from retinex.demo.inputs import new_photo_input, open_reference, open_upload
from retinex.demo.networks import ONE_AT_A_TIME, failures_shown, run_networks
from retinex.demo.results import compare_with_reference, save_stages
from retinex.demo.settings import Settings
from retinex.experiments import DEFAULT_EXPERIMENT, EXPERIMENTS, GROUPS
from retinex.inference import Enhancement
from retinex.stages import COMPUTED_STAGES, Stage


def add_endpoints(settings: Settings) -> None:
    """Add the endpoints to the page that is being built.

    gradio derives an endpoint from components and an event; these are never shown.
    """
    photo = new_photo_input(label="photo", visible=False)
    reference = new_photo_input(label="reference", visible=False)
    experiment = gr.Dropdown(
        list(EXPERIMENTS), value=DEFAULT_EXPERIMENT, label="experiment", visible=False
    )
    stages = [gr.Image(label=stage, format="png", visible=False) for stage in COMPUTED_STAGES]
    outputs = [gr.Image(label=name, format="png", visible=False) for name in EXPERIMENTS]
    details = gr.JSON(label="details", visible=False)

    def enhance(photo: str, experiment: str | None) -> list[Any]:
        """Brighten a dark photo with one experiment's networks.

        Args:
            photo: the photo.
            experiment: name of the experiment.

        Returns:
            reflectance, illumination, enhanced illumination and output as PNG, and details:
            seconds, device and why nothing faster was chosen, how many experiments ran together.
        """
        opened = open_upload(photo, settings)
        (result,) = run_networks((experiment or DEFAULT_EXPERIMENT,), opened, settings)
        return [*write_stages(result, photo, COMPUTED_STAGES), describe_run(result)]

    def compare(photo: str, reference: str | None = None) -> list[Any]:
        """Brighten a dark photo with every experiment's networks.

        Args:
            photo: the photo.
            reference: the same scene in normal light, at the same size, to score the outputs by.

        Returns:
            the output of each experiment as PNG, and details by experiment: seconds (an equal share
            of those that ran together), device and why nothing faster was chosen, how many
            experiments ran together, and, if there is a reference, PSNR (psnr_gt_mean: once
            brightness is matched) and SSIM.
        """
        opened = open_upload(photo, settings)
        truth = open_reference(reference, opened, settings)
        files: list[Path] = []
        details: dict[str, dict[str, Any]] = {}
        for names in GROUPS:
            for result in run_networks(names, opened, settings):
                files += write_stages(result, photo, [Stage.OUTPUT])
                scores = compare_with_reference(result.output, truth)
                details[result.experiment] = describe_run(result) | scores
        return [*files, details]

    button = gr.Button(visible=False)
    button.click(
        enhance, [photo, experiment], [*stages, details], api_name="enhance", **ONE_AT_A_TIME
    )
    button.click(
        compare, [photo, reference], [*outputs, details], api_name="compare", **ONE_AT_A_TIME
    )


def write_stages(result: Enhancement, photo: str, stages: Iterable[Stage]) -> list[Path]:
    """Write stages beside the caller's `photo`, where old files are deleted; return the files."""
    source = Path(photo)
    with failures_shown():
        folder = Path(tempfile.mkdtemp(dir=source.parent))
        start = f"{source.stem}-{result.experiment}"
        files = {stage: folder / f"{start}-{stage}.png" for stage in stages}
        save_stages(result, files)
    return list(files.values())


def describe_run(result: Enhancement) -> dict[str, Any]:
    """Say how long the networks took and what they ran on."""
    return {
        "seconds": round(result.seconds, 3),
        "together": result.together,
        "device": result.device,
        "device_reason": result.device_reason,
    }
