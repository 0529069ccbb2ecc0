"""Photos as people have them: written by Pillow to real files, read by retinex and written back."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from conftest import difference
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin, features

from retinex import Photo, PhotoError, open_photo, save_photo
from retinex.photo import Pixels

ASCII, LONG, UNDEFINED, SRATIONAL = 2, 4, 7, 10
"""Types of EXIF data."""
ORIENTATION, MAKE = ExifTags.Base.Orientation, ExifTags.Base.Make
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def rgb() -> Pixels:
    """A smooth picture without symmetry, so that JPEG keeps it and a rotation shows."""
    down, across = np.mgrid[0:40, 0:64]
    return np.stack([across * 4, down * 6, 250 - across * 2 - down], axis=2).astype(np.uint8)


@pytest.fixture
def alpha(rgb: Pixels) -> Pixels:
    return rgb[::-1, :, 1].copy()


def to_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def reopen(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.png", {}, 0),
        ("a.bmp", {}, 0),
        ("a.tif", {}, 0),
        ("a.tiff", {"compression": "tiff_lzw"}, 0),
        ("a.webp", {"lossless": True}, 0),
        ("a.JPG", {"quality": 95, "subsampling": 0}, 8),
        ("a.webp", {"quality": 95}, 16),
    ],
)
def test_rgb_files(
    tmp_path: Path, rgb: Pixels, name: str, options: dict[str, Any], tolerance: int
) -> None:
    Image.fromarray(rgb).save(tmp_path / name, **options)
    photo = open_photo(tmp_path / name)
    assert difference(photo.rgb, rgb) <= tolerance
    assert photo.rgb.dtype == np.uint8 and photo.rgb.flags.c_contiguous
    assert photo.alpha is None
    save_photo(photo.rgb, tmp_path / f"saved_{name}", photo)
    changed = difference(open_photo(tmp_path / f"saved_{name}").rgb, photo.rgb)
    assert changed <= (16 if name.lower().endswith(("jpg", "webp")) else 0)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, rgb: Pixels, orientation: int, kind: str) -> None:
    undo = [None, 0, 3, 1, 5, 2, 6, 4][orientation - 1]  # the transposition a camera has made
    stored = Image.fromarray(rgb)
    if undo is not None:
        stored = stored.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = orientation, "Camera"
    path, saved = tmp_path / f"a.{kind}", tmp_path / "saved.jpg"
    stored.save(path, exif=exif, quality=95)
    photo = open_photo(path)
    assert difference(photo.rgb, rgb) <= 24
    save_photo(photo.rgb, saved, photo)
    assert reopen(saved).getexif().get(MAKE) == "Camera"
    shown_by_a_viewer = np.asarray(ImageOps.exif_transpose(reopen(saved)))
    assert difference(shown_by_a_viewer, rgb) <= 24


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_uncompressed_tiffs_lying_on_their_side(tmp_path: Path, rgb: Pixels, mode: str) -> None:
    gray = Image.fromarray(rgb).convert("L")
    stored = gray.convert(mode)
    if mode == "I;16":
        stored = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = tmp_path / "a.tif"
    stored.save(path, exif=exif)
    upright = np.rot90(np.asarray(gray), -1)
    for source in (path, str(path), path.read_bytes()):
        assert difference(open_photo(source).rgb, np.dstack([upright] * 3)) <= 1


XMP = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" xmp:Rating="4"'
    ' GCamera:MotionPhoto="1"/>Köln</x:xmpmeta><?xpacket end="w"?>'
)


def write_with_xmp(rgb: Pixels, path: Path, xmp: bytes, orientation: int = 6) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, Any] = {"xmp": xmp, "exif": exif}
    if path.suffix == ".png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
    if path.suffix == ".tif":
        exif[ExifTags.Base.XMLPacket] = xmp
    Image.fromarray(rgb).save(path, **options)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("saved_kind", ["jpg", "png", "webp", "tif"])
def test_rating_and_keywords_are_kept(
    tmp_path: Path, rgb: Pixels, kind: str, saved_kind: str
) -> None:
    write_with_xmp(rgb, tmp_path / f"a.{kind}", XMP.encode())
    photo = open_photo(tmp_path / f"a.{kind}")
    save_photo(photo.rgb, tmp_path / f"saved.{saved_kind}", photo)
    saved = reopen(tmp_path / f"saved.{saved_kind}")
    turned = XMP.replace('tiff:Orientation="6"', "")
    assert saved.info["xmp"].decode() == turned.replace('MotionPhoto="1"', 'MotionPhoto="0"')
    assert saved.size == np.rot90(rgb, -1).shape[1::-1]


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_xmp_does_not_turn_what_exif_calls_upright(tmp_path: Path, rgb: Pixels, kind: str) -> None:
    write_with_xmp(rgb, tmp_path / f"a.{kind}", XMP.encode(), orientation=1)
    photo = open_photo(tmp_path / f"a.{kind}")
    assert difference(photo.rgb, rgb) <= 24
    for saved_kind in ("jpg", "png", "webp", "tif"):
        save_photo(photo.rgb, tmp_path / f"saved.{saved_kind}", photo)
        assert open_photo(tmp_path / f"saved.{saved_kind}").rgb.shape == rgb.shape
        assert b'Rating="4"' in reopen(tmp_path / f"saved.{saved_kind}").info["xmp"]


def test_xmp_too_long_for_jpeg(tmp_path: Path, rgb: Pixels) -> None:
    for length, kept in ((65_504, True), (65_505, False)):
        photo = Photo(rgb, xmp=b"x" * length)
        save_photo(rgb, tmp_path / "a.jpg", photo)
        assert ("xmp" in reopen(tmp_path / "a.jpg").info) is kept
    save_photo(rgb, tmp_path / "a.png", photo)
    assert reopen(tmp_path / "a.png").info["xmp"] == photo.xmp


@pytest.mark.parametrize("kind", ["jpg", "tif"])
@pytest.mark.parametrize(("orientation", "kept"), [(1, True), (3, True), (6, False)])
def test_width_and_height_of_a_turned_photo(
    tmp_path: Path, rgb: Pixels, kind: str, orientation: int, kept: bool
) -> None:
    size = {ExifTags.Base.ExifImageWidth: 64, ExifTags.Base.ExifImageHeight: 40}
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[ExifTags.Base.ImageWidth], exif[ExifTags.Base.ImageLength] = 64, 40  # as phones do
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.5, **size}
    Image.fromarray(rgb).save(tmp_path / f"a.{kind}", exif=exif.tobytes())
    save_photo(rgb, tmp_path / "saved.jpg", open_photo(tmp_path / f"a.{kind}"))
    saved = reopen(tmp_path / "saved.jpg").getexif().get_ifd(ExifTags.IFD.Exif)
    assert saved == {ExifTags.Base.ExposureTime: 0.5, **(size if kept else {})}
    assert ExifTags.Base.ImageWidth not in reopen(tmp_path / "saved.jpg").getexif()


@pytest.mark.parametrize("kind", ["jpg", "tif"])
def test_exposure_and_place_are_kept(tmp_path: Path, rgb: Pixels, kind: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.5}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    Image.fromarray(rgb).save(tmp_path / f"a.{kind}", exif=exif.tobytes())
    save_photo(rgb, tmp_path / "saved.jpg", open_photo(tmp_path / f"a.{kind}"))
    saved = reopen(tmp_path / "saved.jpg").getexif()
    assert saved.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] == 0.5
    assert saved.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    assert set(saved) == {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}, "the old file's layout"


class Text(str):
    """Text whose UTF-8 bytes Pillow writes into EXIF data; it reads them as Latin-1."""

    def encode(self, *_: str) -> bytes:
        return super().encode()


@pytest.mark.parametrize("saved", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("opened", ["jpg", "tif"])
def test_names_with_accents_are_kept(tmp_path: Path, rgb: Pixels, opened: str, saved: str) -> None:
    name = Text("© Jürgen Müller")
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = name
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.CameraOwnerName: name}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSMapDatum: name}
    exif.load(exif.tobytes())  # Pillow writes no other blocks into a TIFF file
    exif[ExifTags.Base.Artist] = name
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.CameraOwnerName] = name
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSMapDatum] = name
    Image.fromarray(rgb).save(tmp_path / f"a.{opened}", exif=exif)
    save_photo(rgb, tmp_path / f"saved.{saved}", open_photo(tmp_path / f"a.{opened}"))
    kept = reopen(tmp_path / f"saved.{saved}").getexif()
    for text in (
        kept[ExifTags.Base.Artist],
        kept.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.CameraOwnerName],
        kept.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSMapDatum],
    ):
        assert str.encode(text, "latin-1") == name.encode()


@pytest.mark.parametrize(("field", "kept"), [("MakerNote", True), ("UserComment", False)])
def test_exif_too_long_for_jpeg(tmp_path: Path, rgb: Pixels, field: str, kept: bool) -> None:
    exif = Image.Exif()
    exif[MAKE] = "Caméra".encode("latin-1")
    exif[ExifTags.IFD.Exif] = {ExifTags.Base[field]: bytes(70_000)}
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif.tobytes())
    photo = open_photo(tmp_path / "a.png")
    save_photo(photo.rgb, tmp_path / "saved.jpg", photo)
    save_photo(photo.rgb, tmp_path / "saved.png", photo)
    assert (reopen(tmp_path / "saved.jpg").getexif().get(MAKE) == "Caméra") is kept
    assert len(reopen(tmp_path / "saved.png").getexif().tobytes()) > 70_000


@pytest.mark.parametrize("broken", [b"garbage", b"MM", b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_photo(rgb: Pixels, broken: bytes) -> None:
    file = to_bytes(Image.fromarray(rgb), "JPEG", exif=b"Exif\0\0" + broken, quality=95)
    assert difference(open_photo(file).rgb, rgb) <= 24


def test_orientation_is_applied_where_pillow_cannot_write_the_rest(rgb: Pixels) -> None:
    turned_clockwise, ratio, text = 6, ExifTags.Base.XResolution, 2
    entries = struct.pack("<HHIHH", ORIENTATION, 3, 1, turned_clockwise, 0)
    entries += struct.pack("<HHI4s", ratio, text, 3, b"72")
    exif = b"Exif\0\0II*\0\x08\0\0\0\2\0" + entries + bytes(4)
    file = to_bytes(Image.fromarray(rgb), "JPEG", exif=exif, quality=95)
    assert difference(open_photo(file).rgb, np.rot90(rgb, -1)) <= 24


@pytest.mark.parametrize(
    ("ifd", "odd"),
    [
        # Brightness "unknown", as the standard says it; text for numbers, as some programs do.
        (
            ExifTags.IFD.Exif,
            (ExifTags.Base.BrightnessValue, SRATIONAL, 1, struct.pack("<ii", -1, 0)),
        ),
        (ExifTags.IFD.GPSInfo, (ExifTags.GPS.GPSAltitudeRef, ASCII, 2, b"0\0")),
    ],
)
def test_a_tag_that_pillow_cannot_write_costs_the_photo_no_other(
    rgb: Pixels, ifd: int, odd: tuple[int, int, int, bytes]
) -> None:
    make = (MAKE, ASCII, 4, b"Foo\0")
    name = (ExifTags.GPS.GPSLatitudeRef, ASCII, 2, b"N\0")  # has another meaning in either block
    block_at = 8 + 2 + 2 * 12 + 4
    pointer = (ifd, LONG, 1, struct.pack("<I", block_at))
    block = pack_ifd(block_at, name, odd)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + pack_ifd(8, make, pointer) + block
    photo = open_photo(to_bytes(Image.fromarray(rgb), "JPEG", exif=exif))
    kept = Image.Exif()
    kept.load(photo.exif)
    assert kept[MAKE] == "Foo"
    assert kept.get_ifd(ifd) == {name[0]: "N"}


def pack_ifd(offset: int, *entries: tuple[int, int, int, bytes]) -> bytes:
    """A block of EXIF data at `offset`: tags, types, counts and values."""
    long_values, table = b"", struct.pack("<H", len(entries))
    values_at = offset + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        if len(value) > 4:
            place = struct.pack("<I", values_at + len(long_values))
            long_values, value = long_values + value, place
        table += struct.pack("<HHI4s", tag, kind, count, value)
    return table + bytes(4) + long_values


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_comments_stay_what_other_programs_read(tmp_path: Path, rgb: Pixels, kind: str) -> None:
    comment = b"ASCII\0\0\0hello"
    block_at = 8 + 2 + 12 + 4
    exif = b"Exif\0\0II*\0\x08\0\0\0" + pack_ifd(
        8, (ExifTags.IFD.Exif, LONG, 1, struct.pack("<I", block_at))
    )
    exif += pack_ifd(block_at, (ExifTags.Base.UserComment, UNDEFINED, len(comment), comment))
    photo = open_photo(to_bytes(Image.fromarray(rgb), "JPEG", exif=exif))
    save_photo(photo.rgb, tmp_path / f"saved.{kind}", photo)
    kept = reopen(tmp_path / f"saved.{kind}").getexif()
    assert kept.get_ifd(ExifTags.IFD.Exif) == {ExifTags.Base.UserComment: comment}
    assert struct.pack("<HHI", ExifTags.Base.UserComment, UNDEFINED, len(comment)) in photo.exif


def test_what_describes_a_jpeg_files_layout_is_not_written_into_a_tiff(
    tmp_path: Path, rgb: Pixels
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageWidth], exif[MAKE] = 4000, "Camera"
    file = to_bytes(Image.fromarray(rgb), "JPEG", exif=exif)
    save_photo(rgb, tmp_path / "a.tif", original=open_photo(file))
    assert np.array_equal(open_photo(tmp_path / "a.tif").rgb, rgb)
    assert reopen(tmp_path / "a.tif").getexif()[MAKE] == "Camera"


@pytest.mark.parametrize("tag", [ExifTags.Base.DNGVersion, 0x9216])
def test_raw_file_is_refused_rather_than_its_preview_taken(tmp_path: Path, tag: int) -> None:
    path = tmp_path / "photo.nef"
    Image.new("RGB", (160, 120)).save(path, "TIFF", tiffinfo={tag: b"\1\4\0\0"})
    with pytest.raises(PhotoError, match=r"photo\.nef.*Develop"):
        open_photo(path)
    with Image.open(path) as image, pytest.raises(PhotoError, match="Develop"):
        open_photo(image)


def test_jpeg_written_as_tiff_keeps_what_describes_it(tmp_path: Path, rgb: Pixels) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = 300.0
    exif[ExifTags.Base.ResolutionUnit] = 2
    exif[ExifTags.Base.Rating] = 4
    exif[ExifTags.Base.XPTitle] = "Köln".encode("utf-16-le") + b"\0\0"
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {ExifTags.Base.ExposureTime: 0.5, ExifTags.IFD.Interop: {1: "R98"}}
    )
    photo = open_photo(to_bytes(Image.fromarray(rgb), "JPEG", exif=exif))
    save_photo(photo.rgb, tmp_path / "a.tif", original=photo)
    written = reopen(tmp_path / "a.tif")
    assert written.info["dpi"] == (300, 300)
    assert written.getexif()[ExifTags.Base.Rating] == 4
    assert written.getexif()[ExifTags.Base.XPTitle].decode("utf-16-le") == "Köln\0"
    assert dict(written.getexif().get_ifd(ExifTags.IFD.Exif)) == {ExifTags.Base.ExposureTime: 0.5}


@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
def test_gray(tmp_path: Path, rgb: Pixels, kind: str) -> None:
    gray = rgb[:, :, 0]
    Image.fromarray(gray).save(tmp_path / f"a.{kind}", icc_profile=b"describes gray")
    photo = open_photo(tmp_path / f"a.{kind}")
    assert difference(photo.rgb, np.stack([gray] * 3, axis=2)) <= 4
    assert photo.icc_profile is None, "a gray profile would spoil the RGB file"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_a_file_that_the_disk_does_not_take_whole_is_an_error(tmp_path: Path, kind: str) -> None:
    import resource

    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    save_photo(noise, tmp_path / f"whole.{kind}", Photo(noise))
    size = (tmp_path / f"whole.{kind}").stat().st_size
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 100, most))
    try:
        with pytest.raises(OSError):
            save_photo(noise, tmp_path / f"half.{kind}", Photo(noise))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert [path.name for path in tmp_path.iterdir()] == [f"whole.{kind}"]


@pytest.mark.parametrize("extension", [".jpgg", "", ".psd"])  # Pillow only reads the last one
def test_an_extension_of_no_format_to_write_is_an_error(
    tmp_path: Path, rgb: Pixels, extension: str
) -> None:
    with pytest.raises(ValueError, match=rf"'{extension}'.*try \.jpg"):
        save_photo(rgb, tmp_path / f"a{extension}", Photo(rgb))


@pytest.mark.parametrize(("kind", "width"), [("jpg", 65501), ("webp", 16384)])
def test_photos_longer_than_a_format_allows_are_refused(
    tmp_path: Path, kind: str, width: int
) -> None:
    long = np.zeros((1, width, 3), np.uint8)
    with pytest.raises(PhotoError, match=f"{width}×1 pixels.*as PNG"):
        save_photo(long, tmp_path / f"a.{kind}", Photo(long))
    save_photo(long, tmp_path / "a.png", Photo(long))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_missing_folder_is_named_with_the_file(tmp_path: Path, rgb: Pixels) -> None:
    path = tmp_path / "missing" / "a.png"
    with pytest.raises(FileNotFoundError) as caught:
        save_photo(rgb, path, Photo(rgb))
    assert caught.value.filename == str(path)


def test_black_and_white(rgb: Pixels) -> None:
    bits = rgb[:, :, 0] > 100
    photo = open_photo(to_bytes(Image.fromarray(bits), "PNG"))
    assert np.array_equal(photo.rgb, np.stack([bits] * 3, axis=2) * np.uint8(255))


def test_gray_with_transparency(rgb: Pixels, alpha: Pixels) -> None:
    image = Image.merge("LA", (Image.fromarray(rgb[:, :, 0]), Image.fromarray(alpha)))
    photo = open_photo(to_bytes(image, "PNG"))
    assert np.array_equal(photo.rgb, np.stack([rgb[:, :, 0]] * 3, axis=2))
    assert photo.alpha is not None and np.array_equal(photo.alpha, alpha)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette(rgb: Pixels, kind: str) -> None:
    image = Image.fromarray(rgb).quantize(16)
    colours = np.asarray(image.convert("RGB"))
    opaque = open_photo(to_bytes(image, kind))
    assert np.array_equal(opaque.rgb, colours) and opaque.alpha is None
    see_through = open_photo(to_bytes(image, kind, transparency=3))
    assert see_through.alpha is not None
    assert np.array_equal(see_through.alpha == 0, np.asarray(image) == 3)
    assert np.array_equal(see_through.rgb[see_through.alpha > 0], colours[see_through.alpha > 0])


def test_transparency_survives_png_and_not_jpeg(tmp_path: Path, rgb: Pixels, alpha: Pixels) -> None:
    rgba = np.dstack([rgb, alpha])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    photo = open_photo(tmp_path / "a.png")
    save_photo(photo.rgb, tmp_path / "saved.png", photo)
    assert np.array_equal(np.asarray(reopen(tmp_path / "saved.png")), rgba)
    for name in ("saved.jpg", "saved.JPEG", "saved.jfif"):
        save_photo(photo.rgb, tmp_path / name, photo)
        assert difference(np.asarray(reopen(tmp_path / name)), rgb) <= 8


def make_cmyk_profile(ink_order: tuple[int, int, int]) -> bytes:
    """Build the ICC profile of a press whose inks 0–2 take away red, green, blue in `ink_order`."""
    light = 1 - np.indices((9, 9, 9, 9)).reshape(4, -1) / 8
    rgb = np.rint(255 * light[list(ink_order)] * light[3]).astype(np.uint8)
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(srgb, lab, "RGB", "LAB")
    pixels = ImageCms.applyTransform(Image.fromarray(rgb.T[None].copy()), to_lab)
    assert pixels is not None
    # Pillow stores a and b as signed bytes, the table with 128 added.
    table = np.frombuffer(pixels.tobytes(), np.uint8).reshape(-1, 3) ^ np.array([0, 128, 128])
    ramp = bytes(range(256))
    matrix = b"".join(int(i % 4 == 0).to_bytes(2, "big") + b"\0\0" for i in range(9))
    lut = b"mft1\0\0\0\0\4\3\x09\0" + matrix + ramp * 4 + table.astype(np.uint8).tobytes()
    lut += ramp * 3
    lut += b"\0" * (-len(lut) % 4)
    text = b"desc" + bytes(4) + (2).to_bytes(4, "big") + b"p\0" + bytes(78)
    white = b"XYZ \0\0\0\0" + bytes.fromhex("0000f6d6000100000000d32d")
    tags, body = b"", b""
    for name, data in ((b"A2B0", lut), (b"desc", text), (b"wtpt", white)):
        data += b"\0" * (-len(data) % 4)
        offset = 128 + 4 + 3 * 12 + len(body)
        tags += name + offset.to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data
    header = b"\0\0\0\0\2\x20\0\0prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28)
    header += white[8:] + bytes(48)
    rest = header + (3).to_bytes(4, "big") + tags + body
    return (len(rest) + 4).to_bytes(4, "big") + rest


@pytest.mark.parametrize("kind", ["jpg", "tif"])
@pytest.mark.parametrize("profile", ["none", "broken", "of RGB", "swapped inks"])
def test_cmyk(tmp_path: Path, rgb: Pixels, kind: str, profile: str) -> None:
    inks = Image.fromarray(rgb).convert("CMYK").split()
    icc = {"broken": b"not a profile", "of RGB": SRGB_PROFILE}.get(profile)
    if profile == "swapped inks":  # the colours are wrong unless the profile is used
        inks = (inks[1], inks[2], inks[0], inks[3])
        icc = make_cmyk_profile((2, 0, 1))
    path = tmp_path / f"a.{kind}"
    Image.merge("CMYK", inks).save(path, icc_profile=icc, quality=98)
    photo = open_photo(path)
    assert np.abs(photo.rgb.astype(int) - rgb).mean() < 4
    assert photo.icc_profile is None, "the values are sRGB now"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_gray_is_scaled(kind: str) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(8, 32)
    photo = open_photo(to_bytes(Image.fromarray(ramp), kind))
    assert np.array_equal(photo.rgb[:, :, 1].ravel(), np.arange(256))


def test_twelve_bit_gray_is_scaled() -> None:
    """A TIFF of a white pixel and a black one; Pillow doesn't write such."""
    pixels_at = 8 + 2 + 9 * 12 + 4
    size_and_bits = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1}
    tags = size_and_bits | {273: pixels_at, 277: 1, 278: 1, 279: 3}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    file = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + b"\xff\xf0\x00"
    assert open_photo(file).rgb.tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("bits", [8, 16])
