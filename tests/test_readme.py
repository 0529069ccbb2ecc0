"""What README promises: its commands run, its tables agree with the code."""

import csv
import re
import shlex
import shutil
import tomllib
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median

import huggingface_hub
import onnxruntime
import pytest
from conftest import run_program
from packaging.specifiers import SpecifierSet

from retinex import EXPERIMENTS
from retinex.experiments import Experiment

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    *(
        ROOT / folder / "README.md"
        for folder in ("benchmarks", "examples", "onnx_models", "results")
    ),
    ROOT / "results" / "choices.md",
]
README, BENCHMARKS, RESULTS, CARD = (
    (ROOT / folder / "README.md").read_text(encoding="utf-8")
    for folder in (".", "benchmarks", "results", "onnx_models")
)
QUICKEST = "join_ignore_enhance"
"""Exporting the others takes a minute and is tested elsewhere."""
TINY = {
    "evaluate": ["--checkpoints", "checkpoints"],  # losses of one experiment alone
    "train.py": ["-e", "1", "--crop", "16", "--batch_size", "2"],
    "benchmarks/inference_speed.py": ["--turns", "1", "--size", "8", "8"],
    "benchmarks/photo_sizes.py": ["--megapixels", "0.01"],
    "benchmarks/roofline.py": ["--turns", "1", "--size", "8", "8", "--experiment", QUICKEST],
    "benchmarks/rewrites.py": ["--help"],  # takes seven exports and as many processes
    "benchmarks/alternatives.py": ["--turns", "1", "--size", "16", "16", "--experiment", QUICKEST],
    "benchmarks/openvino_accuracy.py": ["--turns", "1", "--experiment", QUICKEST],
    "demo.py": ["--help"],  # started by tests/test_demo.py
    "benchmarks/demo_start.py": ["--help"],  # so is this
    "benchmarks/training_speed.py": ["--turns", "1", "--batch_size", "1", "--crop", "16"],
}
"""Arguments added to README's commands so that they end soon; later ones override earlier ones."""


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def program_commands() -> list[list[str]]:
    """Every command that runs a program of the project, in order, once each."""
    lines = "\n".join(code_blocks("sh")).splitlines()
    quoted = re.findall(r"`((?:python|retinex) [^`]+)`", README + BENCHMARKS)
    commands = [line for line in [*lines, *quoted] if re.match(r"python \S+\.py|retinex ", line)]
    return [shlex.split(command) for command in dict.fromkeys(commands)]


def run(command: list[str]) -> None:
    program, *arguments = command if command[0] == "retinex" else command[1:]
    extra = TINY.get(arguments[0] if program == "retinex" else program, [])
    extra = [] if "--help" in arguments else extra
    if "-t" in arguments:  # README gives two ways to train it; a run isn't overwritten
        shutil.rmtree("runs/split_transposed", ignore_errors=True)
    path = ROOT / ("retinex/__main__.py" if program == "retinex" else program)
    try:
        run_program(path, *arguments, *extra)
    except SystemExit as end:
        assert not end.code, f"{shlex.join(command)}: {end.code}"


def test_every_program_command_runs(
    tmp_path: Path, tiny_lol: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_lol, tmp_path / "data" / "lol")
    for kind in ("low", "high"):
        test_photo = tmp_path / "data" / "lol" / "eval15" / kind / "0.png"
        test_photo.parent.mkdir(parents=True)
        shutil.copy(tiny_lol / "our485" / kind / "0.png", test_photo)
    shutil.copytree(tiny_lol / "our485" / "low", tmp_path / "night" / "street")
    (tmp_path / "checkpoints").mkdir()
    for suffix in (".safetensors", ".json"):
        shutil.copy(ROOT / "checkpoints" / f"{QUICKEST}{suffix}", tmp_path / "checkpoints")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # as Python does with a script's folder
    commands = program_commands()
    assert {"retinex", "python"} == {command[0] for command in commands}
    for command in commands:
        run(command)
    assert (tmp_path / "bright" / "street" / "0.png").is_file()
    assert (tmp_path / "evaluation" / "lol" / "results.csv").is_file()
    for name in EXPERIMENTS:
        assert (tmp_path / "runs" / name / f"{name}.safetensors").is_file()
    assert (tmp_path / "onnx_models" / f"{QUICKEST}.onnx").is_file()


