"""Figure 8: MAE and SplitMask as a computational graph."""

from cae.reporting.figures.graph import LOSS, Graph, add, canvas, chain, function, loss, variable

CAPTION = """Computational graph of MAE and of one stream of SplitMask. Both functions are made of self-attention. F', which MAE
    calls the encoder, sees the visible patches alone; R, which it calls the decoder, updates their representations together
    with the mask queries, so that it may take a share in encoding. Cornflower blue is for the loss."""

MAE = Graph(
    nodes={
        "X_v": variable((0, 1)), "F'": function((1, 1), note="MAE's encoder", side="above"),
        "Z_v": variable((2, 1)), "Q_m": variable((2, 0)),
        "R": function((3, 0.5), size=(0.3, 0.84), note="MAE's decoder", side="above"), "Y_m": variable((4, 0)),
        r"\ell_y": loss((5, 0)), r"\bar{Y}_m": variable((6, 0), colour=LOSS),
    },
    edges=[*chain("X_v", "F'", "Z_v", "R", "Y_m", r"\ell_y"), *chain("Q_m", "R"), *chain(r"\bar{Y}_m", r"\ell_y")],
)  # fmt: skip


def draw():
    figure, ax = canvas(1.25)
    add(ax, MAE, (1.98, 0.24), (0.507, 0.54))
    return figure
