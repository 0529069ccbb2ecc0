"""The demo: drop in a dark photo and see, stage by stage, what each experiment makes of it.

`python demo.py` opens it in the browser; as a Hugging Face Space it starts by itself. Reading
order: `main` → `build_page` → `connect` says what happens when → `take_photo` opens a photo →
`run_experiments` → `run_networks` (retinex/demo/networks.py) → `CombinedEnhancer.enhance`
(retinex/inference.py) computes its stages → `add_enhancements` writes them
(retinex/demo/results.py) → `show` (retinex/demo/page.py) fills the page. `readjust` answers the
controls. What programs can call is in retinex/demo/endpoints.py, the looks are in demo.css.

Between events a visitor's `Choice` and `Results` live in gr.State. They are changed in place, so
that events that already run see the change: a choice waits, has `begun`, and is `replaced` by a
newer one, which sets the `stopped` of its results.
"""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from retinex import (
    EXPERIMENTS,
    Adjustments,
    DeviceError,
    ModelError,
    PhotoError,
    Stage,
    open_photo,
)
from retinex.demo import gr, gradio_mcp, without_servers
from retinex.demo.captions import describe_results, describe_running, name_titles
from retinex.demo.deletion import (
    FOLDER_PREFIX,
    SECONDS_RESULTS_ARE_KEPT,
    delete_abandoned_folders,
    keep_deleting_old_files,
)
from retinex.demo.endpoints import add_endpoints
from retinex.demo.fetching import MOST_BYTES, limit_fetching
from retinex.demo.inputs import as_sentence, new_message, open_reference, open_upload
from retinex.demo.networks import (
    ONE_AT_A_TIME,
    describe_device,
    failures_shown,
    failures_warned_of,
    load_enhancer,
    run_networks,
)
from retinex.demo.page import (
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
from retinex.demo.results import (
    Results,
    View,
    add_enhancements,
    delete_results,
    keep_on_disk,
    new_results,
    unless_deleted,
)
from retinex.demo.settings import Settings, parse_arguments
from retinex.experiments import DEFAULT_EXPERIMENT, GROUPS
from retinex.machine import usable_cores

ROOT = Path(__file__).parent
EXAMPLES_FOLDER = ROOT / "examples"
FIRST_EXAMPLE = EXAMPLES_FOLDER / "coffee.jpg"
NO_RESULTS = (
    "Choose a photo and wait for its result. "
    f"It is kept for {SECONDS_RESULTS_ARE_KEPT // 60} minutes."
)
LONGEST_QUEUE = 256
"""Most events that may wait: photos, controls and downloads together."""
MOST_SESSIONS = 1000
"""Most visitors whose state gradio keeps, some 0.2 MB each; the oldest is dropped, with its files.
Each call of a program counts as a visitor."""
WITHOUT_QUEUE: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}
"""Options of events that compute nothing."""
WITHOUT_NETWORKS: dict[str, Any] = {
    "show_progress": "hidden",
    "trigger_mode": "always_last",
    "api_visibility": "private",
    "concurrency_limit": usable_cores(),
}
"""Options of events that compute, but run no network."""
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
    delete_abandoned_folders(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, ignore_cleanup_errors=True) as folder:
        uploads = Path(folder) / "uploads"
        uploads.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = gradio_mcp.DEFAULT_TEMP_DIR = str(uploads)
        with without_servers():  # api_open would let callers around the queue
            page = build_page(settings, Path(folder)).queue(max_size=LONGEST_QUEUE, api_open=False)
        keep_deleting_old_files(Path(folder), uploads)
        try:
            launch(page)
        except OSError as error:  # the address isn't this machine's, or the port isn't to be had
            raise SystemExit(f"demo.py: {error}") from error


def launch(page: gr.Blocks) -> None:
    """Serve the page until the demo is ended."""
    page.launch(
        theme=build_theme(),
        css_paths=ROOT / "demo.css",
        js=(ROOT / "demo.js").read_text(),
        inbrowser=not {"SPACE_ID", "GRADIO_SERVER_NAME", "CI"} & os.environ.keys(),
        allowed_paths=[str(EXAMPLES_FOLDER)],
        max_file_size=MOST_BYTES,
        state_session_capacity=MOST_SESSIONS,
        run_history=False,
        ssr_mode=False,  # Spaces turn it on; demo.js needs a page that the browser builds
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
    example_shown = blocks.load(
        partial(open_example, page, prepare_example(folder), settings, folder),
        outputs=[*page.photo_parts, page.status, page.results],
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=None,
    )
    photo_done = connect_photo(page, settings, folder)
    view_changed = gr.on(
        [part.change for part in page.view],
        partial(answer_controls, page),
        inputs=[page.wanted, page.results, *page.view],
        outputs=[*page.photo_parts, page.results],
        **WITHOUT_NETWORKS,
    )
    reference_chosen = page.reference.change(
        lambda path: path, page.reference, page.wanted_reference, **WITHOUT_QUEUE
    )
    catch_up_after(page, view_changed)
    score_after(page, settings, reference_chosen)
    # Catch up with controls moved and references chosen while the networks ran.
    catch_up_after(page, readjust_after(page, example_shown))
    score_after(page, settings, catch_up_after(page, readjust_after(page, photo_done)))
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
        outputs=[*page.photo_parts, page.status, page.stop, page.results],
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
        outputs=[*page.photo_parts, page.results],
        **WITHOUT_NETWORKS,
    )


