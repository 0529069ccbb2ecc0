"""The demo: drop in a dark photo and see, stage by stage, what each experiment makes of it.

`python demo.py` opens it in the browser; as a Hugging Face Space it starts by itself. Reading
order: `main` → `build_page` lays the page out → `connect` says what happens when → `run_networks`
takes a photo through the experiments, `readjust` answers the controls.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Any

import gradio as gr

from retinex import (
    EXPERIMENTS,
    Adjustments,
    Device,
    DeviceError,
    Enhancement,
    Enhancer,
    ModelError,
    PhotoError,
    Stage,
    adjust,
    open_photo,
)
from retinex.device import usable_cores
from retinex.inference import DEFAULT_EXPERIMENT, MODELS_FOLDER
from retinex.photo import Photo, Pixels
from retinex.results import Results
from retinex.stages import COMPUTED_STAGES
from retinex.statistics import HISTOGRAM_BINS, Statistics, measure

EXAMPLES_FOLDER = Path(__file__).parent / "examples"
FIRST_EXAMPLE = EXAMPLES_FOLDER / "coffee.jpg"
TITLE = "Dark photos, brought to light"
INTRO = f"""\
# {TITLE}

Drop in a dark photo. Neural networks split it into what things look like, the **reflectance**, and
the light that falls on them, the **illumination**; brighten the light; and put both together again.
"""
SECONDS_FILES_ARE_KEPT = 900
LONGEST_QUEUE = 20
CSS = """
.gradio-container { max-width: 1440px !important; margin: 0 auto !important; }
#status { min-height: 1.6em; }
.facts { font-size: 0.85em; min-height: 7.5em; }
.facts svg { width: 100%; height: 48px; display: block; }
@media (max-width: 640px) {
    #before-after, #before-after .slider-wrap { height: 280px !important; }
}
"""


ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "networks", "concurrency_limit": 1}
"""For events that run networks: each uses all cores."""


class Download(StrEnum):
    """What a visitor can take home."""

    PNG = "PNG"
    JPEG = "JPEG"
    ZIP = "All stages (zip)"


View = tuple[str, Adjustments]
"""What a visitor looks at: the experiment compared in the slider, and the controls."""

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
    """The parts of the page that events read and write."""

    photo: gr.Image
    compared: gr.Radio
    before_after: gr.ImageSlider
    controls: tuple[gr.Slider, ...]
    """In the order of `Adjustments`' fields."""
    status: gr.Markdown
    pictures: dict[Stage, dict[str, gr.Image]]
    """By stage and name of the experiment."""
    facts: dict[str, gr.HTML]
    """What is measured of each experiment's output."""
    downloads: dict[Download, tuple[gr.Button, gr.DownloadButton]]
    """What is clicked, and the hidden link that it clicks in turn once the file is written."""
    results: gr.State
    """The visitor's `Results`, None before the first photo."""

    @property
    def shown(self) -> list[Any]:
        """All parts that show something of the photo."""
        pictures = [picture for row in self.pictures.values() for picture in row.values()]
        return [self.before_after, *pictures, *self.facts.values()]


def main() -> None:
    """Start the demo, and open it in the browser unless it runs on a server."""
    settings = parse_arguments()
    try:
        for name in EXPERIMENTS:
            load_enhancer(name, settings)
    except (DeviceError, ModelError) as error:
        raise SystemExit(f"demo.py: {error}") from error
    with tempfile.TemporaryDirectory(prefix="retinex-") as folder:
        build_page(settings, Path(folder)).queue(max_size=LONGEST_QUEUE).launch(
            theme=build_theme(),
            css=CSS,
            inbrowser=not {"SPACE_ID", "GRADIO_SERVER_NAME", "CI"} & os.environ.keys(),
            max_file_size="200mb",
            run_history=False,
        )


