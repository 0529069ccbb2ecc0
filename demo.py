"""The demo: drop in a dark photo and see, stage by stage, what each experiment makes of it.

`python demo.py` opens it in the browser; as a Hugging Face Space it starts by itself. Reading
order: `main` → `build_page` → `connect` says what happens when → `take_photo` opens a photo →
`run_experiments` → `run_networks` (retinex/demo_networks.py) → `CombinedEnhancer.enhance`
(retinex/inference.py) computes its stages → `add_enhancements` writes them
(retinex/demo_results.py) → `show` (retinex/demo_page.py) fills the page. `readjust` answers the
controls. What programs can call is in retinex/demo_endpoints.py, the looks are in demo.css.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from retinex import (
    EXPERIMENTS,
    Adjustments,
    Device,
    DeviceError,
    ModelError,
    Stage,
    open_photo,
)
from retinex.demo_deletion import SECONDS_RESULTS_ARE_KEPT, keep_deleting_old_files
from retinex.demo_endpoints import add_endpoints
from retinex.demo_fetching import MOST_BYTES, limit_fetching
from retinex.demo_inputs import new_message, open_reference, open_upload
from retinex.demo_networks import (
    ONE_AT_A_TIME,
    Settings,
    describe_device,
    failures_shown,
    load_enhancer,
    run_networks,
)
from retinex.demo_page import (
    TITLE,
    Download,
    Page,
    Update,
    build_theme,
    clear,
    lay_out_page,
    read_view,
    show,
    show_experiments,
    unchanged,
)
from retinex.demo_results import (
    Results,
    View,
    add_enhancements,
    delete_results,
    keep_on_disk,
    new_results,
    unless_deleted,
)
from retinex.experiments import GROUPS
from retinex.inference import DEFAULT_EXPERIMENT, MODELS_FOLDER
from retinex.machine import usable_cores
from retinex.quick_gradio import gr, gradio_mcp, without_servers

ROOT = Path(__file__).parent
EXAMPLES_FOLDER = ROOT / "examples"
FIRST_EXAMPLE = EXAMPLES_FOLDER / "coffee.jpg"
NO_RESULTS = (
    "Choose a photo and wait for its result. "
    f"It is kept for {SECONDS_RESULTS_ARE_KEPT // 60} minutes."
)
LARGEST_MEGAPIXELS = 178
"""Pillow refuses more."""
LONGEST_QUEUE = 256
"""Events that wait: photos for the networks, but controls and downloads, too."""
MOST_SESSIONS = 200
"""Of visitors that gradio remembers, each with files of their photo; the oldest are forgotten."""
WITHOUT_QUEUE: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}
"""How events are answered that compute nothing."""
WITHOUT_NETWORKS: dict[str, Any] = {
    "show_progress": "hidden",
    "trigger_mode": "always_last",
    "api_visibility": "private",
    "concurrency_limit": usable_cores(),
}
"""How events are answered that run no network."""
Event = Any
"""What gradio's listeners return: something that another event can follow."""
EXAMPLE_LOCK = threading.Lock()
"""Held while the example is enhanced, once for all visitors."""


@dataclass(eq=False)
class Choice:
    """A photo that the visitor has chosen; the same one chosen twice makes two."""

    path: str | None
    """Its file; None if they took the photo away."""
    begun: bool = False
    """Whether its run has begun, or was refused."""
    replaced: bool = False
    """Whether the visitor has chosen anew since."""


def main() -> None:
    """Start the demo, and open it in the browser unless it runs on a server."""
    settings = parse_arguments()
    try:
        for names in GROUPS:
            load_enhancer(names, settings)
    except (DeviceError, ModelError) as error:
        raise SystemExit(f"demo.py: {error}") from error
    # As Ctrl-C does, so that visitors' files are deleted when a server or its terminal is closed.
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP, nohup ignores it
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: sys.exit())
    limit_fetching()
    with tempfile.TemporaryDirectory(prefix="retinex-", ignore_cleanup_errors=True) as folder:
        uploads = Path(folder) / "uploads"
        uploads.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = gradio_mcp.DEFAULT_TEMP_DIR = str(uploads)
        with without_servers():  # api_open would let callers around the queue
            page = build_page(settings, Path(folder)).queue(max_size=LONGEST_QUEUE, api_open=False)
        keep_deleting_old_files(uploads)
        page.launch(
            theme=build_theme(),
            css_paths=ROOT / "demo.css",
            js=(ROOT / "demo.js").read_text(),
            inbrowser=not {"SPACE_ID", "GRADIO_SERVER_NAME", "CI"} & os.environ.keys(),
            allowed_paths=[str(EXAMPLES_FOLDER)],
            max_file_size=MOST_BYTES,
            state_session_capacity=MOST_SESSIONS,
            run_history=False,
            mcp_server=True,
            footer_links=["api", "gradio", "settings"],
        )


