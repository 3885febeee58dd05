"""Images of more than 8 bits a channel are read with 8, from black to white, or refused; nothing is cut off."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from cae.data.datasets import read_pixels, read_rgb
from cae.data.manifests import index
from cae.errors import UserError

RAMP = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)  # each row has one value of the 8 highest bits
ROWS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 256, 1)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP.T], -1)
GRAY, COLOUR, GRAY_ALPHA, COLOUR_ALPHA = 0, 2, 4, 6  # of a PNG


def save_png(path, values, kind):
    """PIL writes no colours of 16 bits."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def save_tiff_of_12_bits(path, values):
    """Two values in three bytes, as cameras write them."""
    even, odd = values[:, ::2].astype(np.uint32), values[:, 1::2].astype(np.uint32)
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], -1).astype(np.uint8).tobytes()
    tags = [(256, values.shape[1]), (257, values.shape[0]), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1),
            (278, values.shape[0]), (279, len(packed))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(packed)) + packed + directory)


GRAYS = {
    "png": lambda path: Image.fromarray(RAMP).save(path, "PNG"),
    "png, written from scratch": lambda path: save_png(path, RAMP, GRAY),
    "png with alpha": lambda path: save_png(path, np.stack([RAMP, np.full_like(RAMP, 65535)], -1), GRAY_ALPHA),
    "tiff, little-endian": lambda path: tifffile.imwrite(path, RAMP, byteorder="<"),
    "tiff, big-endian": lambda path: tifffile.imwrite(path, RAMP, byteorder=">"),
    "tiff, 0 is white": lambda path: tifffile.imwrite(path, 65535 - RAMP, photometric="miniswhite"),
    "tiff, 0 is white, 8 bits": lambda path: tifffile.imwrite(path, 255 - ROWS, photometric="miniswhite"),
    "tiff of 12 bits": lambda path: save_tiff_of_12_bits(path, RAMP >> 4),
    "tiff, compressed": lambda path: Image.fromarray(RAMP).save(path, "TIFF", compression="tiff_adobe_deflate"),
    "jpeg 2000": lambda path: Image.fromarray(RAMP).save(path, "JPEG2000"),
    "pgm": lambda path: path.write_bytes(b"P5 256 256 65535\n" + RAMP.astype(">u2").tobytes()),
    "pgm of 12 bits": lambda path: path.write_bytes(b"P5 256 256 4095\n" + (RAMP >> 4).astype(">u2").tobytes()),
}


@pytest.mark.parametrize("name", GRAYS)
def test_a_ramp_of_gray_stays_a_ramp(name, tmp_path):
    GRAYS[name](tmp_path / "x")
    image = read_rgb(tmp_path / "x")
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), np.repeat(ROWS[:, :, None], 3, 2))
    np.testing.assert_array_equal(read_pixels(tmp_path / "x"), np.asarray(image))


@pytest.mark.parametrize(
    "save",
    [
        lambda path: save_png(path, COLOURS, COLOUR),
        lambda path: save_png(path, np.dstack([COLOURS, np.full_like(RAMP, 65535)]), COLOUR_ALPHA),
        lambda path: tifffile.imwrite(path, COLOURS, photometric="rgb", byteorder="<"),
        lambda path: tifffile.imwrite(path, COLOURS, photometric="rgb", byteorder=">"),
        lambda path: path.write_bytes(b"P6 256 256 65535\n" + COLOURS.astype(">u2").tobytes()),
    ],
    ids=["png", "png with alpha", "tiff", "tiff, big-endian", "ppm"],
)
def test_colours_keep_their_ramps(save, tmp_path):
    save(tmp_path / "x")
    difference = np.asarray(read_rgb(tmp_path / "x")).astype(int) - (COLOURS >> 8)
    assert abs(difference).max() <= 1  # PIL rounds those of a PPM


def test_gray_that_a_png_calls_transparent_is_white(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "x.png", transparency=300)
    pixels = np.asarray(read_rgb(tmp_path / "x.png"))
    assert (pixels[1, 300 - 256] == 255).all() and (pixels[1, 45] == 1).all()


