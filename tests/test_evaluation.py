import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import lively_net
from PIL import ExifTags, Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from retinex import Adjustments, Enhancer, adjust, open_photo
from retinex.command_line import choose_evaluation_folder, main
from retinex.contact_sheet import CELL_WIDTH, GAP
from retinex.evaluation import ImageScores, mean_values
from retinex.evaluation_report import mean_table, write_csv
from retinex.experiments import EXPERIMENTS
from retinex.inference import MODELS_FOLDER
from retinex.metrics import psnr, psnr_gt_mean, ssim
from retinex.photo import Pixels
from retinex.training.checkpoints import save_weights
from retinex.training.losses import decom_loss, enhance_loss
from retinex.training.low_light import LowLight, darken

ROOT = Path(__file__).parent.parent
HEIGHT, WIDTH = 40, 48
STEMS = ["astronaut", "cat", "coffee"]
QUICKLY = ("--experiment", "join", "--device", "cpu", "--checkpoints", "none")


def noise(seed: int, low: int = 0, high: int = 256) -> Pixels:
    return np.random.default_rng(seed).integers(low, high, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LOL's layout, with real photos; the references are JPEGs, the dark photos PNGs."""
    root = tmp_path_factory.mktemp("lol")
    for name in ("low", "high"):
        (root / "eval15" / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for stem in STEMS:
        with Image.open(ROOT / "examples" / f"{stem}.jpg") as photo:
            high = photo.convert("RGB").crop((100, 100, 100 + 2 * WIDTH, 100 + 2 * HEIGHT))
        # The examples are dark already: what is a reference here has to be brightened first.
        high = high.resize((WIDTH, HEIGHT)).point(lambda value: min(255, 6 * value))
        high.save(root / "eval15" / "high" / f"{stem}.jpg", quality=95)
        low = darken(np.asarray(high), LowLight(), rng)
        Image.fromarray(low).save(root / "eval15" / "low" / f"{stem}.png")
    return root


def run(*arguments: str | Path, path: str | Path = "") -> subprocess.CompletedProcess[str]:
    windows = "cp1252"  # how Windows writes into files and pipes
    return subprocess.run(
        [sys.executable, "-m", "retinex", *map(str, arguments)],
        capture_output=True,
        encoding=windows,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{path}", "PYTHONIOENCODING": windows},
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_table(text: str) -> list[dict[str, str]]:
    """Read the first Markdown table of a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header = rows[0]
    ends = [k for k, row in enumerate(rows) if len(row) == len(header)]
    body = [rows[k] for k in ends if k > 1 and not re.fullmatch(r"[:-]+", rows[k][0])]
    return [dict(zip(header, row, strict=True)) for row in body]


# --- the metrics, by hand ---


@pytest.mark.parametrize("offset", [1, 5, 100])
def test_psnr_of_a_constant_offset(offset: int) -> None:
    reference = noise(0, 0, 100)

    # MSE = offset².
    assert psnr(reference + np.uint8(offset), reference) == pytest.approx(
        20 * np.log10(255 / offset)
    )


def test_psnr_takes_the_error_over_all_channels() -> None:
    reference = np.zeros((8, 8, 3), np.uint8)
    output = reference.copy()
    output[0, 0, 1] = 255  # one of 192 values is off by white: MSE = 255² / 192

    assert psnr(output, reference) == pytest.approx(10 * np.log10(192))


@pytest.mark.filterwarnings("error")
def test_equal_pictures() -> None:
    picture = noise(0)

    assert psnr(picture, picture) == psnr_gt_mean(picture, picture) == float("inf")
    assert ssim(picture, picture) == 1.0


def test_ssim_against_its_formula() -> None:
    """On 7×7 pixels there is a single window."""
    x, y = noise(0)[:7, :7].astype(float), noise(1)[:7, :7].astype(float)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    per_channel = []
    for a, b in ((x[..., k].ravel(), y[..., k].ravel()) for k in range(3)):
        covariance = np.cov(a, b)
        luminance = (2 * a.mean() * b.mean() + c1) / (a.mean() ** 2 + b.mean() ** 2 + c1)
        structure = (2 * covariance[0, 1] + c2) / (covariance[0, 0] + covariance[1, 1] + c2)
        per_channel.append(luminance * structure)

    ours = ssim(x.astype(np.uint8), y.astype(np.uint8))

    assert ours == pytest.approx(np.mean(per_channel))


def test_large_pictures_are_scored_as_small_ones() -> None:
    """They are scored in blocks of rows, of a height that leaves a few over."""
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 256, (600, 40, 3), dtype=np.uint8)
    output = reference // 2 + np.arange(600, dtype=np.uint8)[:, None, None] // 8

    assert psnr(output, reference) == pytest.approx(peak_signal_noise_ratio(reference, output))
    whole = structural_similarity(reference, output, channel_axis=2)
    assert ssim(output, reference) == pytest.approx(whole, abs=1e-9)


def test_gt_mean_correction_is_exact_for_a_scaled_picture() -> None:
    reference = noise(0, 0, 128) * np.uint8(2)

    assert psnr_gt_mean(reference // 2, reference) > 200  # but for the rounding of float64
    assert psnr(reference // 2, reference) < 20


def test_gt_mean_correction_by_hand() -> None:
    # Gray 50 and 100 against gray 200 and 200: scaled by 200 / 75 and clipped to 133.3 and 255.
    output = np.repeat(np.array([[50, 100]], np.uint8)[:, :, None], 3, axis=2)
    reference = np.full((1, 2, 3), 200, np.uint8)
    mse = ((200 - 50 * 200 / 75) ** 2 + (200 - 255) ** 2) / 2

    assert psnr_gt_mean(output, reference) == pytest.approx(10 * np.log10(255**2 / mse))


def test_gt_mean_correction_weighs_green_most() -> None:
    red, green = np.zeros((2, 8, 8, 3), np.uint8)
    red[..., 0] = green[..., 1] = 100

    # Green is 0.587 / 0.299 times as bright as red: red 196.3 against 0, green 0 against 100.
    mse = ((100 * 0.587 / 0.299) ** 2 + 100**2) / 3
    assert psnr_gt_mean(red, green) == pytest.approx(10 * np.log10(255**2 / mse))


@pytest.mark.filterwarnings("error")
def test_a_black_output_has_a_finite_corrected_psnr() -> None:
    black, reference = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 51, np.uint8)

    assert psnr_gt_mean(black, reference) == pytest.approx(20 * np.log10(5))


# --- the tables ---


def image_scores(image: str, **values: float) -> ImageScores:
    base = {"psnr": 20.0, "ssim": 0.5, "psnr_gt_mean": 21.0, "seconds_per_megapixel": 2.0}
    return ImageScores("join", image, base | values)


def test_infinity_in_the_tables(tmp_path: Path) -> None:
    scores = [image_scores("1"), image_scores("2", psnr=float("inf"), ssim=1.0)]

    write_csv(scores, tmp_path / "results.csv")

    rows = read_csv(tmp_path / "results.csv")
    assert [float(row["psnr"]) for row in rows] == [20.0, float("inf")]
    (row,) = read_table(mean_table(scores))
    assert (row["PSNR, dB"], row["SSIM"]) == ("inf", "0.7500")


def test_numbers_that_are_missing_leave_their_cells_empty() -> None:
    scores = [image_scores("1", decom_loss=0.25), image_scores("2", decom_loss=0.75)]

    (row,) = read_table(mean_table(scores))

    assert (row["Decom loss"], row["Enhance loss"]) == ("0.5000", "")
    assert "LPIPS" not in row
    # A mean over some of the images would be compared with means over all.
    assert "decom_loss" not in mean_values([*scores, image_scores("3")])


# --- whole runs ---

TITLES = {
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 4),
    "psnr_gt_mean": ("GT-mean PSNR, dB", 2),
    "seconds_per_megapixel": ("s/megapixel", 2),
}


@pytest.fixture(scope="module")
def evaluated(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Evaluate all experiments without checkpoints; the results and what the terminal showed."""
    out = tmp_path_factory.mktemp("evaluated") / "results"
    done = run("evaluate", pairs, "--device", "cpu", "--checkpoints", out / "none", "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_every_image_of_every_experiment_is_in_the_csv(evaluated: tuple[Path, str]) -> None:
    rows = read_csv(evaluated[0] / "results.csv")

    expected = [(name, stem) for name in EXPERIMENTS for stem in STEMS]
    assert [(row["experiment"], row["image"]) for row in rows] == expected
    for row in rows:
        assert 0 < float(row["psnr"]) < 60
        assert -1 <= float(row["ssim"]) <= 1
        assert float(row["seconds_per_megapixel"]) > 0
        assert row["decom_loss"] == row["enhance_loss"] == ""


def test_all_tables_agree_with_the_csv(evaluated: tuple[Path, str]) -> None:
    out, shown = evaluated
    rows = read_csv(out / "results.csv")
    markdown = (out / "results.md").read_text(encoding="utf-8")
    means, *per_image = (read_table(part) for part in markdown.split("\n## "))
    titles = ["experiment", *(title for title, _ in TITLES.values())]  # what fits a terminal
    assert read_table(shown) == [{title: mean[title] for title in titles} for mean in means]
    assert [row["experiment"] for row in means] == list(EXPERIMENTS)
    for mean, images in zip(means, per_image, strict=True):
        of_experiment = [row for row in rows if row["experiment"] == mean["experiment"]]
        assert [image["image"] for image in images] == STEMS
        for name, (title, digits) in TITLES.items():
            numbers = [float(row[name]) for row in of_experiment]
            assert mean[title] == f"{np.mean(numbers):.{digits}f}"
            assert [image[title] for image in images] == [f"{x:.{digits}f}" for x in numbers]


def test_the_report_says_why_columns_are_empty(evaluated: tuple[Path, str]) -> None:
    out, shown = evaluated
    for text in (shown, (out / "results.md").read_text(encoding="utf-8")):
        for name in EXPERIMENTS:
            assert f"No losses and no unclipped Î of {name}: there is no" in text
        assert "Device: CPU" in text


def test_sheets_show_the_input_first_and_the_reference_last(
    evaluated: tuple[Path, str], pairs: Path
) -> None:
    out, _ = evaluated
    sheets = sorted(path.relative_to(out / "sheets") for path in out.rglob("*.png"))
    assert sheets == sorted(Path(name, f"{stem}.png") for name in EXPERIMENTS for stem in STEMS)
    with Image.open(out / "sheets" / "join" / "cat.png") as opened:
        sheet = np.asarray(opened)
    assert sheet.shape[1] == 6 * (CELL_WIDTH + GAP) - GAP
    height = round(CELL_WIDTH * HEIGHT / WIDTH)
    for column, file in ((0, "low/cat.png"), (5, "high/cat.jpg")):
        with Image.open(pairs / "eval15" / file) as photo:
            expected = photo.resize((CELL_WIDTH, height), Image.Resampling.LANCZOS)
        left = column * (CELL_WIDTH + GAP)
        cell = sheet[-height:, left : left + CELL_WIDTH]
        assert np.array_equal(cell, np.asarray(expected))


def test_the_metrics_are_those_of_the_enhanced_photo(
    evaluated: tuple[Path, str], pairs: Path, tmp_path: Path
) -> None:
    low = pairs / "eval15" / "low" / "coffee.png"
    main(["enhance", str(low), "--experiment", "join", "--device", "cpu", "--out", str(tmp_path)])
    with (
        Image.open(tmp_path / "coffee.png") as a,
        Image.open(pairs / "eval15" / "high" / "coffee.jpg") as b,
    ):
        output, reference = np.asarray(a), np.asarray(b)

    rows = read_csv(evaluated[0] / "results.csv")
    (row,) = (r for r in rows if (r["experiment"], r["image"]) == ("join", "coffee"))
    mse = np.mean((output.astype(float) - reference) ** 2)
    assert float(row["psnr"]) == pytest.approx(10 * np.log10(255**2 / mse))
    assert float(row["ssim"]) == pytest.approx(ssim(output, reference))


def write_checkpoint(folder: Path, name: str) -> None:
    net = lively_net(EXPERIMENTS[name])
    facts = json.loads((ROOT / "checkpoints" / f"{name}.json").read_text())
    save_weights(folder / f"{name}.safetensors", net, facts)


# The package's interface: a module on pictures of values in [-1, 1].
FAKE_LPIPS = """
import torch
class LPIPS(torch.nn.Module):
    def __init__(self, net, verbose):
        super().__init__()
        assert net == "alex"
    def forward(self, ours, reference):
        return (ours - reference).abs().amax().reshape(1, 1, 1, 1) / 2
"""


def test_losses_and_lpips_where_they_can_be_computed(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "lpips.py").write_text(FAKE_LPIPS)
    write_checkpoint(tmp_path, "join")
    for file in ("low/cat.png", "high/cat.jpg"):
        (tmp_path / file).parent.mkdir()
        shutil.copy(pairs / "eval15" / file, tmp_path / file)
    out = tmp_path / "results"

    done = run(
        *("evaluate", "--experiment", "join", "--experiment", "join_ignore_enhance", tmp_path),
        *("--device", "cpu"),
        *("--checkpoints", tmp_path, "--out", out),
        path=tmp_path / "fake",
    )

    assert done.returncode == 0, done.stderr
    means, *_ = (out / "results.md").read_text(encoding="utf-8").split("\n## ")
    first, second = read_table(means)
    assert [first["experiment"], second["experiment"]] == ["join", "join_ignore_enhance"]
    assert (second["Decom loss"], second["Enhance loss"]) == ("", "")
    row, _ = read_csv(out / "results.csv")
    assert 0 < float(row["lpips"]) <= 1
    assert first["LPIPS"] == f"{float(row['lpips']):.4f}"

    low, high = (read_small(tmp_path / file) for file in ("low/cat.png", "high/cat.jpg"))
    net = lively_net(EXPERIMENTS["join"])
    with torch.no_grad():
        of_low, of_high = net.decom(low), net.decom(high)
        decom = decom_loss(of_low, of_high, low, high).item()
        enhanced_illumination = net(low).enhanced_illumination
        enhance = enhance_loss(of_low.reflectance, enhanced_illumination, high).item()
    assert float(row["decom_loss"]) == pytest.approx(decom, rel=1e-4)
    assert float(row["enhance_loss"]) == pytest.approx(enhance, rel=1e-4)
    assert enhanced_illumination.max() > 1.1
    assert float(row["unclipped_enhanced_illumination_mean"]) == pytest.approx(
        enhanced_illumination.mean().item(), rel=1e-4
    )
    assert float(row["unclipped_enhanced_illumination_spread"]) == pytest.approx(
        enhanced_illumination.std().item(), rel=1e-4
    )


def test_losses_of_other_weights_are_left_out(pairs: Path, tmp_path: Path) -> None:
    net = lively_net(EXPERIMENTS["join"])
    save_weights(tmp_path / "join.safetensors", net, {"experiment": "join"})

    done = run(
        *("evaluate", pairs, "--experiment", "join", "--device", "cpu"),
        *("--checkpoints", tmp_path, "--out", tmp_path / "results"),
    )

    assert "No losses and no unclipped Î of join: the ONNX file wasn't exported from" in done.stdout


def test_scores_before_a_broken_pair_are_kept(pairs: Path, tmp_path: Path) -> None:
    shutil.copytree(pairs / "eval15", tmp_path / "pairs")
    (tmp_path / "pairs" / "low" / "z.png").write_text("no photo")
    shutil.copy(tmp_path / "pairs" / "high" / "cat.jpg", tmp_path / "pairs" / "high" / "z.jpg")

    (tmp_path / "results").mkdir()
    whole = tmp_path / "results" / "results.csv"
    whole.write_text("of an earlier run")

    done = run(
        *("evaluate", tmp_path / "pairs", "--experiment", "join", "--device", "cpu"),
        *("--checkpoints", tmp_path, "--out", tmp_path / "results"),
    )

    assert done.returncode == 1
    assert whole.read_text() == "of an earlier run"
    assert "results-partial.md" in done.stderr
    assert "z.png can't be read as a photo" in done.stderr
    part = tmp_path / "results" / "results-partial"
    assert [row["image"] for row in read_csv(part.with_suffix(".csv"))] == STEMS
    heading, *_ = part.with_suffix(".md").read_text(encoding="utf-8").splitlines()
    assert heading == f"# Evaluation on {len(STEMS)} of {len(STEMS) + 1} pairs of pairs"


def test_unequal_sizes_are_found_before_anything_runs(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them at once, but for photos that lie on their side."""
    shutil.copytree(pairs / "eval15", tmp_path / "pairs")
    with Image.open(tmp_path / "pairs" / "low" / "cat.png") as photo:
        turned = photo.rotate(90, expand=True)
        exif = photo.getexif()
    exif[ExifTags.Base.Orientation] = 6
    turned.save(tmp_path / "pairs" / "low" / "cat.png", exif=exif)
    for stem in ("y", "z"):
        Image.new("RGB", (20, 31)).save(tmp_path / "pairs" / "low" / f"{stem}.png")
        Image.new("RGB", (30, 20)).save(tmp_path / "pairs" / "high" / f"{stem}.png")

    message = one_line_error(["evaluate", tmp_path / "pairs", "--device", "cpu"], capsys)

    assert "y.png" in message
    assert "z.png" in message
    assert "cat.png" not in message


def test_folders_are_named_in_the_order_of_the_experiments(pairs: Path) -> None:
    models, twice = MODELS_FOLDER, ["join", "split_resize", "join"]
    folder = choose_evaluation_folder(pairs, models, twice, denoise=0)
    assert folder.name == "split_resize-join"


@pytest.mark.skipif(sys.platform != "linux", reason="file names there may be any bytes")
def test_any_name_gets_its_row(pairs: Path, tmp_path: Path) -> None:
    stem = os.fsdecode(b"caf\xe9|1")
    for kind, extension in (("low", ".png"), ("high", ".jpg")):
        (tmp_path / "pairs" / kind).mkdir(parents=True)
        file = pairs / "eval15" / kind / f"cat{extension}"
        shutil.copy(file, tmp_path / "pairs" / kind / f"{stem}{extension}")

    done = run(
        *("evaluate", tmp_path / "pairs", "--experiment", "join", "--device", "cpu"),
        *("--checkpoints", tmp_path, "--out", tmp_path / "results"),
    )

    assert done.returncode == 0, done.stderr
    assert [row["image"] for row in read_csv(tmp_path / "results" / "results.csv")] == ["caf?|1"]
    assert "| caf?\\|1 |" in (tmp_path / "results" / "results.md").read_text(encoding="utf-8")


def test_denoised_outputs_are_scored(pairs: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", str(pairs), "--experiment", "split_resize", "--device", "cpu"]
    arguments += ["--checkpoints", str(tmp_path), "--out", str(tmp_path)]

    main([*arguments, "--denoise", "0.5"])

    enhancement = Enhancer("split_resize", "cpu").enhance(pairs / "eval15" / "low" / "cat.png")
    denoised = adjust(enhancement, Adjustments(denoise=0.5))
    assert not np.array_equal(denoised, enhancement.output)
    expected = psnr(denoised, open_photo(pairs / "eval15" / "high" / "cat.jpg").rgb)
    rows = {row["image"]: row for row in read_csv(tmp_path / "results.csv")}
    assert float(rows["cat"]["psnr"]) == pytest.approx(expected)
    assert "denoised by 0.5" in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_nothing_published_is_replaced_by_default(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pairs / "eval15", tmp_path / "mine")

    shutil.copytree(ROOT / "onnx_models", tmp_path / "own_models")
    own = ["--models", "own_models"]
    for arguments in ([pairs], [pairs, *own], [pairs, "--denoise", "1"], [tmp_path / "mine"]):
        main(["evaluate", *map(str, arguments), *QUICKLY])

    folders = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.csv")}
    of_lol = f"evaluation/{pairs.name}"
    assert folders == {
        *(f"{of_lol}/join", f"own_models/{of_lol}/join", f"{of_lol}/join/denoised_1"),
        "evaluation/mine/join",
    }


def test_no_pair_is_computed_for_nothing(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Enhancer, "enhance", lambda *_: pytest.fail("networks ran"))
    out = pairs / "eval15" / "low" / "cat.png"
    with pytest.raises(SystemExit, match="can't write into"):
        main(["evaluate", str(pairs), "--experiment", "join", "--device", "cpu", "--out", str(out)])


def read_small(path: Path) -> torch.Tensor:
    """The study's size: (1, 3, 297, 297) in [0, 1]."""
    with Image.open(path) as photo:
        small = np.asarray(photo.resize((297, 297), Image.Resampling.BILINEAR))
    return torch.tensor(small / 255.0).float().permute(2, 0, 1)[None]


BLOCK_TORCH = """
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.parametrize("checkpoint", [False, True])
def test_evaluation_works_without_pytorch(pairs: Path, tmp_path: Path, checkpoint: bool) -> None:
    """Without a checkpoint it isn't even looked for."""
    if checkpoint:
        write_checkpoint(tmp_path, "join")
    block = BLOCK_TORCH if checkpoint else ""
    arguments = ["evaluate", str(pairs), "--experiment", "join", "--device", "cpu"]
    arguments += ["--checkpoints", str(tmp_path), "--out", str(tmp_path / "results")]
    code = f"""
import sys
{block}
from retinex.command_line import main
assert main({arguments!r}) == 0
assert "torch" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )

    assert done.returncode == 0, done.stderr
    assert (".[train]" in done.stdout) == checkpoint


# --- errors ---


def one_line_error(arguments: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    message = str(caught.value)
    assert message.startswith("retinex: ")
    assert "\n" not in message
    assert capsys.readouterr().out == ""
    return message


def test_stems_without_a_partner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in ("low/a.png", "high/b.png"):
        (tmp_path / file).parent.mkdir()
        Image.fromarray(noise(0)).save(tmp_path / file)

    message = one_line_error(["evaluate", tmp_path], capsys)

    assert "a.png" in message
    assert "b.png" in message


def test_the_training_pairs_of_lol_are_not_evaluated(
    tiny_lol: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "eval15" in one_line_error(["evaluate", tiny_lol], capsys)


def test_pairs_that_were_trained_on_are_told(
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The released networks say that they were trained on a dataset called lol."""
    shutil.copytree(pairs / "eval15", tmp_path / "lol")
    note = f"join may have been trained on {len(STEMS)} of these {len(STEMS)} pairs"
    shutil.copytree(pairs / "eval15", tmp_path / "whole" / "lol" / "eval15")
    monkeypatch.chdir(tmp_path / "whole" / "lol" / "eval15")
    for folder, told in ((tmp_path / "lol", True), (pairs, False), (Path(), False)):
        out = tmp_path / "results" / folder.name
        main(["evaluate", str(folder), *QUICKLY, "--out", str(out)])
        assert (note in capsys.readouterr().out) is told
        assert (note in (out / "results.md").read_text(encoding="utf-8")) is told


@pytest.mark.parametrize(("link", "target"), [("lol", "disk"), ("night", "lol")])
def test_linked_pairs_are_known_by_the_name_of_either(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], link: str, target: str
) -> None:
    shutil.copytree(pairs / "eval15", tmp_path / "files" / target)
    (tmp_path / link).symlink_to(tmp_path / "files" / target)

    main(["evaluate", str(tmp_path / link), *QUICKLY, "--out", str(tmp_path / "results")])

    assert f"join may have been trained on {len(STEMS)} of these" in capsys.readouterr().out


def test_evaluations_of_two_datasets_stay_apart(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for dataset in ("first", "second"):
        shutil.copytree(pairs / "eval15", tmp_path / dataset / "eval15")
        main(["evaluate", f"{dataset}/eval15", *QUICKLY])

    for dataset in ("first", "second"):
        report = tmp_path / "evaluation" / f"{dataset}-eval15" / "join" / "results.md"
        assert f"pairs of {dataset}-eval15\n" in report.read_text(encoding="utf-8")


@pytest.mark.parametrize("share", ["all", "2"])
def test_denoising_is_a_share(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "pairs", "--denoise", share])

    assert f"{share} isn't a number from 0 to 1" in capsys.readouterr().err


def test_unknown_experiment(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = one_line_error(["evaluate", pairs, "--experiment", "jion"], capsys)

    assert "jion" in message
    assert all(name in message for name in EXPERIMENTS)


def test_no_models(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "export_onnx.py" in one_line_error(["evaluate", pairs, "--models", tmp_path], capsys)


def test_photos_too_small_for_ssim(tmp_path: Path) -> None:
    for name in ("low", "high"):
        (tmp_path / name).mkdir()
        Image.fromarray(noise(0)[:6]).save(tmp_path / name / "a.png")

    with pytest.raises(SystemExit, match=r"a\.png is smaller than SSIM's window"):
        main(["evaluate", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cpu"])


def test_errors_have_no_traceback(tmp_path: Path) -> None:
    done = run("evaluate", tmp_path / "missing")

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "missing" in done.stderr


def test_help_says_that_lpips_downloads() -> None:
    done = run("evaluate", "--help")

    assert "downloads the weights" in " ".join(done.stdout.split())