def test_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "examples" / "cat.jpg", tmp_path / "dark.jpg")
    (tmp_path / "onnx_models").symlink_to(ROOT / "onnx_models")
    monkeypatch.chdir(tmp_path)
    for block in code_blocks("python"):
        if "gradio_client" in block or "mcp" in block:
            continue  # needs a running demo: tests/test_demo.py
        exec(compile(block, "README.md", "exec"), {})
    for made in ("bright.jpg", "bright.png", "softer.png"):
        assert (tmp_path / made).is_file()


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=list(EXPERIMENTS))
def test_table_describes_the_experiment_as_the_code_does(experiment: Experiment) -> None:
    cells = (f"`{experiment.name}`", experiment.title, experiment.summary)
    row = "| " + " | ".join((*cells, f"`{experiment.command}`")) + " |"
    assert row in README


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=list(EXPERIMENTS))
def test_what_it_is_best_at_agrees_with_the_scores(experiment: Experiment) -> None:
    (scores,) = re.findall(rf"^\| `{experiment.name}` \| (.+) \| (.+) \| (.+) \|$", CARD, re.M)
    numbers = re.findall(r"\d+\.\d{2,3}", experiment.best_at)
    assert {scores[0], scores[1]} <= set(numbers) <= set(scores)


def read_means(file: Path, experiment: str, *columns: str) -> list[float]:
    """Means over the photos of an evaluation; NaN where there is nothing."""
    with file.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["experiment"] == experiment]
    return [fmean(float(row[column] or "nan") for row in rows) for column in columns]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_findings_are_the_means_of_the_evaluation(experiment: str) -> None:
    clipping = "" if experiment == "retinex_plus" else "unclipped_"
    mean, spread, noise, *losses = read_means(
        ROOT / "results" / "results.csv",
        experiment,
        *(f"{clipping}enhanced_illumination_{kind}" for kind in ("mean", "spread")),
        *("flat_noise", "decom_loss", "enhance_loss"),
    )
    row = f"| `{experiment}` | {mean:.3f} | {spread:.3f} | {noise:.2f} |"
    (cells,) = re.findall(rf"^{re.escape(row)}(.*)$", RESULTS, re.M)
    ours = [float(loss) for loss in re.findall(r"(?:^|\|) (0\.\d{4})", cells)]
    assert ours == [] if experiment == "retinex_plus" else ours == pytest.approx(losses, abs=5e-5)


def test_epochs_and_hours_of_plus_are_those_of_its_logs() -> None:
    epochs, hours = 0, 0.0
    for log in (ROOT / "results" / "retinex_plus").glob("*/log.csv"):
        with log.open(newline="") as stream:
            seconds = [float(row["seconds"]) for row in csv.DictReader(stream)]
        epochs += len(seconds)
        hours += len(seconds) * median(seconds) / 3600
    assert f"`retinex_plus` for {epochs}." in README
    assert f"{hours:.1f} h (`retinex_plus`)" in README
    assert f"`retinex_plus` for {epochs}." in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_denoised_scores_are_the_means_of_the_evaluation(experiment: str) -> None:
    file = ROOT / "results" / "denoised_1" / "results.csv"
    psnr, ssim = read_means(file, experiment, "psnr", "ssim")
    assert re.search(rf"^\| {experiment}\b.* \| {psnr:.2f} \| {ssim:.3f} \|$", CARD, re.M)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_scores_are_the_means_of_the_evaluation(experiment: str) -> None:
    psnr, ssim, corrected = read_means(
        ROOT / "results" / "results.csv", experiment, "psnr", "ssim", "psnr_gt_mean"
    )
    row = f"| `{experiment}` | {psnr:.2f} | {ssim:.3f} | {corrected:.2f} |"
    assert row in CARD
    assert row in README.replace("**", "")
    assert f"name: PSNR of {experiment}, dB\n            value: {psnr:.2f}\n" in CARD
    assert f"name: SSIM of {experiment}\n            value: {ssim:.3f}\n" in CARD


def test_the_hub_reads_every_score() -> None:
    """It knows one model a repository: more of them would be taken for results of the first."""
    card = huggingface_hub.ModelCard(CARD)
    scores = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert len(scores) == 2 * len(EXPERIMENTS)
    assert card.data.model_name == "Retinex networks for dark photos"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(
        r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", document.read_text(encoding="utf-8")
    )
    assert links
    for file, heading in links:
        target = document.parent / file if file else document
        assert target.exists(), file
        if heading:
            text = target.read_text(encoding="utf-8")
            assert heading in map(anchor, re.findall(r"^#+ (.+)$", text, re.M)), heading


def anchor(heading: str) -> str:
    """What GitHub calls a heading in links."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_space_installs_the_gradio_that_is_tested() -> None:
    front_matter = README.split("---")[1]
    assert f"sdk_version: {version('gradio')}\n" in front_matter
    assert f"pip install -e . gradio=={version('gradio')}\n" in README
    requirements = (ROOT / "requirements.txt").read_text()
    assert f"gradio[mcp]=={version('gradio')}\n" in requirements
    assert f"onnxruntime-gpu[cuda,cudnn]=={onnxruntime.__version__}\n" in requirements
    assert "torch" not in requirements.lower().replace("pytorch", "")


def test_space_and_container_run_one_python() -> None:
    (of_container,) = re.findall(
        r"^FROM python:(\d+\.\d+)", (ROOT / "Dockerfile").read_text(), re.M
    )
    assert f'python_version: "{of_container}"\n' in README.split("---")[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert of_container in SpecifierSet(project["requires-python"])
