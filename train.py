"""Train an experiment: `python train.py --help` shows the choices and where to get datasets.

The story: load the pairs, build the network, and in each phase of the experiment repeat an epoch
of random crops, a validation, a line in log.csv and a state to resume from; release the weights.
"""

import argparse
import csv
import io
import math
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from retinex.atomic_writing import write_atomically
from retinex.datasets import DatasetError, may_have_seen, name_dataset
from retinex.experiments import Experiment
from retinex.machine import usable_cores
from retinex.training.arguments import parse_arguments, unused_arguments
from retinex.training.averaging import average_weights
from retinex.training.build import Network, build_network
from retinex.training.checkpoints import (
    CheckpointError,
    Facts,
    load_decom,
    load_start,
    load_state,
    restore_random,
    runs_behind,
    save_state,
    save_weights,
)
from retinex.training.grids import stage_grid
from retinex.training.losses import DecomWeights
from retinex.training.memory import keep_freed_memory
from retinex.training.networks import RetinexNet
from retinex.training.pairs import (
    JPEG_QUALITIES,
    MILDNESS,
    UNCHANGED_SHARE,
    Batch,
    Crops,
    Pair,
    Variety,
    central_crop,
    check_crop,
    load_pairs,
    training_batches,
    validation_batches,
)
from retinex.training.phases import (
    DivergedError,
    Losses,
    Phase,
    build_optimizer,
    phase_losses,
    phases_of,
    take_step,
)
from retinex.training.precision import (
    Precision,
    autocast_for,
    memory_format_for,
    resolve_precision,
    training_device,
)
from retinex.training.scenes import check_names, find_others, names_of, split_by_scene
from retinex.training.schedules import build_schedule, step_schedule
from retinex.training.scores import score
from retinex.training.trackers import Tracker, TrackerError, start_tracker

STATE_FILE = "last.pt"
LOG_FILE = "log.csv"
GRID_PHOTOS = 3
PHOTO_SIDE = 600
"""Side, in pixels, of the middle of larger photos, which is pictured and scored in their place."""
NO_INFLUENCE = {"out", "resume", "tracker", "s_epochs"}
"""Arguments that may change between a run and its resumption."""
LOG_COLUMNS = (
    "phase",
    "epoch",
    "learning_rate",
    "train_decom",
    "train_enhance",
    "train_plus",
    "val_decom",
    "val_enhance",
    "val_plus",
    "val_psnr",
    "val_psnr_gt_mean",
    "val_ssim",
    "seconds",
)


@dataclass
class Run:
    """One training run and all it works on.

    `settings` are all that influence the result, in plain types; `net` is what the optimizer steps
    move, `averaged` its moving average, `started_from` what is known of the runs whose weights it
    began with.
    """

    args: argparse.Namespace
    settings: dict[str, Any]
    experiment: Experiment
    folder: Path
    net: Network
    averaged: AveragedModel
    device: torch.device
    precision: Precision
    autocast: torch.autocast
    training: list[Pair]
    validation: list[Pair]
    variety: Variety
    weights: DecomWeights
    started_from: list[Facts]
    rng: np.random.Generator
    tracker: Tracker
    log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def released(self) -> Network:
        """The averaged network, which gets validated, pictured and released."""
        return cast(Network, self.averaged.module)

    @property
    def state_path(self) -> Path:
        """The file to resume from."""
        return self.folder / STATE_FILE


def main() -> None:
    """Train the experiment the command line asks for."""
    args = parse_arguments()
    keep_freed_memory()
    # PyTorch doesn't know of containers' limits.
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    try:
        train(args)
    except (CheckpointError, DatasetError, DivergedError, TrackerError) as error:
        raise SystemExit(f"train.py: {error}") from error
    except OSError as error:
        raise SystemExit(
            f"train.py: {error}; once that is mended, run it again with --resume"
        ) from error
    except KeyboardInterrupt as error:
        raise SystemExit(
            "train.py: interrupted; --resume continues after the last epoch"
        ) from error


def train(args: argparse.Namespace) -> None:
    """Train every phase of the experiment and release its weights into the run's folder."""
    saved = find_state(args.out / args.experiment.name, args.resume)
    run = start_run(args, saved)
    phases = phases_of(run.experiment)
    if args.decom is not None:
        phases.remove(Phase.DECOM)
    if saved is not None:
        phases = phases[phases.index(Phase(saved["phase"])) :]
    try:
        write_log(run)  # what can't be written should fail now, not after an epoch
        for phase in phases:
            train_phase(run, phase, saved)
            saved = None
    finally:  # trackers hold records back
        run.tracker.finish()
    weights = run.folder / f"{run.experiment.name}.safetensors"
    save_weights(weights, run.released, describe(run))
    export = ["python", "export_onnx.py", str(weights), "--out", str(run.folder)]
    print(f"trained weights: {weights}\nnext: {subprocess.list2cmdline(export)}")


