"""The demo: drop in a dark photo and see, stage by stage, what each experiment makes of it.

`python demo.py` opens it in the browser; as a Hugging Face Space it starts by itself.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from retinex import (
    EXPERIMENTS,
    Device,
    DeviceError,
    Enhancement,
    Enhancer,
    ModelError,
    PhotoError,
    Stage,
    open_photo,
    save_photo,
)
from retinex.inference import DEFAULT_EXPERIMENT, MODELS_FOLDER
from retinex.photo import Pixels

EXAMPLES_FOLDER = Path(__file__).parent / "examples"
FIRST_EXAMPLE = EXAMPLES_FOLDER / "coffee.jpg"
TITLE = "Dark photos, brought to light"
INTRO = f"""\
# {TITLE}

Drop in a dark photo. Neural networks split it into what things look like, the **reflectance**, and
the light that falls on them, the **illumination**; brighten the light; and put both together again.
"""
SECONDS_FILES_ARE_KEPT = 600
LONGEST_QUEUE = 20
CSS = """
.gradio-container { max-width: 1440px !important; margin: 0 auto !important; }
#status { min-height: 1.6em; }
@media (max-width: 640px) {
    #before-after, #before-after .slider-wrap { height: 280px !important; }
}
"""

Update = dict[Any, Any]
"""New values by component, as gradio takes them."""


@dataclass(frozen=True)
class Settings:
    """What the command line, or the environment on a server, decides."""

    device: Device
    models: Path
    max_megapixels: float


@dataclass(frozen=True)
class Page:
    """The parts of the page that are written to while the networks run."""

    status: gr.Markdown
    before_after: gr.ImageSlider
    pictures: dict[Stage, dict[str, gr.Image]]
    """By stage and name of the experiment."""

    def empty(self) -> Update:
        """Remove the pictures of the last photo."""
        pictures = (picture for row in self.pictures.values() for picture in row.values())
        return dict.fromkeys((self.before_after, *pictures))

    def show(self, result: Enhancement, folder: Path, name: str) -> Update:
        """Show all stages of one experiment, as exact PNG files written to `folder`."""
        update: Update = {}
        for stage, row in self.pictures.items():
            path = folder / f"{name}-{result.experiment}-{stage}.png"
            save_photo(result.stages[stage], path, result.photo)
            update[row[result.experiment]] = path
        return update

    def compare(self, experiment: str, shown: Update) -> tuple[Any, Any] | None:
        """Pick an experiment's input and output for the slider; None if it hasn't run."""
        before = shown[self.pictures[Stage.INPUT][experiment]]
        after = shown[self.pictures[Stage.OUTPUT][experiment]]
        return None if after is None else (before, after)


def main() -> None:
    """Start the demo, and open it in the browser unless it runs on a server."""
    settings = parse_arguments()
    try:
        load_enhancer(DEFAULT_EXPERIMENT, settings)
    except (DeviceError, ModelError) as error:
        raise SystemExit(f"demo.py: {error}") from error
    build_page(settings).queue(max_size=LONGEST_QUEUE).launch(
        theme=build_theme(),
        css=CSS,
        inbrowser=not {"SPACE_ID", "GRADIO_SERVER_NAME", "CI"} & os.environ.keys(),
        max_file_size="200mb",
        run_history=False,
    )


def build_page(settings: Settings) -> gr.Blocks:
    """Lay out the page and connect the photo to the networks."""
    with gr.Blocks(title=TITLE, delete_cache=(SECONDS_FILES_ARE_KEPT,) * 2) as blocks:
        gr.Markdown(INTRO)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                photo = gr.Image(
                    label="Your photo",
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "clipboard", "webcam"],
                    height=300,
                    elem_id="photo",
                    alt_text="The photo you chose",
                )
                gr.Examples(
                    sorted(str(path) for path in EXAMPLES_FOLDER.glob("*.jpg")),
                    inputs=photo,
                    label="Or try one of these",
                    api_visibility="private",
                )
            with gr.Column(scale=2, min_width=300):
                before_after = gr.ImageSlider(
                    label="Before | after",
                    format="png",
                    interactive=False,
                    height=440,
                    elem_id="before-after",
                )
                compared = gr.Radio(
                    [(experiment.title, name) for name, experiment in EXPERIMENTS.items()],
                    value=DEFAULT_EXPERIMENT,
                    label="Compare before and after with",
                    elem_id="compared",
                )
        status = gr.Markdown(describe_device(settings), elem_id="status")
        with gr.Tabs(selected=Stage.OUTPUT.value):
            page = Page(status, before_after, {stage: add_stage_tab(stage) for stage in Stage})
        connect(page, photo, compared, settings)
        blocks.load(
            lambda: enhance_first_example(settings),
            outputs=before_after,
            concurrency_id="networks",
            show_progress="hidden",
            api_visibility="private",
        )
    return blocks


def add_stage_tab(stage: Stage) -> dict[str, gr.Image]:
    """Add the tab of one stage: the pictures of all experiments side by side."""
    with gr.Tab(stage.label, id=stage.value), gr.Row():
        return {
            name: gr.Image(
                label=experiment.title,
                type="filepath",
                image_mode=None,
                interactive=False,
                buttons=["download", "fullscreen"],
                height=300,
                min_width=260,
                elem_id=f"{stage}-{name}",
                alt_text=f"{stage.label} by the experiment “{experiment.title}”",
            )
            for name, experiment in EXPERIMENTS.items()
        }


def connect(page: Page, photo: gr.Image, compared: gr.Radio, settings: Settings) -> None:
    """Run the networks when a photo comes in; redraw the slider when another one is compared."""

    def run(
        path: str | None,
        compared_experiment: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how gradio passes it in
    ) -> Iterator[Update]:
        yield {**page.empty(), page.status: describe_device(settings)}
        if path is not None:
            yield from enhance_with_all(page, Path(path), compared_experiment, settings, progress)

    running = photo.change(
        run,
        inputs=[photo, compared],
        outputs=[*page.empty(), page.status],
        show_progress_on=page.status,
        concurrency_id="networks",
        api_visibility="private",
    )
    photo.clear(None, cancels=[running])
    comparable = [*page.pictures[Stage.INPUT].values(), *page.pictures[Stage.OUTPUT].values()]
    compared.change(
        lambda name, *values: page.compare(name, dict(zip(comparable, values, strict=True))),
        inputs=[compared, *comparable],
        outputs=page.before_after,
        show_progress="hidden",
        api_visibility="private",
    )


def enhance_with_all(
    page: Page, path: Path, compared: str, settings: Settings, progress: gr.Progress
) -> Iterator[Update]:
    """Run the experiments one after the other, the compared one first; show each when done."""
    try:
        photo = open_photo(path, max_pixels=round(settings.max_megapixels * 1e6))
    except PhotoError as error:
        raise gr.Error(str(error), title="This photo can't be enhanced") from error
    # Every update repeats the pictures before it: a closed tab keeps the last update only.
    shown: Update = {}
    done: list[Enhancement] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted(EXPERIMENTS, key=lambda name: name != compared):
            title = EXPERIMENTS[name].title
            status = f"Running **{title}** ({len(done) + 1} of {len(EXPERIMENTS)}) …"
            yield {**shown, page.status: status}
            result = load_enhancer(name, settings).enhance(
                photo, lambda tile, tiles, title=title: progress((tile, tiles), desc=title)
            )
            done.append(result)
            shown |= page.show(result, Path(folder), path.stem)
            if name == compared:
                shown[page.before_after] = page.compare(name, shown)
        yield {**shown, page.status: describe_results(done)}


@cache
def enhance_first_example(settings: Settings) -> tuple[Path, Pixels]:
    """What the slider shows to a visitor who hasn't chosen a photo; computed once."""
    result = load_enhancer(DEFAULT_EXPERIMENT, settings).enhance(FIRST_EXAMPLE)
    return FIRST_EXAMPLE, result.output


