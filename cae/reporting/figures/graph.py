"""Drawings of nodes and edges: what describes one, and the one way to draw it."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from matplotlib.transforms import Affine2D

from cae.reporting.figures.style import GREY, WIDTH

INK, LOSS = "0.15", "cornflowerblue"  # LOSS: parts that only the loss needs
FILL = {INK: "0.93", LOSS: "#E3EBFC"}  # of functions
SIZE = {"variable": (0.32, 0.32), "function": (0.3, 0.3), "loss": (0.3, 0.3), "patches": (0.56, 0.56)}  # inches


@dataclass(frozen=True)
class Node:
    """A variable, a function, a loss, or a picture of which some patches are there.

    `at`: its centre, in steps of its graph, y upwards. `label`: what it holds, else its name as a formula. `size`: width
    and height, inches. `patches` [rows, columns]: true where there is one, filled with `fill`, a colour or the picture.
    """

    kind: str
    at: tuple[float, float]
    label: str = ""
    colour: str = INK
    size: tuple[float, float] | None = None
    note: str = ""
    side: str = "below"  # where the note is: below, above or right
    patches: np.ndarray | None = None
    fill: str = "picture"


SIDES = {"below": (0, -1, "center", "top"), "above": (0, 1, "center", "bottom"), "right": (1, 0, "left", "center")}
variable, function, patches = (partial(Node, kind) for kind in ("variable", "function", "patches"))
loss = partial(Node, "loss", colour=LOSS)


@dataclass(frozen=True)
class Edge:
    """From one node to another. `kind`: flow, stopped (no gradient flows back), or same (one function, drawn twice).

    `bend`: one right angle, as the directions, in degrees, in which the edge leaves and in which it looks back.
    """

    source: str
    target: str
    kind: str = "flow"
    label: str = ""
    bend: tuple[int, int] | None = None


def chain(*names: str) -> list[Edge]:
    return [Edge(*pair) for pair in pairwise(names)]


@dataclass(frozen=True)
class Graph:
    nodes: dict[str, Node]
    edges: list[Edge]


ARROW = dict(arrowstyle="-|>", shrinkB=0.5)
GAPS = dict(arrowstyle="-", color="white", linewidth=1.8, linestyle=(0, (1, 1.2)), shrinkA=1.5, shrinkB=6)
DOTS = dict(arrowstyle="-", linestyle=(0, (1, 1.5)))
LINES = {"flow": [ARROW], "stopped": [ARROW, GAPS], "same": [DOTS]}  # a dashed arrow would have a dashed head


def canvas(height: float):
    """A figure without frame, whose axes count inches from the lower left corner."""
    figure = plt.figure(figsize=(WIDTH, height))
    figure.set_layout_engine("none")  # after it was made: else saving it sets the default one
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    ax.set_axis_off()
    return figure, ax


def add(ax, graph: Graph, origin=(0, 0), step=(1, 1)) -> None:
    """Draw `graph` with its (0, 0) at `origin`, inches, and `step` inches from one coordinate to the next."""
    centres = {name: np.add(origin, np.multiply(step, node.at)) for name, node in graph.nodes.items()}
    outlines = {name: outline(ax, name, node, centres[name]) for name, node in graph.nodes.items()}
    for edge in graph.edges:
        ends = [(graph.nodes[name], centres[name]) for name in (edge.source, edge.target)]
        start, end = towards(*ends[0], ends[1][1]), towards(*ends[1], ends[0][1])
        way = "arc3" if edge.bend is None else "angle,angleA={},angleB={},rad=4".format(*edge.bend)
        style = dict(color=ends[1][0].colour, linewidth=0.9, mutation_scale=7, shrinkA=0, shrinkB=0, capstyle="butt")
        shapes = dict(patchA=outlines[edge.source], patchB=outlines[edge.target], connectionstyle=way)
        for line in LINES[edge.kind]:
            ax.add_patch(FancyArrowPatch(start, end, joinstyle="miter", **(style | shapes | line)))
        ax.text(*(np.add(start, end) / 2 + (0.06, 0)), edge.label, fontsize=7, va="center", color=GREY)


def towards(node: Node, centre, other) -> np.ndarray:
    """Where edges from `other` aim at: the centre, but of a long box the point that keeps them level or upright."""
    slack = np.subtract(node.size or SIZE[node.kind], SIZE[node.kind]) / 2
    return np.clip(other, centre - slack, centre + slack)


def outline(ax, name: str, node: Node, centre):
    """Draw a node; its outer shape, at which edges end."""
    size = np.array(node.size or SIZE[node.kind])
    corner, line = centre - size / 2, dict(edgecolor=node.colour, linewidth=1)
    if node.kind == "variable":
        shape = Circle(centre, size[0] / 2, facecolor="white", **line)
    elif node.kind == "patches":
        shape = Rectangle(corner, *size, fill=False, zorder=1.5, **line)
    else:
        face = node.colour if node.kind == "loss" else FILL[node.colour]
        shape = FancyBboxPatch(corner, *size, "round,pad=0,rounding_size=0.06", facecolor=face, **line)
    ax.add_patch(shape)
    if node.kind == "patches":
        draw_patches(ax, node, corner, size, shape)
    else:
        ax.text(*centre, node.label or f"${name}$", ha="center", va="center", linespacing=1.4)
    right, up, ha, va = SIDES[node.side]
    ax.text(*(centre + (right, up) * (size / 2 + 0.05)), node.note, fontsize=7, color=INK, ha=ha, va=va)
    return shape


def draw_patches(ax, node: Node, corner, size, shape) -> None:
    """What fills the frame `shape`, under a grid of patches; those that are not there are white."""
    for part in scene() if node.fill == "picture" else [Rectangle((0, 0), 1, 1, color=node.fill)]:
        part.set_transform(Affine2D().scale(*size).translate(*corner) + ax.transData)
        ax.add_patch(part)
        part.set_clip_path(shape)
    step = size / node.patches.shape[::-1]
    for (i, k), there in np.ndenumerate(node.patches):
        cell = corner + step * (k, len(node.patches) - 1 - i)
        ax.add_patch(Rectangle(cell, *step, facecolor="none" if there else "white", edgecolor="0.85", linewidth=0.5))


def scene() -> list:
    """A landscape in the unit square."""
    return [
        Rectangle((0, 0), 1, 1, color="#BFE0F5"),
        Circle((0.74, 0.76), 0.13, color="#E69F00"),
        Polygon([(0, 0.3), (0.36, 0.78), (0.62, 0.42), (0.75, 0.55), (1, 0.3)], color="#8A8FA3"),
        Ellipse((0.3, 0.05), 1.5, 0.7, color="#C9D67E"),
        Ellipse((0.95, 0), 1, 0.62, color="#A5BD4F"),
    ]