def find_state(folder: Path, resume: bool) -> dict[str, Any] | None:
    """Read the state to resume from; None for a run that begins."""
    state, log = folder / STATE_FILE, folder / LOG_FILE
    if not state.exists() and log.exists() and len(log.read_text().splitlines()) > 1:
        raise CheckpointError(f"{folder} holds a run without its {STATE_FILE}: change --out")
    if not resume and (state.exists() or log.exists()):
        raise CheckpointError(f"{folder} holds a run: continue it with --resume or change --out")
    if state.exists():
        return load_state(state)
    if resume:
        print(f"nothing to resume in {folder}: beginning anew")
    return None


def start_run(args: argparse.Namespace, saved: dict[str, Any] | None) -> Run:
    """Load the pairs and the network: a new one, or where `saved` left it."""
    experiment: Experiment = args.experiment
    folder: Path = args.out / experiment.name
    training, validation = split_pairs(args)
    device = training_device()
    wanted: Precision = args.precision
    if saved is not None and wanted is Precision.AUTO:  # timing may choose another one now
        wanted = Precision(saved["settings"]["precision"])
    precision = resolve_precision(wanted, device)
    settings = settings_of(args) | {
        "precision": str(precision),
        "pairs": len(training) + len(validation),
        "held_out": names_of(validation, [*args.data, *args.photos]),
    }
    torch.manual_seed(args.seed)
    if saved is None:
        net, started_from = first_network(args, settings)
    else:
        check_settings(folder, settings, saved["settings"])
        net, started_from = build_network(experiment), saved.get("started_from", [])
    # PyTorch's types leave memory formats out.
    net.to(device, memory_format=memory_format_for(precision))  # type: ignore[call-overload]
    print(
        f"{experiment.name}: {len(training)} training and {len(validation)} validation pairs, "
        f"{device.type}, {precision}; everything goes into {folder}"
    )
    recorded = [] if saved is None else saved["log"]
    run = Run(
        args=args,
        settings=settings,
        experiment=experiment,
        folder=folder,
        net=net,
        averaged=average_weights(net, args.average),
        device=device,
        precision=precision,
        autocast=autocast_for(precision, device),
        training=training,
        validation=validation,
        variety=Variety(args.synthetic, args.exchanged, args.shuffled, args.mixed, args.compressed),
        weights=DecomWeights(args.mutual, args.invariable, args.smoothness),
        started_from=started_from,
        rng=np.random.default_rng(args.seed),
        tracker=start_tracker(args.tracker, experiment.name, folder, settings, len(recorded)),
    )
    if saved is not None:
        restore(run, saved)
    return run


def split_pairs(args: argparse.Namespace) -> tuple[list[Pair], list[Pair]]:
    """Load the pairs: those to train on, and those held out."""
    pairs = load_pairs(args.data, args.photos)
    check_crop(pairs, args.crop)
    check_names(pairs, [*args.data, *args.photos])
    training, validation = split_by_scene(pairs, args.val_share, args.seed)
    if len(validation) > max(3 * args.val_share * len(pairs), 1):
        print(
            f"warning: {len(validation)} of {len(pairs)} pairs are held out, as they count as "
            "one scene or a few; another --seed chooses others, --val_share 0 holds out none"
        )
    return find_others(training) if args.exchanged else training, validation


def check_settings(folder: Path, settings: dict[str, Any], before: dict[str, Any]) -> None:
    """Raise `CheckpointError` if a run would be resumed with other settings than `before`."""
    # Those of an earlier release may lack some; shares that it didn't know of were none.
    before = dict.fromkeys(Variety._fields, 0.0) | before
    changed = [name for name in settings if name in before and settings[name] != before[name]]
    if changed and set(changed) <= {"held_out", "pairs"}:
        raise CheckpointError(
            f"{folder} was started with other photos, {before['pairs']} in all: put them back or "
            "begin anew with another --out"
        )
    if changed:
        former = ", ".join(f"{name} {before[name]}" for name in changed if name != "held_out")
        named = " (datasets go by their folder's name: link or rename it)"
        hint = named if {"data", "photos"} & set(changed) else ""
        raise CheckpointError(f"{folder} was started with {former}; resume it with the same{hint}")


