"""The demo: drop in a dark photo and see, stage by stage, what each experiment makes of it.

`python demo.py` opens it in the browser; as a Hugging Face Space it starts by itself. Reading
order: `main` → `build_page` lays the page out → `connect` says what happens when →
`run_experiments` takes a photo through the experiments, `readjust` answers the controls, `show`
fills the page. What programs can call is in `retinex/demo_endpoints.py`; the looks are in
`demo.css`.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from retinex import (
    EXPERIMENTS,
    Adjustments,
    Device,
    DeviceError,
    Enhancement,
    ModelError,
    Photo,
    Stage,
    open_photo,
)
from retinex.adjustments import MAX_EXPOSURE
from retinex.demo_endpoints import add_endpoints
from retinex.demo_facts import describe_output, draw_colour_legend
from retinex.demo_files import SECONDS_RESULTS_ARE_KEPT, keep_deleting_old_files
from retinex.demo_networks import (
    ONE_AT_A_TIME,
    Settings,
    describe_device,
    failures_shown,
    load_enhancer,
    new_message,
    new_photo_input,
    new_slider,
    open_reference,
    open_upload,
    run_networks,
)
from retinex.device import usable_cores
from retinex.experiments import GROUPS
from retinex.inference import DEFAULT_EXPERIMENT, MODELS_FOLDER
from retinex.quick_gradio import gr, gradio_mcp, without_servers
from retinex.results import Results, View

ROOT = Path(__file__).parent
EXAMPLES_FOLDER = ROOT / "examples"
FIRST_EXAMPLE = EXAMPLES_FOLDER / "coffee.jpg"
TITLE = "Dark photos, brought to light"
INTRO = f"""\
# {TITLE}

