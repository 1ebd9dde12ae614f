import io
import logging
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from torchvision.transforms import functional

from tests.data.pictures import encoded, noise, write_folder, zipped
from wgan_cli.data import picture_cache
from wgan_cli.data.picture_cache import classes_of, decode_picture, decode_pictures, labels_of
from wgan_cli.data.picture_files import UNREADABLE
from wgan_cli.errors import BadInputError

SHAPE = (3, 8, 8)
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}


def pixels(image: Image.Image) -> Any:
    """(C, H, W)"""
    return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)


@pytest.mark.parametrize("form", LOSSLESS)
def test_pixels_of_the_wanted_size_are_kept_as_they_are(form: str) -> None:
    image = noise()
    assert np.array_equal(decode_picture(encoded(image, form, **LOSSLESS[form]), SHAPE), pixels(image))


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_lossy_formats_are_near(form: str) -> None:
    image = Image.new("RGB", (16, 16), (200, 100, 50))
    found = decode_picture(encoded(image, form), (3, 16, 16)).astype(int)
    assert np.abs(found - pixels(image).astype(int)).max() <= 4


@pytest.mark.parametrize(("width", "height"), [(16, 16), (24, 8), (8, 40), (64, 64)])
def test_the_centre_is_cut_out_and_resized_as_torchvision_does(width: int, height: int) -> None:
    image = noise(1, width, height)
    square = functional.center_crop(image, [min(width, height)] * 2)
    expected = functional.resize(square, [8, 8], functional.InterpolationMode.LANCZOS)
    assert np.array_equal(decode_picture(encoded(image), SHAPE), pixels(expected))


def test_a_tall_sample_cuts_the_sides_off() -> None:
    image = Image.new("RGB", (12, 8), (255, 0, 0))
    image.paste((0, 255, 0), (4, 0, 8, 8))  # the middle third
    assert np.array_equal(decode_picture(encoded(image), (3, 8, 4)), pixels(Image.new("RGB", (4, 8), (0, 255, 0))))


def test_fine_patterns_become_their_mean() -> None:
    board = Image.fromarray(np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255)
    found = decode_picture(encoded(board), (1, 8, 8))
    assert np.abs(found.astype(int) - 127).max() <= 2  # without antialiasing: 0 or 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_pictures_are_turned_upright(orientation: int, form: str) -> None:
    stored = {  # what a camera stores of an upright picture, by its EXIF orientation
        1: lambda upright: upright,
        2: lambda upright: upright[:, ::-1],
        3: lambda upright: upright[::-1, ::-1],
        4: lambda upright: upright[::-1],
        5: lambda upright: upright.transpose(1, 0, 2),
        6: lambda upright: np.rot90(upright, 1),
        7: lambda upright: np.rot90(upright, 2).transpose(1, 0, 2),
        8: lambda upright: np.rot90(upright, -1),
    }
    upright = np.asarray(noise())
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored[orientation](upright)))
    content = encoded(image, form, exif=exif, **LOSSLESS[form])
    assert np.array_equal(decode_picture(content, SHAPE), upright.transpose(2, 0, 1))