def build_page(settings: Settings, folder: Path) -> gr.Blocks:
    """Build the page and its API; visitors' results go below `folder`."""
    blocks: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        examples = sorted(EXAMPLES_FOLDER.glob("*.jpg"))
        page = lay_out_page(describe_device(settings), examples)
        connect(page, blocks, settings, folder)
        add_endpoints(settings)
    return blocks


def connect(page: Page, blocks: gr.Blocks, settings: Settings, folder: Path) -> None:
    """Say what happens when the visitor does something."""
    opening = blocks.load(
        partial(open_example, page, prepare_example(folder), settings, folder),
        outputs=[*page.shown, page.status, page.results],
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=None,
    )
    running = connect_photo(page, settings, folder)
    moving = gr.on(
        [part.change for part in page.view],
        partial(answer_controls, page),
        inputs=[page.wanted, page.results, *page.view],
        outputs=[*page.shown, page.results],
        **WITHOUT_NETWORKS,
    )
    referring = page.reference.change(
        lambda path: path, page.reference, page.wanted_reference, **WITHOUT_QUEUE
    )
    catch_up_after(page, moving)
    score_after(page, settings, referring)
    # What was moved, or chosen as a reference, while the networks ran.
    catch_up_after(page, readjust_after(page, opening))
    score_after(page, settings, catch_up_after(page, readjust_after(page, running)))
    page.compared.change(
        lambda name: EXPERIMENTS[name].best_at, page.compared, page.best_at, **WITHOUT_QUEUE
    )
    connect_downloads(page)


def connect_photo(page: Page, settings: Settings, folder: Path) -> Event:
    """Run the networks on what the visitor chooses, until they press Stop."""
    page.examples.click(lambda sample: sample[0], page.examples, page.photo, **WITHOUT_QUEUE)
    page.stop.click(stop_run, inputs=page.results, **WITHOUT_QUEUE)
    # The run of another photo begins when that of the former has ended.
    return page.photo.change(
        choose, inputs=[page.photo, page.wanted, page.results], outputs=page.wanted, **WITHOUT_QUEUE
    ).then(
        partial(take_photo, page, settings, folder),
        inputs=[page.photo, page.wanted, page.wanted_reference, page.results, *page.view],
        outputs=[*page.shown, page.status, page.stop, page.results],
        show_progress_on=page.status,
        api_visibility="private",
        trigger_mode="multiple",  # while a former photo waits or runs
        **ONE_AT_A_TIME,
    )


def readjust_after(page: Page, event: Event) -> Event:
    """Show the compared experiment as the controls say, after a successful `event`."""
    return event.success(
        lambda results, *view: readjust(page, results, read_view(*view)),
        inputs=[page.results, *page.view],
        outputs=[*page.shown, page.results],
        **WITHOUT_NETWORKS,
    )


def catch_up_after(page: Page, event: Event) -> Event:
    """Show the other experiments so, too."""
    return event.then(
        partial(readjust_others, page), inputs=page.results, outputs=page.shown, **WITHOUT_NETWORKS
    )


def score_after(page: Page, settings: Settings, event: Event) -> Event:
    """Compare the outputs with the reference that is wanted by then."""
    return event.then(
        partial(score, page, settings),
        inputs=[page.wanted_reference, page.wanted, page.results],
        outputs=[*page.shown, page.results],
        **WITHOUT_NETWORKS,
    )


def connect_downloads(page: Page) -> None:
    """Make the file that a button asks for, then let the browser fetch it."""
    for kind, (button, link) in page.downloads.items():
        button.click(
            partial(prepare_download, kind),
            inputs=[page.results, page.compared],
            outputs=link,
            api_visibility="private",
            concurrency_limit=usable_cores(),
        ).success(None, js=f"() => document.querySelector('#{link.elem_id}').click()")


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
    with failures_shown():
        results = new_results(folder, example.source, example.photo, example.view)
    yield {page.results: results}
    for names in order_runs(DEFAULT_EXPERIMENT):
        if not example.measured.keys() >= set(names) and not results.stopped:
            yield {**show(page, results), page.status: describe_running(results, names)}
        try:
            with failures_shown():
                with EXAMPLE_LOCK:
                    if not example.measured.keys() >= set(names) and not results.stopped:
                        # Not on ZeroGPU, which is lent to visitors' own runs only.
                        enhancer = load_enhancer(names, settings)
                        add_enhancements(example, enhancer.enhance(example.photo))
                if not results.stopped:
                    add_enhancements(results, map(example.load, names))
        except Exception:  # gradio tells the visitor
            yield {page.status: describe_results(results, settings)}
            raise
        if results.stopped:
            yield unchanged(page)  # else gradio repeats what came last
            return
        yield {**show(page, results), page.status: describe_results(results, settings)}