Drop in a dark photo: neural networks take it apart into what things look like, the **reflectance**,
and the light on them, the **illumination**, and turn up the light.
"""
BEFORE_AFTER = "Before | after"
NO_RESULTS = (
    "Choose a photo and wait for its result. "
    f"It is kept for {SECONDS_RESULTS_ARE_KEPT // 60} minutes."
)
PHOTO_NOTES = """\
Best: the original file of a photo taken indoors at night without flash. Examples: flower by
[vultilion](https://www.flickr.com/photos/vultilion/6056698931/), temple by
[danielbuechele](https://www.flickr.com/photos/danielbuechele/6061409035/), both
[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/), darkened; the others are free of rights.
"""
LONGEST_QUEUE = 64
MOST_SESSIONS = 200
"""Of visitors that gradio remembers, each with a decoded photo; the oldest are forgotten."""
ILLUMINATIONS = tuple(stage for stage in Stage if stage.channels == 1)
EXAMPLE_LOCK = threading.Lock()
"""Held while the example is enhanced, once for all visitors."""


class Download(StrEnum):
    """What a visitor can take home, as its button calls it."""

    PNG = "PNG"
    JPEG = "JPEG"
    ZIP = "all stages (zip)"


@dataclass(eq=False)
class Choice:
    """A photo that the visitor has chosen; the same one chosen twice makes two."""

    path: str | None
    """Its file; None if they took the photo away."""
    begun: bool = False
    """Whether its run has begun, or was refused."""
    replaced: bool = False
    """Whether the visitor has chosen anew since."""


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
    def shown(self) -> list[Any]:
        """All parts that show something of the photo."""
        pictures = [picture for row in self.pictures.values() for picture in row.values()]
        return [self.before_after, *pictures, self.grid, *self.facts.values()]


def read_view(compared: str, *values: Any) -> View:
    """Make a view of the values of `Page.view`."""
    switches, controls = values[: len(ILLUMINATIONS)], values[len(ILLUMINATIONS) :]
    coloured = tuple(stage for stage, on in zip(ILLUMINATIONS, switches, strict=True) if on)
    return View(compared, coloured, Adjustments(*controls))


def main() -> None:
    """Start the demo, and open it in the browser unless it runs on a server."""
    settings = parse_arguments()
    try:
        for names in GROUPS:
            load_enhancer(names, settings)
    except (DeviceError, ModelError) as error:
        raise SystemExit(f"demo.py: {error}") from error
    # As Ctrl-C does, so that visitors' files are deleted when a server is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with tempfile.TemporaryDirectory(prefix="retinex-", ignore_cleanup_errors=True) as folder:
        uploads = str(Path(folder) / "uploads")
        os.environ["GRADIO_TEMP_DIR"] = gradio_mcp.DEFAULT_TEMP_DIR = uploads
        with without_servers():  # api_open would let callers around the queue
            page = build_page(settings, Path(folder)).queue(max_size=LONGEST_QUEUE, api_open=False)
        keep_deleting_old_files(Path(uploads))
        page.launch(
            theme=build_theme(),
            css_paths=ROOT / "demo.css",
            js=(ROOT / "demo.js").read_text(),
            inbrowser=not {"SPACE_ID", "GRADIO_SERVER_NAME", "CI"} & os.environ.keys(),
            allowed_paths=[str(EXAMPLES_FOLDER)],
            max_file_size="200mb",
            state_session_capacity=MOST_SESSIONS,
            run_history=False,
            mcp_server=True,
            footer_links=["api", "gradio", "settings"],
        )


def build_page(settings: Settings, folder: Path) -> gr.Blocks:
    """Lay out the page and connect its parts; visitors' results go below `folder`."""
    blocks: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.Markdown(INTRO)
        with gr.Row(elem_id="workbench"):
            with gr.Column(elem_id="choose", min_width=280):
                photo, examples = add_photo_input()
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
                    status = gr.Markdown(describe_device(settings), elem_id="status")
                    stop = gr.Button("Stop", size="sm", interactive=False, elem_id="stop")
                downloads = add_downloads()
            with gr.Column(elem_id="adjust", min_width=280):
                controls = add_controls()
                reference = add_reference_input()
        facts: dict[str, gr.HTML] = {}
        colour_maps: dict[Stage, gr.Checkbox] = {}
        with gr.Tabs(selected=Stage.OUTPUT.value, overflow_behavior="wrap", elem_id="stages"):
            pictures = {stage: add_stage_tab(stage, colour_maps, facts) for stage in Stage}
            grid = add_grid_tab()
        results = gr.State(
            None, time_to_live=SECONDS_RESULTS_ARE_KEPT, delete_callback=delete_results
        )
        page = Page(
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
        connect(page, blocks, settings, folder)
        add_endpoints(settings)
    return blocks


def add_photo_input() -> tuple[gr.Image, gr.Dataset]:
    """Add the place for the visitor's photo, and the examples."""
    photo = new_photo_input(
        label="Your photo",
        sources=["upload", "clipboard", "webcam"],
        height=240,
        elem_id="photo",
        alt_text="The photo you chose",
    )
    # Not gr.Examples: a click on one would put another input in the place of this one.
    examples = gr.Dataset(
        components=[photo],
        samples=[[str(path)] for path in sorted(EXAMPLES_FOLDER.glob("*.jpg"))],
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
    with gr.Accordion("Score against a reference", open=False, elem_id="reference-box"):
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
                        gr.Markdown(
                            f"{experiment.summary} {experiment.best_at}", elem_classes="about"
                        )
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


def connect(page: Page, blocks: gr.Blocks, settings: Settings, folder: Path) -> None:
    """Say what happens when the visitor does something."""

    def run(
        path: str | None,
        wanted: Choice | None,
        reference: str | None,
        former: Results | None,
        *view: Any,
    ) -> Iterator[Update]:
        wanted = wanted or Choice(path)  # gradio has forgotten a visitor who waited for long
        if path != wanted.path or wanted.begun:
            yield unchanged(page)  # else gradio empties the page
            return
        delete_results(former)
        yield {**clear(page), page.results: None, page.status: describe_device(settings)}
        if path is None:
            wanted.begun = True
            return
        try:
            photo = open_upload(path, settings)
        except gr.Error as error:
            yield {page.status: error.message}  # gradio's own goes after a while
            wanted.begun = True
            raise
        results = new_results(folder, Path(path), photo, read_view(*view))
        yield {page.results: results}
        wanted.begun = True
        if wanted.replaced:  # while the photo was opened, when there was nothing to stop yet
            results.stopped = True
            return
        yield {page.stop: gr.Button(interactive=True)}
        set_reference(results, reference, settings)
        yield from run_experiments(page, results, settings)

    def answer_controls(wanted: Choice | None, results: Results | None, *view: Any) -> Update:
        if results is None and (wanted is None or wanted.begun):
            gr.Warning(NO_RESULTS)
        return readjust(page, results, read_view(*view))

    opening = blocks.load(
        partial(open_example, page, prepare_example(folder), settings, folder),
        outputs=[*page.shown, page.status, page.results],
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=None,
    )
    instantly: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    page.examples.click(lambda sample: sample[0], page.examples, page.photo, **instantly)
    # The run of another photo begins when that of the former has ended.
    running = page.photo.change(
        choose, inputs=[page.photo, page.wanted, page.results], outputs=page.wanted, **instantly
    ).then(
        run,
        inputs=[page.photo, page.wanted, page.wanted_reference, page.results, *page.view],
        outputs=[*page.shown, page.status, page.stop, page.results],
        show_progress_on=page.status,
        api_visibility="private",
        trigger_mode="multiple",  # while a former photo waits or runs
        **ONE_AT_A_TIME,
    )
    page.stop.click(stop_run, inputs=page.results, **instantly)
    at_once: dict[str, Any] = {
        "show_progress": "hidden",
        "trigger_mode": "always_last",
        "api_visibility": "private",
        "concurrency_limit": usable_cores(),
    }
    readjusting: dict[str, Any] = at_once | {
        "fn": lambda results, *view: readjust(page, results, read_view(*view)),
        "inputs": [page.results, *page.view],
        "outputs": [*page.shown, page.results],
    }
    catching_up: dict[str, Any] = at_once | {
        "fn": lambda results: readjust_others(page, results),
        "inputs": page.results,
        "outputs": page.shown,
    }
    answering = {"fn": answer_controls, "inputs": [page.wanted, page.results, *page.view]}
    gr.on([part.change for part in page.view], **readjusting | answering).then(**catching_up)
    # What was moved while the networks ran.
    running.success(**readjusting).then(**catching_up)
    opening.success(**readjusting).then(**catching_up)
    page.compared.change(
        lambda name: EXPERIMENTS[name].best_at,
        page.compared,
        page.best_at,
        **instantly,
    )
    page.reference.change(
        lambda path: path, page.reference, page.wanted_reference, **instantly
    ).then(
        lambda path, wanted, results: score(page, path, wanted, results, settings),
        inputs=[page.wanted_reference, page.wanted, page.results],
        outputs=[*page.shown, page.results],
        **at_once,
    )
    for kind, (button, link) in page.downloads.items():
        button.click(
            partial(prepare_download, kind),
            inputs=[page.results, page.compared],
            outputs=link,
            api_visibility="private",
            concurrency_limit=usable_cores(),
        ).success(None, js=f"() => document.querySelector('#{link.elem_id}').click()")


def new_results(folder: Path, source: Path, photo: Photo, view: View) -> Results:
    """Make a place below `folder` for the results of one photo."""
    results = Results(Path(tempfile.mkdtemp(dir=folder)), source, photo, view)
    # gradio calls no `delete_callback` for visitors that it forgets.
    weakref.finalize(results, shutil.rmtree, results.folder, ignore_errors=True)
    return results


def order_runs(first: str) -> list[tuple[str, ...]]:
    """Name the experiments of each run; the run of the `first` one comes first."""
    return sorted(GROUPS, key=lambda names: first not in names)


def prepare_example(folder: Path) -> Results:
    """Open the example photo that is shown enhanced to whoever opens the page."""
    view = View(DEFAULT_EXPERIMENT, (), Adjustments())
    return new_results(folder, FIRST_EXAMPLE, open_photo(FIRST_EXAMPLE), view)


def open_example(
    page: Page, example: Results, settings: Settings, folder: Path
) -> Iterator[Update]:
    """Show the example; the first visitor waits for its networks, the others find it done."""
    # The visitor's own, to adjust; in the state at once, so that a photo of theirs can stop it.
    results = new_results(folder, example.source, example.photo, example.view)
    yield {page.results: results}
    for names in order_runs(DEFAULT_EXPERIMENT):
        if not example.measured.keys() >= set(names) and not results.stopped:
            yield {**show(page, results), page.status: describe_running(results, names)}
        try:
            with EXAMPLE_LOCK, failures_shown():
                if not example.measured.keys() >= set(names) and not results.stopped:
                    # Not on ZeroGPU, which is lent to visitors' own runs only.
                    add_enhancements(example, load_enhancer(names, settings).enhance(example.photo))
        except gr.Error:
            yield {page.status: describe_results(results, settings)}
            raise
        if not results.stopped:
            add_enhancements(results, map(example.load, names))
        if results.stopped:
            yield unchanged(page)  # else gradio repeats what came last
            return
        yield {**show(page, results), page.status: describe_results(results, settings)}


def run_experiments(page: Page, results: Results, settings: Settings) -> Iterator[Update]:
    """Run the experiments, the compared one first; show what is done after each run.

    Those that share a Decom-Net run as one: the first comes later so, both sooner.
    """
    progress = gr.Progress()

    def report(tile: int, tiles: int) -> None:
        if results.stopped:
            raise RunStoppedError
        progress((tile, tiles), desc=title)

    for names in order_runs(results.view.compared):
        title = name_titles(names)
        # Every update repeats the pictures before it: a closed tab keeps the last update only. The
        # state is written again, so that it is kept for longer.
        status = {page.status: describe_running(results, names), page.results: results}
        yield {**show(page, results), **status}
        try:
            enhancements = run_networks(names, results.photo, settings, report)
        except RunStoppedError:
            break
        except Exception:  # no GPU left on ZeroGPU, for one; gradio tells the visitor
            yield end_run(page, results, settings)
            results.stopped = True
            raise
        if results.stopped:
            break
        add_enhancements(results, enhancements)
        del enhancements  # else they would fill memory during the next run
    yield end_run(page, results, settings)


def end_run(page: Page, results: Results, settings: Settings) -> Update:
    """Show what a run has come to."""
    return {
        **show(page, results),
        page.status: describe_results(results, settings),
        page.stop: gr.Button(interactive=False),
        page.results: results,
    }


class RunStoppedError(Exception):
    """The visitor doesn't want the rest of the experiments."""


def stop_run(results: Results | None) -> None:
    """Let a run end at its next tile."""
    if results is not None:
        results.stopped = True


def choose(path: str | None, wanted: Choice | None, results: Results | None) -> Choice:
    """Return what the visitor wants by now, and end a run that they don't want any longer.

    gradio announces a photo that replaces another twice, which is one choice. So is a photo chosen
    again, unless its run was stopped or its results are no more.
    """
    there = results is not None and not results.stopped
    if wanted is not None and path == wanted.path and (there or not wanted.begun):
        return wanted
    if wanted is not None:
        wanted.replaced = True
    if results is not None:
        results.stopped = True
    return Choice(path)


def add_enhancements(results: Results, enhancements: Iterable[Enhancement]) -> None:
    """Add the stages of experiments, and their outputs as the visitor wants to see them."""
    with unless_deleted(results):
        for enhancement in enhancements:
            results.add(enhancement)
            results.write_adjusted(enhancement)


@contextmanager
def unless_deleted(results: Results) -> Iterator[None]:
    """Leave out the rest if the visitor has moved on to another photo and their folder is gone."""
    try:
        yield
    except FileNotFoundError:
        if not results.stopped:
            raise


def readjust(page: Page, results: Results | None, view: View) -> Update:
    """Show results in another view, without running a network.

    Of an adjustment the compared experiment alone, which the visitor looks at and waits for.
    """
    if results is None or results.view == view:
        return unchanged(page)
    former, results.view = results.view, view
    compared = [view.compared] if view.compared in results.measured else []
    with unless_deleted(results):
        results.refresh(compared)
        names = list(EXPERIMENTS) if former.coloured != view.coloured else compared
        # The state is written again, so that it is kept for longer.
        return {**show_experiments(page, results, names), page.results: results}
    return unchanged(page)


def readjust_others(page: Page, results: Results | None) -> Update:
    """Bring up to date what `readjust` has left as it was."""
    if results is None:
        return unchanged(page)
    with unless_deleted(results):
        results.refresh(list(results.measured))
        if results.shown is None or replace(results.shown, compared=results.view.compared) != (
            results.view
        ):
            update = show(page, results)
            del update[page.before_after]  # which may show another experiment by now
            return update
    return unchanged(page)


def score(
    page: Page, path: str | None, wanted: Choice | None, results: Results | None, settings: Settings
) -> Update:
    """Compare the outputs with a reference, or no longer; not those of a former photo."""
    if results is None or (wanted is not None and wanted.path != str(results.source)):
        return unchanged(page)
    set_reference(results, path, settings)
    with unless_deleted(results):
        results.refresh(list(results.measured))
        return {**show(page, results), page.results: results}
    return unchanged(page)


def set_reference(results: Results, path: str | None, settings: Settings) -> None:
    """Open the reference; the visitor is told if it can't be used, and does without."""
    results.reference = None
    try:
        results.reference = open_reference(path, results.photo, settings)
    except gr.Error as error:
        gr.Warning(error.message, title=error.title)


def unchanged(page: Page) -> Update:
    """Leave the page as it is; gradio wants at least one value."""
    return {page.before_after: gr.skip()}


def show(page: Page, results: Results) -> Update:
    """Fill the page with the experiments that are done."""
    view = results.view
    stale = any(map(results.is_stale, list(results.measured)))
    results.shown = None if stale else view
    grid = [
        (path, f"{EXPERIMENTS[name].title}: {stage.label}")
        for name in EXPERIMENTS
        if name in results.measured
        for stage, path in results.shown_files(name).items()
    ]
    # As a component: gradio forgets to delete the files of a plain list.
    return {**show_experiments(page, results, EXPERIMENTS), page.grid: gr.Gallery(grid)}


def show_experiments(page: Page, results: Results, names: Iterable[str]) -> Update:
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
        files = results.shown_files(name)
        for stage in results.view.coloured:
            files[stage] = results.write_coloured(name, stage)
        label = label_result(results.done[name])
        for stage, path in files.items():
            update[page.pictures[stage][name]] = gr.Image(str(path), label=label)
        update[page.facts[name]] = describe_output(results.statistics, results.measured[name])
    return update


def label_result(done: Enhancement) -> str:
    """Name the experiment, its time and its device."""
    title = EXPERIMENTS[done.experiment].title
    seconds = f"{done.seconds * done.together:.1f} s{' for both' if done.together > 1 else ''}"
    return f"{title} · {seconds} on {done.device.label}"


def clear(page: Page) -> Update:
    """Take everything of a photo off the page, the times above its pictures included."""
    pictures = {
        picture: gr.Image(None, label=EXPERIMENTS[name].title)
        for row in page.pictures.values()
        for name, picture in row.items()
    }
    slider = gr.ImageSlider(None, label=BEFORE_AFTER)
    return {**dict.fromkeys(page.shown), page.before_after: slider, **pictures}


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
    seconds = sum(enhancement.seconds for enhancement in done)
    count = f"{len(done)} of {len(EXPERIMENTS)} experiments"
    return (
        f"{'Stopped: ' if results.stopped else ''}{width}×{height} pixels, {count} in "
        f"{seconds:.1f} s. {describe_device(settings, done[-1] if done else None)}."
    )


def prepare_download(kind: Download, results: Results | None, experiment: str) -> Path:
    """Write the file that a download button promises."""
    if results is None or experiment not in results.measured:
        raise new_message(NO_RESULTS, "Nothing to download")
    with unless_deleted(results):
        results.refresh(list(results.measured) if kind is Download.ZIP else [experiment])
        match kind:
            case Download.PNG:
                return results.convert_adjusted(experiment, ".png")
            case Download.JPEG:
                return results.convert_adjusted(experiment, ".jpg")
            case Download.ZIP:
                return results.write_zip()
    raise new_message("You have chosen another photo meanwhile.", "Nothing to download")


def delete_results(results: Results | None) -> None:
    """Delete a visitor's files, and end the run that adds to them."""
    if results is not None:
        results.stopped = True
        shutil.rmtree(results.folder, ignore_errors=True)


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
