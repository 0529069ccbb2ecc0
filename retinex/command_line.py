"""The command `retinex`: enhance photos, or evaluate experiments on pairs."""

import argparse
import errno
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TypeAlias

from tqdm import tqdm

from retinex import __version__
from retinex.adjustments import MAX_EXPOSURE, Adjustments
from retinex.batch import Batch, BatchError, Format, Job, check_writable, plan_batch, run_job
from retinex.datasets import LOL_TEST_FOLDER, DatasetError, match_stems, name_pairs
from retinex.device import Device, DeviceError
from retinex.experiments import DEFAULT_EXPERIMENT, EXPERIMENTS
from retinex.inference import MODELS_FOLDER, Enhancer, ModelError
from retinex.machine import FULL_DISK
from retinex.photo import PhotoError

# A class of argparse that has no public name and isn't generic at run time.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

EVALUATION_FOLDER = Path("evaluation")
CHECKPOINTS_FOLDER = MODELS_FOLDER.parent / "checkpoints"

NOTHING_CAN_BE_WRITTEN = FULL_DISK | {errno.EROFS}
"""What a full or read-only disk answers."""

EVALUATE_HELP = """\
Compare what the experiments make of dark photos with photos of the same scenes in normal light.

Writes results.csv (every image), results.md (means and every image) and
sheets/<experiment>/<image>.png (all stages and the reference) into --out; of an evaluation that was
interrupted, results-partial.csv and results-partial.md.

Decom and Enhance loss and the unclipped Î need PyTorch (pip install -e ".[train]") and the
experiment's weights in --checkpoints. LPIPS is computed where the package is installed
(pip install -e ".[lpips]"); it downloads the weights of its backbone, 230 MB, the first time it
runs.
"""
ENHANCE_HELP = """\
Brighten photos. Sub-folders and names are kept, and so are EXIF, XMP, colour profile and
transparency (JPEG has none). The photos given are never overwritten, links to folders not followed.
Photos whose output exists are skipped: after an interruption run the same command again. With other
settings choose another --out, or add --overwrite, which begins with the first photo each time, and
replaces whatever has an output's name: let --out be a folder of its own.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0, or 1 if a photo failed or there is none."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")  # Windows can't write every letter into a file
    args = build_parser().parse_args(arguments)
    try:
        with _end_on_sigterm():
            code: int = args.run(args)
    except (BatchError, DatasetError, DeviceError, ModelError, OSError) as error:
        raise SystemExit(f"retinex: {error}") from error
    except KeyboardInterrupt:
        print("retinex: interrupted", file=sys.stderr)
        return 130  # what shells expect of a program that Ctrl-C ended
    return code


def run_evaluate(args: argparse.Namespace) -> int:
    """Evaluate experiments on pairs; print the means and write all the rest."""
    from retinex import evaluation, evaluation_report  # loads SciPy

    pairs = match_stems(args.folder, LOL_TEST_FOLDER)
    enhancers = evaluation.open_enhancers(args.experiment, args.device, args.models)
    measures, notes = evaluation.choose_measures(enhancers, args.checkpoints)
    notes += evaluation.warn_of_training_pairs(enhancers, pairs)
    out = args.out or choose_evaluation_folder(
        args.folder, args.models, args.experiment, args.denoise
    )
    check_writable(out)
    scores = []
    results = evaluation.evaluate(pairs, enhancers, measures, Adjustments(denoise=args.denoise))
    try:
        for result in tqdm(results, "evaluate", len(pairs) * len(enhancers), unit="photo"):
            scores.append(result.scores)
            sheet = out / "sheets" / result.scores.experiment / f"{result.scores.image}.png"
            sheet.parent.mkdir(parents=True, exist_ok=True)
            evaluation.draw_sheet(result).save(sheet)
    finally:  # a pair that can't be read doesn't cost the scores of those before it
        # By now a device may have failed, and another taken over.
        notes = [*dict.fromkeys(map(describe_device, enhancers)), *notes]
        done = len(scores) // len(enhancers)
        scores = scores[: done * len(enhancers)]  # means are of the same pairs for all experiments
        heading = describe_evaluation(args.folder, done, len(pairs), args.denoise)
        if scores:
            report = evaluation_report.write(scores, heading, notes, out, done == len(pairs))
            if done < len(pairs):
                print(f"What is done so far: {report}", file=sys.stderr)
    print(f"{heading}\n\n{evaluation_report.mean_table(scores, evaluation_report.HEADLINES)}")
    print(*notes, f"More numbers, and every image: {report}", sep="\n")
    return 0


def choose_evaluation_folder(
    pairs: Path, models: Path, experiments: Sequence[str], denoise: float
) -> Path:
    """Choose where an evaluation is written unless --out says: none takes another kind's place.

    That of other networks than the released ones goes beside them. Folders that `name_pairs` names
    alike share a place.
    """
    released = models.resolve() == MODELS_FOLDER.resolve()
    folder = (EVALUATION_FOLDER if released else models / EVALUATION_FOLDER) / name_pairs(pairs)
    if experiments:
        folder /= "-".join(name for name in EXPERIMENTS if name in experiments)
    return folder / f"denoised_{denoise:g}" if denoise else folder


def describe_evaluation(pairs: Path, done: int, count: int, denoise: float) -> str:
    """Say what was evaluated, and how much of it if not all."""
    share = f"{done}" if done == count else f"{done} of {count}"
    denoised = f", denoised by {denoise:g}" if denoise else ""
    return f"Evaluation on {share} pairs of {name_pairs(pairs)}{denoised}"


def run_enhance(args: argparse.Namespace) -> int:
    """Enhance photos; print, even if stopped, what was done and, last, what failed and why."""
    batch = plan_batch(args.photos, args.out, Format(args.format), args.stages)
    jobs = batch.jobs[args.shard]
    waiting = [job for job in jobs if args.overwrite or not job.is_done()]
    if not waiting:
        print(summarise(batch, 0, len(jobs), 0, args.out))
        return 0 if batch.jobs else 1  # no photos at all are likely a mistake
    adjustments = Adjustments(
        strength=args.strength,
        highlight_protection=args.highlights,
        denoise=args.denoise,
        exposure=args.exposure,
    )
    enhancer = Enhancer(args.experiment, args.device, args.models)
    check_writable(waiting[0].target.parent)
    print(describe_device(enhancer))
    results: list[str] = []
    try:
        with tqdm(waiting, "enhance", unit="photo") as progress:
            for job in progress:
                results.append(enhance_or_explain(job, enhancer, adjustments))
    finally:
        failures = [reason for reason in results if reason]
        enhanced, left = len(results) - len(failures), len(waiting) - len(results)
        print(summarise(batch, enhanced, len(jobs) - len(waiting), left, args.out))
        if failures:
            print(f"{len(failures)} failed:", *failures, sep="\n  ", file=sys.stderr)
    return 1 if failures else 0


def enhance_or_explain(job: Job, enhancer: Enhancer, adjustments: Adjustments) -> str:
    """Enhance one photo; return why that failed, empty if it didn't.

    Raises:
        BatchError: nothing can be written any longer.
    """
    try:
        run_job(job, enhancer, adjustments)
    except PhotoError as error:
        reason = str(error)
    except Exception as error:  # whatever is wrong with one photo, the others are still done
        if isinstance(error, OSError) and error.errno in NOTHING_CAN_BE_WRITTEN:
            raise BatchError(
                f"nothing can be written into {job.target.parent} any longer ({error.strerror}); "
                "make room there and run the same command again"
            ) from error
        reason = f"{type(error).__name__}: {error}"
    else:
        return ""
    return reason if reason.startswith(str(job.source)) else f"{job.source}: {reason}"


def describe_device(enhancer: Enhancer) -> str:
    """Say what the networks run on, and why on nothing faster."""
    reason = f" ({enhancer.device_reason})" if enhancer.device_reason else ""
    return f"Device: {enhancer.device.label}{reason}."


def summarise(batch: Batch, enhanced: int, skipped: int, left: int, out: Path) -> str:
    """Say what became of all files; `left` is the number that a stopped run didn't come to."""
    parts = [f"{enhanced} enhanced into {out}"]
    if skipped:
        parts.append(
            f"{skipped} skipped, as their output exists, whatever settings made it "
            "(--overwrite makes it anew)"
        )
    if left:
        parts.append(f"{left} left for another run")
    if batch.left_alone:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(batch.left_alone.items()))
        parts.append(f"left alone in the folders: {kinds}")
    if not batch.jobs:
        parts.append("no photos found")
    return "; ".join(parts)