def test_gray_tiff_whose_white_is_zero(tmp_path: Path, bits: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 256).round().astype(f"uint{bits}").reshape(8, 32)
    tifffile.imwrite(tmp_path / "a.tif", 2**bits - 1 - ramp, photometric="miniswhite")
    photo = open_photo(tmp_path / "a.tif")
    assert np.array_equal(photo.rgb[:, :, 1].ravel(), np.arange(256))


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (np.zeros((3, 4, 5), np.uint16), {"photometric": "rgb", "planarconfig": "separate"}),
        (np.full((4, 5), 2**16, np.uint32), {"photometric": "minisblack"}),
        (np.full((4, 5), 2**31, np.uint32), {"photometric": "minisblack"}),
        (np.full((4, 5), -1, np.int16), {"photometric": "minisblack"}),
        (np.zeros((4, 5), np.float32), {"byteorder": ">", "compression": "deflate"}),
    ],
    ids=["16 bits in planes", "17 bits", "32 bits", "signed", "swapped floats"],
)
def test_tiffs_that_pillow_reads_wrong_are_refused(
    tmp_path: Path, pixels: Any, options: dict[str, str]
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(PhotoError, match=r"a\.tif.*Save it anew"):
        open_photo(tmp_path / "a.tif")


def test_tiff_of_32_bits_that_uses_16() -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.int32).reshape(8, 32)
    photo = open_photo(to_bytes(Image.fromarray(ramp), "TIFF"))
    assert np.array_equal(photo.rgb[:, :, 1].ravel(), np.arange(256))


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_tiff_of_8_bits_in_planes(tmp_path: Path, rgb: Pixels, compression: str | None) -> None:
    planes = np.moveaxis(rgb, 2, 0)
    tifffile.imwrite(
        tmp_path / "a.tif",
        planes,
        photometric="rgb",
        planarconfig="separate",
        compression=compression,
    )
    assert np.array_equal(open_photo(tmp_path / "a.tif").rgb, rgb)


