import errno
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

import retinex
from retinex import Enhancer
from retinex.command_line import main
from retinex.photo import Pixels

ROOT = Path(__file__).parent.parent
ICC = b"a colour profileRGB that nobody reads"
FAST = ("--device", "cpu", "--experiment", "join_ignore_enhance")
STAGES = ["reflectance", "illumination", "enhanced_illumination"]


def noise(seed: int, channels: int = 3) -> Pixels:
    return np.random.default_rng(seed).integers(0, 60, (18, 24, channels), dtype=np.uint8)


def write(path: Path, seed: int = 0, channels: int = 3, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, channels)).save(path, **options)
    return path


def enhance(*arguments: str | Path) -> int:
    return main(["enhance", *FAST, *map(str, arguments)])


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A folder with sub-folders, formats and a file that isn't the photo its name says."""
    folder = tmp_path / "night"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "A. Photographer"
    write(folder / "lamp.JPG", 1, exif=exif.tobytes(), icc_profile=ICC)
    write(folder / "street" / "lamp.png", 2, channels=4, icc_profile=ICC)
    write(folder / "street" / "deep" / "shop.v2.webp", 3)
    write(folder / "street" / "scan.tif", 4)
    (folder / "street" / "broken.jpg").write_text("<html>not found</html>")
    (folder / "notes.txt").write_text("no photo")
    return folder


PHOTOS = {"lamp.JPG", "street/lamp.png", "street/deep/shop.v2.webp", "street/scan.tif"}


def test_a_folder_with_a_broken_file(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: (night / file).read_bytes() for file in files(night)}

    code = enhance(night, "--out", tmp_path / "bright")

    assert code == 1
    assert files(tmp_path / "bright") == PHOTOS
    shown = capsys.readouterr()
    assert "Device: CPU" in shown.out
    assert "4 enhanced" in shown.out
    assert "1 .txt" in shown.out
    assert "1 failed" in shown.err
    path = night / "street" / "broken.jpg"
    assert shown.err.splitlines()[-1].startswith(f"  {path} can't be read as a photo")
    assert {file: (night / file).read_bytes() for file in files(night)} == before


def test_outputs_are_those_of_the_python_api(night: Path, tmp_path: Path) -> None:
    enhance(night, "--out", tmp_path / "bright")

    for file in ("street/lamp.png", "street/scan.tif"):
        expected = retinex.enhance(night / file, "join_ignore_enhance", "cpu").output
        with Image.open(tmp_path / "bright" / file) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), expected)


def test_metadata_and_transparency_are_kept(night: Path, tmp_path: Path) -> None:
    enhance(night, "--out", tmp_path / "bright")

    with Image.open(tmp_path / "bright" / "lamp.JPG") as image:
        assert image.getexif()[ExifTags.Base.Artist] == "A. Photographer"
        assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert image.size == (18, 24)  # turned upright
        assert image.info["icc_profile"] == ICC
    with Image.open(tmp_path / "bright" / "street" / "lamp.png") as image:
        assert np.array_equal(np.asarray(image)[:, :, 3], noise(2, 4)[:, :, 3])
        assert image.info["icc_profile"] == ICC


def test_format_and_stages(night: Path, tmp_path: Path) -> None:
    (night / "street" / "broken.jpg").unlink()

    assert enhance(night, "--out", tmp_path / "bright", "--format", "png", "--stages") == 0

    stems = {str(Path(file).with_suffix("")) for file in PHOTOS}
    expected = {f"{stem}.png" for stem in stems}
    expected |= {f"{stem}-{stage}.png" for stem in stems for stage in STAGES}
    assert files(tmp_path / "bright") == expected
    result = retinex.enhance(night / "lamp.JPG", "join_ignore_enhance", "cpu")
    for stage in STAGES:
        with Image.open(tmp_path / "bright" / f"lamp-{stage}.png") as image:
            assert image.format == "PNG"
            assert np.array_equal(np.asarray(image), result.stages[retinex.Stage(stage)])


