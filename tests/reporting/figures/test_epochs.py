import json

from cae.reporting.figures import epochs
from tests.reporting.figures.conftest import texts

RUNS = [  # model, method, epochs, LIN, ATT
    ("random-b", "cae", 0, 20, 30),
    ("cae-b-300", "cae", 6, 34, 40),
    ("cae-b-300@1", "cae", 6, 38, 44),
    ("cae-b-1600", "cae", 32, 50, 61),
    ("mae-b-300", "mae", 6, 41, 50),
]


def inputs(folder, inits=()):
    files = []
    for model, method, length, *accuracies in RUNS:
        for protocol, top1 in zip(("linear", "attentive"), accuracies):
            files.append(folder / protocol / f"{model}.json")
            files[-1].parent.mkdir(exist_ok=True)
            files[-1].write_text(json.dumps({"model": model, "protocol": protocol, "top1": top1}))
        files.append(folder / model / "provenance.json")
        files[-1].parent.mkdir()
        files[-1].write_text(json.dumps({"params": {"method": method, "epochs": length, **dict(inits).get(model, {})}}))
    return files


def test_epochs_has_a_line_a_method_through_the_means_of_seeds_and_random_weights_as_a_level(tmp_path):
    figure = epochs.draw(*inputs(tmp_path))
    linear, attentive = figure.axes
    assert {"linear probing", "attentive probing", "random weights", "CAE", "MAE"} <= set(texts(figure))
    for ax, level, cae, mae, bar in (
        (linear, 20, [[6, 36], [32, 50]], [[6, 41]], [34, 38]),
        (attentive, 30, [[6, 42], [32, 61]], [[6, 50]], [40, 44]),
    ):
        lines = {line.get_label(): line for line in ax.lines}
        assert list(lines["random weights"].get_ydata()) == [level, level]
        containers = {each.get_label(): each for each in ax.containers}
        assert containers["CAE"].lines[0].get_xydata().tolist() == cae
        assert containers["MAE"].lines[0].get_xydata().tolist() == mae
        assert containers["CAE"].lines[2][0].get_segments()[0][:, 1].tolist() == bar  # lowest to highest seed
        assert [text.get_text() for text in ax.get_xticklabels()] == ["6", "32"]


def test_xaviers_first_weights_have_a_line_of_their_own(tmp_path):
    xavier = {"init": "xavier"}
    figure = epochs.draw(
        *inputs(tmp_path, {"cae-b-1600": xavier, "cae-b-300@1": {"init": "public"}, "random-b": xavier})
    )
    containers = {each.get_label(): each.lines[0].get_xydata().tolist() for each in figure.axes[0].containers}
    assert containers == {"CAE, Xavier": [[32, 50]], "CAE": [[6, 36]], "MAE": [[6, 41]]}
