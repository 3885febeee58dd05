"""The DAG: Snakemake's rulegraph in layers (Sugiyama's), without Graphviz."""

import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import networkx as nx
from grandalf.graphs import Edge, Vertex, graph_core
from grandalf.layouts import SugiyamaLayout
from grandalf.routing import EdgeViewer
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve

from cae.errors import UserError
from cae.reporting.figures.style import COLOURS, WIDTH

CAPTION = """The DAG: a box a rule, an arrow from each to those that read what it makes, from data on top to this page; pale
    where a longer way leads there as well."""
BOX, LETTER, GAP = (
    0.24,
    0.068,
    0.3,
)  # height of a box, width of a letter, room between boxes: inches, before all is fitted


def draw(path: str):
    """`path`: what `snakemake --rulegraph` prints."""
    names, edges = read_dot(path)
    boxes, ways = layout(names, edges)
    spans = [(x - w / 2, x + w / 2) for x, _, w in boxes.values()] + [(x, x) for way in ways.values() for x, _ in way]
    left, right = min(span[0] for span in spans), max(span[1] for span in spans)
    height = max(y for _, y, _ in boxes.values()) + BOX
    scale = min(1, WIDTH / (right - left))
    figure = plt.figure(figsize=(WIDTH, height * scale + 0.2))
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, height * scale / (height * scale + 0.2)), aspect="equal")
    ax.set(xlim=(left - 0.02, right + 0.02), ylim=(height - BOX / 2 + 0.02, -BOX / 2 - 0.02))
    ax.set_axis_off()
    detours = {edge for edge in edges if longer_way(edge, edges)}
    for edge, way in ways.items():
        colour, order = ("0.85", 1) if edge in detours else ("0.4", 2)
        style = dict(
            arrowstyle="-|>", mutation_scale=6, color=colour, linewidth=0.8, zorder=order, shrinkA=0, shrinkB=0
        )
        ax.add_patch(FancyArrowPatch(path=smooth(way), **style))
    for node, (x, y, w) in boxes.items():
        corner = (x - w / 2, y - BOX / 2)
        shape = FancyBboxPatch(corner, w, BOX, "round,pad=0,rounding_size=0.05", zorder=3, facecolor="white")
        shape.set(edgecolor=COLOURS[0], linewidth=1)
        ax.add_patch(shape)
        ax.text(x, y, names[node], ha="center", va="center", fontsize=7 * scale, zorder=4)
    return figure


def read_dot(path: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Names of rules by number, and edges between the numbers."""
    text = Path(path).read_text()
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)', text, re.M))
    if not names:
        raise UserError(f"{path}: no rulegraph; make it with `snakemake --rulegraph`")
    edges = [(a, b) for a, b in re.findall(r"^\s*(\d+) -> (\d+)", text, re.M) if a != b]
    names = dict(sorted(names.items(), key=lambda item: item[1]))  # Snakemake's order is one of chance, too
    return names, sorted(edges, key=lambda edge: [names[node] for node in edge])


def layout(names: dict, edges: list) -> tuple[dict, dict]:
    """(x, y, width) of each rule's box and the points that each edge passes, y downwards, inches."""
    vertices = {node: Vertex(node) for node in names}
    for node, vertex in vertices.items():
        vertex.view = SimpleNamespace(w=LETTER * len(names[node]) + 0.12, h=BOX, xy=(0, 0))
    links = {edge: Edge(vertices[edge[0]], vertices[edge[1]]) for edge in edges}
    for link in links.values():
        link.view = EdgeViewer()
    sugiyama = SugiyamaLayout(
        graph_core(vertices.values(), links.values())
    )  # a Graph's edges are in an order of chance
    sugiyama.xspace, sugiyama.yspace, sugiyama.dw, sugiyama.dh = GAP / 2, GAP, 0.02, BOX
    sugiyama.init_all()
    sugiyama.draw(40)
    boxes = {node: (*vertex.view.xy, vertex.view.w) for node, vertex in vertices.items()}
    top = min(y for _, y, _ in boxes.values())
    boxes = {node: (x, y - top, w) for node, (x, y, w) in boxes.items()}
    ways = {edge: [(x, y - top) for x, y in link.view._pts] for edge, link in links.items()}
    return boxes, ways


def smooth(points: list) -> Curve:
    """A curve from the lower side of the first box through all points to the upper side of the last, upright at each."""
    (x, y), (u, v) = points[0], points[-1]
    points = [(x, y + BOX / 2), *points[1:-1], (u, v - BOX / 2)]
    curve = [points[0]]
    for (x, y), (u, v) in zip(points, points[1:]):
        curve += [(x, (y + v) / 2), (u, (y + v) / 2), (u, v)]
    return Curve(curve, [Curve.MOVETO] + [Curve.CURVE4] * (len(curve) - 1))


def longer_way(edge: tuple[str, str], edges: list) -> bool:
    """Whether other edges lead from its beginning to its end."""
    graph = nx.DiGraph(edges)
    graph.remove_edge(*edge)
    return nx.has_path(graph, *edge)