def test_adjustments(tmp_path: Path) -> None:
    photo = write(tmp_path / "a.png")
    settings = ("--exposure", "-1.5", "--strength", "0.7", "--highlights", "1", "--denoise", "0.5")
    assert enhance(photo, "--out", tmp_path / "bright", *settings) == 0

    adjustments = retinex.Adjustments(
        exposure=-1.5, strength=0.7, highlight_protection=1, denoise=0.5
    )
    result = retinex.enhance(photo, "join_ignore_enhance", "cpu")
    with Image.open(tmp_path / "bright" / "a.png") as image:
        assert np.array_equal(np.asarray(image), retinex.adjust(result, adjustments))


@pytest.mark.parametrize("setting", ["--exposure=6", "--strength=-0.1", "--denoise=nan"])
def test_adjustments_out_of_range(
    tmp_path: Path, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        enhance(write(tmp_path / "a.png"), "--out", tmp_path / "bright", setting)
    assert "isn't a number from" in capsys.readouterr().err


def test_what_pillow_cannot_write_as_a_photo_becomes_png(tmp_path: Path) -> None:
    assert enhance(write(tmp_path / "moving.gif"), "--out", tmp_path / "bright") == 0

    assert files(tmp_path / "bright") == {"moving.png"}


@pytest.mark.parametrize("name", ["bright.jpg", "out/bright.PNG", "a.jpg"])
def test_one_photo_to_a_file(tmp_path: Path, name: str) -> None:
    out = tmp_path / name

    assert enhance(write(tmp_path / "a.png"), "--out", out, "--stages") == 0

    stages = {out.with_stem(f"{out.stem}-{stage}").name for stage in STAGES}
    assert {path.name for path in out.parent.iterdir()} - {"a.png"} == {out.name, *stages}
    with Image.open(out) as image:
        assert image.format == ("PNG" if "PNG" in name else "JPEG")


def test_a_folder_may_be_named_like_a_photo(tmp_path: Path) -> None:
    (tmp_path / "bright.jpg").mkdir()

    assert enhance(write(tmp_path / "a.png"), "--out", tmp_path / "bright.jpg") == 0

    assert files(tmp_path / "bright.jpg") == {"a.png"}


def test_a_mistyped_ending_is_no_folder(tmp_path: Path) -> None:
    photo = write(tmp_path / "a.png")
    with pytest.raises(SystemExit, match=r"bright\.jgp"):
        enhance(photo, "--out", tmp_path / "bright.jgp")
    assert files(tmp_path) == {"a.png"}


def test_dots_in_names_are_kept(tmp_path: Path) -> None:
    names = ["Photo 12.05.2023", "v1.2", "v1.3"]
    for name in names:
        write(tmp_path / "a.png").rename(tmp_path / name)

    assert enhance(*(tmp_path / name for name in names), "--out", tmp_path / "bright") == 0

    assert files(tmp_path / "bright") == {f"{name}.png" for name in names}


def test_both_names_of_jpeg(tmp_path: Path) -> None:
    for extension in ("jpg", "jpeg"):
        photo, out = write(tmp_path / "a.png"), tmp_path / extension
        assert enhance(photo, "--out", out, "--format", extension) == 0
        with Image.open(out / f"a.{extension}") as image:
            assert image.format == "JPEG"


@pytest.mark.parametrize(
    ("option", "value", "choices"),
    [("--format", "gif", ("'keep'", "'jpg'", "'webp'")), ("--device", "gpu", ("'cuda'", "'cpu'"))],
)
def test_other_choices_are_named(
    option: str, value: str, choices: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["enhance", "a.png", "--out", "bright", option, value])
    message = capsys.readouterr().err.splitlines()[-1]
    assert all(choice in message for choice in choices)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"retinex {retinex.__version__}\n"


def test_results_beside_and_around_the_folder(night: Path, tmp_path: Path) -> None:
    assert enhance(night / "street" / "deep", "--out", night) == 0

    assert (night / "shop.v2.webp").is_file()


def test_hidden_files_are_no_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "night" / "a.jpg")
    (tmp_path / "night" / "._a.jpg").write_bytes(b"what macOS writes beside it")
    write(tmp_path / "night" / ".thumbnails" / "a.jpg")

    assert enhance(tmp_path / "night", "--out", tmp_path / "bright") == 0

    assert files(tmp_path / "bright") == {"a.jpg"}
    assert "2 hidden" in capsys.readouterr().out