def catch_up_after(page: Page, event: Event) -> Event:
    """Show the other experiments so, too."""
    return event.then(
        partial(readjust_others, page),
        inputs=page.results,
        outputs=page.photo_parts,
        **WITHOUT_NETWORKS,
    )


def score_after(page: Page, settings: Settings, event: Event) -> Event:
    """Compare the outputs with the reference that is wanted by then."""
    return event.then(
        partial(compare_with_chosen, page, settings),
        inputs=[page.wanted_reference, page.wanted, page.results],
        outputs=[*page.photo_parts, page.results],
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
        if not example.has(names) and not results.stopped:
            yield {**show(page, results), page.status: describe_running(results, names)}
        try:
            with failures_shown():
                with EXAMPLE_LOCK:
                    if not example.has(names) and not results.stopped:
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
        if results.stopped:
            break
        # Every update repeats the pictures before it: a closed tab keeps the last update only. The
        # state is written again, so that it is kept for longer.
        status = {page.status: describe_running(results, names), page.results: results}
        try:
            with failures_shown():
                yield {**show(page, results), **status}
                enhancements = run_networks(names, results.photo, settings, report)
                if results.stopped:
                    break
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
    ended = {
        page.status: describe_results(results, settings),
        page.stop: gr.Button(interactive=False),
        page.results: results,
    }
    with unless_deleted(results), failures_warned_of():
        return {**show(page, results), **ended}
    return ended  # the disk is full, or they were deleted, as their visitor has long been away


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

    Of an adjustment only the compared experiment, which the visitor is looking at;
    `readjust_others` does the rest.
    """
    if results is None or results.view == view:
        return unchanged(page)
    former, results.view = results.view, view
    if former.adjustments != view.adjustments:
        results.last_view = None  # even if they are set back before the others follow
    compared = [view.compared] if view.compared in results.measured else []
    with unless_deleted(results), failures_shown():
        results.refresh(compared)
        if former.coloured == view.coloured:
            update = show_experiments(page, results, compared, [Stage.OUTPUT])
        else:
            update = show_experiments(page, results, EXPERIMENTS)
        # The state is written again, so that it is kept for longer.
        return {**update, page.results: results}
    return unchanged(page)  # they were deleted


def readjust_others(page: Page, results: Results | None) -> Update:
    """Bring up to date what `readjust` has left as it was."""
    if results is None:
        return unchanged(page)
    with unless_deleted(results), failures_shown():
        results.refresh(list(results.measured))
        if not results.are_shown():
            update = show(page, results)
            del update[page.before_after]  # which may show another experiment by now
            return update
    return unchanged(page)  # they are shown, or were deleted


def compare_with_chosen(
    page: Page, settings: Settings, path: str | None, wanted: Choice | None, results: Results | None
) -> Update:
    """Compare the outputs with the reference chosen last, or no longer; not a former photo's."""
    if results is None or (wanted is not None and wanted.path != str(results.source)):
        return unchanged(page)
    if path == results.reference_source:
        return unchanged(page)
    set_reference(results, path, settings)
    with unless_deleted(results), failures_shown():
        results.refresh(list(results.measured))
        return {**show(page, results), page.results: results}
    return unchanged(page)  # they were deleted


def set_reference(results: Results, path: str | None, settings: Settings) -> None:
    """Open the reference; the visitor is told if it can't be used, and does without."""
    reference = None
    with unless_deleted(results), failures_warned_of():
        opened = open_reference(path, results.photo, settings)
        if opened is not None:
            reference = keep_on_disk(opened, results.folder)
    # Both at once, as another one may be chosen while this is opened.
    results.reference, results.reference_source = reference, path


def prepare_download(kind: Download, results: Results | None, experiment: str) -> Path:
    """Write the file that a download button promises."""
    if results is None or experiment not in results.measured:
        raise new_message(NO_RESULTS, "Nothing to download")
    with unless_deleted(results), failures_shown():
        results.refresh(list(results.measured) if kind is Download.ZIP else [experiment])
        match kind:
            case Download.PNG:
                return results.adjusted_path(experiment)
            case Download.JPEG:
                try:
                    return results.write_jpeg(experiment)
                except PhotoError as error:
                    raise new_message(as_sentence(error), "Too large for JPEG") from error
            case Download.ZIP:
                return results.write_zip()
    # They were deleted.
    raise new_message("You have chosen another photo meanwhile.", "Nothing to download")


if __name__ == "__main__":
    try:
        main()
    except SystemExit as ending:
        if ending.code is not None:  # it wasn't a signal that ended the demo
            raise
    # Python's own end would crash if networks still run in threads.
    sys.stdout.flush()
    os._exit(0)