def take_photo(
    page: Page,
    settings: Settings,
    folder: Path,
    path: str | None,
    wanted: Choice | None,
    reference: str | None,
    former: Results | None,
    *view: Any,
) -> Iterator[Update]:
    """Open the photo that the visitor has chosen and take it through the experiments."""
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
        with failures_shown():
            results = new_results(folder, Path(path), photo, read_view(*view))
    except gr.Error as error:
        yield {page.status: error.message}  # gradio's own goes after a while
        wanted.begun = True
        raise
    yield {page.results: results}
    wanted.begun = True
    if wanted.replaced:  # while the photo was opened, when there was nothing to stop yet
        results.stopped = True
        return
    yield {page.stop: gr.Button(interactive=True)}
    set_reference(results, reference, settings)
    yield from run_experiments(page, results, settings)


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
            if results.stopped:
                break
            with failures_shown():
                add_enhancements(results, enhancements)
            del enhancements  # else they would fill memory during the next run
        except RunStoppedError:
            break
        except Exception:  # no GPU left on ZeroGPU, or a full disk; gradio tells the visitor
            yield end_run(page, results, settings)
            results.stopped = True
            raise
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


def answer_controls(
    page: Page, wanted: Choice | None, results: Results | None, *view: Any
) -> Update:
    """Show what the visitor has set, or say that there is nothing to set."""
    if results is None and (wanted is None or wanted.begun):
        gr.Warning(NO_RESULTS)
    return readjust(page, results, read_view(*view))


def readjust(page: Page, results: Results | None, view: View) -> Update:
    """Show results in another view, without running a network.

    Of an adjustment the compared experiment alone, which the visitor looks at and waits for.
    """
    if results is None or results.view == view:
        return unchanged(page)
    former, results.view = results.view, view
    if former.adjustments != view.adjustments:
        results.shown = None  # even if they are set back before the others follow
    compared = [view.compared] if view.compared in results.measured else []
    with unless_deleted(results):
        results.refresh(compared)
        if former.coloured == view.coloured:
            update = show_experiments(page, results, compared, [Stage.OUTPUT])
        else:
            update = show_experiments(page, results, EXPERIMENTS)
        # The state is written again, so that it is kept for longer.
        return {**update, page.results: results}
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
    page: Page, settings: Settings, path: str | None, wanted: Choice | None, results: Results | None
) -> Update:
    """Compare the outputs with a reference, or no longer; not those of a former photo."""
    if results is None or (wanted is not None and wanted.path != str(results.source)):
        return unchanged(page)
    if path == results.reference_source:
        return unchanged(page)
    set_reference(results, path, settings)
    with unless_deleted(results):
        results.refresh(list(results.measured))
        return {**show(page, results), page.results: results}
    return unchanged(page)


def set_reference(results: Results, path: str | None, settings: Settings) -> None:
    """Open the reference; the visitor is told if it can't be used, and does without."""
    reference = None
    try:
        reference = open_reference(path, results.photo, settings)
        if reference is not None:
            with unless_deleted(results), failures_shown():
                reference = keep_on_disk(reference, results.folder)
    except gr.Error as error:
        gr.Warning(error.message, title=error.title)
    results.reference, results.reference_source = reference, path


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
        type=parse_megapixels,
        default=os.environ.get("RETINEX_MAX_MEGAPIXELS", "24"),
        help="largest photo accepted (environment: RETINEX_MAX_MEGAPIXELS; default 24)",
    )
    return Settings(**vars(parser.parse_args()))


def parse_megapixels(text: str) -> float:
    """Read a number of megapixels."""
    with suppress(ValueError):  # no number at all
        megapixels = float(text)
        if 0 < megapixels <= LARGEST_MEGAPIXELS:
            return megapixels
    raise argparse.ArgumentTypeError(
        f"expected a number above 0, up to {LARGEST_MEGAPIXELS}, got {text!r}"
    )


if __name__ == "__main__":
    main()
