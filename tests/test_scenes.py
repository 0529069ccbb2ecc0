from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import scene

from retinex.datasets import DatasetError, name_dataset
from retinex.training.pairs import Pair, Variety, random_crop
from retinex.training.scenes import check_names, find_others, names_of, split_by_scene


def shots(seed: int) -> list[Pair]:
    """One scene: as it is, brighter, and from a step aside."""
    picture = scene(seed)
    brighter = (picture * 1.15).clip(0, 255).astype(np.uint8)
    return [
        Pair(Path(f"{seed}"), view, view // 4)
        for view in (picture, brighter, np.roll(picture, 1, axis=1))
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.01, 0.3, 0.99])
def test_no_scene_is_on_both_sides_of_the_split(seed: int, share: float) -> None:
    pairs = [pair for k in range(10) for pair in shots(k)]

    training, validation = split_by_scene(pairs, share, seed)

    in_training, in_validation = (
        {pair.path.name for pair in side} for side in (training, validation)
    )
    assert not in_training & in_validation
    assert len(training) + len(validation) == len(pairs)
    # At least one scene on either side.
    assert len(in_validation) == {0.01: 1, 0.3: 3, 0.99: 9}[share]


def test_the_seed_alone_decides_the_split() -> None:
    pairs = [Pair(Path(str(k)), scene(k), None) for k in range(12)]

    def held_out(seed: int) -> tuple[str, ...]:
        return tuple(pair.path.name for pair in split_by_scene(pairs, 0.25, seed)[1])

    assert held_out(1) == held_out(1)
    assert len({frozenset(held_out(seed)) for seed in range(5)}) > 1


def test_nothing_is_held_out_if_so_wanted() -> None:
    pairs = shots(0)

    assert split_by_scene(pairs, 0, seed=0) == (pairs, [])


def test_a_single_scene_cannot_be_split() -> None:
    with pytest.raises(DatasetError, match="single scene"):
        split_by_scene(shots(0), 0.5, seed=0)


def test_dark_photos_of_the_same_view_change_places() -> None:
    """One view in three lights, from a step aside, and another one."""
    grain = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    detailed = (scene(0) + grain // 8).clip(0, 255).astype(np.uint8)
    step_aside, elsewhere = np.roll(detailed, 1, axis=1), scene(1)
    pairs = find_others(
        [
            Pair(Path(str(light)), view, np.full_like(view, light))
            for light, view in (
                *((light, detailed) for light in (10, 20, 30)),
                *((90, step_aside), (200, elsewhere)),
            )
        ]
    )
    rng = np.random.default_rng(0)

    def lights(pair: Pair, exchanged: float) -> Counter[int]:
        draws = [random_crop(pair, 16, rng, Variety(exchanged=exchanged)) for _ in range(90)]
        assert all((thumbnail == low[0, 0, 0]).all() for low, _, thumbnail in draws)
        return Counter(int(low[0, 0, 0]) for low, _, _ in draws)

    assert [pair.path.name for pair in pairs] == ["10", "20", "30", "90", "200"]
    assert lights(pairs[0], 0.0).keys() == {10}
    evenly = lights(pairs[0], 1.0)
    assert evenly.keys() == {10, 20, 30}
    assert min(evenly.values()) > 20
    half = lights(pairs[1], 0.5)
    assert half.keys() == {10, 20, 30}
    assert half[20] > half[10] + half[30] > 20
    assert lights(pairs[3], 1.0).keys() == {90}, "nothing lies on it"
    assert lights(pairs[4], 1.0).keys() == {200}


def test_a_linked_dataset_has_the_name_of_the_link(tmp_path: Path) -> None:
    (tmp_path / "LOLdataset" / "our485" / "high").mkdir(parents=True)
    (tmp_path / "lol").symlink_to(tmp_path / "LOLdataset")
    for folder in ("lol", "lol/our485", "lol/our485/high", "lol/../lol"):
        assert name_dataset(tmp_path / folder) == "lol"


def test_views_of_other_shapes_and_photos_alone_have_no_others() -> None:
    wide, high = scene(0, 40, 60), np.rot90(scene(0, 40, 60))
    pairs = [Pair(Path("same"), view, view // 4) for view in (wide, wide, high)]

    found = find_others([*pairs, Pair(Path("same"), wide, None)])

    assert [len(pair.others) for pair in found] == [1, 1, 0, 0]
    (alone,) = find_others([Pair(Path("alone"), wide, None)])
    assert (alone.path.name, alone.low, alone.others) == ("alone", None, ())
    assert alone.high is wide
    assert found[0].others[0] is pairs[1]


def test_photos_are_named_by_the_innermost_folder() -> None:
    whole, part = Path("all"), Path("all/extra")
    pairs = [Pair(folder / "high" / "1.png", scene(1), None) for folder in (whole, part)]

    assert names_of(pairs, [whole, part]) == ["all/1", "extra/1"]


def test_one_photo_in_two_folders_has_one_name() -> None:
    """Pairs and, beside them, their normal photos to be darkened."""
    pairs = 2 * [Pair(Path("lol/our485/high/1.png"), scene(1), None)]

    check_names(pairs, [Path("lol"), Path("lol/our485/high")])
