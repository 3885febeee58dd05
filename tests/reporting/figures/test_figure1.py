import numpy as np

from cae.reporting.figures.figure1 import PIPELINE
from cae.reporting.figures.figure2 import CAE
from tests.reporting.figures.test_graph import blue, into, of_kind


def inputs(folder):
    return []


def test_pipeline_is_the_graph_of_cae_from_one_image_on():
    assert set(PIPELINE.nodes) == {"X", *CAE.nodes}
    assert [edge for edge in PIPELINE.edges if edge.source != "X"] == CAE.edges
    assert into(PIPELINE, "X_v") == into(PIPELINE, "X_m") == {"X"}
    assert blue(PIPELINE) == blue(CAE)
    assert all(of_kind(PIPELINE, kind) == of_kind(CAE, kind) for kind in ("function", "loss"))


def test_pipeline_shows_half_of_the_patches_in_each_stream():
    there = {name: node.patches for name, node in PIPELINE.nodes.items() if node.kind == "patches"}
    assert there["X"].all() and np.array_equal(there["X_m"], ~there["X_v"]) and there["X_v"].mean() == 0.5
    assert np.array_equal(there["Z_v"], there["X_v"])
    assert all(np.array_equal(there[name], there["X_m"]) for name in ("Q_m", "Z_m", "Y_m", r"\bar{Z}_m", r"\bar{Y}_m"))
