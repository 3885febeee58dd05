"""COCO's instances: what is learned of them, and augmentation that keeps boxes, masks and pixels in step."""

import numpy as np
import pytest
import torch

from cae.data.detection import Instances, Scenes
from cae.errors import UserError
from cae.params import CropPolicy
from tests.data.conftest import HEIGHT, WIDTH, annotation


def test_training_leaves_out_crowds_degenerate_boxes_and_images_without_objects(write_coco):
    train = Instances(write_coco(), 0, labelled=True)
    assert train.ids == [11, 14] and train.names == ["cup", "kite"]
    pixels, target = train[0]
    assert pixels.shape == (3, HEIGHT, WIDTH) and pixels.dtype == torch.uint8
    assert target["boxes"].tolist() == [[10, 5, 30, 35], [40, 0, 59, 10]] and target["labels"].tolist() == [2, 1]
    assert target["masks"].shape == (2, HEIGHT, WIDTH) and target["masks"].sum((1, 2)).tolist() == [600, 190]
    assert train[1][1]["boxes"].tolist() == [[50, 30, 60, 40]]  # as far as the image reaches


def test_validation_keeps_every_image_and_crowds_for_the_evaluator(write_coco):
    val = Instances(write_coco(), 1, labelled=False)
    assert val.ids == [21, 22] and len(val[1][1]["boxes"]) == 0 and val[1][1]["masks"].shape == (0, HEIGHT, WIDTH)
    assert Instances(write_coco(), 0, labelled=False).coco.anns[5]["iscrowd"] == 1


def bounds(mask):
    rows, columns = torch.where(mask)
    return [columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1]


@pytest.mark.parametrize("crop", [None, CropPolicy(short_sides=[30, 50], range=[20, 30])])
def test_boxes_masks_and_pixels_stay_in_step(write_coco, crop):
    scenes = Scenes(Instances(write_coco(annotations=[annotation(1, 11)]), 0, True), 0.5, crop, seed=0)
    sizes, flipped = set(), 0
    for epoch in range(40):
        batch = scenes[epoch, np.array([0])]
        (image,), (target,) = batch["images"], batch["targets"]
        sizes.add(tuple(image.shape))
        if not len(target["boxes"]):
            continue  # cut off
        bright = image[0] > 100
        assert np.allclose(target["boxes"][0], bounds(bright), atol=1.6), epoch
        assert np.allclose(target["boxes"][0], bounds(target["masks"][0]), atol=1.6)
        assert (bright == target["masks"][0].bool()).float().mean() > 0.93
        flipped += crop is None and target["boxes"][0, 0].item() == WIDTH - 30
    assert len(sizes) == 1 if crop is None else len(sizes) > 10
    assert crop or 10 < flipped < 30


def test_a_crop_may_cut_objects_off_and_then_they_are_gone(write_coco):
    small = [annotation(1, 11, [0, 0, 4, 4]), annotation(2, 11, [50, 30, 8, 8])]
    scenes = Scenes(
        Instances(write_coco(annotations=small), 0, True), 0.0, CropPolicy(short_sides=[40], range=[15, 15]), 0
    )
    counts = [len(scenes[epoch, np.array([0])]["targets"][0]["labels"]) for epoch in range(30)]
    assert 0 in counts and 2 in counts
    for epoch in range(30):
        target = scenes[epoch, np.array([0])]["targets"][0]
        assert len(target["boxes"]) == len(target["labels"]) == len(target["masks"])


def test_a_batch_hangs_on_seed_epoch_and_image_alone(write_coco):
    instances = Instances(write_coco(), 0, True)
    crop = CropPolicy(short_sides=[30, 50], range=[20, 30])

    def images(seed, epoch, indices):
        torch.manual_seed(len(indices))
        return Scenes(instances, 0.5, crop, seed)[epoch, np.array(indices)]["images"]

    assert torch.equal(images(0, 3, [0, 1])[1], images(0, 3, [1])[0])
    others = [images(0, epoch, [1])[0] for epoch in range(8)] + [images(1, 3, [1])[0]]
    assert len({each.numpy().tobytes() for each in others}) > 2


@pytest.mark.parametrize("crop", [None, CropPolicy(short_sides=[30, 50], range=[20, 30])])
def test_an_images_size_is_drawn_where_it_is_loaded(write_coco, crop):
    instances, sizes, seen = Instances(write_coco(annotations=[annotation(1, 11)]), 0, True), ([20, 30, 80], 90), set()
    scenes = Scenes(instances, 0.5, crop, 0, sizes)
    for epoch in range(30):
        torch.manual_seed(epoch % 2)  # whatever a device's generator holds
        (image,), (target,) = scenes[epoch, np.array([0])].values()
        short, long = sorted(image.shape[1:])
        seen.add(short)
        assert long <= 90 and (
            long >= 89 or min(abs(short - side) for side in sizes[0]) <= 1
        )  # torchvision rounds down
        assert target["masks"].shape[1:] == image.shape[1:]
        if len(target["boxes"]):
            assert np.allclose(
                target["boxes"][0], bounds(target["masks"][0]), atol=4
            )  # a pixel of a small crop is four here
            assert ((image[0] > 100) == target["masks"][0].bool()).float().mean() > 0.9
    assert len(seen) >= 3
    torch.manual_seed(7)
    assert torch.equal(scenes[29, np.array([0])]["images"][0], image)


def test_annotations_that_change_behind_the_manifest_are_refused(write_coco, tmp_path):
    manifest = write_coco()
    path = tmp_path / "coco/annotations/instances_train2017.json"
    path.write_text(path.read_text().replace('"kite"', '"bird"'))
    with pytest.raises(UserError, match="instances_train2017.json: changed since .*coco.json was made"):
        Instances(manifest, 0, True)