@contextmanager
def _end_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program as Ctrl-C does: half files are deleted, what was done is told."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what shells expect
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def build_parser() -> argparse.ArgumentParser:
    """Describe the two commands."""
    parser = argparse.ArgumentParser(prog="retinex", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_evaluate(commands)
    _add_enhance(commands)
    return parser


def _add_evaluate(commands: Commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="compare experiments' outputs with references",
        description=EVALUATE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run_evaluate)
    parser.add_argument(
        "folder",
        type=_parse_path,
        metavar="FOLDER",
        help="holds the folders low and high with photos of equal names, or LOL's eval15",
    )
    parser.add_argument(
        "--experiment",
        action="append",
        default=[],
        metavar="NAME",
        help=f"of {', '.join(EXPERIMENTS)}; for several give it several times (default all with an "
        "ONNX file)",
    )
    _add_common(parser)
    parser.add_argument(
        "--out",
        type=_parse_path,
        help="folder to write to (default evaluation/<name of FOLDER>, in MODELS if --models "
        "names another folder; in it experiments that are named, and denoised_<D> with --denoise)",
    )
    _add_share(
        parser,
        "--denoise",
        0.0,
        "score outputs with this share of noise taken out of R, 0 to 1 (default 0)",
    )
    parser.add_argument(
        "--checkpoints",
        type=_parse_path,
        default=CHECKPOINTS_FOLDER,
        help="folder of the .safetensors files (default checkpoints)",
    )


def _add_enhance(commands: Commands) -> None:
    parser = commands.add_parser(
        "enhance",
        help="brighten photos and folders of photos",
        description=ENHANCE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run_enhance)
    parser.add_argument(
        "photos", nargs="+", type=_parse_path, metavar="PHOTO_OR_FOLDER", help="what to enhance"
    )
    parser.add_argument(
        "--experiment",
        default=DEFAULT_EXPERIMENT,
        metavar="NAME",
        help=f"of {', '.join(EXPERIMENTS)} (default {DEFAULT_EXPERIMENT})",
    )
    _add_common(parser)
    parser.add_argument(
        "--out",
        type=_parse_path,
        required=True,
        help="folder to write to, or for one photo a file, such as bright.jpg",
    )
    parser.add_argument(
        "--format",
        choices=[str(choice) for choice in Format],
        default=Format.KEEP,
        help="what to write (default keep: as the original, or PNG where that can't be written)",
    )
    parser.add_argument(
        "--exposure",
        type=partial(_parse_number, -MAX_EXPOSURE, MAX_EXPOSURE),
        default=0.0,
        metavar="STOPS",
        help=f"brighten or darken the output, -{MAX_EXPOSURE:g} to {MAX_EXPOSURE:g} (default 0)",
    )
    _add_share(parser, "--strength", 1.0, "of the enhancement, 0 to 1 (default 1: all of it)")
    _add_share(
        parser,
        "--highlights",
        0.0,
        "how far what is bright already stays as it is, 0 to 1 (default 0)",
    )
    _add_share(parser, "--denoise", 0.0, "of the dark areas' noise taken out, 0 to 1 (default 0)")
    parser.add_argument(
        "--stages",
        action="store_true",
        help="write reflectance and illuminations, too, as <name>-<stage>",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that have outputs' names, but none of the photos given",
    )
    parser.add_argument(
        "--shard",
        type=_parse_shard,
        default=slice(None),
        metavar="K/N",
        help="take every N-th photo from the K-th on, so that N machines share the work",
    )


def _add_share(parser: argparse.ArgumentParser, name: str, default: float, meaning: str) -> None:
    parser.add_argument(
        name, type=partial(_parse_number, 0, 1), default=default, metavar="SHARE", help=meaning
    )


def _parse_path(text: str) -> Path:
    if not text:  # a shell's unset variable; Path takes it for the current folder
        raise argparse.ArgumentTypeError("an empty name; the current folder is .")
    return Path(text)


def _parse_number(low: float, high: float, text: str) -> float:
    with suppress(ValueError):  # no number at all
        number = float(text)
        if low <= number <= high:
            return number
    raise argparse.ArgumentTypeError(f"{text} isn't a number from {low:g} to {high:g}")


def _parse_shard(text: str) -> slice:
    """Read "K/N": every N-th from the K-th on, so that shards of one N have each photo once."""
    with suppress(ValueError):  # no two numbers
        index, count = map(int, text.split("/"))
        if 1 <= index <= count:
            return slice(index - 1, None, count)
    raise argparse.ArgumentTypeError(f"{text} isn't K/N with K from 1 to N, such as 2/4")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        type=_parse_path,
        default=MODELS_FOLDER,
        help="folder of the ONNX files (default onnx_models)",
    )
    parser.add_argument(
        "--device",
        choices=[str(choice) for choice in Device],
        default=Device.AUTO,
        help="what the networks run on (default auto: the fastest that works)",
    )
