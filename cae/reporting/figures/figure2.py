"""Figure 2: CAE beside BEiT and the denoising autoencoder, as computational graphs."""

from cae.reporting.figures.graph import GREY, LOSS, Edge, Graph, add, canvas, chain, function, loss, variable

CAPTION = """Computational graphs of (a) CAE, (b) BEiT and (c) a denoising autoencoder: circles are variables, boxes functions,
    cornflower blue is for the loss. (a) The encoder F makes representations of the visible patches; from them and mask
    queries the latent contextual regressor H predicts those of the masked patches; from these alone the decoder G predicts
    targets. The same F makes of the masked patches what H shall predict, and no gradient flows back there (dashed).
    (b) Visible patches and mask queries are updated together in R, and what it predicts of visible patches is not used.
    (c) N adds noise to the input that encoder F and decoder G restore. Positional embeddings are left out."""

CAE = Graph(
    nodes={
        "Q_m": variable((3, 3)),
        "X_v": variable((0, 2)), "F": function((1, 2)), "Z_v": variable((2, 2)), "H": function((3, 2)),
        "Z_m": variable((4, 2)), "G": function((5, 2)), "Y_m": variable((6, 2)),
        r"\ell_z": loss((4, 1)), r"\ell_y": loss((6, 1)),
        "X_m": variable((0, 0), colour=LOSS), "F again": function((1, 0), "$F$", LOSS),
        r"\bar{Z}_m": variable((4, 0), colour=LOSS), r"\bar{Y}_m": variable((6, 0), colour=LOSS),
    },
    edges=[
        *chain("X_v", "F", "Z_v", "H", "Z_m", "G", "Y_m", r"\ell_y"), *chain("Q_m", "H"), *chain("X_m", "F again", r"\bar{Z}_m"),
        Edge("F", "F again", "same", "shared weights"), Edge(r"\bar{Z}_m", r"\ell_z", "stopped", "stop gradient"),
        *chain("Z_m", r"\ell_z"), *chain(r"\bar{Y}_m", r"\ell_y"),
    ],
)  # fmt: skip
BEIT = Graph(
    nodes={
        "X_v": variable((0, 1)), "Q_m": variable((0, 0)), "R": function((1, 0.5), size=(0.3, 0.84)),
        "Y_v": variable((2, 1), colour=GREY), "Y_m": variable((2, 0)),
        r"\ell_y": loss((3, 0)), r"\bar{Y}_m": variable((4, 0), colour=LOSS),
    },
    edges=[*chain("X_v", "R", "Y_v"), *chain("Q_m", "R", "Y_m", r"\ell_y"), *chain(r"\bar{Y}_m", r"\ell_y")],
)  # fmt: skip
DAE = Graph(
    nodes={
        "X": variable((0, 1)), "N": function((1, 1)), r"\tilde{X}": variable((2, 1)), "F": function((3, 1)),
        "Z": variable((4, 1)), "G": function((5, 1)), "Y": variable((6, 1)), r"\ell_y": loss((6, 0)),
    },
    edges=[*chain("X", "N", r"\tilde{X}", "F", "Z", "G", "Y", r"\ell_y"), Edge("X", r"\ell_y", bend=(-90, 180))],
)  # fmt: skip


def draw():
    figure, ax = canvas(2.5)
    for graph, left, bottom, row, title, top in (
        (CAE, 0.25, 0.24, 0.6, "(a) CAE", 2.32),
        (BEIT, 3.85, 1.5, 0.54, "(b) BEiT", 2.32),
        (DAE, 3.85, 0.24, 0.54, "(c) denoising autoencoder", 1.06),
    ):
        ax.text(left - 0.16, top, title, fontsize=9, va="center")
        add(ax, graph, (left, bottom), (0.485, row))
    return figure
