"""The command line of train.py: what can be chosen, and what goes with what."""

import argparse
from dataclasses import asdict, fields
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Any

from retinex.experiments import EXPERIMENTS, Mode, Upsampling, find_experiment
from retinex.metrics import SSIM_WINDOW
from retinex.training.losses import PAPERS_CODE, SEPARATE, DecomWeights
from retinex.training.pairs import Variety
from retinex.training.precision import Precision
from retinex.training.schedules import Schedule
from retinex.training.trackers import TrackerName

LEARNING_RATE = 0.001
LARGEST_SEED = 2**63 - 1
"""PyTorch takes no larger one."""
LOSS_WEIGHTS = tuple(weight.name for weight in fields(DecomWeights))
"""Arguments that weigh L_decom's terms."""
DATASETS_HELP = """\
where the datasets come from:
  LOL, 485 + 15 real pairs, and the paper's synthetic pairs, made from RAISE photos:
    https://daooshee.github.io/BMVC2018website/
    Unpack LOLdataset.zip so that data/lol/our485/low and data/lol/our485/high exist.
  Pairs of your own: --data FOLDER with FOLDER/low and FOLDER/high, equal names, any sizes;
    16-bit photos become 8-bit.
  No pairs at all: --photos FOLDER, normal photos directly in it, which are darkened at random
    (retinex/training/low_light.py describes how).
"""


