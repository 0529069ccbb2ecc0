import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from retinex.experiments import EXPERIMENTS
from retinex.training.build import build_network
from retinex.training.checkpoints import (
    STATE_PARTS,
    CheckpointError,
    load_decom,
    load_state,
    load_weights,
    restore_random,
    save_state,
    save_weights,
)
from retinex.training.networks import DecomNet, RetinexNet

FACTS = {"experiment": "join", "licence": "MIT", "settings": {"seed": 3}}


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.victim), "w")


def saved_net(folder: Path) -> tuple[Path, RetinexNet]:
    path, net = folder / "join.safetensors", RetinexNet(EXPERIMENTS["join"])
    save_weights(path, net, FACTS)
    return path, net


def test_state_and_both_random_generators_return(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rng.random(3)
    parts: dict[str, object] = dict.fromkeys(STATE_PARTS, 0)
    save_state(tmp_path / "last.pt", parts | {"epoch": 4, "net": {"w": torch.arange(3)}}, rng)
    drawn = rng.random(4).tolist(), torch.rand(4).tolist()

    other = np.random.default_rng(0)
    state = load_state(tmp_path / "last.pt")
    restore_random(state, other)

    assert state["epoch"] == 4
    assert state["net"]["w"].tolist() == [0, 1, 2]
    assert (other.random(4).tolist(), torch.rand(4).tolist()) == drawn


@pytest.mark.parametrize("packed_by_torch", [True, False])
def test_a_state_cannot_run_code(tmp_path: Path, packed_by_torch: bool) -> None:
    path, victim = tmp_path / "last.pt", tmp_path / "victim"
    if packed_by_torch:
        torch.save({"net": Bomb(victim)}, path)
    else:
        path.write_bytes(pickle.dumps({"net": Bomb(victim)}))

    with pytest.raises(CheckpointError, match=r"last\.pt"):
        load_state(path)

    assert not victim.exists()
    pickle.loads(pickle.dumps(Bomb(victim)))  # it does go off where nothing is in its way
    assert victim.exists()


@pytest.mark.parametrize("content", [b"", b"no state", b"PK\x03\x04 half a zip"])
def test_a_broken_state_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.pt").write_bytes(content)

    with pytest.raises(CheckpointError, match=r"^[^\n]*last\.pt is damaged[^\n]*--start[^\n]*$"):
        load_state(tmp_path / "last.pt")


def test_facts_lie_beside_the_weights(tmp_path: Path) -> None:
    path, _ = saved_net(tmp_path)

    assert json.loads((tmp_path / "join.json").read_text()) == FACTS
    assert load_weights(path)[2] == FACTS


@pytest.mark.parametrize("missing", ["join.safetensors", "join.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    path, _ = saved_net(tmp_path)
    (tmp_path / missing).unlink()

    with pytest.raises(CheckpointError, match=missing):
        load_weights(path)


@pytest.mark.parametrize("named", ["split_transposed", "join_ignore_enhance", "unheard_of"])
def test_weights_of_another_experiment_are_refused(tmp_path: Path, named: str) -> None:
    path, _ = saved_net(tmp_path)
    (tmp_path / "join.json").write_text(json.dumps(FACTS | {"experiment": named}))

    with pytest.raises(CheckpointError, match=named):
        load_weights(path)


def test_weights_that_name_no_experiment_say_how_to_write_them(tmp_path: Path) -> None:
    path, net = saved_net(tmp_path)
    save_file(net.state_dict(), path)
    with pytest.raises(CheckpointError, match=r"metadata={'experiment': 'join'}"):
        load_weights(path)


@pytest.mark.parametrize("content", ["[]", "null", '{"experiment": ["join"]}'])
def test_facts_that_name_no_experiment(tmp_path: Path, content: str) -> None:
    path, _ = saved_net(tmp_path)
    (tmp_path / "join.json").write_text(content)

    with pytest.raises(CheckpointError, match=r"join\.json names no experiment"):
        load_weights(path)


@pytest.mark.parametrize("damaged", ["join.safetensors", "join.json"])
def test_a_damaged_file_is_named(tmp_path: Path, damaged: str) -> None:
    path, _ = saved_net(tmp_path)
    content = (tmp_path / damaged).read_bytes()
    (tmp_path / damaged).write_bytes(content[: len(content) // 2])

    with pytest.raises(CheckpointError, match=damaged):
        load_weights(path)


def test_a_state_or_a_folder_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"a state to resume from")
    for path in (tmp_path, tmp_path / "last.pt"):
        with pytest.raises(CheckpointError, match=rf"{path.name} is no \.safetensors file"):
            load_weights(path)


def test_decom_net_is_taken_out_of_a_whole_network(tmp_path: Path) -> None:
    path, net = saved_net(tmp_path)
    decom = DecomNet()

    load_decom(path, decom)

    for ours, theirs in zip(decom.parameters(), net.decom.parameters(), strict=True):
        assert ours.equal(theirs)


def test_no_decom_net_to_take(tmp_path: Path) -> None:
    plus = EXPERIMENTS["retinex_plus"]
    save_weights(tmp_path / "plus.safetensors", build_network(plus), {"experiment": plus.name})
    with pytest.raises(CheckpointError, match="retinex_plus"):
        load_decom(tmp_path / "plus.safetensors", DecomNet())
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors"):
        load_decom(tmp_path / "nothing.safetensors", DecomNet())
    (tmp_path / "damaged.safetensors").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=r"damaged\.safetensors"):
        load_decom(tmp_path / "damaged.safetensors", DecomNet())