def exif_of(*tags: tuple[int, int, int, int]) -> bytes:
    """EXIF data of tags, each with its number, type, count and value."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


ORIENTATION = (0x0112, 3, 1, 6)  # turned right by 90 degrees
ODD = {  # by what Pillow raises where it writes them
    "struct.error": (0x0100, 2, 4, 0x00434241),  # the width is a text
    "AttributeError": (0x010E, 5, 1, 8),  # the description is a fraction
}


@pytest.mark.parametrize("error", ODD)
def test_a_picture_with_odd_tags_is_turned_all_the_same(error: str) -> None:
    upright = np.asarray(noise())
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    content = encoded(stored, "WEBP", lossless=True, exif=exif_of(ODD[error], ORIENTATION))
    assert np.array_equal(decode_picture(content, SHAPE), upright.transpose(2, 0, 1))


def test_a_picture_whose_tags_can_not_be_read_is_taken_as_it_is_stored() -> None:
    content = encoded(noise(), "WEBP", lossless=True, exif=b"Exif\0\0no tags")
    with pytest.raises(SyntaxError):
        Image.open(io.BytesIO(content)).getexif()
    assert np.array_equal(decode_picture(content, SHAPE), pixels(noise()))


@pytest.mark.parametrize("error", [struct.error, AttributeError, TypeError, KeyError, ZeroDivisionError, EOFError])
def test_whatever_pillow_raises_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def broken(*_: object) -> None:
        raise error("odd")

    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(BadInputError, match=r"000\.png: can't be read as a picture \(.*odd"):
        decode_pictures(write_folder(tmp_path / "x", 4), SHAPE)


def test_a_cmyk_jpeg_is_read_in_colour() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red
    red, green, blue = decode_picture(encoded(image, "JPEG", quality=100), SHAPE).mean((1, 2))
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bits_become_8(form: str) -> None:
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    content = encoded(Image.fromarray(values), form)
    expected = np.rint(values / 257)  # 65535 is white
    assert np.array_equal(decode_picture(content, (1, 8, 8))[0], expected)
    assert np.array_equal(decode_picture(content, SHAPE)[2], expected)


def test_16_bits_become_8_as_an_older_pillow_opens_them(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.new("I;16", (8, 8), 100 * 257))
    monkeypatch.setitem(PngImagePlugin._MODES, (16, 0), ("I", "I;16B"))
    assert Image.open(io.BytesIO(content)).mode == "I"
    assert (decode_picture(content, (1, 8, 8)) == 100).all()


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_without_a_fixed_range_are_refused_with_a_remedy(tmp_path: Path, mode: str) -> None:
    (tmp_path / "x").mkdir()
    Image.new(mode, (8, 8), 1).save(tmp_path / "x" / "1.tif")
    message = rf"1\.tif: .*, of Pillow's mode {mode}, have no fixed black and white; save it with 8 or 16 bits"
    with pytest.raises(BadInputError, match=message):
        decode_pictures(tmp_path / "x", SHAPE)


@pytest.mark.parametrize(("bits", "brightest"), [(12, 16), (14, 64), (15, None), (16, None)])
@pytest.mark.parametrize("channels", [1, 4])
def test_a_set_of_dark_pictures_is_told(
    tmp_path: Path, bits: int, brightest: int | None, channels: int, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "x").mkdir()
    for i in range(2):
        Image.new("I;16", (8, 8), i * (2**bits - 1)).save(tmp_path / "x" / f"{i}.png")
    decode_pictures(tmp_path / "x", (channels, 8, 8))
    found = [f"x: the pictures are dark: none has a value above {brightest} of 255" in told for told in caplog.messages]
    assert found == ([] if brightest is None else [True])


@pytest.mark.parametrize(
    ("mode", "colour", "grey", "colours", "with_alpha"),
    [
        ("L", 100, [100], [100] * 3, [100, 100, 100, 255]),
        ("1", 1, [255], [255] * 3, [255] * 4),
        ("LA", (100, 30), [100], [100] * 3, [100, 100, 100, 30]),
        ("RGB", (10, 20, 30), [18], [10, 20, 30], [10, 20, 30, 255]),
        ("RGBA", (10, 20, 30, 40), [18], [10, 20, 30], [10, 20, 30, 40]),
        ("P", 7, [7], [7] * 3, [7, 7, 7, 255]),
    ],
)
def test_every_mode_gives_the_channels_asked_for(
    mode: str, colour: Any, grey: list[int], colours: list[int], with_alpha: list[int]
) -> None:
    image = Image.new(mode, (8, 8), colour)
    if mode == "P":
        image.putpalette([i for i in range(256) for _ in range(3)])
    for expected in (grey, colours, with_alpha):
        found = decode_picture(encoded(image), (len(expected), 8, 8))
        assert (found == np.array(expected)[:, None, None]).all()


def test_the_first_picture_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode_picture(content, SHAPE) == np.array([255, 0, 0])[:, None, None]).all()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to hold so many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


BROKEN = {
    "bomb.png": bomb(50_000, 50_000),
    "small bomb.png": bomb(10_001, 10_000),
    "empty.jpg": b"",
    "text.png": b"no picture at all",
    "cut.png": encoded(noise(0, 64, 64))[:2000],
    "cut.jpg": encoded(noise(0, 64, 64), "JPEG")[:1000],
    "cut.webp": encoded(noise(0, 64, 64), "WEBP")[:300],
    "cut.tif": encoded(noise(0, 64, 64), "TIFF")[:3000],
    "cut.bmp": encoded(noise(0, 64, 64), "BMP")[:3000],
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("in_zip", [False, True])
def test_one_broken_picture_is_named_and_left_out(
    tmp_path: Path, name: str, in_zip: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_folder(tmp_path / "x", 100)
    (folder / name).write_bytes(BROKEN[name])
    path = zipped(folder, tmp_path / "x.zip") if in_zip else folder
    found = decode_pictures(path, SHAPE)
    assert found.pixels.shape == (100, *SHAPE)
    assert found.pixels[:, 0, 0, 0].tolist() == list(range(100))
    assert name not in found.names
    (message,) = caplog.messages
    assert message.startswith(f"{path}/{name}: can't be read as a picture (")
    assert message.endswith("; left out")
    assert " 0x" not in message


def test_more_than_one_in_a_hundred_is_an_error_and_nothing_is_kept(tmp_path: Path, cache: Path) -> None:
    folder = write_folder(tmp_path / "x", 150)
    for i in range(2):
        (folder / f"broken{i}.png").write_bytes(b"junk")
    message = r"x: 2 of 152 pictures can't be read; first: .*broken0\.png: can't be read as a picture \(cannot identify"
    with pytest.raises(BadInputError, match=message):
        decode_pictures(folder, SHAPE)
    assert not cache.exists()


@pytest.mark.filterwarnings("ignore")  # Pillow's own, of damaged headers
def test_flipped_bits_of_a_picture_are_named_and_nothing_else_is_raised() -> None:
    random = np.random.default_rng(0)
    raised = 0
    for form in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"):
        content = encoded(noise(), form)
        for _ in range(60):
            damaged = bytearray(content)
            damaged[random.integers(min(len(content), 80))] = random.integers(256)
            try:
                assert decode_picture(bytes(damaged), SHAPE).shape == SHAPE
            except UNREADABLE:
                raised += 1
    assert raised > 30


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    decoded: list[int] = []

    def counted(content: bytes, shape: tuple[int, ...]) -> Any:
        decoded.append(len(content))
        return decode_picture(content, shape)

    monkeypatch.setattr(picture_cache, "decode_picture", counted)
    return decoded


def test_pictures_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    decoded = count_decoded(monkeypatch)
    folder = write_folder(tmp_path / "x", 9, ("a", "b"))
    first = decode_pictures(folder, SHAPE)
    again = decode_pictures(folder, SHAPE)
    assert len(decoded) == 9
    assert isinstance(again.pixels, np.memmap)
    assert np.array_equal(first.pixels, again.pixels)
    assert (first.names, first.digest) == (again.names, again.digest)
    assert sorted(file.suffix for file in (cache / "images").iterdir()) == [".json", ".npy"]


@pytest.mark.parametrize("change", ["content", "new", "gone", "renamed", "size", "channels", "half a cache"])
def test_they_are_decoded_again_when_something_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path, change: str
) -> None:
    folder = write_folder(tmp_path / "x", 9)
    before = decode_pictures(folder, SHAPE)
    decoded = count_decoded(monkeypatch)
    shape, count = SHAPE, 9
    if change == "content":
        Image.new("RGB", (8, 8), "white").save(folder / "000.png")
        os.utime(folder / "000.png", (1e9, 1e9))
    elif change == "new":
        noise().save(folder / "new.png")
        count = 10
    elif change == "gone":
        (folder / "000.png").unlink()
        count = 8
    elif change == "renamed":
        (folder / "000.png").rename(folder / "zzz.png")
    elif change == "half a cache":  # of a process that was killed
        next((cache / "images").glob("*.json")).unlink()
    else:
        shape = (3, 4, 4) if change == "size" else (1, 8, 8)
    after = decode_pictures(folder, shape)
    assert after.pixels.shape == (count, *shape)
    assert len(decoded) == count
    assert (after.digest == before.digest) == (change == "half a cache")


def test_a_name_need_not_be_utf_8(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", 3)
    name = os.fsdecode(b"caf\xe9.png")  # as an archive of Windows leaves it
    (folder / "002.png").rename(folder / name)
    assert decode_pictures(folder, SHAPE).names == decode_pictures(folder, SHAPE).names == ("000.png", "001.png", name)


def test_other_folders_have_caches_of_their_own(tmp_path: Path) -> None:
    one, other = write_folder(tmp_path / "x", 5), write_folder(tmp_path / "y", 5, ("red", "blue"))
    assert decode_pictures(one, SHAPE).pixels[0, 0, 4, 4] == 90
    assert decode_pictures(other, SHAPE).pixels[0, 2, 4, 4] == 240
    assert decode_pictures(one, SHAPE).pixels[0, 0, 4, 4] == 90


def test_a_cache_that_can_not_be_made_is_told(tmp_path: Path, cache: Path) -> None:
    cache.write_text("in the way")
    with pytest.raises(BadInputError, match=r"images: the decoded pictures can't be kept there \(Not a directory\)"):
        decode_pictures(write_folder(tmp_path / "x"), SHAPE)
    assert cache.read_text() == "in the way"


def test_an_interrupted_decoding_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(picture_cache, "decode_picture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decode_pictures(write_folder(tmp_path / "x"), SHAPE)
    assert not cache.exists()


def test_pixels_are_on_the_disk_before_their_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    flushed: list[tuple[int, int]] = []

    def noted(descriptor: int) -> None:
        status = os.fstat(descriptor)
        flushed.append((status.st_ino, status.st_size))

    monkeypatch.setattr(os, "fsync", noted)
    decode_pictures(write_folder(tmp_path / "x", 5), SHAPE)
    files = [next((cache / "images").glob(f"*{ending}")).stat() for ending in (".npy", ".json")]
    whole = [(status.st_ino, status.st_size) for status in files]
    assert [entry for entry in flushed if entry in whole] == whole


def test_two_that_decode_at_once_have_files_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    folder = write_folder(tmp_path / "x", 5)

    def another_first(content: bytes, shape: tuple[int, ...]) -> Any:
        monkeypatch.setattr(picture_cache, "decode_picture", decode_picture)
        decode_pictures(folder, SHAPE)
        return decode_picture(content, shape)

    monkeypatch.setattr(picture_cache, "decode_picture", another_first)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert decode_pictures(folder, SHAPE).pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert len(list((cache / "images").iterdir())) == 2


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["cat/1.png", "dog/2.png", "cat/deep/3.png"], ("cat", "dog")),
        (["b/1.png", "a/1.png", "c/1.png"], ("a", "b", "c")),
        ([f"{i}/1.png" for i in (0, 1, 10, 11, 2)], ("0", "1", "2", "10", "11")),
        (["v10.2/1.png", "v9/1.png", "v10.10/1.png", "01/1.png", "1/1.png"], ("01", "1", "v9", "v10.2", "v10.10")),
        (["cat/1.png", "cat/2.png"], ()),
        (["cat/1.png", "2.png"], ()),
        (["1.png", "2.png"], ()),
    ],
)
def test_first_level_folders_are_classes_where_all_pictures_are_in_one(
    names: list[str], classes: tuple[str, ...]
) -> None:
    assert classes_of(names) == classes
    labels = labels_of(names, classes, "x")
    assert (labels is None) == (not classes)
    if labels is not None:
        assert [classes[label] for label in labels] == [name.split("/")[0] for name in names]


def test_a_folder_that_all_are_in_is_no_class(tmp_path: Path) -> None:
    write_folder(tmp_path / "x" / "photos", 4, ("dog", "cat/deep"))
    names = decode_pictures(zipped(tmp_path / "x", tmp_path / "x.zip"), SHAPE).names
    assert names[0] == "photos/cat/deep/001.png"
    for found in (names, [name.replace("photos", "cat") for name in names]):
        assert classes_of(found) == ("cat", "dog")
        labels = labels_of(found, ("cat", "dog"), "x")
        assert labels is not None
        assert labels.tolist() == [0, 0, 1, 1]
    assert classes_of([*names, "photos/1.png"]) == ()


@pytest.mark.parametrize(
    "names",
    [
        ["cat/1.png", "cat/2.png"],
        ["photos/cat/1.png", "photos/cat/2.png"],
        ["cat/a/1.png", "cat/b/2.png"],
        ["cat/dog/1.png"],
    ],
)
def test_held_out_pictures_may_be_of_one_class(names: list[str]) -> None:
    labels = labels_of(names, ("bird", "cat", "dog"), "x")
    assert labels is not None
    assert labels.tolist() == [1] * len(names)


@pytest.mark.parametrize("name", ["cow/3.png", "3.png", "cow/cat/3.png"])
def test_a_picture_of_no_class_is_named(name: str) -> None:
    with pytest.raises(BadInputError, match=rf"^held/{name}: is in no folder of a class; these are cat, dog"):
        labels_of(["cat/1.png", name], ("cat", "dog"), "held")


def test_a_picture_is_read_without_a_word(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.INFO)
    decode_pictures(write_folder(tmp_path / "x"), SHAPE)
    assert caplog.messages == []


def test_the_cache_is_a_plain_array(tmp_path: Path, cache: Path) -> None:
    found = decode_pictures(write_folder(tmp_path / "x", 5), SHAPE)
    (file,) = (cache / "images").glob("*.npy")
    content = np.load(io.BytesIO(file.read_bytes()))
    assert content.dtype == np.uint8
    assert np.array_equal(content, found.pixels)