def test_links_left_alone_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night, out = tmp_path / "night", tmp_path / "night" / "bright"
    write(tmp_path / "elsewhere" / "b.png")
    write(night / "a.png")
    (night / "linked.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (night / "album").symlink_to(tmp_path / "elsewhere")
    (night / "lost.jpg").symlink_to(tmp_path / "deleted.jpg")
    (night / "loop.jpg").symlink_to(night / "loop.jpg")

    assert enhance(night, "--out", out) == 0

    assert files(out) == {"a.png", "linked.png"}
    assert "left alone in the folders: 2 broken link(s), 1 linked folder" in capsys.readouterr().out


def test_no_photo_is_computed_for_nothing(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retinex.Enhancer, "enhance", lambda *_: pytest.fail("networks ran"))
    with pytest.raises(SystemExit, match=r"can't write into .*notes\.txt"):
        enhance(night, "--out", night / "notes.txt")


def test_a_second_run_skips_what_is_there(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bright"
    enhance(night, "--out", out)
    (out / "lamp.JPG").write_bytes(b"mine")
    (out / "street" / "lamp.png").unlink()
    capsys.readouterr()

    assert enhance(night, "--out", out) == 1  # the broken file is still broken

    assert (out / "lamp.JPG").read_bytes() == b"mine"
    assert (out / "street" / "lamp.png").is_file()
    shown = capsys.readouterr().out
    assert "1 enhanced" in shown
    assert "3 skipped" in shown
    enhance(night, "--out", out, "--overwrite")
    with Image.open(out / "lamp.JPG") as image:
        assert image.format == "JPEG"


def test_a_folder_where_an_output_should_go_is_no_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "night" / "a.png")
    (tmp_path / "bright" / "a.png").mkdir(parents=True)

    assert enhance(tmp_path / "night", "--out", tmp_path / "bright") == 1

    assert "a.png" in capsys.readouterr().err


def test_networks_are_not_needed_where_all_is_done(tmp_path: Path) -> None:
    photo, out = write(tmp_path / "a.png"), tmp_path / "bright"
    enhance(photo, "--out", out)

    assert enhance(photo, "--out", out, "--models", tmp_path / "nowhere") == 0


def test_a_broken_photo_that_is_met_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = tmp_path / "night"
    write(night / "street" / "a.png")
    (night / "street" / "b.png").write_bytes(b"")

    assert enhance(night, night / "street", "--out", tmp_path / "bright") == 1

    shown = capsys.readouterr()
    assert "2 enhanced" in shown.out
    assert "2 failed" in shown.err


def test_a_run_without_stages_is_completed_with_them(tmp_path: Path) -> None:
    photo, out = write(tmp_path / "a.png"), tmp_path / "bright"
    enhance(photo, "--out", out)

    enhance(photo, "--out", out, "--stages")

    assert files(out) == {"a.png", *(f"a-{stage}.png" for stage in STAGES)}


def test_outputs_below_the_folder_are_not_enhanced_again(tmp_path: Path) -> None:
    write(tmp_path / "night" / "a.png")
    for _ in range(2):
        assert enhance(tmp_path / "night", "--out", tmp_path / "night" / "bright") == 0

    assert files(tmp_path / "night") == {"a.png", "bright/a.png"}


def test_an_interrupted_write_leaves_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(path: Path, content: bytes) -> int:
        write_bytes(path, content[: len(content) // 2])
        raise KeyboardInterrupt

    write_bytes = Path.write_bytes

    photo = write(tmp_path / "a.png")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_half)
        assert enhance(photo, "--out", tmp_path / "bright") == 130

    assert files(tmp_path / "bright") == set()
    assert enhance(photo, "--out", tmp_path / "bright") == 0
    assert files(tmp_path / "bright") == {"a.png"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals end programs at once there")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_what_was_done_is_told_when_stopped(tmp_path: Path, name: str, code: int) -> None:
    """In a process of its own, which is stopped as it writes the second of three good photos."""
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "0.png").write_bytes(b"broken")
    for k in (1, 2, 3):
        write(tmp_path / "night" / f"{k}.png")
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from retinex.command_line import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # else ignored in a background
        "write, written = Path.write_bytes, []\n"
        "def stop_at_the_second(path, content):\n"
        "    write(path, content)\n"
        "    written.append(path)\n"
        "    if len(written) == 2: os.kill(os.getpid(), signal.Signals[sys.argv.pop(1)])\n"
        "Path.write_bytes = stop_at_the_second\n"
        "sys.exit(main(sys.argv[2:]))\n"
    )
    arguments = ["enhance", *FAST, str(tmp_path / "night"), "--out", str(tmp_path / "bright")]
    command = [sys.executable, "-c", program, name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == code, done.stderr
    assert files(tmp_path / "bright") == {"1.png"}
    assert "1 enhanced" in done.stdout
    assert "2 left" in done.stdout
    assert "1 failed:" in done.stderr
    assert "0.png can't be read" in done.stderr


def test_sigterm_is_as_before_after_the_command(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    enhance(write(tmp_path / "a.png"), "--out", tmp_path / "bright")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_folder_without_photos_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "night").mkdir()
    assert enhance(tmp_path / "night", "--out", tmp_path / "bright") == 1
    assert "no photos found" in capsys.readouterr().out

    write(tmp_path / "night" / "a.png")  # one that isn't in this machine's share
    assert enhance(tmp_path / "night", "--out", tmp_path / "bright", "--shard", "2/2") == 0


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_shards_have_every_photo_once(tmp_path: Path, count: int) -> None:
    names = {f"{folder}/{k}.png" for folder in "ab" for k in range(4)}
    for name in names:
        write(tmp_path / "night" / name)
    done: list[str] = []
    for k in range(1, count + 1):
        out = tmp_path / f"shard{k}"
        assert enhance(tmp_path / "night", "--out", out, "--shard", f"{k}/{count}") == 0
        done += files(out)

    assert sorted(done) == sorted(names)


def test_shards_are_the_same_whatever_is_done_already(tmp_path: Path) -> None:
    """Machines that share an output folder don't start at the same moment."""
    for k in range(5):
        write(tmp_path / "night" / f"{k}.png")
    out = tmp_path / "bright"
    for shard in ("2/2", "1/2"):
        enhance(tmp_path / "night", "--out", out, "--shard", shard)
        assert len(files(out)) == {"2/2": 2, "1/2": 5}[shard]


def test_a_folder_that_cannot_be_listed_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "locked/b.png"):
        write(tmp_path / "night" / name)
    list_folder = os.scandir

    def list_unless_locked(path: str) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", list_unless_locked)
    assert enhance(tmp_path / "night", "--out", tmp_path / "bright") == 0
    assert "1 enhanced" in (told := capsys.readouterr().out)
    assert "1 folder(s) that can't be listed" in told


@pytest.mark.skipif(sys.platform == "win32", reason="other system calls there")
def test_a_folder_whose_files_cannot_be_looked_at_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "locked/b.png", "locked/sub/c.png"):
        write(tmp_path / "night" / name)
    (tmp_path / "night" / "link.png").symlink_to(tmp_path / "night" / "locked" / "b.png")
    look = {name: getattr(os, name) for name in ("stat", "lstat")}

    def look_unless_locked(name: str, path: Any, *args: Any, **options: Any) -> Any:
        if "locked/" in str(path) or (name == "stat" and str(path).endswith("link.png")):
            raise PermissionError(13, "Permission denied", path)
        return look[name](path, *args, **options)

    for name in look:
        monkeypatch.setattr(os, name, partial(look_unless_locked, name))
    assert enhance(tmp_path / "night", "--out", tmp_path / "bright") == 0
    assert "1 enhanced" in (told := capsys.readouterr().out)
    assert "1 broken link(s), 1 folder(s) that can't be listed" in told


