"""Figures: arrays in, PNG and PDF out, the same bytes for the same arrays."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from cae.errors import UserError
from cae.reporting import figures


def pictures(n, size=12):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


def arrays(name):
    rng = np.random.default_rng(1)
    if name == "figure3":
        return {"images": pictures(3), "masks": rng.random((3, 4, 4)) < 0.5, "scenes": pictures(3, 20),
                "boxes": np.tile([2.0, 3, 11, 17], (3, 2, 1)), "labels": ["a", "b", "c"]}  # fmt: skip
    if name == "figure4":
        return {"images": pictures(2), "with_alignment": pictures(2), "without_alignment": pictures(2),
                "mse": np.array([[0.011, 0.012], [0.21, 0.22]])}  # fmt: skip
    if name == "figure5":
        return {"points_0": rng.normal(size=(50, 2)), "points_1": rng.normal(size=(50, 2)), "purity": [0.71, 0.25],
                "labels": rng.integers(0, 3, 50), "class_names": ["sky", "tree", "road", "absent"],
                "models": ["cae-b", "random-b"], "images": 5}  # fmt: skip
    return {"images": pictures(3), "reconstructions": pictures(3), "counts": np.array([5, 0, 40, 5]), "used": 0.75,
            "perplexity": 1.9, "mse": 0.0123, "psnr": 19.1}  # fmt: skip


@pytest.fixture
def inputs(tmp_path):
    """Input files of a figure."""

    def inputs(name, **changes):
        if name in ("segmentation", "detection"):
            return [examples(tmp_path / model, name, 0)[0] for model in ("cae-b", "random-b")]
        if name != "training":
            np.savez(tmp_path / f"{name}.npz", **(arrays(name) | changes))
            return [tmp_path / f"{name}.npz"]
        files = []
        cae, dino = {"loss": 3, "decoding": 2}, {"loss": 3, "entropy_of_mean": 0.5, "weight_decay": 0.04}
        aligned = {"alignment": 0.1, "accuracy": 0.5}
        for model, steps, terms, params in (
            ("dino-b", 3, dino, {"method": "dino"}),
            ("random-s", 0, cae, {"method": "cae", "target": "tokens"}),
            ("cae-s", 3, cae | aligned, {"method": "cae", "target": "tokens"}),
            ("cae-s-pixels", 3, cae, {"method": "cae", "target": "pixels"}),
            ("cae-s-no-align", 3, cae, {"method": "cae", "target": "tokens"}),
        ):
            folder = tmp_path / model
            folder.mkdir()
            lines = [
                {"step": i, "images": 10 * i, "lr": 0.1} | {term: value / i for term, value in terms.items()}
                for i in range(1, steps + 1)
            ]
            (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            (folder / "provenance.json").write_text(json.dumps({"params": params}))
            files += [folder / "metrics.jsonl", folder / "provenance.json"]
        return files

    return inputs


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def texts(figure):
    return [text.get_text() for text in figure.findobj(plt.Text) if text.get_text()]


@pytest.mark.parametrize("name", figures.FIGURES)
def test_png_and_pdf_have_the_same_bytes_twice(tmp_path, inputs, name):
    files, outputs = inputs(name), []
    for folder in (tmp_path / "a", tmp_path / "b"):
        figures.main(name, "demo", files, folder / f"{name}.png")
        assert sorted(path.name for path in folder.iterdir()) == [f"{name}.pdf", f"{name}.png"]
        outputs.append([(folder / f"{name}{suffix}").read_bytes() for suffix in (".png", ".pdf")])
    assert outputs[0] == outputs[1]
    assert b"CreationDate" not in outputs[0][1]
    with Image.open(tmp_path / f"a/{name}.png") as image:
        assert round(image.info["dpi"][0]) == 150 and "Software" not in image.info
    assert not plt.get_fignums()


def test_figure3_covers_exactly_the_masked_patches(inputs):
    axes = np.reshape(figures.figure3(*inputs("figure3")).axes, (2, 3))
    for i, mask in enumerate(arrays("figure3")["masks"]):
        cover = axes[0, i].images[1].get_array()
        assert np.array_equal(cover[..., 3] == 1, mask)
    assert [patch.get_bbox().bounds for patch in axes[1, 0].patches[:1]] == [(1.5, 2.5, 9, 14)]


def test_figure4_has_each_error_under_its_picture(inputs):
    axes = np.reshape(figures.figure4(*inputs("figure4")).axes, (3, 2))
    assert [[ax.get_xlabel() for ax in row] for row in axes] == [
        ["", ""], ["MSE 0.011", "MSE 0.012"], ["MSE 0.210", "MSE 0.220"]]  # fmt: skip


def test_figure5_names_models_purity_and_the_classes_that_occur(inputs):
    words = texts(figures.figure5(*inputs("figure5")))
    assert "cae-b (pretrained)\npurity 0.71" in words and "random-b (random weights)\npurity 0.25" in words
    assert {"sky", "tree", "road"} <= set(words) and "absent" not in words


def test_figure5_has_no_legend_of_many_classes(inputs):
    figure = figures.figure5(*inputs("figure5", class_names=[f"class {i}" for i in range(150)]))
    assert not figure.legends


def test_tokenizer_states_usage_and_error(inputs):
    words = " ".join(texts(figures.tokenizer(*inputs("tokenizer"))))
    assert "75 % of 4 tokens are used, perplexity 2" in words and "MSE 0.0123, PSNR 19.1 dB" in words


def test_training_has_a_row_a_method_a_panel_a_term_and_a_line_a_trained_model(inputs):
    figure = figures.training(*inputs("training"))
    rows = {}
    for ax in figure.axes:
        row = rows.setdefault(ax.get_subplotspec().rowspan.start, {"panels": {}})
        if legend := ax.get_legend():
            row["models"] = [text.get_text() for text in legend.get_texts()]
        else:
            row["panels"][ax.get_title()] = len(ax.lines)
            row["kind"] = row.get("kind") or ax.get_ylabel()
    assert [rows[i] for i in sorted(rows)] == [
        {"kind": "CAE", "models": ["cae-s", "cae-s-no-align"],
         "panels": {"loss": 2, "decoding loss": 2, "alignment loss": 2, "accuracy": 2}},
        {"kind": "CAE, pixels", "models": ["cae-s-pixels"], "panels": {"loss": 1, "decoding loss": 1}},
        {"kind": "DINO", "models": ["dino-b"], "panels": {"loss": 1, "entropy of mean": 1}},
    ]  # fmt: skip
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[10, 3], [20, 1.5], [30, 1]]
    assert not len(figure.axes[2].lines[1].get_xydata())  # no alignment


def test_legends_of_training_lie_within_the_figure(inputs):
    with plt.rc_context(figures.STYLE):
        figure = figures.training(*inputs("training"))
        figure.draw_without_rendering()
        boxes = [ax.get_legend().get_window_extent() for ax in figure.axes if ax.get_legend()]
    assert len(boxes) == 3
    for box in boxes:
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0


def test_training_of_nothing_says_so(inputs):
    assert texts(figures.training(*inputs("training")[2:4])) == ["no model was trained"]


def test_a_misspelt_figure_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown key 'figur3'; did you mean 'figure3'\?"):
        figures.main("figur3", "demo", [], "x.png")


def examples(folder, kind, seed):
    """examples.npz of two images, one wide and one high."""
    rng = np.random.default_rng(seed)
    data = {"names": np.array(["sky", "tree", "road"])}
    for i, (height, width) in enumerate([(10, 20), (16, 8)]):
        data[f"image_{i}"] = np.full((height, width, 3), 40, np.uint8)
        for part in ("truth", "prediction"):
            if kind == "segmentation":
                data[f"{part}_{i}"] = rng.integers(0, 3, (height, width), np.uint8)
                data[f"{part}_{i}"][0] = 255
            else:
                n = i + (part == "prediction")  # the first image has no objects
                data[f"{part}_{i}_boxes"] = np.tile([1.0, 2.0, 6.0, 9.0], (n, 1))
                data[f"{part}_{i}_labels"] = np.arange(n)
                data[f"{part}_{i}_masks"] = np.zeros((n, height, width), bool)
        if kind == "detection":
            data[f"prediction_{i}_scores"] = np.full(i + 1, 0.75)
    folder.mkdir()
    np.savez(folder / "examples.npz", **data)
    return folder / "examples.npz", data


def test_segmentation_shows_labels_and_every_models_predictions(tmp_path):
    (ours, cae), (theirs, random) = (
        examples(tmp_path / name, "segmentation", seed) for seed, name in enumerate(("cae-b", "random-b"))
    )
    figure = figures.segmentation(str(ours), str(theirs))
    axes = np.array(figure.axes).reshape(4, 2)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["image", "ground truth", "cae-b", "random-b"]
    colours = figures.category_colours(3)
    for row, (data, part) in zip(axes[1:], ((cae, "truth"), (cae, "prediction"), (random, "prediction"))):
        for i, ax in enumerate(row):
            drawn, labels = ax.images[0].get_array(), data[f"{part}_{i}"]
            assert np.allclose(drawn[labels < 3], colours[labels[labels < 3]]) and np.allclose(drawn[0], [0, 0, 0, 1])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sky", "tree", "road"]
    plt.close(figure)


def test_detection_shows_objects_and_what_every_model_finds(tmp_path):
    (ours, _), (theirs, _) = (examples(tmp_path / name, "detection", 0) for name in ("cae-b", "random-b"))
    figure = figures.detection(str(ours), str(theirs))
    axes = np.array(figure.axes).reshape(4, 2)
    assert [[len(ax.patches) for ax in row] for row in axes] == [[0, 0], [0, 1], [1, 2], [1, 2]]
    assert [text.get_text() for text in axes[1, 1].texts] == ["sky"]
    assert [text.get_text() for text in axes[2, 1].texts] == ["sky .75", "tree .75"]
    box = axes[2, 1].patches[0]
    assert (box.get_xy(), box.get_width(), box.get_height()) == ((0.5, 1.5), 5, 7)
    plt.close(figure)
