"""Two kinds of files: the state of a run, to resume it, and released weights, to use them.

A run's state is read with PyTorch's restricted unpickler, released weights are safetensors with a
JSON file of the same name beside them: nothing here can run code from a file.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from retinex.atomic_writing import write_atomically
from retinex.experiments import EXPERIMENTS, Experiment
from retinex.training.build import Network, build_network
from retinex.training.networks import DecomNet, RetinexNet

STATE_PARTS = (
    "settings", "phase", "epoch", "net", "averaged", "optimizer", "schedule", "log", "random",
)  # fmt: skip
"""What a run's state can't do without."""
Facts = dict[str, Any]
"""What is known of weights: experiment, arguments, what was held out, losses, perhaps a licence.

"started_from" are the facts of earlier runs that they come from, "averaged" tells of how many files
they are the mean; the facts are then those of the last one.
"""
NOT_OF_THE_RUN = {"started_from", "averaged", "licence"}
"""Facts of a file of weights that its last run doesn't share with other files."""


class CheckpointError(ValueError):
    """A checkpoint can't be used as asked; the message says why."""


def save_state(path: Path, state: dict[str, Any], rng: np.random.Generator) -> None:
    """Write `state` and that of both random generators (PyTorch's and `rng`) to `path`."""
    random_state = {"torch": torch.get_rng_state(), "numpy": json.dumps(rng.bit_generator.state)}
    file = io.BytesIO()  # into a path PyTorch writes itself, and full disks are no OSError there
    torch.save(state | {"random": random_state}, file)
    write_atomically(path, file.getbuffer())


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote.

    Raises:
        CheckpointError: the file isn't such a state, or lacks a part of it.
        OSError: it can't be read.
    """
    advice = "begin anew with another --out, if you like with --start and the newest snapshot"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        missing = set(STATE_PARTS) - state.keys()
        missing |= {"torch", "numpy"} - state.get("random", {}).keys()
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        # Not in its words, which advise to read the file in a way that can run code.
        raise CheckpointError(f"{path} is damaged: {advice}") from error
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(sorted(missing))}: {advice}")
    return state


def restore_random(state: dict[str, Any], rng: np.random.Generator) -> None:
    """Set both random generators to where they were when `state` was saved."""
    torch.set_rng_state(state["random"]["torch"])
    rng.bit_generator.state = json.loads(state["random"]["numpy"])


def save_weights(path: Path, net: Network, facts: Facts) -> None:
    """Write `net` to `path` (.safetensors) and `facts` to the .json beside it."""
    weights = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    # Both decoders have the same shapes: only the name tells whose weights these are.
    metadata = {"experiment": str(facts["experiment"])}
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not save_file, whose files only their owner can read.
    write_atomically(path, save(weights, metadata))
    text = json.dumps(facts, indent=2) + "\n"
    write_atomically(path.with_suffix(".json"), text.encode())


def load_weights(path: Path) -> tuple[Network, Experiment, Facts]:
    """Read released weights: the network in evaluation mode, its experiment and its facts.

    Raises:
        CheckpointError: a file is missing, or the weights don't fit the experiment named.
    """
    weights, trained_as = read_safetensors(path)
    facts_path = path.with_suffix(".json")
    if not facts_path.is_file():
        raise CheckpointError(f"there is no {facts_path}; train it first with train.py")
    facts = read_facts(facts_path)
    experiment = EXPERIMENTS.get(facts["experiment"])
    if experiment is None:
        raise CheckpointError(
            f"{facts_path} names the experiment {facts['experiment']!r}; "
            f"known are {', '.join(EXPERIMENTS)}"
        )
    net = build_network(experiment)
    if not trained_as:
        raise CheckpointError(
            f"{path} doesn't say what it is of: write it with metadata={{'experiment': "
            f"{experiment.name!r}}}"
        )
    if trained_as != experiment.name:
        raise CheckpointError(
            f"{path} holds weights of {trained_as}, {facts_path} says {experiment.name}"
        )
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path} doesn't fit {experiment.name}: {error}") from error
    return net.eval(), experiment, facts


def read_facts(path: Path) -> Facts:
    """Read the JSON file beside weights.

    Raises:
        CheckpointError: it is damaged, or names no experiment.
    """
    try:
        facts = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    match facts:
        case {"experiment": str()}:
            return dict(facts)
    raise CheckpointError(f"{path} names no experiment; train.py writes it beside the weights")


def runs_behind(facts: Facts) -> list[Facts]:
    """List all runs that weights come from, the oldest first: each with its own facts alone."""
    own = {name: fact for name, fact in facts.items() if name not in NOT_OF_THE_RUN}
    return [*facts.get("started_from", []), own]


def load_start(path: Path, experiment: Experiment) -> tuple[Network, Facts]:
    """Read released weights to train on as `experiment`: the network, as above, and its facts.

    Raises:
        CheckpointError: as `load_weights`, or they are of a network of other layers.
    """
    net, trained_as, facts = load_weights(path)
    if trained_as.layers != experiment.layers:
        raise CheckpointError(
            f"{path} holds weights of {trained_as.name}, whose layers aren't those of "
            f"{experiment.name}"
        )
    return net, facts


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read weights and the name of the experiment they were trained as, "" if there is none.

    Raises:
        CheckpointError: the file is missing, of another kind or damaged.
    """
    if path.exists() and path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path} is no .safetensors file: name the one that training wrote into the run's "
            "folder, or one of its snapshots"
        )
    if not path.is_file():
        raise CheckpointError(f"there is no {path}; train it first with train.py")
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return weights, (file.metadata() or {}).get("experiment", "")
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def load_decom(path: Path, decom: DecomNet) -> Facts:
    """Copy the Decom-Net of the released weights `path` into `decom`; return their facts.

    Raises:
        CheckpointError: as `load_weights`, or there is no Decom-Net in them.
    """
    net, experiment, facts = load_weights(path)
    if not isinstance(net, RetinexNet):
        raise CheckpointError(f"{path} holds no Decom-Net: it is of {experiment.name}")
    decom.load_state_dict(net.decom.state_dict())
    return facts
