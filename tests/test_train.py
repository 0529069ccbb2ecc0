import csv
import errno
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import run_program, scene
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim.lr_scheduler import LRScheduler

from retinex.atomic_writing import write_atomically
from retinex.experiments import EXPERIMENTS
from retinex.metrics import psnr, ssim
from retinex.training import checkpoints, phases
from retinex.training.arguments import parse_arguments
from retinex.training.averaging import average_weights
from retinex.training.checkpoints import load_state, load_weights, runs_behind, save_state
from retinex.training.losses import DecomWeights
from retinex.training.networks import RetinexNet
from retinex.training.pairs import (
    Batch,
    Variety,
    load_pairs,
    training_batches,
    validation_batches,
)
from retinex.training.phases import DivergedError, phase_losses, take_step
from retinex.training.portable import run_in_torch
from retinex.training.precision import Precision, autocast_for, memory_format_for
from retinex.training.schedules import step_schedule
from train import mean_losses, settings_of

TRAIN = Path(__file__).parent.parent / "train.py"
TINY = ("--crop", "16", "--batch_size", "2", "--precision", "fp32")
STUDY = {
    "split_resize": ("-e", "1"),
    "split_transposed": ("-e", "1", "-t", "True"),
    "join": ("-e", "1", "-m", "join"),
    "join_ignore_enhance": ("-e", "1", "-m", "join", "-i", "True"),
}
COMMANDS = {**STUDY, "retinex_plus": ("-e", "1", "-m", "plus")}
PHASES = {"split": ["decom", "enhance"], "join": ["join"], "plus": ["plus"]}
LOSSES = {
    "decom": ["decom"],
    "enhance": ["enhance"],
    "join": ["decom", "enhance"],
    "plus": ["plus"],
}

TRAIN_UNTIL_KILLED = """
import os, runpy, signal, sys
from retinex.training import checkpoints

signal.signal(signal.SIGINT, signal.default_int_handler)  # else ignored in a shell's background
_, how, rows, *sys.argv = sys.argv
save_state = checkpoints.save_state

def die_or_save_state(path, state, rng):
    if len(state["log"]) > int(rows):
        os.kill(os.getpid(), signal.Signals[how])
    save_state(path, state, rng)

checkpoints.save_state = die_or_save_state
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_lol: Path) -> Path:
    """A folder with a dataset where train.py looks for it."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(tiny_lol, folder / "data" / "lol")
    return folder


@pytest.fixture(scope="module")
def trained(project: Path) -> Path:
    """The folder that the command lines of all experiments, at a tiny size, leave their runs in."""
    for arguments in COMMANDS.values():
        train(project, *arguments, *TINY)
    return project / "runs"


