"""Boxes in other units or another order are refused, what leaves the image is counted; which objects can be learned."""

from pathlib import Path

import pytest
from pycocotools import mask

from cae.data.coco.boxes import check_boxes, count_learnable, hindrance, leaves, overlap
from cae.errors import UserError
from tests.data.conftest import CROWD, HEIGHT, WIDTH, annotation, image, outline

PATH = Path("instances.json")
BOXES = [[10, 5, 20, 30], [40, 2, 19, 10], [3, 20, 12, 15], [33, 22, 20, 16]]


def data(annotations):
    return {"images": [image(11)], "annotations": annotations}


def written(read) -> dict:
    """Annotations whose boxes are written otherwise: `read` makes four numbers of left, top, width and height."""
    return data([annotation(i, 11, bbox=read(*box), segmentation=outline(*box)) for i, box in enumerate(BOXES, 1)])


def test_boxes_in_pixels_pass_without_a_word():
    assert check_boxes(PATH, written(lambda *box: list(box))) == []
    assert check_boxes(PATH, written(lambda *box: [side + 0.7 for side in box])) == []  # rounded


@pytest.mark.parametrize(
    ("read", "guess"),
    [
        (lambda x, y, w, h: [x, y, x + w, y + h], "corners (left, top, right, bottom)"),
        (lambda x, y, w, h: [x + w / 2, y + h / 2, w, h], "centres with width and height"),
        (lambda x, y, w, h: [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT], "shares of their image"),
        (lambda x, y, w, h: [(x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT],
         "centres and sizes as shares of their image"),
    ],
)  # fmt: skip
def test_boxes_of_another_kind_are_refused_by_name(read, guess):
    with pytest.raises(UserError) as error:
        check_boxes(PATH, written(read))
    assert f"instances.json: most boxes look like {guess}; make `bbox` left, top" in str(error.value)


def test_corners_are_recognised_where_objects_fill_their_image():
    large = [annotation(i, 11, [5, 4, 50, 32], bbox=[5, 4, 55, 36], segmentation=outline(5, 4, 50, 32)) for i in (1, 2)]
    assert overlap(large[0]["bbox"], (5, 4, 55, 36)) > 0.7
    with pytest.raises(UserError, match="most boxes look like corners"):
        check_boxes(PATH, data(large))


def test_boxes_and_outlines_of_runs_are_compared_too():
    annotations = [annotation(i, 11, [40, 20, 10, 10], segmentation=CROWD) for i in (1, 2)]
    with pytest.raises(UserError, match="2 of 2 boxes lie elsewhere than the outlines of their objects"):
        check_boxes(PATH, data(annotations))
    left, top, width, height = mask.toBbox(CROWD)
    assert check_boxes(PATH, data([annotation(1, 11, [left, top, width, height], segmentation=CROWD)])) == []


def test_boxes_that_leave_the_image_are_counted_and_refused_when_most_do():
    inside, outside = annotation(1, 11), [annotation(i, 11, [50, 30, 20, 20]) for i in (2, 3)]
    (line,) = check_boxes(PATH, data([inside, outside[0]]))
    assert (
        "1 of 2 boxes reach over the edge of their image, first that of annotation 2, [50, 30, 20, 20]; they are cut"
        in line
    )
    with pytest.raises(UserError, match="2 of 3 boxes reach over the edge of their image, first that of annotation 2"):
        check_boxes(PATH, data([inside, *outside]))


def test_a_pixel_over_the_edge_is_rounding():
    assert not leaves([-1, -1, WIDTH + 2, HEIGHT + 2], WIDTH, HEIGHT)
    for box in ([-1.1, 0, 5, 5], [0, -1.1, 5, 5], [0, 0, WIDTH + 1.1, 5], [0, 0, 5, HEIGHT + 1.1]):
        assert leaves(box, WIDTH, HEIGHT)


def test_overlap_is_intersection_over_union_with_a_pixel_around():
    assert overlap((0, 0, 98, 98), (0, 0, 98, 98)) == 1 and overlap((10, 10, 0, 0), (10, 10, 11, 11)) == pytest.approx(
        4 / 9
    )
    assert overlap((0, 0, 98, 98), (0, 0, 98, 48)) == pytest.approx(0.5)
    assert overlap((0, 0, 8, 8), (5, 0, 13, 8)) == pytest.approx(50 / 150)
    assert overlap((0, 0, 8, 8), (90, 90, 98, 98)) == overlap((50, 50, -40, 10), (20, 20, 21, 21)) == 0


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, None),
        ({"iscrowd": 1}, "crowds"),
        ({"area": 0}, "of area 0"),
        ({"bbox": [10, 5, 0.9, 30]}, "less than a pixel wide or high"),
        ({"bbox": [WIDTH, 5, 20, 30]}, "outside of their image"),
        ({"bbox": [-20, 5, 20, 30]}, "outside of their image"),
        ({"bbox": [-19, 5, 20, 30]}, None),
    ],
)
def test_what_can_be_learned(changes, kind):
    other = annotation(2, 12)
    content = {"images": [image(11), image(12)], "annotations": [annotation(1, 11) | changes, other]}
    assert hindrance(content["annotations"][0], WIDTH, HEIGHT) == kind
    lines = [f"instances.json: 1 of 2 objects cannot be learned: 1 {kind}"] if kind else []
    assert count_learnable(PATH, content) == (1 if kind else 2, lines)
    if kind:
        with pytest.raises(UserError, match=f"1 of 1 objects cannot be learned: 1 {kind}; "):
            count_learnable(PATH, content | {"annotations": content["annotations"][:1]})
