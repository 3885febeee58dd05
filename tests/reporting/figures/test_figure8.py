from cae.reporting.figures.figure8 import MAE
from tests.reporting.figures.test_graph import before, into


def inputs(folder):
    return []


def test_mae_updates_visible_representations_with_the_queries():
    assert into(MAE, "F'") == {"X_v"} and into(MAE, "R") == {"Z_v", "Q_m"}
    assert into(MAE, r"\ell_y") == {"Y_m", r"\bar{Y}_m"}
    assert "X_v" not in before(MAE, "Y_m", without=["F'"])