def test_one_bit_is_black_or_white(tmp_path):
    bits = ROWS > 127
    for ending in ("png", "tif", "bmp", "pbm"):
        Image.fromarray(bits).save(tmp_path / f"x.{ending}")
        np.testing.assert_array_equal(np.asarray(read_rgb(tmp_path / f"x.{ending}"))[:, :, 1], 255 * bits)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "CMYK", "YCbCr"])
def test_eight_bits_are_what_pil_makes_of_them(mode, tmp_path):
    pixels = Image.fromarray((COLOURS >> 8).astype(np.uint8)).convert(mode)
    pixels.save(tmp_path / "x", "TIFF")
    np.testing.assert_array_equal(np.asarray(read_rgb(tmp_path / "x")), np.asarray(pixels.convert("RGB")))


@pytest.mark.parametrize(
    "save,reason",
    [
        (lambda path: tifffile.imwrite(path, RAMP.astype(np.int16)), "mode I: integers of 32 bits or with a sign"),
        (lambda path: tifffile.imwrite(path, RAMP.astype(np.uint32)), "mode I: integers of 32 bits or with a sign"),
        (lambda path: tifffile.imwrite(path, RAMP.astype(np.int32)), "mode I: integers of 32 bits or with a sign"),
        (
            lambda path: tifffile.imwrite(path, RAMP.astype(np.float32)),
            "mode F: floating-point numbers, whose white is",
        ),
        (lambda path: Image.fromarray(RAMP.astype(np.float32)).save(path, "PPM"), "mode F: floating-point numbers"),
        (lambda path: tifffile.imwrite(path, RAMP.astype(np.float64)), "cannot identify"),
        (
            lambda path: tifffile.imwrite(path, COLOURS.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
            "16 bits in separate planes",
        ),
    ],
)
def test_numbers_without_a_known_white_are_refused_by_name(save, reason, tmp_path):
    save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=f"x.tif: not a readable image .*{reason}.*replace or remove it"):
        read_rgb(tmp_path / "x.tif")


@pytest.fixture
def deep(tmp_path):
    """A function that makes a data set of gray images of 16 bits, of values up to `brightest`, and indexes it."""

    def deep(brightest):
        for split in ("train", "val"):
            for name in ("a", "b"):
                folder = tmp_path / "in" / split / name
                folder.mkdir(parents=True, exist_ok=True)
                values = np.linspace(0, brightest, 64).astype(np.uint16).reshape(8, 8)
                Image.fromarray(values + len(split) % 2).save(folder / "0.png")
        index("imagenet", str(tmp_path / "in"), tmp_path / "m.json")

    return deep


def test_the_index_counts_images_of_more_than_8_bits(deep, capsys):
    deep(60_000)
    assert "4 of 4 images have more than 8 bits a channel; their 8 highest are used" in capsys.readouterr().out


@pytest.mark.parametrize("brightest,factor", [(4090, 16), (250, 256), (16_000, 4)])
def test_files_of_16_bits_that_hold_fewer_are_refused_and_what_is_advised_mends_it(brightest, factor, deep):
    with pytest.raises(UserError, match=f"4 images have 16 bits a channel, .*nearly black.*multiply {factor} FILE"):
        deep(brightest)
    deep(brightest * factor)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind,options",
    [("GIF", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("PNG", {}), ("WEBP", {}), ("JPEG2000", {}),
     ("BMP", {}), ("PPM", {}), ("TGA", {}), ("PCX", {}), ("SGI", {}), ("QOI", {}), ("AVIF", {})],
)  # fmt: skip
def test_damaged_files_of_any_kind_are_user_errors(kind, options, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "x"
    Image.fromarray(rng.integers(0, 256, (24, 20, 3), np.uint8)).save(path, kind, **options)
    whole = path.read_bytes()
    for i in range(60):
        damaged = bytearray(whole[: rng.integers(0, len(whole))] if i % 2 else whole)
        for at in rng.integers(0, min(len(damaged), 200), 8) if damaged else ():
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert read_rgb(path).mode == "RGB"  # damage that decoders do not notice
        except UserError as error:
            assert f"{path}: not a readable image (" in str(error)