def build_page(settings: Settings, folder: Path) -> gr.Blocks:
    """Lay out the page and connect its parts; visitors' results go below `folder`."""
    with gr.Blocks(title=TITLE, delete_cache=(SECONDS_FILES_ARE_KEPT,) * 2) as blocks:
        gr.Markdown(INTRO)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                photo = add_photo_input()
                controls = add_controls()
            with gr.Column(scale=2, min_width=300):
                before_after = gr.ImageSlider(
                    enhance_first_example(settings),
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
                downloads = add_downloads()
        facts: dict[str, gr.HTML] = {}
        with gr.Tabs(selected=Stage.OUTPUT.value):
            pictures = {stage: add_stage_tab(stage, facts) for stage in Stage}
        results = gr.State(
            None, time_to_live=SECONDS_FILES_ARE_KEPT, delete_callback=delete_results
        )
        page = Page(
            photo, compared, before_after, controls, status, pictures, facts, downloads, results
        )
        connect(page, settings, folder)
        add_endpoints(settings)
    return blocks


def new_photo_input(**options: Any) -> gr.Image:
    """Build an image input that hands on the file itself.

    gr.Image would open it first, and fail without a message if it is broken.
    """
    photo = gr.Image(**options)
    photo.preprocess = lambda payload: payload and payload.path  # type: ignore[method-assign]
    return photo


def add_photo_input() -> gr.Image:
    """Add the place for the visitor's photo and the examples."""
    photo = new_photo_input(
        label="Your photo",
        sources=["upload", "clipboard", "webcam"],
        height=280,
        elem_id="photo",
        alt_text="The photo you chose",
    )
    gr.Examples(
        sorted(str(path) for path in EXAMPLES_FOLDER.glob("*.jpg")),
        inputs=photo,
        label="Or try one of these",
        api_visibility="private",
    )
    return photo


def add_controls() -> tuple[gr.Slider, ...]:
    """Add the sliders that work on the computed stages, without running a network."""
    standard = Adjustments()
    with gr.Group():
        controls = (
            gr.Slider(0, 1, standard.strength, step=0.05, label="Strength"),
            gr.Slider(0, 1, standard.highlight_protection, step=0.05, label="Protect highlights"),
            gr.Slider(0, 1, standard.denoise, step=0.05, label="Denoise dark areas"),
            gr.Slider(-2, 2, standard.exposure, step=0.1, label="Exposure (stops)"),
        )
    gr.Button("Reset", size="sm").click(
        lambda: [control.value for control in controls],
        outputs=list(controls),
        api_visibility="private",
    )
    return controls


def add_downloads() -> dict[Download, tuple[gr.Button, gr.DownloadButton]]:
    """Add the buttons that take the compared experiment's output, or everything, home."""
    with gr.Row():
        return {
            kind: (
                gr.Button(f"Download {kind}", size="sm", elem_id=f"download-{kind.name}"),
                gr.DownloadButton(visible="hidden", elem_id=f"link-{kind.name}"),
            )
            for kind in Download
        }


def add_stage_tab(stage: Stage, facts: dict[str, gr.HTML]) -> dict[str, gr.Image]:
    """Add the tab of one stage: the pictures of all experiments side by side.

    The tab of the output gets what is measured of them too, which is added to `facts`.
    """
    pictures: dict[str, gr.Image] = {}
    with gr.Tab(stage.label, id=stage.value), gr.Row():
        for name, experiment in EXPERIMENTS.items():
            with gr.Column(min_width=260):
                pictures[name] = gr.Image(
                    label=experiment.title,
                    type="filepath",
                    image_mode=None,
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    height=300,
                    elem_id=f"{stage}-{name}",
                    alt_text=f"{stage.label} by the experiment “{experiment.title}”",
                )
                if stage is Stage.OUTPUT:
                    gr.Markdown(experiment.summary)
                    facts[name] = gr.HTML(elem_id=f"facts-{name}", elem_classes="facts")
    return pictures


def connect(page: Page, settings: Settings, folder: Path) -> None:
    """Say what happens when the visitor does something."""

    def run(
        path: str | None,
        former: Results | None,
        compared: str,
        *controls: float,
    ) -> Iterator[Update]:
        delete_results(former)
        yield {
            **dict.fromkeys([*page.shown, page.results]),
            page.status: describe_device(settings),
        }
        if path is not None:
            photo = open_upload(Path(path), settings)
            results = Results(Path(tempfile.mkdtemp(dir=folder)), Path(path).stem, photo)
            yield from run_networks(page, results, (compared, Adjustments(*controls)), settings)

    running = page.photo.change(
        run,
        inputs=[page.photo, page.results, page.compared, *page.controls],
        outputs=[*page.shown, page.status, page.results],
        show_progress_on=page.status,
        api_visibility="private",
        **ONE_AT_A_TIME,
    )
    page.photo.clear(None, cancels=[running])
    readjusting: dict[str, Any] = {
        "fn": lambda results, compared, *controls: readjust(
            page, results, (compared, Adjustments(*controls))
        ),
        "inputs": [page.results, page.compared, *page.controls],
        "outputs": [
            page.before_after,
            *page.pictures[Stage.OUTPUT].values(),
            *page.facts.values(),
            page.results,
        ],
        "show_progress": "hidden",
        "trigger_mode": "always_last",
        "api_visibility": "private",
        "concurrency_limit": usable_cores(),
    }
    gr.on([page.compared.change, *(control.change for control in page.controls)], **readjusting)
    # What was moved while the networks ran.
    running.success(**readjusting)

    for kind, (button, link) in page.downloads.items():
        button.click(
            partial(prepare_download, kind),
            inputs=[page.results, page.compared],
            outputs=link,
            api_visibility="private",
        ).success(None, js=f"() => document.querySelector('#{link.elem_id}').click()")


def add_endpoints(settings: Settings) -> None:
    """Add what programs can call: /enhance and /compare.

    gradio derives an endpoint from components and an event; these are never shown.
    """
    photo = new_photo_input(label="photo", visible=False)
    experiment = gr.Dropdown(
        list(EXPERIMENTS), value=DEFAULT_EXPERIMENT, label="experiment", visible=False
    )
    stages = [gr.Image(label=stage, format="png", visible=False) for stage in COMPUTED_STAGES]
    outputs = [gr.Image(label=name, format="png", visible=False) for name in EXPERIMENTS]
    details = gr.JSON(label="details", visible=False)

    def enhance(photo: str, experiment: str) -> list[Any]:
        """Brighten a dark photo with one experiment's networks.

        Args:
            photo: the photo.
            experiment: name of the experiment.

        Returns:
            reflectance, illumination, enhanced illumination and output as PNG, and details: seconds
            and device.
        """
        result = enhance_file(photo, experiment, settings)
        return [*(result.stages[stage] for stage in COMPUTED_STAGES), describe_run(result)]

    def compare(photo: str) -> list[Any]:
        """Brighten a dark photo with every experiment's networks.

        Args:
            photo: the photo.

        Returns:
            the output of each experiment as PNG, and details by experiment: seconds and device.
        """
        results = [enhance_file(photo, name, settings) for name in EXPERIMENTS]
        by_name = {result.experiment: describe_run(result) for result in results}
        return [*(result.output for result in results), by_name]

    button = gr.Button(visible=False)
    button.click(
        enhance, [photo, experiment], [*stages, details], api_name="enhance", **ONE_AT_A_TIME
    )
    button.click(compare, [photo], [*outputs, details], api_name="compare", **ONE_AT_A_TIME)


def enhance_file(path: str, experiment: str, settings: Settings) -> Enhancement:
    """Run one experiment; what is wrong with the photo becomes a message for the caller."""
    return load_enhancer(experiment, settings).enhance(open_upload(Path(path), settings))


def open_upload(path: Path, settings: Settings) -> Photo:
    """Open a visitor's photo; what is wrong with it becomes a message for them."""
    try:
        # As bytes: messages don't name a path on the server.
        return open_photo(path.read_bytes(), max_pixels=round(settings.max_megapixels * 1e6))
    except PhotoError as error:
        raise gr.Error(str(error), title="This photo can't be enhanced") from error


def describe_run(result: Enhancement) -> dict[str, Any]:
    """Say how long the networks took and what they ran on."""
    return {
        "seconds": round(result.seconds, 3),
        "device": result.device,
        "device_reason": result.device_reason,
    }


def run_networks(page: Page, results: Results, view: View, settings: Settings) -> Iterator[Update]:
    """Run the experiments one after the other, the compared one first; show each when done."""
    progress = gr.Progress()
    compared, _ = results.view = view
    # Every update repeats the pictures before it: a closed tab keeps the last update only.
    shown: Update = {page.results: results}
    for name in sorted(EXPERIMENTS, key=lambda name: name != compared):
        title = EXPERIMENTS[name].title
        number = f"{len(results.done) + 1} of {len(EXPERIMENTS)}"
        yield {**shown, page.status: f"Running **{title}** ({number}) …"}
        enhancement = load_enhancer(name, settings).enhance(
            results.photo, lambda tile, tiles, title=title: progress((tile, tiles), desc=title)
        )
        results.add(enhancement)
        shown |= {page.pictures[stage][name]: results.path(name, stage) for stage in Stage}
        shown |= show_adjusted(page, results, enhancement, view)
    yield {**shown, page.status: describe_results(results)}


def readjust(page: Page, results: Results | None, view: View) -> Update:
    """Make the outputs anew from the stages, without running a network."""
    if results is None or results.view == view:
        return {page.before_after: gr.skip()}
    results.view = view
    shown: Update = {page.results: results}  # written again, so that it is kept for longer
    for name in list(results.done):  # another experiment may finish meanwhile
        shown |= show_adjusted(page, results, results.load(name), view)
    return shown


def show_adjusted(page: Page, results: Results, enhancement: Enhancement, view: View) -> Update:
    """Show the adjusted output of an experiment, and in the slider if it is the compared one."""
    compared, adjustments = view
    name = enhancement.experiment
    output = adjust(enhancement, adjustments)
    path = results.write_adjusted(name, output)
    update: Update = {
        page.pictures[Stage.OUTPUT][name]: path,
        page.facts[name]: describe_output(results.statistics, measure(output)),
    }
    if name == compared:
        update[page.before_after] = (results.path(name, Stage.INPUT), path)
    return update


def prepare_download(kind: Download, results: Results | None, experiment: str) -> Path:
    """Write the file that a download button promises."""
    if results is None or experiment not in results.done:
        minutes = SECONDS_FILES_ARE_KEPT // 60
        raise gr.Error(
            f"Choose a photo and wait for its result. It is kept for {minutes} minutes.",
            title="Nothing to download",
        )
    match kind:
        case Download.PNG:
            return results.convert_adjusted(experiment, ".png")
        case Download.JPEG:
            return results.convert_adjusted(experiment, ".jpg")
        case Download.ZIP:
            return results.write_zip()


def delete_results(results: Results | None) -> None:
    """Delete a visitor's files."""
    if results is not None:
        shutil.rmtree(results.folder, ignore_errors=True)


def enhance_first_example(settings: Settings) -> tuple[Path, Pixels]:
    """What the slider shows to a visitor who hasn't chosen a photo."""
    result = load_enhancer(DEFAULT_EXPERIMENT, settings).enhance(FIRST_EXAMPLE)
    return FIRST_EXAMPLE, adjust(result, Adjustments())


@cache
def load_enhancer(experiment: str, settings: Settings) -> Enhancer:
    """Load an experiment's networks once for all visitors."""
    return Enhancer(experiment, settings.device, settings.models)


def describe_device(settings: Settings) -> str:
    """Say what the networks run on, and why that isn't the GPU."""
    enhancer = load_enhancer(DEFAULT_EXPERIMENT, settings)
    reason = f" ({enhancer.device_reason})" if enhancer.device_reason else ""
    return f"Runs on: **{enhancer.device.upper()}**{reason}."


def describe_results(results: Results) -> str:
    """List how long each experiment took and what it ran on."""
    height, width = results.photo.rgb.shape[:2]
    times = " · ".join(
        f"{EXPERIMENTS[name].title} {done.seconds:.1f} s on {done.device.upper()}"
        for name, done in results.done.items()
    )
    return f"{width}×{height} pixels: {times}"


def describe_output(before: Statistics, after: Statistics) -> str:
    """Say how exposed and noisy the output is, and draw both histograms of luminance."""
    return (
        f"Mean luminance {before.mean_luminance:.0%} → {after.mean_luminance:.0%} · "
        f"clipped {after.clipped_share:.1%} · noise {before.noise:.1f} → {after.noise:.1f}"
        f"<svg viewBox='0 0 {HISTOGRAM_BINS} 20' preserveAspectRatio='none' role='img' "
        "aria-label='Histogram of luminance before (gray) and after (amber)'>"
        f"{draw_histogram(before, 'gray')}{draw_histogram(after, 'orange')}</svg>"
    )


def draw_histogram(statistics: Statistics, colour: str) -> str:
    """Draw a histogram as an SVG area, high bins cut off so that low ones show."""
    highest = 4 / HISTOGRAM_BINS
    tops = [20 - 20 * min(share / highest, 1.0) for share in statistics.histogram]
    points = " ".join(f"{k},{top:.1f} {k + 1},{top:.1f}" for k, top in enumerate(tops))
    area = f"0,20 {points} {HISTOGRAM_BINS},20"
    return f"<polygon points='{area}' fill='{colour}' fill-opacity='0.5'/>"


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
        default=os.environ.get("RETINEX_DEVICE", "auto"),
        help="what the networks run on (environment: RETINEX_DEVICE; default auto)",
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=os.environ.get("RETINEX_MODELS", str(MODELS_FOLDER)),
        help="folder of the ONNX files (environment: RETINEX_MODELS; default onnx_models)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=os.environ.get("RETINEX_MAX_MEGAPIXELS", "24"),
        help="largest photo accepted (environment: RETINEX_MAX_MEGAPIXELS; default 24)",
    )
    return Settings(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