def train(cwd: Path, *arguments: str | Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        run_program(TRAIN, *arguments)


def parse(*arguments: str) -> Namespace:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py", *arguments])
        return parse_arguments()


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_weights(ours: Path, reference: Path, prefix: str = "") -> None:
    weights, expected = load_file(ours), load_file(reference)
    names = [name for name in expected if name.startswith(prefix)]
    assert names
    assert [name for name in names if not weights[name].equal(expected[name])] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_command_lines_of_the_experiments(trained: Path, name: str) -> None:
    folder, experiment = trained / name, EXPERIMENTS[name]
    phases = PHASES[experiment.mode]

    net, of_weights, facts = load_weights(folder / f"{name}.safetensors")
    assert of_weights is experiment
    assert (facts["training_pairs"], facts["validation_pairs"]) == (5, 1)
    assert facts["settings"]["n_epochs"] == 1
    (held_out,) = facts["settings"]["held_out"]
    assert held_out in {f"lol/{k}" for k in range(6)}
    assert facts["started_from"] == []
    assert "licence" not in facts, "that is for who trained them to say"
    assert net(torch.rand(1, 3, 8, 8)).output.isfinite().all()
    snapshots = {path.stem for path in (folder / "snapshots").glob("*.safetensors")}
    assert snapshots == {f"{phase}_001" for phase in phases}
    grids = list((folder / "grids").iterdir())
    assert {path.name for path in grids} == {f"{phase}_001.png" for phase in phases}
    for grid in grids:
        with Image.open(grid) as image:
            assert image.width > image.height > 100


@pytest.mark.parametrize("name", COMMANDS)
def test_the_log_has_a_row_per_epoch(trained: Path, name: str) -> None:
    experiment = EXPERIMENTS[name]
    rows = read_log(trained / name)

    assert [(row["phase"], row["epoch"]) for row in rows] == [
        (phase, "1") for phase in PHASES[experiment.mode]
    ]
    for row in rows:
        for loss in ("decom", "enhance", "plus"):
            for value in (row[f"train_{loss}"], row[f"val_{loss}"]):
                assert float(value) > 0 if loss in LOSSES[row["phase"]] else value == ""
        assert float(row["learning_rate"]) == 0.001
        assert float(row["val_psnr_gt_mean"]) > 0
        assert -1 <= float(row["val_ssim"]) <= 1
        assert float(row["seconds"]) >= 0


@pytest.mark.parametrize("name", COMMANDS)
def test_whole_photos_held_out_are_scored(trained: Path, tiny_lol: Path, name: str) -> None:
    net, _, facts = load_weights(trained / name / f"{name}.safetensors")
    (held_out,) = facts["settings"]["held_out"]
    low, high = (
        np.asarray(Image.open(tiny_lol / "our485" / kind / f"{Path(held_out).name}.png"))
        for kind in ("low", "high")
    )

    (output,) = run_in_torch(net, low[None])[-1]

    last = read_log(trained / name)[-1]
    assert float(last["val_psnr"]) == pytest.approx(psnr(output, high))
    assert float(last["val_ssim"]) == pytest.approx(ssim(output, high))


@pytest.mark.parametrize("name", ["split_resize", "split_transposed"])
def test_training_enhance_net_leaves_decom_net_alone(trained: Path, name: str) -> None:
    before = trained / name / "snapshots" / "decom_001.safetensors"
    after = trained / name / f"{name}.safetensors"

    assert_same_weights(after, before, "decom.")
    moved = [k for k, w in load_file(after).items() if not w.equal(load_file(before)[k])]
    assert {name.split(".")[0] for name in moved} == {"enhance"}


def test_the_average_of_the_weights_is_released(trained: Path) -> None:
    folder = trained / "join"
    weights = load_file(folder / "join.safetensors")
    state = load_state(folder / "last.pt")

    for name, average in weights.items():
        assert average.equal(state["averaged"][f"module.{name}"])
        assert not average.equal(state["net"][name])


def test_join_trains_both_networks(trained: Path) -> None:
    torch.manual_seed(0)
    untrained = RetinexNet(EXPERIMENTS["join"]).state_dict()

    weights = load_file(trained / "join" / "join.safetensors")

    assert weights.keys() == untrained.keys()
    assert [name for name in weights if weights[name].equal(untrained[name])] == []


@pytest.mark.parametrize(
    ("arguments", "experiment"),
    [
        ([], "split_resize"),
        (["-t"], "split_transposed"),
        (["-t", "True"], "split_transposed"),
        (["-t", "False"], "split_resize"),
        (["--transposed", "false"], "split_resize"),
        (["-m", "join"], "join"),
        (["-m", "join", "-i"], "join_ignore_enhance"),
        (["-m", "join", "-i", "False", "-t", "0"], "join"),
        (["-m", "plus"], "retinex_plus"),
    ],
)
def test_switches_choose_the_experiment(arguments: list[str], experiment: str) -> None:
    assert parse(*arguments).experiment.name == experiment


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-m", "join", "-t"], list(EXPERIMENTS)),
        (["-i"], list(EXPERIMENTS)),
        (["-t", "maybe"], ["True", "False", "maybe"]),
        (["-m", "both"], ["split", "join"]),
        (["-e", "0"], ["--n_epochs"]),
        (["--crop", "6"], ["--crop", "7"]),
        (["-m", "plus", "-i"], list(EXPERIMENTS)),
        (["--synthetic", "1.5"], ["--synthetic"]),
        (["--shuffled", "-1"], ["--shuffled"]),
        (["--mixed", "2"], ["--mixed"]),
        (["--compressed", "1.1"], ["--compressed"]),
        (["--val_share", "5"], ["--val_share"]),
        (["--average", "1"], ["--average"]),
        (["--val_share", "0", "--scheduler", "plateau"], ["plateau", "held out"]),
        (["-m", "join", "--decom", "x.safetensors"], ["--decom", "split"]),
        (["--decom", "x.safetensors", "--mutual", "1"], ["--decom", "--mutual"]),
        (["--decom", "x.safetensors", "-dlr", "0.1"], ["--decom", "--decom_lr"]),
        (["-m", "plus", "-rlr", "0.1"], ["--rel_lr", "Enhance-Net"]),
        (["-m", "join", "-i", "-rlr", "0.1"], ["--rel_lr", "Enhance-Net"]),
        (["-m", "plus", "--smoothness", "0"], ["--smoothness", "plus"]),
        (["--mean_error", "1"], ["--mean_error", "plus"]),
        (["-m", "plus", "--mean_error", "-1"], ["--mean_error"]),
        (["--photos", "photos", "--synthetic", "0.1"], ["--synthetic", "--data"]),
        (["--photos", "photos", "--exchanged", "1"], ["--exchanged", "--data"]),
        (["--seed", "-1"], ["--seed"]),
        (["--seed", str(2**63)], ["--seed", "at most"]),
        (["-dlr", "-0.1"], ["--decom_lr"]),
        (["-rlr", "nan"], ["--rel_lr"]),
        (["--mutual", "-1"], ["--mutual"]),
        (["-m", "jion"], ["invalid choice: 'jion'"]),
        (["--scheduler", "cosin"], ["invalid choice: 'cosin'"]),
    ],
)
def test_wrong_arguments_are_explained(
    arguments: list[str], complaint: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(*arguments)

    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert [word for word in complaint if word not in error] == []


def test_help_lists_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    shown = capsys.readouterr().out
    for name, experiment in EXPERIMENTS.items():
        assert re.search(rf"^  {re.escape(experiment.command)} +{name}$", shown, re.M)


@pytest.mark.parametrize(
    ("arguments", "unused", "used"),
    [
        ("", {"mean_error"}, {"decom_lr", "rel_lr", "mutual"}),
        ("--decom d.safetensors", {"mean_error", "decom_lr", "smoothness"}, {"rel_lr"}),
        ("-m join -i", {"mean_error", "rel_lr"}, {"decom_lr", "invariable"}),
        ("-m plus", {"rel_lr", "mutual", "invariable"}, {"decom_lr", "mean_error"}),
        ("", {"unchanged_share", "mildness", "jpeg_qualities"}, set()),
        ("--synthetic 0.1", {"jpeg_qualities"}, {"unchanged_share", "mildness"}),
        ("--compressed 0.1", {"unchanged_share", "mildness"}, {"jpeg_qualities"}),
    ],
)
def test_settings_are_those_that_matter(arguments: str, unused: set[str], used: set[str]) -> None:
    settings = settings_of(parse(*arguments.split())).keys()
    assert not settings & unused
    assert used <= settings


@pytest.mark.parametrize(
    ("arguments", "weights"),
    [
        ([], (0.1, 0.1, 1.0)),
        (["-m", "join"], (0.001, 0.01, 0.1)),
        (["-m", "join", "--invariable", "0"], (0.001, 0, 0.1)),
    ],
)
def test_each_mode_has_its_weights_of_the_loss(
    arguments: list[str], weights: tuple[float, ...]
) -> None:
    args = parse(*arguments)
    assert (args.mutual, args.invariable, args.smoothness) == weights


@pytest.mark.parametrize(
    ("experiment", "loss", "values", "weights"),
    [
        (
            "join_ignore_enhance",
            "decom_loss",
            ("--mutual", "0.2", "--invariable", "0.3", "--smoothness", "0.4"),
            DecomWeights(mutual=0.2, invariable=0.3, smoothness=0.4),
        ),
        ("retinex_plus", "plus_loss", ("--mean_error", "5"), 5),
    ],
)
def test_each_weight_reaches_the_loss(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    experiment: str,
    loss: str,
    values: tuple[str, ...],
    weights: object,
) -> None:
    compute, reached = getattr(phases, loss), []

    def note_weights(*arguments: Any) -> torch.Tensor:
        reached.append(arguments[-1])
        return compute(*arguments)

    monkeypatch.setattr(phases, loss, note_weights)
    train(project, *COMMANDS[experiment], *TINY, *values, "--out", tmp_path)

    assert reached and all(weight == weights for weight in reached)


@pytest.mark.parametrize(
    "shares",
    [
        Variety(synthetic=0.1, exchanged=0.2, shuffled=0.3, mixed=0.4, compressed=0.6),
        Variety(mixed=0.5),
    ],
)
def test_each_share_reaches_the_pairs(
    tiny_lol: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: Variety
) -> None:
    asked_for = []

    def note_variety(*arguments: Any) -> Iterator[Batch]:
        asked_for.append((arguments[0], arguments[-1]))
        return training_batches(*arguments)

    monkeypatch.setattr("retinex.training.pairs.training_batches", note_variety)
    for kind in ("low", "high"):  # each view twice
        for path in (tiny_lol / "our485" / kind).iterdir():
            for name in (path.name, f"again-{path.name}"):
                (tmp_path / kind).mkdir(exist_ok=True)
                shutil.copy(path, tmp_path / kind / name)
    values = [text for share, value in shares._asdict().items() for text in (f"--{share}", value)]
    command = *STUDY["join_ignore_enhance"], *TINY, *values
    train(tmp_path, *command, "--data", tmp_path, "--out", tmp_path)

    ((pairs, variety),) = asked_for
    assert variety == shares
    assert any(pair.others for pair in pairs) == bool(shares.exchanged)


def test_resuming_needs_neither_starting_weights_nor_equal_timing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suffix in (".safetensors", ".json"):
        shutil.copy(trained / "join" / f"join{suffix}", tmp_path / f"start{suffix}")
    start = tmp_path / "start.safetensors"
    command = *STUDY["join"], "--crop", "16", "--start", start, "--out", tmp_path
    auto = "retinex.training.precision.resolve_precision"
    monkeypatch.setattr(auto, lambda wanted, _: Precision.FP32 if wanted == "auto" else wanted)
    train(trained.parent, *command)
    weights = (tmp_path / "join" / "join.safetensors").read_bytes()

    start.unlink()
    (tmp_path / "start.json").unlink()
    monkeypatch.setattr(auto, lambda wanted, _: Precision.BF16 if wanted == "auto" else wanted)
    train(trained.parent, *command, "--resume")

    assert (tmp_path / "join" / "join.safetensors").read_bytes() == weights
    of_start = load_weights(trained / "join" / "join.safetensors")[2]
    of_run = load_weights(tmp_path / "join" / "join.safetensors")[2]
    assert of_run["started_from"] == runs_behind(of_start)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_what_is_released_is_validated_in_the_precision_asked_for(
    tiny_lol: Path, tmp_path: Path, precision: Precision
) -> None:
    command = "-m", "join", "-i", "-e", "2", "--crop", "16", "--precision", precision
    train(tmp_path, *command, "--data", tiny_lol, "--out", tmp_path)
    folder = tmp_path / "join_ignore_enhance"
    net, _, facts = load_weights(folder / "join_ignore_enhance.safetensors")
    net.to(memory_format=memory_format_for(precision))
    pairs = load_pairs([tiny_lol])
    held_out = [
        p for p in pairs if f"{tiny_lol.name}/{p.path.stem}" in facts["settings"]["held_out"]
    ]
    (batch,) = validation_batches(held_out, 16, len(held_out))

    losses = {
        kind: phase_losses(net, phases.Phase.JOIN, batch, autocast_for(kind, torch.device("cpu")))
        for kind in (Precision.FP32, Precision.BF16)
    }

    logged = float(read_log(folder)[-1]["val_decom"])
    other = Precision.BF16 if precision is Precision.FP32 else Precision.FP32
    assert logged == pytest.approx(losses[precision]["decom"].item(), rel=1e-5)
    assert logged != pytest.approx(losses[other]["decom"].item(), rel=1e-5)


def test_the_learning_rate_follows_the_epochs_and_their_losses(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def note_loss(schedule: LRScheduler, loss: float) -> None:
        told.append(loss)
        step_schedule(schedule, loss)

    monkeypatch.setattr("retinex.training.schedules.step_schedule", note_loss)
    command = "-m", "join", "-e", "3", "--scheduler", "step", *TINY
    train(project, *command, "--out", tmp_path)

    rows = read_log(tmp_path / "join")
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([1e-3, 3e-4, 9e-5])
    losses = [float(row["val_decom"]) + float(row["val_enhance"]) for row in rows]
    assert told == pytest.approx(losses)


def test_a_log_that_is_locked_is_written_later(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As Excel locks it on Windows."""
    written = []

    def lock_after_first_epoch(path: Path, content: bytes) -> None:
        if path.name == "log.csv":
            written.append(content)
            if len(written) == 3:  # the first is that of no epoch
                raise PermissionError(errno.EACCES, "in use by another process", str(path))
        write_atomically(path, content)

    monkeypatch.setattr("retinex.atomic_writing.write_atomically", lock_after_first_epoch)
    train(project, "-m", "plus", "-e", "3", *TINY, "--out", tmp_path)

    assert "log.csv" in capsys.readouterr().out
    assert [row["epoch"] for row in read_log(tmp_path / "retinex_plus")] == ["1", "2", "3"]


def test_a_run_whose_first_state_cannot_be_written_is_resumed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    command = *COMMANDS["retinex_plus"], *TINY, "--out", tmp_path
    with monkeypatch.context() as full:
        full.setattr("retinex.training.checkpoints.save_state", fill_disk)
        with pytest.raises(SystemExit, match="--resume"):
            train(project, *command)

    train(project, *command, "--resume")

    assert len(read_log(tmp_path / "retinex_plus")) == 1


def test_the_next_command_can_be_copied(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my runs"
    train(project, *COMMANDS["retinex_plus"], *TINY, "--out", out)

    (command,) = [
        line.removeprefix("next: ")
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("next: ")
    ]

    folder = out / "retinex_plus"
    weights = folder / "retinex_plus.safetensors"
    assert shlex.split(command) == ["python", "export_onnx.py", str(weights), "--out", str(folder)]


def test_no_step_is_longer_than_the_longest_gradient() -> None:
    net = RetinexNet(EXPERIMENTS["join_ignore_enhance"])
    weights = net.decom.input_conv.weight
    before = weights.clone()

    losses = {"decom": 1e6 * weights.sum()}
    take_step(losses, net, torch.optim.SGD([weights], lr=1.0), average_weights(net, 0.9))

    assert (weights - before).norm().item() == pytest.approx(phases.LONGEST_GRADIENT, rel=1e-3)


def test_means_of_losses_count_pairs_not_batches() -> None:
    assert mean_losses([({"decom": 1.0}, 2), ({"decom": 4.0}, 1)]) == {"decom": 2.0}


def test_each_network_has_its_learning_rate(trained: Path, tmp_path: Path) -> None:
    start = trained / "join" / "join.safetensors"
    train(trained.parent, *STUDY["join"], *TINY, "-dlr", "0", "--start", start, "--out", tmp_path)

    ours = tmp_path / "join" / "join.safetensors"
    assert_same_weights(ours, start, "decom.")
    before, after = load_file(start), load_file(ours)
    enhance_net = [name for name in before if name.startswith("enhance.")]
    assert not any(after[name].equal(before[name]) for name in enhance_net)


def test_what_the_last_step_broke_is_not_released(project: Path, tmp_path: Path) -> None:
    command = *COMMANDS["retinex_plus"], *TINY, "-e", "1", "--batch_size", "16", "-dlr", "1e30"
    with pytest.raises(SystemExit, match=r"validation loss.*epoch 1 of phase plus.*learning rate"):
        train(project, *command, "--out", tmp_path)

    assert not list((tmp_path / "retinex_plus").glob("**/*.safetensors"))
    assert not (tmp_path / "retinex_plus" / "last.pt").exists()


def test_photos_of_one_name_are_refused(project: Path, tmp_path: Path) -> None:
    """Afterwards nobody could tell which of them was held out."""
    shutil.copytree(project / "data" / "lol" / "our485", tmp_path / "a" / "train")
    shutil.copytree(tmp_path / "a" / "train", tmp_path / "b" / "train")
    folders = tmp_path / "a" / "train", tmp_path / "b" / "train"
    with pytest.raises(SystemExit, match=r"known as train/\w+, .*rename"):
        train(project, *TINY, "--data", *folders, "--out", tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "join", tmp_path / "join")
    last = tmp_path / "join" / "last.pt"
    state = load_state(last) | {"epoch": 0, "log": []}
    state["net"]["decom.input_conv.weight"][0] = torch.inf
    torch.save(state, last)
    before = last.read_bytes()

    with pytest.raises(SystemExit, match=r"epoch 1 of phase join.*last\.pt.*learning rate") as stop:
        train(trained.parent, *STUDY["join"], *TINY, "--resume", "--out", tmp_path)

    assert "\n" not in str(stop.value.code)
    assert last.read_bytes() == before


def test_weights_stay_where_they_were_if_a_gradient_is_not_finite() -> None:
    net = RetinexNet(EXPERIMENTS["join_ignore_enhance"])
    averaged = average_weights(net, 0.9)
    weights = net.decom.input_conv.weight
    before = weights.clone()
    # The square root of 0 is finite, its slope isn't.
    losses = {"decom": (weights * 0).sqrt().sum()}

    with pytest.raises(DivergedError):
        take_step(losses, net, torch.optim.Adam([weights]), averaged)

    assert weights.equal(before)
    assert averaged.n_averaged == 0


def test_help_says_where_datasets_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--help")

    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "https://daooshee.github.io/BMVC2018website/" in text
    assert "data/lol/our485/low" in text
    assert all(name in text for name in COMMANDS)
    assert text.encode("cp1252"), "Windows can't write it into a file"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "data/lol"),
        (["--data", "nowhere"], "nowhere"),
        (["--photos", "nowhere"], "nowhere"),
    ],
)
def test_a_missing_dataset_is_one_line(tmp_path: Path, arguments: list[str], named: str) -> None:
    with pytest.raises(SystemExit) as stop:
        train(tmp_path, *arguments)

    message = str(stop.value.code)
    assert message.startswith("train.py: ")
    assert named in message
    assert "\n" not in message


def test_photos_smaller_than_the_crop_stop_the_run(project: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"0\.png.*--crop"):
        train(project, "--crop", "33", "--out", tmp_path)


def test_a_finished_run_is_not_overwritten(trained: Path) -> None:
    weights = (trained / "join" / "join.safetensors").read_bytes()

    with pytest.raises(SystemExit, match="--resume"):
        train(trained.parent, *STUDY["join"], *TINY)

    assert (trained / "join" / "join.safetensors").read_bytes() == weights


def test_a_run_without_its_state_is_not_overwritten(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "join", tmp_path / "join")
    (tmp_path / "join" / "last.pt").unlink()
    log = (tmp_path / "join" / "log.csv").read_bytes()
    for resume in ([], ["--resume"]):
        with pytest.raises(SystemExit, match="without its last"):
            train(trained.parent, *STUDY["join"], *TINY, *resume, "--out", tmp_path)
    assert (tmp_path / "join" / "log.csv").read_bytes() == log


def test_a_folder_that_another_run_has_just_taken(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its log is there from the start, its state once an epoch is done."""
    arguments = (*STUDY["join"], *TINY, "--out", tmp_path)
    (tmp_path / "join").mkdir()
    header = (trained / "join" / "log.csv").read_text().splitlines()[0]
    (tmp_path / "join" / "log.csv").write_text(header + "\n")

    with pytest.raises(SystemExit, match="--resume"):
        train(trained.parent, *arguments)

    train(trained.parent, *arguments, "--resume")
    assert "nothing to resume" in capsys.readouterr().out


def test_folders_named_one_by_one_are_all_taken() -> None:
    named = ["--data", "a", "b", "--data", "c", "--photos", "d", "--photos", "e"]
    args = parse(*named)
    assert [str(path) for path in (*args.data, *args.photos)] == ["a", "b", "c", "d", "e"]
    assert parse("--photos", "d").photos == [Path("d")]  # nothing of the former


def test_many_photos_of_one_scene_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scenes of unequal sizes: a twentieth of them may be nearly all photos."""
    rng = np.random.default_rng(0)
    for kind in ("low", "high"):
        (tmp_path / "own" / kind).mkdir(parents=True)
    for k in range(12):
        picture = scene(0 if k < 11 else 1).astype(int) + rng.integers(0, 9)
        for kind, scale in (("low", 8), ("high", 1)):
            file = tmp_path / "own" / kind / f"{k}.png"
            Image.fromarray((picture // scale).astype(np.uint8)).save(file)

    told = []
    for seed in range(8):  # one scene or the other
        arguments = ["--data", tmp_path / "own", "--seed", str(seed), "--out", tmp_path / str(seed)]
        train(tmp_path, *STUDY["join_ignore_enhance"], *TINY, *arguments)
        told.append(capsys.readouterr().out)
    assert all(("warning" in text) == ("1 training and 11" in text) for text in told)
    assert {"warning" in text for text in told} == {True, False}


@pytest.mark.parametrize(
    "changed", [("--seed", "1"), ("-e", "2"), ("-dlr", "0.01"), ("--scheduler", "cosine")]
)
def test_resuming_with_other_settings_is_refused(trained: Path, changed: tuple[str, str]) -> None:
    with pytest.raises(SystemExit, match="was started with"):
        train(trained.parent, *STUDY["join"], *TINY, *changed, "--resume")


@pytest.mark.parametrize("share", ["0", "0.5"])
def test_what_an_earlier_release_could_not_vary_counts_as_none(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], share: str
) -> None:
    shutil.copytree(trained / "join", tmp_path / "join")
    state = load_state(tmp_path / "join" / "last.pt")
    del state["settings"]["compressed"]
    torch.save(state, tmp_path / "join" / "last.pt")
    resumed = [*STUDY["join"], *TINY, "--compressed", share, "--resume", "--out", tmp_path]

    if share == "0":
        train(trained.parent, *resumed)
        assert "resuming" in capsys.readouterr().out
    else:
        with pytest.raises(SystemExit, match=r"was started with compressed 0\.0"):
            train(trained.parent, *resumed)


def test_a_folder_that_cannot_be_written_is_told_of_before_training(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_: pytest.fail("training has begun"))

    with pytest.raises(SystemExit, match=r"train\.py: .*file"):
        train(project, *STUDY["join"], *TINY, "--out", tmp_path / "file")


@pytest.mark.parametrize("part", ["net", "averaged", "schedule", "settings"])
def test_a_state_of_another_version_is_one_line(trained: Path, tmp_path: Path, part: str) -> None:
    shutil.copytree(trained / "join", tmp_path / "join")
    state = load_state(tmp_path / "join" / "last.pt")
    if part in {"net", "averaged"}:
        state[part]["renamed"] = state[part].popitem()[1]
    else:
        del state[part]
    torch.save(state, tmp_path / "join" / "last.pt")

    with pytest.raises(SystemExit, match=r"train\.py: .*last\.pt") as stop:
        train(trained.parent, *STUDY["join"], *TINY, "--resume", "--out", tmp_path)

    assert "\n" not in str(stop.value.code)


def test_resuming_with_other_photos_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained.parent, tmp_path / "project")
    facts = load_weights(trained / "join" / "join.safetensors")[2]
    (held_out,) = facts["settings"]["held_out"]
    for kind in ("low", "high"):
        photo = tmp_path / "project" / "data" / "lol" / "our485" / kind / Path(held_out).name
        photo.with_suffix(".png").rename(photo.with_name("renamed.png"))

    with pytest.raises(SystemExit, match="other photos"):
        train(tmp_path / "project", *STUDY["join"], *TINY, "--resume")


def test_weights_that_have_seen_what_is_held_out_are_told_of(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "join_ignore_enhance"
    start = trained / name / f"{name}.safetensors"
    command = *STUDY[name], *TINY, "--start", start

    train(trained.parent, *command, "--out", tmp_path / "same")
    assert "may have seen" not in capsys.readouterr().out
    train(trained.parent, *command, "--seed", "1", "--out", tmp_path / "other")
    assert "may have seen" in capsys.readouterr().out
    by_another_path = "--data", trained.parent / "data" / "lol" / "our485"
    train(trained.parent, *command, "--seed", "1", *by_another_path, "--out", tmp_path / "path")
    assert "may have seen" in capsys.readouterr().out

    weights = tmp_path / "other" / name / f"{name}.safetensors"
    again = *STUDY[name], *TINY, "--start", weights, "--seed", "2", "--out", tmp_path / "again"
    train(trained.parent, *again)
    facts = load_weights(tmp_path / "again" / name / f"{name}.safetensors")[2]
    assert [run["settings"]["seed"] for run in runs_behind(facts)] == [0, 1, 2]
    assert all("started_from" not in run for run in facts["started_from"])


def test_decom_net_is_reused(trained: Path, tmp_path: Path) -> None:
    decom = trained / "split_resize" / "split_resize.safetensors"

    train(trained.parent, *STUDY["split_transposed"], *TINY, "--decom", decom, "--out", tmp_path)

    folder = tmp_path / "split_transposed"
    weights = folder / "split_transposed.safetensors"
    assert_same_weights(weights, decom, "decom.")
    assert load_weights(weights)[2]["started_from"] == runs_behind(load_weights(decom)[2])
    assert [row["phase"] for row in read_log(folder)] == ["enhance"]


def test_training_goes_on_from_released_weights(trained: Path, tmp_path: Path) -> None:
    start = trained / "join" / "join.safetensors"
    standstill = ("-dlr", "0", "-rlr", "0")

    train(trained.parent, *STUDY["join"], *TINY, *standstill, "--start", start, "--out", tmp_path)

    assert_same_weights(tmp_path / "join" / "join.safetensors", start)


def test_weights_of_other_layers_are_refused(trained: Path, tmp_path: Path) -> None:
    start = trained / "split_transposed" / "split_transposed.safetensors"

    with pytest.raises(SystemExit, match=r"split_transposed.*join"):
        train(trained.parent, *STUDY["join"], *TINY, "--start", start, "--out", tmp_path)


def test_both_networks_are_fine_tuned_together(trained: Path, tmp_path: Path) -> None:
    """The last step of the paper's text."""
    start = trained / "split_resize" / "split_resize.safetensors"
    train(trained.parent, *STUDY["join"], *TINY, "--start", start, "--out", tmp_path)

    before, _, _ = load_weights(start)
    after, experiment, facts = load_weights(tmp_path / "join" / "join.safetensors")
    assert experiment.name == "join"
    assert facts["started_from"][0]["experiment"] == "split_resize"
    for part in ("decom", "enhance"):
        weights = [net.get_submodule(part).state_dict() for net in (before, after)]
        assert all(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_photos_alone_are_enough(project: Path, tmp_path: Path) -> None:
    photos = project / "data" / "lol" / "our485" / "high"

    train(tmp_path, *STUDY["join_ignore_enhance"], *TINY, "--photos", photos)

    folder = tmp_path / "runs" / "join_ignore_enhance"
    facts = load_weights(folder / "join_ignore_enhance.safetensors")[2]
    assert facts["training_pairs"] + facts["validation_pairs"] == 6
    assert facts["settings"]["photos"] == ["lol"]
    assert str(tmp_path.parent) not in str(facts)


def test_all_pairs_can_be_trained_on(project: Path, tmp_path: Path) -> None:
    train(project, *STUDY["join_ignore_enhance"], *TINY, "--val_share", "0", "--out", tmp_path)

    folder = tmp_path / "join_ignore_enhance"
    facts = load_weights(folder / "join_ignore_enhance.safetensors")[2]
    assert (facts["training_pairs"], facts["validation_pairs"]) == (6, 0)
    (row,) = read_log(folder)
    assert row["train_decom"] and not row["val_decom"]
    assert (folder / "grids" / "join_001.png").is_file()


@pytest.mark.parametrize(
    ("experiment", "arguments", "rows_before"),
    [
        ("split_resize", ("-e", "3", "--scheduler", "step"), 4),
        ("split_resize", ("-e", "3", "--scheduler", "cosine"), 1),
        ("join", ("-m", "join", "-e", "4", "--scheduler", "plateau"), 2),
        ("retinex_plus", ("-m", "plus", "-e", "2", "--synthetic", "0.5", "--precision", "bf16"), 1),
    ],
)
def test_a_stopped_run_resumes_to_the_same_weights(
    project: Path, tmp_path: Path, experiment: str, arguments: tuple[str, ...], rows_before: int
) -> None:
    command = [*TINY, *arguments, "-s", "100"]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    train(project, *command, "--out", whole)

    stop_at_row(project, [*command, "--out", stopped], rows_before)
    assert not (stopped / experiment / f"{experiment}.safetensors").exists()
    train(project, *command, "--out", stopped, "--resume")

    assert_same_run(stopped / experiment, whole / experiment)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_killed_process_leaves_a_run_that_resumes(project: Path, tmp_path: Path) -> None:
    command = ["-m", "join", "-i", "-e", "2", *TINY, "-s", "100"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    train(project, *command, "--out", whole)

    program = [sys.executable, "-c", TRAIN_UNTIL_KILLED, "SIGKILL", "1", TRAIN, *command]
    done = subprocess.run([*program, "--out", killed], cwd=project, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    train(project, *command, "--out", killed, "--resume")

    assert_same_run(killed / "join_ignore_enhance", whole / "join_ignore_enhance")


def stop_at_row(cwd: Path, command: list[str | Path], rows: int) -> None:
    """Stop train.py when its log has a row more than its state."""

    def stop_or_save_state(path: Path, state: dict[str, Any], rng: Any) -> None:
        if len(state["log"]) > rows:
            raise KeyboardInterrupt
        save_state(path, state, rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "save_state", stop_or_save_state)
        with pytest.raises(SystemExit, match="--resume"):
            train(cwd, *command)


def assert_same_run(ours: Path, reference: Path) -> None:
    """Weights, log and schedule of two folders of an experiment."""
    weights = f"{ours.name}.safetensors"
    assert_same_weights(ours / weights, reference / weights)
    log, expected = read_log(ours), read_log(reference)
    last_epoch = log[-1]["epoch"]
    assert all(bool(row["val_psnr"]) == (row["epoch"] == last_epoch) for row in log)
    for row in (*log, *expected):
        del row["seconds"]
    assert log == expected
    # What plateau has counted shows in no row of so short a run.
    states = [load_state(folder / "last.pt") for folder in (ours, reference)]
    assert states[0]["schedule"] == states[1]["schedule"]


def test_an_interrupted_run_keeps_its_records(project: Path, tmp_path: Path) -> None:
    arguments = ["-m", "join", "-i", "-e", "2", *TINY, "--out", tmp_path]
    arguments += ["--tracker", "tensorboard"]
    stop_at_row(project, arguments, 1)

    assert tensorboard_steps(tmp_path / "join_ignore_enhance") == [1, 2]
    train(project, *arguments, "--resume")
    assert tensorboard_steps(tmp_path / "join_ignore_enhance") == [1, 2]


def tensorboard_steps(folder: Path) -> list[int]:
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert "join/stages" in events.Tags()["images"]
    return [event.step for event in events.Scalars("join/val_decom")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT of this kind")
@pytest.mark.parametrize(
    ("tracker", "pattern"),
    [
        ("trackio", "trackio/*.db"),
        ("wandb", "runs/join_ignore_enhance/wandb/offline-run-*/*.wandb"),
    ],
)
def test_trackers_record_locally(project: Path, tmp_path: Path, tracker: str, pattern: str) -> None:
    pytest.importorskip(tracker)
    # A process of its own: both read their settings when they are imported.
    offline = {
        "HF_HUB_OFFLINE": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "WANDB_MODE": "offline",
        "HOME": str(tmp_path),
    }
    arguments = ["-m", "join", "-i", "-e", "2", *TINY, "--out", tmp_path / "runs"]
    arguments += ["--tracker", tracker]
    interrupted = [sys.executable, "-c", TRAIN_UNTIL_KILLED, "SIGINT", "1", TRAIN, *arguments]
    resumed = [sys.executable, TRAIN, *arguments, "--resume"]

    for program, code in ((interrupted, 1), (resumed, 0)):
        done = subprocess.run(
            program,
            cwd=project,
            env=os.environ | offline,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr

    files = list(tmp_path.glob(pattern))
    assert files, sorted(tmp_path.rglob("*"))
    assert b"val_decom" in b"".join(file.read_bytes() for file in files)
    assert len(recorded_runs(tracker, files)) == 1


def test_a_tracker_that_cannot_start_is_explained(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("nobody is logged in")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse))
    with pytest.raises(SystemExit, match="wandb can't record this run: nobody is logged in"):
        train(project, *STUDY["join"], *TINY, "--out", tmp_path, "--tracker", "wandb")


def recorded_runs(tracker: str, files: list[Path]) -> set[str]:
    if tracker == "wandb":
        return {file.stem for file in files}
    (database,) = files
    with closing(sqlite3.connect(database)) as connection:
        return {run for (run,) in connection.execute("SELECT run_id FROM metrics")}
