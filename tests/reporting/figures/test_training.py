import json

import matplotlib.pyplot as plt
import numpy as np

from cae.reporting.figures import style, training
from tests.reporting.figures.conftest import texts


def inputs(folder):
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
        lines = [
            {"step": i, "images": 10 * i, "lr": 0.1} | {term: value / i for term, value in terms.items()}
            for i in range(1, steps + 1)
        ]
        (folder / model).mkdir()
        files += [folder / model / "metrics.jsonl", folder / model / "provenance.json"]
        files[-2].write_text("".join(json.dumps(line) + "\n" for line in lines))
        files[-1].write_text(json.dumps({"params": params}))
    return files


def test_training_has_a_panel_a_term_and_a_line_a_trained_model_with_its_name(tmp_path):
    figure = training.draw(*inputs(tmp_path))
    panels = {ax.get_title(loc="left"): (len(ax.lines), texts(ax)) for ax in figure.axes if ax.axison}
    both, pixels, dino = (2, {"cae-s", "cae-s-no-align"}), (1, {"cae-s-pixels"}), (1, {"dino-b"})
    assert {title: (lines, set(names) - {title, ""}) for title, (lines, names) in panels.items()} == {
        "CAE: loss": both, "CAE: decoding loss": both, "CAE: alignment loss": (1, {"cae-s"}), "CAE: accuracy": (1, {"cae-s"}),
        "CAE, pixels: loss": pixels, "CAE, pixels: decoding loss": pixels,
        "DINO: loss": dino, "DINO: entropy of mean": dino,
    }  # fmt: skip
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[10, 3], [20, 1.5], [30, 1]]


def test_names_of_many_models_lie_within_the_figure_and_not_on_each_other(tmp_path):
    files = []
    for i in range(12):
        name = f"cae-b-{i}-no-align-no-decoder"
        (tmp_path / name).mkdir()
        files += [tmp_path / name / "metrics.jsonl", tmp_path / name / "provenance.json"]
        lines = [{"images": 10 * step, "loss": 5 / step + i % 3 * 1e-3} for step in (1, 2, 3 + i)]
        files[-2].write_text("".join(json.dumps(line) + "\n" for line in lines))
        files[-1].write_text(json.dumps({"params": {"method": "cae"}}))
    with plt.rc_context(style.STYLE):
        figure = training.draw(*files)
        figure.draw_without_rendering()
        boxes = [plt.Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 12
    for box in boxes:
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1
    boxes.sort(key=lambda box: box.y0)
    assert all(below.y0 + 0.8 * below.height <= above.y0 for below, above in zip(boxes, boxes[1:]))


def test_levels_are_moved_only_to_make_room():
    assert training.spread([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]
    moved = training.spread([0.0, 0.0, 0.95, 0.95, 1.0], 0.1)
    assert np.all(np.diff(moved) > 0.0999) and moved[0] == 0 and moved[-1] == 1


def test_training_of_nothing_says_so(tmp_path):
    assert texts(training.draw(*inputs(tmp_path)[2:4])) == ["no model was trained"]
