from cae.reporting.figures.figure2 import BEIT, CAE, DAE
from tests.reporting.figures.test_graph import before, blue, into, of_kind

Z_BAR, Y_BAR, L_Z, L_Y = r"\bar{Z}_m", r"\bar{Y}_m", r"\ell_z", r"\ell_y"


def inputs(folder):
    return []


def test_cae_has_the_two_losses_of_equation_1_and_stops_one_gradient():
    assert {name: into(CAE, name) for name in of_kind(CAE, "loss")} == {L_Z: {"Z_m", Z_BAR}, L_Y: {"Y_m", Y_BAR}}
    assert [(e.source, e.target) for e in CAE.edges if e.kind == "stopped"] == [(Z_BAR, L_Z)]
    assert blue(CAE) == {L_Z, L_Y, "X_m", "F again", Z_BAR, Y_BAR}


def test_cae_decodes_predictions_alone_and_leaves_visible_representations_as_encoded():
    assert into(CAE, "G") == {"Z_m"} and into(CAE, "Z_m") == {"H"} and into(CAE, "H") == {"Z_v", "Q_m"}
    assert "X_v" in before(CAE, "Y_m") and "X_v" not in before(CAE, "Y_m", without=["H"])
    assert before(CAE, "Z_v") == {"X_v", "F"}
    assert "X_m" not in before(CAE, "Y_m")  # nothing leaks


def test_cae_encodes_visible_and_masked_patches_by_one_function():
    assert [(edge.source, edge.target) for edge in CAE.edges if edge.kind == "same"] == [("F", "F again")]
    assert (CAE.nodes["F"].label or "$F$") == CAE.nodes["F again"].label
    assert before(CAE, Z_BAR) == {"X_m", "F again"}


def test_beit_encodes_and_decodes_in_one_function_and_is_judged_on_masked_patches():
    assert of_kind(BEIT, "function") == {"R"} and into(BEIT, "R") == {"X_v", "Q_m"}
    assert into(BEIT, "Y_v") == into(BEIT, "Y_m") == {"R"}
    assert into(BEIT, L_Y) == {"Y_m", Y_BAR} and "Y_v" not in before(BEIT, L_Y)


def test_denoising_autoencoder_restores_what_it_does_not_see():
    assert into(DAE, L_Y) == {"Y", "X"}
    assert before(DAE, "Y") == {"G", "Z", "F", r"\tilde{X}", "N", "X"} and "X" not in before(DAE, "Y", without=["N"])
