import json

import matplotlib.pyplot as plt

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


def test_training_has_a_row_a_method_a_panel_a_term_and_a_line_a_trained_model(tmp_path):
    figure = training.draw(*inputs(tmp_path))
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


def test_legends_of_training_lie_within_the_figure(tmp_path):
    with plt.rc_context(style.STYLE):
        figure = training.draw(*inputs(tmp_path))
        figure.draw_without_rendering()
        boxes = [ax.get_legend().get_window_extent() for ax in figure.axes if ax.get_legend()]
    assert len(boxes) == 3
    for box in boxes:
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0


def test_training_of_nothing_says_so(tmp_path):
    assert texts(training.draw(*inputs(tmp_path)[2:4])) == ["no model was trained"]
