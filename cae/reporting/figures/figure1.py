"""Figure 1: the pipeline."""

import numpy as np

from cae.reporting.figures.figure2 import CAE
from cae.reporting.figures.graph import LOSS, Edge, Graph, add, canvas, function, loss, patches

CAPTION = """The pipeline of CAE. The encoder sees the visible patches alone. From what it makes of them the latent contextual
    regressor predicts the representations of the masked patches, which the alignment constraint holds to those that the
    same encoder computes from the masked patches themselves; no gradient flows into these. The decoder maps the predicted
    representations, without a look at the visible ones, to the targets. Green is the space of the encoder's
    representations, purple that of the targets, paler where predicted; cornflower blue is what only the loss needs."""

MASKED = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1], [1, 1, 0, 0]], bool)  # half of the patches, in blocks
BOX, LONG = (0.62, 0.44), (0.78, 0.6)  # inches
TOP, MIDDLE, BOTTOM = 2.28, 1.48, 0.68

PIPELINE = Graph(
    nodes={
        "X": patches((0.45, MIDDLE), patches=MASKED | True, size=(0.62, 0.62), note="image", side="right"),
        "X_v": patches((1.29, TOP), patches=~MASKED, note="visible\npatches $X_v$", side="above"),
        "F": function((2.13, TOP), "encoder\n$F$", size=BOX),
        "Z_v": patches((2.97, TOP), patches=~MASKED, fill="#009E73", side="above",
                       note="representations of\nvisible patches $Z_v$"),
        "Q_m": patches((3.89, MIDDLE), patches=MASKED, fill="0.7", note="mask queries $Q_m$"),
        "H": function((3.89, TOP), "latent\ncontextual\nregressor $H$", size=LONG, note="cross-attention", side="above"),
        "Z_m": patches((4.81, TOP), patches=MASKED, fill="#99D8C7", note="predicted\nrepresentations $Z_m$", side="above"),
        "G": function((5.65, TOP), "decoder\n$G$", size=BOX),
        "Y_m": patches((6.49, TOP), patches=MASKED, fill="#EBC9DC", note="predicted\ntargets $Y_m$", side="above"),
        "X_m": patches((1.29, BOTTOM), patches=MASKED, colour=LOSS, note="masked\npatches $X_m$"),
        "F again": function((2.13, BOTTOM), "encoder\n$F$", LOSS, size=BOX),
        r"\bar{Z}_m": patches((4.81, BOTTOM), patches=MASKED, colour=LOSS, fill="#009E73",
                              note="representations of\nmasked patches " r"$\bar{Z}_m$"),
        r"\bar{Y}_m": patches((6.49, BOTTOM), patches=MASKED, colour=LOSS, fill="#CC79A7", note=r"targets $\bar{Y}_m$"),
        r"\ell_z": loss((4.81, MIDDLE), r"alignment $\ell_z$", size=(0.86, 0.3)),
        r"\ell_y": loss((6.49, MIDDLE), r"decoding $\ell_y$", size=(0.78, 0.3)),
    },
    edges=[Edge("X", "X_v", bend=(90, 180)), Edge("X", "X_m", bend=(-90, 180)), *CAE.edges],
)  # fmt: skip


def draw():
    figure, ax = canvas(3.05)
    add(ax, PIPELINE)
    return figure
