import os
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import difference, scene
from PIL import Image

from retinex.datasets import DatasetError
from retinex.photo import Pixels
from retinex.thumbnail import make_thumbnail
from retinex.training.low_light import CAMERA_GAMMA, LowLight, random_tints
from retinex.training.pairs import (
    Pair,
    Variety,
    central_crop,
    check_crop,
    load_pairs,
    random_crop,
    random_view,
    synthesise,
    training_batches,
    validation_batches,
)


def noise(seed: int, height: int = 20, width: int = 26) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_pairs(folder: Path, high: dict[str, Pixels]) -> None:
    for name, pixels in high.items():
        write(folder / "high" / name, pixels)
        write(folder / "low" / name, pixels // 4)


@pytest.mark.parametrize("layout", ["our485", "."])
def test_pairs_are_read_by_stem(tmp_path: Path, layout: str) -> None:
    write_pairs(tmp_path / layout, {"2.png": noise(2), "10.png": noise(10, 31, 17)})

    pairs = load_pairs([tmp_path])

    by_name = {pair.path.name: pair for pair in pairs}
    assert by_name.keys() == {"2.png", "10.png"}
    for name, high in (("2.png", noise(2)), ("10.png", noise(10, 31, 17))):
        assert np.array_equal(by_name[name].high, high)
        assert np.array_equal(by_name[name].low, high // 4)


def test_extensions_may_differ_within_a_pair(tmp_path: Path) -> None:
    write(tmp_path / "high" / "a.JPG", scene(1))
    write(tmp_path / "low" / "a.png", scene(1) // 4)
    write(tmp_path / "high" / "b.webp", scene(2))
    write(tmp_path / "low" / "b.bmp", scene(2) // 4)
    (tmp_path / "low" / "Thumbs.db").write_bytes(b"not a photo")
    (tmp_path / "low" / "._b.bmp").write_bytes(b"what macOS leaves behind")

    pairs = load_pairs([tmp_path])

    assert [pair.path.name for pair in pairs] == ["a.JPG", "b.webp"]
    assert all(pair.low is not None and pair.low.mean() < 100 < pair.high.mean() for pair in pairs)


def test_accents_may_be_spelt_in_two_ways(tmp_path: Path) -> None:
    write(tmp_path / "high" / "caf\u00e9.png", scene(1))
    write(tmp_path / "low" / "cafe\u0301.png", scene(1) // 4)

    assert len(load_pairs([tmp_path])) == 1


def test_test_photos_of_lol_are_never_read(tmp_path: Path) -> None:
    write_pairs(tmp_path / "our485", {"1.png": noise(1)})
    write_pairs(tmp_path / "eval15", {"7.png": noise(7)})
    (tmp_path / "eval15" / "low" / "broken.png").write_bytes(b"reading this would fail")

    pairs = load_pairs([tmp_path])

    assert [pair.path.name for pair in pairs] == ["1.png"]


def test_several_roots_are_joined(tmp_path: Path) -> None:
    write_pairs(tmp_path / "lol" / "our485", {"1.png": noise(1)})
    write_pairs(tmp_path / "own", {"1.png": noise(2)})
    write(tmp_path / "photos" / "1.png", noise(3))

    pairs = load_pairs([tmp_path / "lol", tmp_path / "own"], [tmp_path / "photos"])

    assert [pair.high.tobytes() for pair in pairs] == [noise(k).tobytes() for k in (1, 2, 3)]
    assert [pair.low is None for pair in pairs] == [False, False, True]


def unmatched(root: Path) -> list[str]:
    write(root / "low" / "only_low.png", noise(1))
    write(root / "high" / "only_high.png", noise(1))
    return ["only_low.png", "only_high.png"]


def sizes_differ(root: Path) -> list[str]:
    write(root / "low" / "1.png", noise(1, 20, 30))
    write(root / "high" / "1.jpg", noise(1, 20, 29))
    return ["low/1.png", "30×20", "high/1.jpg", "29×20"]


def not_a_photo(root: Path) -> list[str]:
    write_pairs(root, {"1.png": noise(1), "2.png": noise(2)})
    (root / "low" / "2.png").write_text("<html>not found</html>")
    return ["low/2.png"]


def truncated(root: Path) -> list[str]:
    write_pairs(root, {"1.png": noise(1)})
    path = root / "high" / "1.png"
    path.write_bytes(path.read_bytes()[:-200])
    return ["high/1.png"]


def no_photos(root: Path) -> list[str]:
    write(root / "high" / "1.png", noise(1))
    (root / "low").mkdir()
    return [str(root / "low")]


def no_low_folder(root: Path) -> list[str]:
    write(root / "high" / "1.png", noise(1))
    return [str(root), "'low'", "--help"]


def no_folder(root: Path) -> list[str]:
    return [str(root)]


def same_stem(root: Path) -> list[str]:
    write_pairs(root, {"1.png": noise(1)})
    write(root / "low" / "1.bmp", noise(1))
    return ["low/1.png", "low/1.bmp"]


@pytest.mark.parametrize(
    "spoil",
    [
        unmatched,
        sizes_differ,
        not_a_photo,
        truncated,
        no_photos,
        no_low_folder,
        no_folder,
        same_stem,
    ],
)
def test_errors_name_the_files(tmp_path: Path, spoil: Callable[[Path], list[str]]) -> None:
    root = tmp_path / "data"
    expected = spoil(root)

    with pytest.raises(DatasetError) as caught:
        load_pairs([root])

    message = str(caught.value)
    assert [part for part in expected if part not in message] == []
    assert "\n" not in message


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="Windows doesn't tell its memory so")
def test_photos_larger_than_the_memory_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path, {f"{k}.png": noise(k, 20, 26) for k in range(3)})
    machine = {"SC_PAGE_SIZE": 20 * 26 * 3, "SC_PHYS_PAGES": 6}
    monkeypatch.setattr(os, "sysconf", machine.__getitem__)
    assert len(load_pairs([tmp_path])) == 3

    machine["SC_PHYS_PAGES"] = 5
    (tmp_path / "low" / "0.png").write_bytes((tmp_path / "low" / "0.png").read_bytes()[:-60])
    with pytest.raises(DatasetError, match="fewer"):
        load_pairs([tmp_path])


@pytest.mark.parametrize("kind", ["pairs", "photos"])
def test_lols_pairs_for_testing_are_refused(tiny_lol: Path, kind: str) -> None:
    tests = tiny_lol / "eval15"
    with pytest.raises(DatasetError, match=r"for testing.*our485"):
        load_pairs([tests]) if kind == "pairs" else load_pairs([], [tests / "high"])


def test_they_are_refused_through_a_link_too(tmp_path: Path) -> None:
    write_pairs(tmp_path / "eval15", {"7.png": noise(7)})
    (tmp_path / "night").symlink_to(tmp_path / "eval15", target_is_directory=True)
    with pytest.raises(DatasetError, match="for testing"):
        load_pairs([tmp_path / "night"])


@pytest.mark.parametrize("exists", [True, False])
def test_empty_or_missing_folder_of_photos(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "photos"
    if exists:
        folder.mkdir()

    with pytest.raises(DatasetError, match="photos"):
        load_pairs([], [folder])


def test_sub_folders_of_photos_are_not_looked_into(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "holiday" / "1.png", noise(1))
    with pytest.raises(DatasetError, match=r"no photos in .*sub-folders"):
        load_pairs([], [tmp_path / "photos"])


def test_photos_smaller_than_the_crop_are_named() -> None:
    pairs = [
        Pair(Path("fits.png"), noise(1, 16, 20), None),
        Pair(Path("low.png"), noise(2, 15, 90), None),
    ]

    check_crop(pairs, 15)
    with pytest.raises(DatasetError, match=r"low\.png") as caught:
        check_crop(pairs, 16)
    assert "fits.png" not in str(caught.value)


def test_low_and_high_stay_aligned() -> None:
    high = noise(0)
    pair, rng = Pair(Path("pair"), high, high // 4), np.random.default_rng(0)
    orientations = {
        np.rot90(square, turns).tobytes()
        for square in (high[:16, :16], high[:16, :16][:, ::-1])
        for turns in range(4)
    }

    seen = set()
    for _ in range(600):
        low_crop, high_crop, _ = random_crop(pair, 16, rng)
        assert high_crop.shape == (16, 16, 3)
        assert np.array_equal(low_crop, high_crop // 4)
        seen.add(high_crop.tobytes())

    # 5 × 11 windows in eight orientations: the first window comes up in several of them.
    assert len(seen & orientations) > 1
    assert len(seen) > 5 * 11


def test_whole_photo_crops_come_in_all_eight_orientations() -> None:
    square = noise(0, 16, 16)
    rng = np.random.default_rng(0)

    seen = {random_crop(Pair(Path(), square, square), 16, rng)[1].tobytes() for _ in range(100)}

    expected = [np.rot90(s, turns) for s in (square, square[:, ::-1]) for turns in range(4)]
    assert seen == {orientation.tobytes() for orientation in expected}


def test_an_epoch_shows_every_pair_once_in_a_new_order() -> None:
    pairs = [Pair(Path(), np.full((8, 8, 3), 10 * k, np.uint8), noise(k, 8, 8)) for k in range(20)]
    rng = np.random.default_rng(0)

    def epoch() -> list[int]:
        batches = [batch.high for batch in training_batches(pairs, 8, 3, rng)]
        assert [len(batch) for batch in batches] == [3] * 6 + [2]
        return [round(255 * float(photo.max())) for batch in batches for photo in batch]

    first, second = epoch(), epoch()
    assert sorted(first) == sorted(second) == [10 * k for k in range(20)]
    assert first != second


def test_batches_are_the_photos_as_floats() -> None:
    high = noise(0, 8, 8)
    ((low_batch, high_batch, _),) = validation_batches([Pair(Path(), high, high // 4)], 8, 4)

    assert high_batch.shape == (1, 3, 8, 8)
    for c, y, x in ((0, 0, 0), (1, 2, 5), (2, 7, 3)):
        assert high_batch[0, c, y, x].item() == pytest.approx(high[y, x, c] / 255)
        assert low_batch[0, c, y, x].item() == pytest.approx((high // 4)[y, x, c] / 255)


def test_photos_alone_are_darkened_anew_at_every_draw() -> None:
    pair, rng = Pair(Path("photo"), scene(0), None), np.random.default_rng(0)

    first, high, _ = central_crop(pair, 16, rng)
    second, same_high, _ = central_crop(pair, 16, rng)

    assert np.array_equal(high, same_high)
    assert not np.array_equal(first, second)
    assert max(first.mean(), second.mean()) < high.mean() / 2


def test_validation_is_the_same_at_every_call() -> None:
    pairs = [Pair(Path("photo"), scene(0), None), Pair(Path("pair"), scene(1), scene(1) // 4)]

    first, second = (list(validation_batches(pairs, 16, 1)) for _ in range(2))

    for batch, again in zip(first, second, strict=True):
        assert all(part.equal(part_again) for part, part_again in zip(batch, again, strict=True))


def test_central_crop_takes_what_there_is() -> None:
    low, high, _ = central_crop(
        Pair(Path(), scene(0, 30, 50), scene(0, 30, 50)), 40, np.random.default_rng(0)
    )

    assert low.shape == high.shape == (30, 40, 3)
    assert np.array_equal(high, scene(0, 30, 50)[:, 5:45])


def test_the_thumbnail_shows_the_dark_photo_whole_and_upright() -> None:
    high = scene(0, 60, 100)
    pair, rng = Pair(Path(), high, high // 4), np.random.default_rng(0)

    crops = [central_crop(pair, 16, rng), *(random_crop(pair, 16, rng) for _ in range(20))]

    assert all(np.array_equal(crop.thumbnail, make_thumbnail(high // 4)) for crop in crops)


def test_synthetic_dark_photos_are_of_parts_around_the_crop() -> None:
    photo, rng = np.zeros((60, 100, 3), np.uint8), np.random.default_rng(0)
    shares = []
    for _ in range(200):
        top, left = int(rng.integers(45)), int(rng.integers(85))
        rows, columns = random_view(photo, np.s_[top : top + 16, left : left + 16], rng)

        assert 0 <= rows.start <= top < top + 16 <= rows.stop <= 60
        assert 0 <= columns.start <= left < left + 16 <= columns.stop <= 100
        shares.append((columns.stop - columns.start) / 100)
        assert (rows.stop - rows.start) / 60 == pytest.approx(shares[-1], abs=0.02)
    assert min(shares) < 0.45
    assert max(shares) > 0.95


def test_thumbnails_of_synthetic_dark_photos_show_upright_parts() -> None:
    high = np.zeros((60, 100, 3), np.uint8)
    high[:, 50:] = 200  # not black in any light
    pair, rng = Pair(Path(), high, high // 4), np.random.default_rng(0)

    draws = [random_crop(pair, 16, rng, Variety(synthetic=1.0)) for _ in range(100)]
    black = [crops.thumbnail.max(axis=(0, 2)) == 0 for crops in draws]
    black_rows = [crops.thumbnail.max(axis=(1, 2)) == 0 for crops in draws]

    assert all((columns[:-1] >= columns[1:]).all() for columns in black)
    assert all(rows.all() or not rows.any() for rows in black_rows)
    assert all(crops.thumbnail.any() for crops in draws if crops.high.any())
    assert len({int(columns.sum()) for columns in black}) > 20
    assert not all(columns.any() for columns in black)  # some show the right half alone


def test_synthetic_dark_photos_stand_in_for_real_ones() -> None:
    high = scene(0, 60, 100)
    pair, rng = Pair(Path(), high, high // 4), np.random.default_rng(0)

    def brightness(synthetic: float) -> list[float]:
        draws = [random_crop(pair, 16, rng, Variety(synthetic=synthetic)) for _ in range(200)]
        for low, _, thumbnail in draws:
            # The network is to tell the crop's exposure by the thumbnail's.
            assert thumbnail.mean() == pytest.approx(low.mean(), abs=60)
        return [low.mean() / crop.mean() for low, crop, _ in draws]

    assert max(brightness(0)) < 0.26
    mixed = brightness(0.5)
    real = sum(0.24 < share < 0.26 for share in mixed)
    assert 60 < real < 140
    assert min(mixed) < 0.2
    assert max(mixed) > 0.8


def test_two_fifths_of_synthetic_dark_photos_are_not_dark() -> None:
    pair, rng = Pair(Path("a"), scene(0), scene(0) // 8), np.random.default_rng(0)

    draws = [random_crop(pair, 16, rng, Variety(synthetic=1.0)) for _ in range(1000)]

    unchanged = [np.array_equal(crops.low, crops.high) for crops in draws]
    assert 0.35 < np.mean(unchanged) < 0.45


def test_half_of_synthetic_dark_photos_keep_a_quarter_of_the_light() -> None:
    pair, rng = Pair(Path(), flat(120), flat(30)), np.random.default_rng(0)

    draws = [random_crop(pair, 8, rng, Variety(synthetic=1.0)) for _ in range(400)]

    # A quarter of the light is 0.53 of the pixels' values.
    dark = [crops for crops in draws if not np.array_equal(crops.low, crops.high)]
    ratios = [crops.low.mean() / crops.high.mean() for crops in dark]
    assert 0.4 < np.mean([ratio > 0.53 for ratio in ratios]) < 0.6
    assert min(ratios) < 0.06


def test_synthetic_pairs_are_tinted_and_real_ones_are_not() -> None:
    pair, rng = Pair(Path(), flat(120), flat(30)), np.random.default_rng(0)

    def saturations(synthetic: float) -> list[float]:
        draws = [random_crop(pair, 8, rng, Variety(synthetic=synthetic)) for _ in range(50)]
        return [float(np.ptp(high.mean(axis=(0, 1))) / high.mean()) for _, high, _ in draws]

    assert max(saturations(1.0)) > 0.2
    assert max(saturations(0.0)) == 0


def test_synthetic_photos_show_what_they_are_made_of() -> None:
    """Part of a photo, tinted, without noise: dark photo and thumbnail have the tints, too."""
    high = np.full((60, 100, 3), 120, np.uint8)
    light = LowLight(exposure=0.5, shot_noise=0.0, read_noise=0.0)
    tints = random_tints(np.random.default_rng(1))
    rng = np.random.default_rng(0)

    whole, part = (
        synthesise(Pair(Path(), high, None), window, light, rng, tints)
        for window in (np.s_[0:60, 0:100], np.s_[10:30, 70:100])
    )

    assert np.ptp(whole.high[:, :, 0]) > 20
    assert difference(part.high, whole.high[10:30, 70:100]) <= 1
    share = 0.5 ** (1 / CAMERA_GAMMA)
    np.testing.assert_allclose(part.low, share * part.high, atol=1.5)
    np.testing.assert_array_equal(part.thumbnail, whole.thumbnail)
    view = np.s_[0:40, 50:100]
    of_view = synthesise(Pair(Path(), high, None), np.s_[10:30, 70:100], light, rng, tints, view)
    for low, thumbnail in ((whole.low, part.thumbnail), (whole.low[view], of_view.thumbnail)):
        shown = Image.fromarray(low).resize((64, 64), Image.Resampling.BOX)
        assert np.abs(np.asarray(shown).astype(int) - thumbnail).mean() < 4
    assert np.abs(part.thumbnail.astype(int) - of_view.thumbnail).mean() > 8


def test_colours_change_places_in_the_whole_pair() -> None:
    high = np.full((20, 20, 3), (200, 100, 60), np.uint8)
    pair, rng = Pair(Path(), high, high // 4), np.random.default_rng(0)
    shuffled = Variety(shuffled=0.5)

    draws = [random_crop(pair, 16, rng, shuffled) for _ in range(100)]

    colours = [tuple(crops.high[0, 0].tolist()) for crops in draws]
    assert set(colours) == set(permutations((200, 100, 60)))
    assert 40 < colours.count((200, 100, 60)) < 80  # half, and one in six of the others
    for low, high_crop, thumbnail in draws:
        np.testing.assert_array_equal(low, high_crop // 4)
        np.testing.assert_array_equal(thumbnail[0, 0], low[0, 0])
    assert {random_crop(pair, 16, rng).high[0, 0, 0] for _ in range(20)} == {200}


def test_dark_photos_are_compressed() -> None:
    high = scene(0, 60, 100)
    pair, rng = Pair(Path(), high, high // 4), np.random.default_rng(0)

    draws = [random_crop(pair, 32, rng, Variety(compressed=0.5)) for _ in range(100)]

    errors = [difference(crops.low, crops.high // 4) for crops in draws]
    assert 30 < errors.count(0) < 70
    assert 0 < max(errors) < 30
    for low, high_crop, _ in draws:  # not shifted, turned or otherwise scaled
        assert np.abs(low - high_crop / 4).mean() < 3


def test_photos_that_are_to_stay_as_they_are_stay_so_compressed() -> None:
    striped = flat(40, 60)
    striped[::3] = 200
    pair, rng = Pair(Path(), striped, striped), np.random.default_rng(0)

    draws = [random_crop(pair, 32, rng, Variety(compressed=0.5)) for _ in range(100)]

    assert all(np.array_equal(crops.low, crops.high) for crops in draws)
    compressed = [not np.isin(crops.low, (40, 200)).all() for crops in draws]
    assert 30 < sum(compressed) < 70


def test_mixed_pairs_stay_pairs() -> None:
    grays = [40, 80, 120, 200]
    pairs = [Pair(Path(), high, high // 4) for high in (flat(gray) for gray in grays)]
    rng = np.random.default_rng(0)

    (batch,) = training_batches(pairs, 8, 4, rng, Variety(mixed=1.0))
    (plain,) = training_batches(pairs, 8, 4, rng)

    torch.testing.assert_close(batch.high, 4 * batch.low)
    torch.testing.assert_close(batch.thumbnail[:, :, 0, 0], batch.low[:, :, 0, 0])
    assert sorted(plain.high[:, 0, 0, 0].mul(255).round().tolist()) == grays
    assert sorted(batch.high[:, 0, 0, 0].mul(255).round().tolist()) != grays


def flat(gray: int, side: int = 12) -> Pixels:
    return np.full((side, side, 3), gray, np.uint8)
