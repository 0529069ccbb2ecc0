"""The demo's page: what is on it, how it looks, and how it is filled with a visitor's results.

`lay_out_page` adds the parts, `show` fills them. What happens when is in `demo.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import gradio as gr

from retinex.adjustments import MAX_EXPOSURE, Adjustments
from retinex.demo.captions import describe_output, draw_colour_legend, label_result
from retinex.demo.deletion import SECONDS_RESULTS_ARE_KEPT
from retinex.demo.inputs import new_photo_input, new_slider
from retinex.demo.results import Results, View, delete_results
from retinex.experiments import DEFAULT_EXPERIMENT, EXPERIMENTS
from retinex.stages import Stage

TITLE = "Dark photos, brought to light"
INTRO = f"""\
# {TITLE}

Drop in a dark photo: neural networks take it apart into what things look like, the **reflectance**,
and the light on them, the **illumination**, and turn up the light.
"""
NETWORKS = """\
Five networks, stage by stage: one is our own, four are
[RetinexNet](https://arxiv.org/abs/1808.04560) as a student study trained it. Scores are of dark
indoor photos of the dataset [LOL](https://daooshee.github.io/BMVC2018website/).
"""
BEFORE_AFTER = "Before | after"
PHOTO_NOTES = """\
Best: the original file of a photo taken indoors at night without flash. Examples: flower by
[vultilion](https://www.flickr.com/photos/vultilion/6056698931/), temple by
[danielbuechele](https://www.flickr.com/photos/danielbuechele/6061409035/), both
[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/), darkened; the others are free of rights.
"""
CAMERA = {
    "video": {
        "facingMode": {"ideal": "environment"},
        "width": {"ideal": 1920},
        "height": {"ideal": 1440},
    }
}
"""What is asked of a device's camera: away from its owner, and more pixels than for a call."""
ILLUMINATIONS = tuple(stage for stage in Stage if stage.channels == 1)


class Download(StrEnum):
    """What a visitor can take home, as its button calls it."""

    PNG = "PNG"
    JPEG = "JPEG"
    ZIP = "all stages (zip)"


Update = dict[Any, Any]
"""New values by component, as gradio takes them."""


@dataclass(frozen=True)
class Page:
    """The parts of the page that events read and write."""

    photo: gr.Image
    examples: gr.Dataset
    wanted: gr.State
    """The `Choice` made last; earlier ones may still wait for their run."""
    reference: gr.Image
    wanted_reference: gr.State
    """The file of the reference chosen last: a run that waits has been given an earlier one."""
    compared: gr.Radio
    best_at: gr.Markdown
    before_after: gr.ImageSlider
    controls: tuple[gr.Slider, ...]
    """In the order of `Adjustments`' fields."""
    colour_maps: dict[Stage, gr.Checkbox]
    status: gr.Markdown
    stop: gr.Button
    pictures: dict[Stage, dict[str, gr.Image]]
    """By stage and name of the experiment."""
    grid: gr.Gallery
    facts: dict[str, gr.HTML]
    """What is measured of each experiment's output."""
    downloads: dict[Download, tuple[gr.Button, gr.DownloadButton]]
    """What is clicked, and the hidden link that it clicks in turn once the file is written."""
    results: gr.State
    """The visitor's `Results`, None before the first photo."""

    @property
    def view(self) -> list[Any]:
        """The parts that `read_view` reads."""
        return [self.compared, *self.colour_maps.values(), *self.controls]

    @property
    def photo_parts(self) -> list[Any]:
        """All parts that show something of the photo."""
        pictures = [picture for row in self.pictures.values() for picture in row.values()]
        return [self.before_after, *pictures, self.grid, *self.facts.values()]


def read_view(compared: str, *values: Any) -> View:
    """Make a view of the values of `Page.view`."""
    switches, controls = values[: len(ILLUMINATIONS)], values[len(ILLUMINATIONS) :]
    coloured = tuple(stage for stage, on in zip(ILLUMINATIONS, switches, strict=True) if on)
    return View(compared, coloured, Adjustments(*controls))


def lay_out_page(status_line: str, example_photos: Sequence[Path]) -> Page:
    """Add all parts to the gr.Blocks that is being built.

    Args:
        status_line: what is said below the picture before a photo is chosen.
    """
    gr.Markdown(INTRO)
    with gr.Row(elem_id="workbench"):
        with gr.Column(elem_id="choose", min_width=280):
            photo, examples = add_photo_input(example_photos)
        with gr.Column(elem_id="look", min_width=280):
            before_after = gr.ImageSlider(
                label=BEFORE_AFTER,
                format="png",
                interactive=False,
                height=480,
                elem_id="before-after",
            )
            compared = gr.Radio(
                [(experiment.title, name) for name, experiment in EXPERIMENTS.items()],
                value=DEFAULT_EXPERIMENT,
                label="Enhanced by",
                elem_id="compared",
            )
            best_at = gr.Markdown(EXPERIMENTS[DEFAULT_EXPERIMENT].best_at, elem_id="best-at")
            with gr.Row(elem_id="progress"):
                status = gr.Markdown(status_line, elem_id="status")
                stop = gr.Button("Stop", size="sm", interactive=False, elem_id="stop")
            downloads = add_downloads()
        with gr.Column(elem_id="adjust", min_width=280):
            controls = add_controls()
            reference = add_reference_input()
    gr.Markdown(NETWORKS)
    facts: dict[str, gr.HTML] = {}
    colour_maps: dict[Stage, gr.Checkbox] = {}
    with gr.Tabs(selected=Stage.OUTPUT.value, overflow_behavior="wrap", elem_id="stages"):
        pictures = {stage: add_stage_tab(stage, colour_maps, facts) for stage in Stage}
        grid = add_grid_tab()
    results = gr.State(None, time_to_live=SECONDS_RESULTS_ARE_KEPT, delete_callback=delete_results)
    return Page(
        photo=photo,
        examples=examples,
        wanted=gr.State(None),
        reference=reference,
        wanted_reference=gr.State(None),
        compared=compared,
        best_at=best_at,
        before_after=before_after,
        controls=controls,
        colour_maps=colour_maps,
        status=status,
        stop=stop,
        pictures=pictures,
        grid=grid,
        facts=facts,
        downloads=downloads,
        results=results,
    )


def add_photo_input(example_photos: Sequence[Path]) -> tuple[gr.Image, gr.Dataset]:
    """Add the place for the visitor's photo, and the examples."""
    photo = new_photo_input(
        label="Your photo",
        sources=["upload", "clipboard", "webcam"],
        webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA),
        height=240,
        elem_id="photo",
        alt_text="The photo you chose",
    )
    # Not gr.Examples: a click on one would put another input in the place of this one.
    examples = gr.Dataset(
        components=[photo],
        samples=[[str(path)] for path in example_photos],
        label="Or try one of these",
        elem_id="examples",
    )
    gr.Markdown(PHOTO_NOTES, elem_id="photo-notes")
    return photo, examples


def add_controls() -> tuple[gr.Slider, ...]:
    """Add the sliders that work on the computed stages, without running a network."""
    standard = Adjustments()
    with gr.Group():
        controls = (
            new_slider(0, 1, standard.strength, step=0.05, label="Strength"),
            new_slider(0, 1, standard.highlight_protection, step=0.05, label="Protect highlights"),
            new_slider(0, 1, standard.denoise, step=0.05, label="Denoise dark areas"),
            new_slider(
                -MAX_EXPOSURE, MAX_EXPOSURE, standard.exposure, step=0.1, label="Exposure, in stops"
            ),
        )
    gr.Button("Reset", size="sm").click(
        lambda: [control.value for control in controls],
        outputs=list(controls),
        api_visibility="private",
    )
    return controls


def add_reference_input() -> gr.Image:
    """Add the place for a photo of the same scene in normal light."""
    with gr.Accordion("Score against a reference", open=False):
        gr.Markdown(
            "The same scene in normal light, at the same size: each output gets its PSNR and SSIM."
        )
        return new_photo_input(
            label="Reference photo",
            sources=["upload", "clipboard"],
            height=180,
            elem_id="reference",
            alt_text="The reference photo you chose",
        )


def add_downloads() -> dict[Download, tuple[gr.Button, gr.DownloadButton]]:
    """Add the buttons that take the compared experiment's output, or everything, home."""
    with gr.Row(elem_id="downloads"):
        return {
            kind: (
                gr.Button(
                    f"Download {kind}", size="sm", min_width=100, elem_id=f"download-{kind.name}"
                ),
                gr.DownloadButton(visible="hidden", elem_id=f"link-{kind.name}"),
            )
            for kind in Download
        }


def add_stage_tab(
    stage: Stage, colour_maps: dict[Stage, gr.Checkbox], facts: dict[str, gr.HTML]
) -> dict[str, gr.Image]:
    """Add the tab of one stage: the pictures of all experiments side by side.

    An illumination gets its switch for colours, which is added to `colour_maps`; the output what
    is measured of it, which is added to `facts`.
    """
    pictures: dict[str, gr.Image] = {}
    with gr.Tab(stage.label, id=stage.value):
        if stage in ILLUMINATIONS:
            with gr.Row(elem_classes="colour-row"):
                colour_maps[stage] = gr.Checkbox(
                    label="Show in colours", elem_id=f"colours-{stage}", container=False
                )
                gr.HTML(draw_colour_legend())
        with gr.Row():
            for name, experiment in EXPERIMENTS.items():
                with gr.Column(min_width=200):
                    pictures[name] = gr.Image(
                        label=experiment.title,
                        type="filepath",
                        image_mode=None,
                        interactive=False,
                        buttons=["download", "fullscreen"],
                        height=260,
                        elem_id=f"{stage}-{name}",
                        elem_classes="stage",
                        alt_text=f"{stage.label} by the experiment “{experiment.title}”",
                    )
                    if stage is Stage.OUTPUT:
                        facts[name] = gr.HTML(elem_id=f"facts-{name}", elem_classes="facts")
                        gr.Markdown(f"{experiment.summary} {experiment.best_at}")
    return pictures


def add_grid_tab() -> gr.Gallery:
    """Add the tab of all stages of all experiments, one row an experiment."""
    with gr.Tab("All", id="all"):
        return gr.Gallery(
            label="Every stage of every experiment: click one to see it large",
            columns=len(Stage),
            object_fit="contain",
            fit_columns=False,
            height="auto",
            buttons=["fullscreen"],
            interactive=False,
            elem_id="grid",
        )


def unchanged(page: Page) -> Update:
    """Leave the page as it is; gradio wants at least one value."""
    return {page.before_after: gr.skip()}


def show(page: Page, results: Results) -> Update:
    """Fill the page with the experiments that are done, as `results.view` wants them.

    Writes coloured illuminations that aren't there yet; `results.last_view` tells what was shown.
    """
    view = results.view
    stale = any(map(results.is_stale, list(results.measured)))
    results.last_view = None if stale else view
    grid = [
        (path, f"{EXPERIMENTS[name].title}: {stage.label}")
        for name in EXPERIMENTS
        if name in results.measured
        for stage, path in results.displayed_files(name).items()
    ]
    # As a component: gradio forgets to delete the files of a plain list.
    return {**show_experiments(page, results, EXPERIMENTS), page.grid: gr.Gallery(grid)}


def show_experiments(
    page: Page, results: Results, names: Iterable[str], stages: Iterable[Stage] = tuple(Stage)
) -> Update:
    """Fill the parts of those of the experiments that are done, and the comparison."""
    compared = results.view.compared
    update: Update = {page.before_after: gr.ImageSlider(None, label=BEFORE_AFTER)}
    if compared in results.measured:
        before, after = results.path(compared, Stage.INPUT), results.adjusted_path(compared)
        label = label_result(results.done[compared])
        update[page.before_after] = gr.ImageSlider((str(before), str(after)), label=label)
    for name in names:
        if name not in results.measured:
            continue
        files = results.displayed_files(name)
        for stage in results.view.coloured:
            files[stage] = results.write_coloured(name, stage)
        label = label_result(results.done[name])
        for stage in stages:
            update[page.pictures[stage][name]] = gr.Image(str(files[stage]), label=label)
        update[page.facts[name]] = describe_output(results.statistics, results.measured[name])
    return update


def clear(page: Page) -> Update:
    """Take everything of a photo off the page, the times above its pictures included."""
    pictures = {
        picture: gr.Image(None, label=EXPERIMENTS[name].title)
        for row in page.pictures.values()
        for name, picture in row.items()
    }
    slider = gr.ImageSlider(None, label=BEFORE_AFTER)
    return {**dict.fromkeys(page.photo_parts), page.before_after: slider, **pictures}


def build_theme() -> gr.themes.Base:
    """Neutral grays, which don't tint how photos look, and one warm accent; text to WCAG AA."""
    soft, soft_dark = "*neutral_600", "*neutral_300"
    return gr.themes.Default(
        primary_hue="amber", neutral_hue="stone", font=["system-ui", "sans-serif"]
    ).set(
        body_text_color_subdued=soft,
        body_text_color_subdued_dark=soft_dark,
        block_label_text_color=soft,
        block_label_text_color_dark=soft_dark,
        block_title_text_color=soft,
        block_title_text_color_dark=soft_dark,
        block_info_text_color=soft,
        block_info_text_color_dark=soft_dark,
        slider_color="*primary_600",
    )