def test_float_tiff_is_scaled() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(8, 32)
    photo = open_photo(to_bytes(Image.fromarray(ramp), "TIFF"))
    assert np.array_equal(photo.rgb[:, :, 1].ravel(), np.arange(256))


@pytest.mark.filterwarnings("error")
def test_what_is_no_number_in_a_float_tiff_is_black() -> None:
    strange = np.array([[np.nan, -np.inf, np.inf, 0.6]], np.float32)
    photo = open_photo(to_bytes(Image.fromarray(strange), "TIFF"))
    assert photo.rgb[0, :, 0].tolist() == [0, 0, 255, 153]


@pytest.mark.parametrize("extension", ["ico", "pdf", "dds", "xyz"])
def test_formats_that_are_not_for_photos_are_refused(
    tmp_path: Path, rgb: Pixels, extension: str
) -> None:
    """An icon would be made smaller; what is read in none of them can't be for photos."""
    with pytest.raises(ValueError, match=r"no format to write.*\.jpg"):
        save_photo(rgb, tmp_path / f"a.{extension}", Photo(rgb))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_colour_profile_is_kept(tmp_path: Path, rgb: Pixels, kind: str) -> None:
    path, saved = tmp_path / f"a.{kind}", tmp_path / f"saved.{kind}"
    Image.fromarray(rgb).save(path, icc_profile=SRGB_PROFILE)
    photo = open_photo(path)
    save_photo(photo.rgb, saved, photo)
    assert reopen(saved).info["icc_profile"] == SRGB_PROFILE


