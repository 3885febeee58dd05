"""Outlines: what pycocotools draws rightly passes, what it would draw from foreign memory does not reach it."""

import numpy as np
import pytest
from pycocotools import mask

from cae.data.coco.outlines import bounds, decoded, outline_fault

WIDTH, HEIGHT = 31, 23


def compressed(pixels: np.ndarray) -> str:
    return mask.encode(np.asfortranarray(pixels, np.uint8))["counts"].decode()


def runs_of(pixels: np.ndarray) -> list[int]:
    """Runs of zeros and ones in turn, column by column, by hand."""
    runs, value = [0], 0
    for pixel in pixels.T.ravel():
        if pixel != value:
            runs, value = [*runs, 0], pixel
        runs[-1] += 1
    return runs


def drawn(share: float, seed: int, size=(HEIGHT, WIDTH)) -> np.ndarray:
    return (np.random.default_rng(seed).random(size) < share).astype(int)


MASKS = [
    *(drawn(share, seed) for share in (0, 0.03, 0.5, 0.97, 1) for seed in range(3)),
    np.kron(drawn(0.3, 0, (5, 7)), np.ones((97, 64), int)),  # long runs, that differ much
    np.pad(np.ones((1, 1), int), ((0, 999), (899, 0))),
]


@pytest.mark.parametrize("pixels", MASKS)
def test_runs_are_read_as_they_were_written(pixels):
    height, width = pixels.shape
    counts, runs = compressed(pixels), runs_of(pixels)
    assert decoded(counts) == runs
    for right in (counts, runs):
        assert outline_fault({"size": [height, width], "counts": right}, width, height) is None


@pytest.mark.parametrize("seed", range(20))
def test_runs_that_were_changed_are_right_only_where_pycocotools_draws_them(seed):
    """A letter changed, left out, doubled: where pycocotools reads it at all, it agrees."""
    rng, counts = np.random.default_rng(seed), list(compressed(drawn(0.2, seed)))
    for _ in range(30):
        changed, at = counts.copy(), rng.integers(len(counts))
        changed[at : at + 1] = [[], [counts[at]] * 2, [chr(rng.integers(48, 112))]][rng.integers(3)]
        outline = {"size": [HEIGHT, WIDTH], "counts": "".join(changed)}
        if outline_fault(outline, WIDTH, HEIGHT) is None:
            pixels = mask.decode(outline)
            assert set(np.unique(pixels)) <= {0, 1}
            assert pixels.sum() == sum(decoded(outline["counts"])[1::2])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([700], "runs (RLE) of more or fewer pixels than its image (700, not 713)"),
        ([13, 500, 201], "more or fewer pixels than its image (714, not 713)"),
        ([13, -500, 1200], "cannot be read"),
        ([713.0], "cannot be read"),
        ([True, 712], "cannot be read"),
        (["713"], "cannot be read"),
        ([], "cannot be read"),
        (None, "cannot be read (None)"),
        (713, "cannot be read (713)"),
        ("", "cannot be read"),
        ("not a run length", "cannot be read ('not a run length')"),
        ("é", "cannot be read"),
        ("\ud800", "cannot be read"),
        ("1P", "cannot be read"),  # ends where another letter should follow: pycocotools reads on behind the text
        ("PPPPPPPPPP0", "cannot be read"),
        ("O", "cannot be read"),  # -1
        (compressed(drawn(0.2, 0))[:-1], "pixels than its image"),
        (compressed(drawn(0.2, 0)) + "5", "pixels than its image"),
        (compressed(drawn(0.2, 0, (HEIGHT, WIDTH + 1))), "pixels than its image (736, not 713)"),
    ],
)
def test_runs_that_do_not_cover_the_image_are_faults(counts, message):
    kind, found = outline_fault({"size": [HEIGHT, WIDTH], "counts": counts}, WIDTH, HEIGHT)
    assert message in f"{kind} ({found})"


@pytest.mark.parametrize("size", [[WIDTH, HEIGHT], [HEIGHT, WIDTH, 1], [HEIGHT], None, "23x31", [1e12, 1]])
def test_runs_of_another_size_are_faults(size):
    kind, _ = outline_fault({"size": size, "counts": [HEIGHT * WIDTH]}, WIDTH, HEIGHT)
    assert kind == "`segmentation` is of another size than its image"


SQUARE = [1, 1, 9, 1, 9, 9, 1, 9]


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        (None, "missing or empty"),
        ([], "missing or empty"),
        ({}, "missing or empty"),
        ("polygon", "no list of polygons"),
        (SQUARE, "no list of polygons, each a list of its own"),
        ([{"size": [HEIGHT, WIDTH], "counts": [713]}], "no list of polygons"),
        ([[1, 1], [9, 1], [9, 9]], "not x, y of three points or more ([1, 1])"),
        ([SQUARE, [1, 1, 9, 1]], "not x, y of three points or more"),
        ([SQUARE[:-1]], "not x, y of three points or more"),
        ([SQUARE, None], "not x, y of three points or more"),
        ([[[1, 1], [9, 1], [9, 9], [1, 9], [1, 5], [1, 3]]], "other things than numbers"),
        ([[1, 1, 9, 1, 9, "9"]], "other things than numbers"),
        ([[1, 1, 9, 1, 9, None]], "other things than numbers"),
        ([[1, 1, 9, 1, 9, float("nan")]], "other things than numbers"),
        ([[1, 1, 9, 1, 9, 10**400]], "other things than numbers"),
        ([SQUARE, [0, 0, 1e12, 0, 1e12, 1e12]], "farther outside of its image than the image is large"),
        ([[-32, 0, 9, 0, 9, 9]], "from (-32, 0) to (9, 9) in 31x23"),
        ([[0, 0, 9, 0, 9, 46.5]], "from (0, 0) to (9, 46.5) in 31x23"),
    ],
)
def test_polygons_that_cannot_be_drawn_are_faults(outline, message):
    kind, found = outline_fault(outline, WIDTH, HEIGHT)
    assert message in f"{kind} ({found})"


def test_a_polygon_that_would_take_all_memory_is_a_fault():
    there_and_back = [0, 0, 9_999, 0] * 2_000
    kind, found = outline_fault([there_and_back], 10_000, 10_000)
    assert "too long to draw" in kind and float(found.split()[0]) == pytest.approx(4e7, rel=0.01)
    assert outline_fault([[0, 0, 0.01, 0] * 2_000], 10_000, 10_000) is None  # as many points, near each other


@pytest.mark.parametrize("outline", [[SQUARE], [SQUARE, [-5, -5, 31, 0, 40, 30]], [[0.5] * 6]])
def test_polygons_that_pass_are_drawn(outline):
    assert outline_fault(outline, WIDTH, HEIGHT) is None
    pixels = mask.decode(mask.merge(mask.frPyObjects(outline, HEIGHT, WIDTH)))
    assert pixels.shape == (HEIGHT, WIDTH) and set(np.unique(pixels)) <= {0, 1}


def test_bounds_are_of_all_polygons():
    assert bounds([[3, 4, 5, 6, 1, 9], [2, 2, 8, 3, 4, 4]]) == (1, 2, 8, 9) and bounds([SQUARE]) == (1, 1, 9, 9)