@cache
def load_enhancer(experiment: str, settings: Settings) -> Enhancer:
    """Load an experiment's networks once for all visitors."""
    return Enhancer(experiment, settings.device, settings.models)


def describe_device(settings: Settings) -> str:
    """Say what the networks run on, and why that isn't the GPU."""
    enhancer = load_enhancer(DEFAULT_EXPERIMENT, settings)
    reason = f" ({enhancer.device_reason})" if enhancer.device_reason else ""
    return f"Runs on: **{enhancer.device.upper()}**{reason}."


def describe_results(done: list[Enhancement]) -> str:
    """List how long each experiment took and what it ran on."""
    height, width = done[0].photo.rgb.shape[:2]
    times = " · ".join(
        f"{EXPERIMENTS[result.experiment].title} {result.seconds:.1f} s on {result.device.upper()}"
        for result in done
    )
    return f"{width}×{height} pixels: {times}"


def build_theme() -> gr.themes.Base:
    """Neutral grays, which don't tint how photos look, and one warm accent."""
    return gr.themes.Default(
        primary_hue="amber", neutral_hue="stone", font=["system-ui", "sans-serif"]
    )


def parse_arguments() -> Settings:
    """Read the command line; its defaults come from the environment, for servers."""
    parser = argparse.ArgumentParser(description="Open the demo in the browser.")
    parser.add_argument(
        "--device",
        type=Device,
        choices=list(Device),
        default=Device(os.environ.get("RETINEX_DEVICE", Device.AUTO)),
        help="what the networks run on (environment: RETINEX_DEVICE; default auto)",
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=Path(os.environ.get("RETINEX_MODELS", MODELS_FOLDER)),
        help="folder of the ONNX files (environment: RETINEX_MODELS; default onnx_models)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=float(os.environ.get("RETINEX_MAX_MEGAPIXELS", "24")),
        help="largest photo accepted (environment: RETINEX_MAX_MEGAPIXELS; default 24)",
    )
    return Settings(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