@pytest.mark.parametrize("mode", ["1", "L", "LAB"])
def test_profile_of_other_values_than_rgb_is_left_out(rgb: Pixels, mode: str) -> None:
    profile = bytes(16) + (b"Lab " if mode == "LAB" else b"GRAY")
    file = to_bytes(Image.fromarray(rgb).convert("L").convert("1"), "PNG", icc_profile=profile)
    if mode != "1":
        file = to_bytes(Image.new(mode, (4, 3)), "TIFF", icc_profile=profile)
    assert open_photo(file).icc_profile is None


def test_a_result_is_shown_without_its_metadata(rgb: Pixels) -> None:
    assert len(repr(Photo(rgb, exif=bytes(9999), icc_profile=bytes(9999), xmp=bytes(9999)))) < 3000


def test_a_program_that_forbids_large_photos_goes_on_to_do_so() -> None:
    code = (
        "import warnings\n"
        "from PIL import Image\n"
        "warnings.simplefilter('error', Image.DecompressionBombWarning)\n"
        "import retinex\n"
        "warnings.warn('large', Image.DecompressionBombWarning)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "DecompressionBombWarning: large" in done.stderr


def test_large_colour_profile_can_be_read_again(tmp_path: Path, rgb: Pixels) -> None:
    profile = bytes(16) + b"RGB " + np.random.default_rng(0).bytes(2**21)
    save_photo(rgb, tmp_path / "a.png", Photo(rgb, icc_profile=profile))
    assert open_photo(tmp_path / "a.png").icc_profile == profile


def test_arrays(rgb: Pixels, alpha: Pixels) -> None:
    gray = rgb[:, :, 0]
    gray_rgb = np.stack([gray] * 3, axis=2)
    cases = [
        (rgb, rgb),
        (rgb.astype(np.uint16) * 257, rgb),
        (rgb.astype(">u2") * 257, rgb),
        (np.dstack([rgb, alpha]), rgb),
        (np.dstack([rgb, alpha]).astype(np.uint16) * 257, rgb),
        (rgb[::-1, ::2], rgb[::-1, ::2]),
        (gray, gray_rgb),
        (gray[:, :, None], gray_rgb),
    ]
    tall = np.tile(rgb, (600 // len(rgb), 1, 1))
    cases.append((tall.astype(np.uint16) * 257, tall))
    for array, expected in cases:
        photo = open_photo(array)
        assert np.array_equal(photo.rgb, expected)
        assert photo.rgb.dtype == np.uint8 and photo.rgb.flags.c_contiguous
        if array.shape[2:] == (4,):
            assert photo.alpha is not None and np.array_equal(photo.alpha, alpha)
        else:
            assert photo.alpha is None


def test_bytes_files_and_images(tmp_path: Path, rgb: Pixels) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(rgb).save(path)
    for source in (str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), reopen(path)):
        assert np.array_equal(open_photo(source).rgb, rgb), type(source)
    with path.open("rb") as file:
        assert np.array_equal(open_photo(file).rgb, rgb)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_pillow_image_is_left_as_it_was(rgb: Pixels, kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = 6, "Camera"
    with Image.open(io.BytesIO(to_bytes(Image.fromarray(rgb), kind, exif=exif))) as image:
        image.load()
        before = np.array(image), dict(image.getexif()), dict(image.info), image.mode
        open_photo(image)
        after = np.array(image), dict(image.getexif()), dict(image.info), image.mode
    assert np.array_equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_photo_of_an_iphone(tmp_path: Path, rgb: Pixels) -> None:
    pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[MAKE] = "Phone"
    Image.fromarray(rgb).save(tmp_path / "a.heic", quality=95, exif=exif)
    photo = open_photo(tmp_path / "a.heic")
    assert difference(photo.rgb, rgb) <= 24
    save_photo(photo.rgb, tmp_path / "a.jpg", original=photo)
    assert reopen(tmp_path / "a.jpg").getexif()[MAKE] == "Phone"
    save_photo(rgb, tmp_path / "without_exif.heic", original=Photo(rgb))
    assert difference(open_photo(tmp_path / "without_exif.heic").rgb, rgb) <= 24


def test_unreadable_photo_of_an_iphone_says_what_to_install(tmp_path: Path) -> None:
    """In a process of its own, where the package can't be imported."""
    (tmp_path / "a.heic").write_bytes(b"no photo")
    code = (
        "import sys\n"
        "sys.modules['pillow_heif'] = None\n"
        "from retinex.photo import PhotoError, open_photo\n"
        "try:\n"
        "    open_photo(sys.argv[1])\n"
        "except PhotoError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.heic")]
    message = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "a.heic" in message
    assert "pip install pillow-heif" in message


def test_one_pixel(tmp_path: Path) -> None:
    pixel = np.array([[[10, 20, 30]]], np.uint8)
    save_photo(pixel, tmp_path / "a.png", Photo(pixel))
    assert np.array_equal(open_photo(tmp_path / "a.png").rgb, pixel)


NOT_PHOTOS = {
    "empty.jpg": b"",
    "text.png": b"this is no photo\n" * 50,
    "video.mp4": b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + bytes(range(256)) * 8,
}


@pytest.mark.parametrize(("name", "content"), NOT_PHOTOS.items(), ids=NOT_PHOTOS)
def test_other_files_are_refused_with_advice(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PhotoError, match="JPEG, PNG, TIFF or WebP") as error:
        open_photo(tmp_path / name)
    assert name in str(error.value)
    with pytest.raises(PhotoError, match="this file"):
        open_photo(content)


@pytest.mark.skipif(sys.platform == "win32", reason="programs have other names there")
def test_eps_starts_no_program(
    tmp_path: Path, rgb: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\necho started > '{tmp_path}/started'\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    with pytest.raises(PhotoError, match="JPEG, PNG, TIFF or WebP"):
        open_photo(to_bytes(Image.fromarray(rgb), "EPS"))
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", ["ICO", "ICNS"])
def test_icons_are_no_photos(rgb: Pixels, kind: str) -> None:
    """Their header may say 1×1 pixel of a picture that fills the memory."""
    with pytest.raises(PhotoError, match="JPEG, PNG, TIFF or WebP"):
        open_photo(to_bytes(Image.fromarray(rgb), kind))


@pytest.mark.parametrize("kind", ["JPEG2000", "PPM", "TGA", "AVIF"])
def test_rarer_formats(rgb: Pixels, kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    assert difference(open_photo(to_bytes(Image.fromarray(rgb), kind)).rgb, rgb) <= 16


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_truncated_file_is_refused(rgb: Pixels, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, rgb.shape, dtype=np.uint8)
    file = to_bytes(Image.fromarray(noise), kind)
    with pytest.raises(PhotoError, match=r"can't be read .* damaged") as error:
        open_photo(file[: len(file) // 2])
    assert "Use a JPEG" not in str(error.value)


def test_decoders_own_errors_are_told_as_those_of_the_photo() -> None:
    qoi_of_one_row = b"qoif" + struct.pack(">IIBB", 64, 40, 3, 0) + b"\xfe\1\2\3" + b"\xfd"
    with pytest.raises(PhotoError, match=r"this file can't be read .* damaged"):
        open_photo(qoi_of_one_row)


def test_truncated_image_is_refused(rgb: Pixels) -> None:
    truncated = to_bytes(Image.fromarray(rgb), "JPEG")[:-200]
    with Image.open(io.BytesIO(truncated)) as image, pytest.raises(PhotoError, match="truncated"):
        open_photo(image)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_photo(tmp_path)


def test_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        open_photo("nowhere.jpg")


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros((1, 4, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
    ],
)
def test_wrong_arrays_are_refused(array: Any, advice: str) -> None:
    with pytest.raises(PhotoError, match=advice):
        open_photo(array)


def test_empty_image_is_refused() -> None:
    with pytest.raises(PhotoError, match="empty"):
        open_photo(Image.new("RGB", (0, 3)))


def test_size_limit(rgb: Pixels) -> None:
    height, width = rgb.shape[:2]
    sources = (rgb, Image.fromarray(rgb), to_bytes(Image.fromarray(rgb), "PNG"))
    for source in sources:
        assert open_photo(source, max_pixels=height * width).rgb.shape == rgb.shape
        with pytest.raises(PhotoError, match=f"{width}×{height}.*limit is 0.002 megapixels"):
            open_photo(source, max_pixels=2000)


@pytest.mark.parametrize("side", [12_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_giant_is_refused_by_its_header(
    rgb: Pixels, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = bytearray(to_bytes(Image.fromarray(rgb), "BMP"))
    file[18:26] = side.to_bytes(4, "little") * 2
    decoded: list[Any] = []
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded.append)
    with pytest.raises(PhotoError, match="Make it smaller"):
        open_photo(bytes(file), max_pixels=100_000_000)
    assert not decoded