def test_a_full_disk_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_until_full(path: Path, content: bytes) -> int:
        saved.append(path)
        if len(saved) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, content)

    for k in range(4):
        write(tmp_path / "night" / f"{k}.png")
    write_bytes, saved = Path.write_bytes, []
    monkeypatch.setattr(Path, "write_bytes", write_until_full)

    with pytest.raises(SystemExit, match=r"bright.*No space left.*make room"):
        enhance(tmp_path / "night", "--out", tmp_path / "bright")

    assert len(saved) == 2
    told = capsys.readouterr().out
    assert "1 enhanced" in told
    assert "3 left" in told


def test_photos_longer_than_a_format_allows_are_not_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "night").mkdir()
    Image.new("RGB", (16384, 1)).save(tmp_path / "night" / "long.png")
    monkeypatch.setattr(Enhancer, "enhance", lambda *_: pytest.fail("networks ran"))

    assert enhance(tmp_path / "night", "--out", tmp_path / "bright", "--format", "webp") == 1

    assert "long.png: the photo has 16384×1 pixels, and WEBP" in capsys.readouterr().err


def test_letters_that_the_output_does_not_know_stop_nothing(tmp_path: Path) -> None:
    """As of Windows, where output goes into a file in the letters of the country."""
    write(tmp_path / "a.png")
    done = subprocess.run(
        [sys.executable, "-m", "retinex", "enhance", "a.png", "--out", "яркие"],
        cwd=tmp_path,
        capture_output=True,
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0, done.stderr
    assert b"1 enhanced into ?????" in done.stdout


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2"])
def test_impossible_shards(tmp_path: Path, shard: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        enhance(write(tmp_path / "a.png"), "--out", tmp_path / "bright", f"--shard={shard}")

    assert caught.value.code == 2
    assert "K/N with K from 1 to N" in capsys.readouterr().err
    assert not (tmp_path / "bright").exists()


# --- errors: one line, before anything is written ---


def refused(*arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as caught:
        enhance(*arguments)
    message = str(caught.value)
    assert message.startswith("retinex: ")
    assert "\n" not in message
    return message


def test_originals_are_never_overwritten(tmp_path: Path) -> None:
    photo = write(tmp_path / "night" / "a.png")
    before = photo.read_bytes()
    (tmp_path / "link").symlink_to(tmp_path / "night")
    for arguments in (
        (photo, "--out", tmp_path / "night"),
        (photo, "--out", tmp_path / "link"),
        (tmp_path / "night", "--out", tmp_path / "night"),
        (tmp_path / "night", "--out", tmp_path / "link", "--format", "jpg"),
    ):
        refused(*arguments)
        refused(*arguments, "--overwrite")

    assert photo.read_bytes() == before
    assert files(tmp_path / "night") == {"a.png"}


def test_two_photos_for_one_output(tmp_path: Path) -> None:
    write(tmp_path / "night" / "a.png")
    write(tmp_path / "night" / "a.jpg")

    message = refused(tmp_path / "night", "--out", tmp_path / "bright", "--format", "png")

    assert "a.png" in message
    assert "a.jpg" in message
    assert not (tmp_path / "bright").exists()
    assert enhance(tmp_path / "night", "--out", tmp_path / "bright") == 0
    assert files(tmp_path / "bright") == {"a.png", "a.jpg"}


@pytest.mark.parametrize("other", ["caf\u00e9 1.JPG", "CAFE\u0301 1.jpg"])
def test_names_that_are_one_on_many_disks(tmp_path: Path, other: str) -> None:
    """As those of macOS and Windows, and of cards and sticks: one would replace the other."""
    first = write(tmp_path / "p" / "caf\u00e9 1.jpg")
    second = write(tmp_path / "q" / other)

    message = refused(first.parent, second.parent, "--out", tmp_path / "bright")

    assert str(first) in message
    assert str(second) in message
    assert "which many disks take for" in message


@pytest.mark.parametrize("name", ["bright.bmp", "bright.gif", "bright.heic", "bright.jpg"])
def test_a_file_that_cannot_be_the_output(tmp_path: Path, name: str) -> None:
    photo, out = write(tmp_path / "night" / "a.png"), tmp_path / name

    assert "let --out name a folder" in refused(photo.parent, "--out", out)
    assert "let --out name a folder" in refused(photo, photo, "--out", out)
    assert "would be written as .png" in refused(photo, "--out", out, "--format", "png")
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "extension"), [("a.jpeg", "jpg"), ("a.JPG", "jpeg"), ("a.jfif", "jpg")]
)
def test_one_format_has_several_extensions(tmp_path: Path, name: str, extension: str) -> None:
    photo, out = write(tmp_path / "night" / "a.png"), tmp_path / name

    assert enhance(photo, "--out", out, "--format", extension) == 0

    with Image.open(out) as written:
        assert written.format == "JPEG"


def test_a_name_too_long_for_the_disk(tmp_path: Path) -> None:
    assert "aaa.png" in refused(tmp_path / ("a" * 300 + ".png"), "--out", tmp_path / "bright")


@pytest.mark.skipif(sys.platform == "win32", reason="paths are shorter there")
def test_a_name_that_becomes_too_long_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "night" / "ok.png")
    long = write(tmp_path / "night" / f"{'a' * 251}.png")
    arguments = tmp_path / "night", "--out", tmp_path / "bright", "--format", "webp"

    for done in ("1 enhanced", "0 enhanced"):
        assert enhance(*arguments) == 1
        shown = capsys.readouterr()
        assert done in shown.out
        assert f"1 failed:\n  {long}" in shown.err