def parse_arguments() -> argparse.Namespace:
    """Read the command line; `experiment` is the one its mode and switches name."""
    parser = build_parser()
    args = parser.parse_args()
    try:
        check_arguments(args)
        fill_in_defaults(args)
    except ValueError as error:
        parser.error(str(error))
    return args


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line; short names, `rel_lr` and `ignore_ienhance` are the study's."""
    parser = argparse.ArgumentParser(
        description="Train one of the experiments.",
        epilog=f"the experiments:\n{list_experiments()}\n{DATASETS_HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_experiment(parser.add_argument_group("the experiment"))
    add_run(parser.add_argument_group("the run"))
    add_data(parser.add_argument_group("the photos"))
    add_optimization(parser.add_argument_group("how it is trained"))
    return parser


def list_experiments() -> str:
    """One line for each experiment: what trains it, and its name."""
    commands = {name: f"  {experiment.command}" for name, experiment in EXPERIMENTS.items()}
    width = max(map(len, commands.values()))
    return "".join(f"{command:{width}}  {name}\n" for name, command in commands.items())


def add_experiment(group: "argparse._ArgumentGroup") -> None:
    """Add what names the experiment."""
    add = group.add_argument
    switch: dict[str, Any] = {"type": parse_bool, "nargs": "?", "const": True, "default": False}
    add(
        "-m",
        "--mode",
        **one_of(Mode),
        default=Mode.SPLIT,
        help="split: Decom-Net first, then Enhance-Net (default); join: both together; "
        "plus: the project's own network",
    )
    add("-i", "--ignore_ienhance", **switch, help="with join: no Enhance-Net, output = R")
    add("-t", "--transposed", **switch, help="with split: transposed convolutions")


def add_run(group: "argparse._ArgumentGroup") -> None:
    """Add where a run begins, what it writes, and how it goes on."""
    add = group.add_argument
    add("-e", "--n_epochs", type=int, default=20, help="epochs of each phase (default 20)")
    add(
        "-s",
        "--s_epochs",
        type=int,
        default=10,
        help="store weights and pictures every s epochs (default 10)",
    )
    add(
        "--out",
        type=Path,
        default=Path("runs"),
        help="the run goes into OUT/<experiment> (default runs)",
    )
    add(
        "--resume",
        action="store_true",
        help="continue the run in OUT, if there is one; its other arguments must be as they were",
    )
    add("--start", type=Path, help="train on from these .safetensors instead of from scratch")
    add("--decom", type=Path, help="with split: reuse the Decom-Net of these .safetensors")
    add(
        "--tracker",
        **one_of(TrackerName),
        default=TrackerName.NONE,
        help="record losses and pictures there as well (default none)",
    )


def add_data(group: "argparse._ArgumentGroup") -> None:
    """Add what is trained and validated on."""
    add = group.add_argument
    folders: dict[str, Any] = {
        "type": Path, "nargs": "+", "action": "extend", "metavar": "FOLDER",
    }  # fmt: skip
    share: dict[str, Any] = {"type": float, "default": 0.0, "metavar": "SHARE"}
    add("--data", **folders, default=None, help="pairs (default data/lol unless --photos is given)")
    add("--photos", **folders, default=[], help="normal photos alone, darkened at random")
    add("--val_share", type=float, default=0.05, help="of scenes held out (default 0.05; 0: none)")
    add("--crop", type=int, default=96, help="side of the random crops in pixels (default 96)")
    add(
        "--synthetic",
        **share,
        help="of pairs whose dark photo is made of the normal one (default 0)",
    )
    add(
        "--exchanged",
        **share,
        help="of the other pairs whose dark photo is drawn from all of the same view (default 0)",
    )
    add("--shuffled", **share, help="of pairs whose colour channels change places (default 0)")
    add("--mixed", **share, help="of batches whose pairs are blended with one another (default 0)")
    add("--compressed", **share, help="of pairs whose dark photo is a JPEG file's (default 0)")


def add_optimization(group: "argparse._ArgumentGroup") -> None:
    """Add how the loss is weighed and made smaller."""
    add = group.add_argument
    add(
        "-dlr",
        "--decom_lr",
        type=float,
        default=None,
        help="learning rate of Decom-Net or PlusNet (default 0.001)",
    )
    add("-rlr", "--rel_lr", type=float, default=None, help="that of Enhance-Net (default 0.001)")
    add(
        "--scheduler",
        **one_of(Schedule),
        default=Schedule.STEP,
        help="how learning rates fall. step: times 0.3 after each third of the epochs (default); "
        "plateau: to half when the validation loss hasn't fallen for a while; cosine: smoothly",
    )
    add("--batch_size", type=int, default=16, help="pairs a step (default 16)")
    add(
        "--average",
        type=float,
        default=0.999,
        help="decay, per step, of the moving average of the weights (default 0.999; 0: none)",
    )
    weights: dict[str, Any] = {"type": float, "default": None, "metavar": "WEIGHT"}
    add("--mutual", **weights, help="L_decom: mutual reconstruction (default 0.1; with join 0.001)")
    add("--invariable", **weights, help="L_decom: equal reflectances (default 0.1; with join 0.01)")
    add("--smoothness", **weights, help="L_decom: smooth illuminations (default 1; with join 0.1)")
    add(
        "--mean_error",
        **weights,
        help="plus: squared error of the mean brightness (default 0; 10 helps in the last epochs)",
    )
    add("--seed", type=int, default=0, help="of weights, crops and the scenes held out (default 0)")
    add(
        "--precision",
        **one_of(Precision),
        default=Precision.AUTO,
        help="number format (default auto: bf16 where the hardware is faster in it)",
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Raise `ValueError` if an argument is out of its range or doesn't go with another."""
    for name in ("n_epochs", "s_epochs", "batch_size"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} must be at least 1")
    for name in (*Variety._fields, "val_share"):
        if not 0 <= getattr(args, name) <= 1:
            raise ValueError(f"--{name} is a share: from 0 to 1")
    for name in ("decom_lr", "rel_lr", *LOSS_WEIGHTS, "mean_error", "seed"):
        if not 0 <= (getattr(args, name) or 0) < inf:
            raise ValueError(f"--{name} must be at least 0")
    if args.seed > LARGEST_SEED:
        raise ValueError(f"--seed must be at most {LARGEST_SEED}")
    if args.crop < SSIM_WINDOW:
        raise ValueError(f"--crop must be at least {SSIM_WINDOW}: SSIM needs a window")
    if not 0 <= args.average < 1:
        raise ValueError("--average is a decay: from 0 to less than 1")
    if args.val_share == 0 and args.scheduler is Schedule.PLATEAU:
        raise ValueError("--scheduler plateau needs scenes held out: a --val_share above 0")
    if args.decom is not None and args.mode is not Mode.SPLIT:
        raise ValueError("--decom goes with --mode split: joint training changes Decom-Net")
    for name, why in unused_arguments(args).items():
        if getattr(args, name) is not None:
            raise ValueError(f"--{name} {why}")
    if args.photos and not args.data and (args.synthetic or args.exchanged):
        raise ValueError(
            "--synthetic and --exchanged need --data: --photos alone has no dark photos"
        )


def unused_arguments(args: argparse.Namespace) -> dict[str, str]:
    """Name the options that the experiment, or a run with --decom, has no use for, and say why."""
    unused = {}
    if args.mode is not Mode.PLUS:
        unused["mean_error"] = "is of PlusNet's loss: it goes with --mode plus"
    if args.mode is Mode.PLUS or args.ignore_ienhance:
        unused["rel_lr"] = "is Enhance-Net's, which this experiment doesn't have"
    if args.mode is Mode.PLUS:
        unused |= dict.fromkeys(LOSS_WEIGHTS, "is of L_decom: not for --mode plus")
    if args.decom is not None:
        of_decom = ("decom_lr", *LOSS_WEIGHTS)
        unused |= dict.fromkeys(of_decom, "is of Decom-Net's training: not for --decom")
    return unused


def fill_in_defaults(args: argparse.Namespace) -> None:
    """Put defaults in the place of what wasn't given (None), and add the experiment.

    Raises:
        ValueError: there is no such experiment.
    """
    if args.data is None:
        args.data = [] if args.photos else [Path("data/lol")]
    weights = asdict(SEPARATE if args.mode is Mode.SPLIT else PAPERS_CODE) | {"mean_error": 0.0}
    for name, value in (dict.fromkeys(("decom_lr", "rel_lr"), LEARNING_RATE) | weights).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    upsampling = Upsampling.TRANSPOSED if args.transposed else Upsampling.RESIZE
    args.experiment = find_experiment(args.mode, upsampling, args.ignore_ienhance)


def one_of(kind: type[StrEnum]) -> dict[str, Any]:
    """What `add_argument` takes for a member of `kind`.

    Other texts stay as they are: argparse then lists the choices, which it doesn't if `type` fails.
    """
    choices = [str(member) for member in kind]
    return {"type": lambda text: kind(text) if text in choices else text, "choices": choices}


def parse_bool(text: str) -> bool:
    """Read True/False as people write it; `type=bool` would take "False" for true."""
    values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")
    return values[text.lower()]