def restore(run: Run, saved: dict[str, Any]) -> None:
    """Put `run` where it was when its state was saved.

    Raises:
        CheckpointError: the state is of another network.
    """
    try:
        run.net.load_state_dict(saved["net"])
        run.averaged.load_state_dict(saved["averaged"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{run.state_path} was written by another version of this program: resume it with that "
            "one, or begin anew with another --out"
        ) from error
    run.log = saved["log"]
    restore_random(saved, run.rng)
    print(f"resuming after {saved['phase']} epoch {saved['epoch']}")


def first_network(
    args: argparse.Namespace, settings: dict[str, Any]
) -> tuple[Network, list[Facts]]:
    """Build an untrained network, or one with the weights that the command line names.

    What is known of the runs behind these comes with it.
    """
    net = build_network(args.experiment)
    started_from: list[Facts] = []
    if args.start is not None:
        net, facts = load_start(args.start, args.experiment)
        started_from += runs_behind(facts)
    if args.decom is not None:
        assert isinstance(net, RetinexNet)  # --decom goes with --mode split
        started_from += runs_behind(load_decom(args.decom, net.decom))
    if any(may_have_seen(facts, settings) for facts in started_from):
        print(
            "warning: the weights that training begins with may have seen photos that are held out "
            "now, so that validation flatters; use their --seed and --val_share"
        )
    return net, started_from


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """All that influences the result, in plain types and without folders' parents."""
    settings: dict[str, Any] = {}
    if args.synthetic:
        settings |= {"unchanged_share": UNCHANGED_SHARE, "mildness": MILDNESS}
    if args.compressed:
        settings["jpeg_qualities"] = list(JPEG_QUALITIES)
    without_influence = NO_INFLUENCE | unused_arguments(args).keys()
    for name, value in vars(args).items():
        if name == "experiment":
            settings[name] = value.name
        elif name in {"data", "photos"}:
            settings[name] = [name_dataset(path) for path in value]
        elif name in {"decom", "start"}:
            settings[name] = value and value.name
        elif name not in without_influence:
            settings[name] = str(value) if isinstance(value, StrEnum) else value
    return settings


def train_phase(run: Run, phase: Phase, saved: dict[str, Any] | None) -> None:
    """Train one phase to its end, from where `saved` left it if that isn't None.

    The phase ends with the averaged weights, which the next one builds on.
    """
    epochs: int = run.args.n_epochs
    optimizer = build_optimizer(run.net, phase, run.args.decom_lr, run.args.rel_lr)
    schedule = build_schedule(run.args.scheduler, optimizer, epochs)
    done = 0
    if saved is None:
        run.averaged.n_averaged.zero_()
    else:
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        done = saved["epoch"]

    steps = math.ceil(len(run.training) / run.args.batch_size)
    bar = tqdm(total=epochs * steps, initial=done * steps, desc=phase, unit="batch")
    for epoch in range(done + 1, epochs + 1):
        started = time.monotonic()
        learning_rate = optimizer.param_groups[-1]["lr"]  # Enhance-Net's, where it is trained
        try:
            train_losses = train_epoch(run, phase, optimizer, bar)
            val_losses = validate(run, phase)
        except DivergedError as error:
            raise DivergedError(
                f"{error} in epoch {epoch} of phase {phase}; {run.state_path} is of the epoch "
                "before, if there was one. Train anew with a lower learning rate (-dlr, -rlr) into "
                "another --out, from a snapshot with --start if you like"
            ) from error
        step_schedule(schedule, sum(val_losses.values()))
        row: dict[str, Any] = {"phase": str(phase), "epoch": epoch, "learning_rate": learning_rate}
        row |= {f"train_{name}": value for name, value in train_losses.items()}
        row |= {f"val_{name}": value for name, value in val_losses.items()}
        row |= {"seconds": round(time.monotonic() - started, 1)}
        snapshot_is_due = epoch % run.args.s_epochs == 0 or epoch == epochs
        if snapshot_is_due:
            row |= score_photos(run)
        record(run, row)
        if snapshot_is_due:
            store_snapshot(run, phase, epoch)
        save_run(run, optimizer, schedule)
        update_log(run)  # last, as a log without a state couldn't be resumed
    run.net.load_state_dict(run.released.state_dict())
    bar.close()


def save_run(run: Run, optimizer: torch.optim.Optimizer, schedule: LRScheduler) -> None:
    """Keep all that is needed to go on after the last epoch of the log."""
    parts = {
        "settings": run.settings,
        "started_from": run.started_from,
        "phase": run.log[-1]["phase"],
        "epoch": run.log[-1]["epoch"],
        "net": run.net.state_dict(),
        "averaged": run.averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "log": run.log,
    }
    save_state(run.state_path, parts, run.rng)


def train_epoch(
    run: Run, phase: Phase, optimizer: torch.optim.Optimizer, bar: "tqdm[Any]"
) -> dict[str, float]:
    """Take one optimizer step a batch; return the mean of each loss over the pairs."""
    run.net.train()
    of_batches = []
    batches = training_batches(
        run.training, run.args.crop, run.args.batch_size, run.rng, run.variety
    )
    for batch in batches:
        losses = losses_of(run, run.net, phase, batch)
        take_step(losses, run.net, optimizer, run.averaged)
        values = {name: loss.item() for name, loss in losses.items()}
        of_batches.append((values, len(batch.low)))
        bar.update()
        bar.set_postfix({name: f"{value:.4f}" for name, value in values.items()})
    return mean_losses(of_batches)


@torch.inference_mode()
def validate(run: Run, phase: Phase) -> dict[str, float]:
    """Return the mean of each loss over the validation pairs; nothing if there are none.

    Raises:
        DivergedError: a loss isn't finite: the last step was too long.
    """
    run.averaged.eval()
    of_batches = []
    for batch in validation_batches(run.validation, run.args.crop, run.args.batch_size):
        losses = losses_of(run, run.released, phase, batch)
        of_batches.append(({name: loss.item() for name, loss in losses.items()}, len(batch.low)))
    means = mean_losses(of_batches)
    if not all(map(math.isfinite, means.values())):
        raise DivergedError("a validation loss isn't finite")
    return means


def mean_losses(of_batches: list[tuple[dict[str, float], int]]) -> dict[str, float]:
    """Average each loss over all pairs, given its mean over those of a batch and how many."""
    pairs = [count for _, count in of_batches]
    names = of_batches[0][0] if of_batches else {}
    return {
        name: float(np.average([losses[name] for losses, _ in of_batches], weights=pairs))
        for name in names
    }


def score_photos(run: Run) -> dict[str, float]:
    """Score the 8-bit outputs of photos held out; nothing if there are none."""
    if not run.validation:
        return {}
    scores = score(run.released, middles(run, run.validation))
    return {f"val_{name}": value for name, value in scores.items()}


def middles(run: Run, pairs: Sequence[Pair]) -> list[Crops]:
    """Cut photos that are pictured and scored, if they are large, to their middle."""
    rng = np.random.default_rng(run.args.seed)
    return [central_crop(pair, PHOTO_SIDE, rng) for pair in pairs]


def losses_of(run: Run, net: Network, phase: Phase, batch: Batch) -> Losses:
    """Compute the losses of `phase` on a batch, where `net` is."""
    layout = memory_format_for(run.precision)
    there = Batch(*(part.to(run.device, memory_format=layout) for part in batch))
    return phase_losses(net, phase, there, run.autocast, run.weights, run.args.mean_error)


def record(run: Run, row: dict[str, Any]) -> None:
    """Add one epoch to the log and the tracker."""
    run.log.append(row)
    numbers = {k: v for k, v in row.items() if k not in {"phase", "epoch"}}
    run.tracker.log({f"{row['phase']}/{k}": v for k, v in numbers.items()}, step=len(run.log))


def write_log(run: Run) -> None:
    """Write log.csv; losses that a phase doesn't have stay empty, and scores between snapshots."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, LOG_COLUMNS)
    writer.writeheader()
    writer.writerows(run.log)
    run.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(run.folder / LOG_FILE, table.getvalue().encode())


def update_log(run: Run) -> None:
    """Write log.csv unless it is locked, as Excel does on Windows: no reason to end a run."""
    try:
        write_log(run)
    except PermissionError as error:
        tqdm.write(f"warning: {error}; the next epoch, or --resume, writes the whole log anew")


def store_snapshot(run: Run, phase: Phase, epoch: int) -> None:
    """Keep the weights of this epoch and a grid of what they make of photos, held out or not."""
    name = f"{phase}_{epoch:03d}"
    save_weights(run.folder / "snapshots" / f"{name}.safetensors", run.released, describe(run))
    pairs = (run.validation or run.training)[:GRID_PHOTOS]
    grid = stage_grid(run.released, middles(run, pairs))
    path = run.folder / "grids" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    grid.save(path)
    run.tracker.log_image(f"{phase}/stages", path, step=len(run.log))


def describe(run: Run) -> Facts:
    """What the released weights' JSON file and the ONNX metadata say of this run."""
    return {
        "experiment": run.experiment.name,
        "settings": run.settings,
        "started_from": run.started_from,
        "precision": str(run.precision),
        "device": run.device.type,
        "torch": torch.__version__,
        "training_pairs": len(run.training),
        "validation_pairs": len(run.validation),
        "last_epoch": run.log[-1],
    }


if __name__ == "__main__":
    main()
