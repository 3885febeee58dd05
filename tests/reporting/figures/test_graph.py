"""Figures 1, 2 and 8: what holds of each of their graphs, and that they are drawn as described."""

import itertools

import matplotlib.pyplot as plt
import pytest

from cae.reporting import figures
from cae.reporting.figures.figure1 import PIPELINE
from cae.reporting.figures.figure2 import BEIT, CAE, DAE
from cae.reporting.figures.figure8 import MAE
from cae.reporting.figures.graph import LOSS

NAMES = ["figure1", "figure2", "figure8"]
GRAPHS = {"pipeline": PIPELINE, "cae": CAE, "beit": BEIT, "dae": DAE, "mae": MAE}
graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def into(graph, name):
    return {edge.source for edge in graph.edges if edge.target == name and edge.kind != "same"}


def before(graph, name, without=()):
    """All that `name` is computed from, were the nodes `without` not there."""
    found, new = set(), {name}
    while new:
        new = {source for node in new for source in into(graph, node)} - found - set(without)
        found |= new
    return found


def of_kind(graph, kind):
    return {name for name, node in graph.nodes.items() if node.kind == kind}


def blue(graph):
    return {name for name, node in graph.nodes.items() if node.colour == LOSS}


@graphs
def test_edges_join_declared_nodes_and_no_node_is_alone(graph):
    assert {name for edge in graph.edges for name in (edge.source, edge.target)} == set(graph.nodes)


@graphs
def test_functions_stand_between_variables(graph):
    functions = of_kind(graph, "function") | of_kind(graph, "loss")
    for edge in graph.edges:
        if edge.kind != "same" and edge.source != "X" or graph is DAE:
            assert (edge.source in functions) != (edge.target in functions)


@graphs
def test_losses_end_the_graph_and_what_serves_only_them_has_their_colour(graph):
    losses = of_kind(graph, "loss")
    assert losses and losses <= blue(graph)
    assert not any(edge.source in losses for edge in graph.edges)
    assert all(edge.target in blue(graph) for edge in graph.edges if edge.source in blue(graph))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
def test_pdf_is_made_of_vectors_and_words_lie_on_the_page_and_not_on_each_other(tmp_path, monkeypatch, name):
    drawn = []
    monkeypatch.setattr(plt, "close", drawn.append)
    figures.main(name=name, scale="demo", output=tmp_path / f"{name}.png")
    monkeypatch.undo()
    assert b"/Subtype /Image" not in (tmp_path / f"{name}.pdf").read_bytes()
    page, words = drawn[0].bbox, [text for text in drawn[0].findobj(plt.Text) if text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in words]
    assert len(boxes) > 8 and not any(text.startswith("scale") for text, _ in boxes)  # it depends on none
    assert [t for t, b in boxes if b.x0 < 0 or b.y0 < 0 or b.x1 > page.x1 + 1 or b.y1 > page.y1] == []
    assert [(s, t) for (s, a), (t, b) in itertools.combinations(boxes, 2) if a.overlaps(b)] == []
    plt.close("all")


def test_a_raster_in_a_pdf_would_be_found(tmp_path):
    figure, ax = plt.subplots()
    ax.imshow([[0, 1]])
    figure.savefig(tmp_path / "raster.pdf")
    plt.close("all")
    assert b"/Subtype /Image" in (tmp_path / "raster.pdf").read_bytes()