@pytest.mark.parametrize(
    "arguments",
    [["", "--out", "bright"], ["night", "--out", ""], ["night", "--out", "bright", "--models", ""]],
)
def test_an_empty_name_is_not_the_current_folder(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "night" / "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        enhance(*arguments)
    assert files(tmp_path) == {"night/a.png"}


def test_a_photo_named_twice_is_enhanced_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write(tmp_path / "night" / "a.png")

    assert enhance(photo, tmp_path / "night", "--out", tmp_path / "bright") == 0

    assert "1 enhanced" in capsys.readouterr().out


def test_missing_photo_and_unknown_experiment(tmp_path: Path) -> None:
    photo = write(tmp_path / "a.png")

    assert "b.png" in refused(photo, tmp_path / "b.png", "--out", tmp_path / "bright")
    message = refused(photo, "--out", tmp_path / "bright", "--experiment", "jion")
    assert all(name in message for name in retinex.EXPERIMENTS)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1"])
def test_broken_networks(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "join_ignore_enhance.onnx").write_bytes(content)
    photo = write(tmp_path / "a.png")

    message = refused(photo, "--out", tmp_path / "bright", "--models", tmp_path)

    assert "join_ignore_enhance" in message
    assert "make or download it anew" in message


def test_as_a_program_without_evaluation_or_pytorch(tmp_path: Path) -> None:
    """In a folder of its own, from where no path leads back to the repository's files."""
    shutil.copy(ROOT / "examples" / "cat.jpg", tmp_path / "cat.jpg")
    code = (
        "import runpy, sys\n"
        "sys.argv = ['retinex', 'enhance', 'cat.jpg', '--out', 'bright', '--device', 'cpu']\n"
        "try: runpy.run_module('retinex', run_name='__main__')\n"
        "finally: print('imported', {'torch', 'skimage', 'gradio', 'onnx'} & sys.modules.keys())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )

    assert done.returncode == 0, done.stderr
    assert "imported set()" in done.stdout
    assert (tmp_path / "bright" / "cat.jpg").is_file()
