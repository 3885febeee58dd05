"""The claims of params/claims.yaml: cells that are there, numbers of the paper that bear them out, mistakes."""

import pytest

from cae.errors import UserError
from cae.params import FIGURES, load_claims, load_tables
from cae.params.claims import Cell, Claim
from cae.reporting.claims import HOLDS, verdict
from tests.params.conftest import PARAMS

FIGURES_OF = {
    "figure4": ["cae-b-300-pixels", "cae-b-300-pixels-no-align"],
    "figure5": ["cae-b-1600", "random-b"],
    **dict.fromkeys(("figure6", "figure7", "figure9"), ["moco-v3-b-300", "cae-b-1600"]),
}


@pytest.fixture(scope="module")
def tables(paper):
    return load_tables(PARAMS / "tables.yaml", paper.models)


def test_every_claim_holds_on_the_papers_own_numbers(tables):
    printed = {(name, row.model): row.paper for name, table in tables.items() for row in table.rows}
    claims, checked = load_claims(PARAMS / "claims.yaml", tables, FIGURES_OF), 0
    assert len(claims) > 25
    for name, claim in claims.items():
        for left, right in claim.pairs:
            if {left.where, right.where} & FIGURES.keys():
                continue  # the paper prints no number
            difference = printed[left.where, left.model][left.column] - printed[right.where, right.model][right.column]
            assert verdict(claim, difference, 0.0) == HOLDS, (name, str(left), str(right))
            checked += 1
    assert checked > 100


def test_claims_are_about_every_table_and_differ(tables):
    claims = load_claims(PARAMS / "claims.yaml", tables, FIGURES_OF).values()
    named = {cell.where for claim in claims for pair in claim.pairs for cell in pair}
    assert named == {name for name, table in tables.items() if not table.own} | FIGURES.keys()
    assert len({claim.claim for claim in claims}) == len(claims)
    for claim in claims:
        pairs = [(str(left), str(right)) for left, right in claim.pairs]
        assert len(set(pairs)) == len(pairs) and all(left != right for left, right in pairs), claim.claim


@pytest.mark.parametrize(
    "old,new,message",
    [
        ("[table1, cae-s-300, linear]", "[tabel1, cae-s-300, linear]",
         "cae-beit-linear: pairs.0: unknown key 'tabel1'; did you mean 'table1'?"),
        ("[table1, cae-s-300, linear]", "[table1, cae-s-30, linear]",
         "cae-beit-linear: pairs.0: table1: unknown key 'cae-s-30'; did you mean 'cae-s-300'?"),
        ("[table1, cae-s-300, linear]", "[table1, cae-s-300, linaer]",
         "cae-beit-linear: pairs.0: table1: cae-s-300: unknown key 'linaer'; did you mean 'linear'?"),
        ("[table1, beit-b-300, linear]", "[table1, deit-b-300, linear]",  # its row has no such cell
         "cae-beit-linear: pairs.1: table1: deit-b-300: unknown key 'linear'; valid keys: attentive"),
        ("[figure5, random-b, purity]", "[figure5, random-l, purity]",
         "clusters: pairs.0: figure5: unknown key 'random-l'; did you mean 'random-b'?"),
        ("[figure5, random-b, purity]", "[figure5, random-b, impurity]",
         "clusters: pairs.0: figure5: random-b: unknown key 'impurity'; did you mean 'purity'?"),
        ("[table1, cae-s-300, linear]", "[table1, cae-s-300]", "cae-beit-linear: pairs.0.0: a cell is three names"),
        ("  compare: close", "  compare: closer", "decoder-alone: compare: Input should be 'above' or 'close'"),
        ("points: 1 #", "points: 0 #", "decoder-alone: points: how close? more than 0"),
        ("place:", "palce:", "cae-beit-linear: unknown key 'palce'; did you mean 'place'?"),
    ],
)  # fmt: skip
def test_mistakes_in_claims_are_named(tmp_path, tables, old, new, message):
    text = (PARAMS / "claims.yaml").read_text()
    assert old in text
    (tmp_path / "claims.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        load_claims(tmp_path / "claims.yaml", tables, FIGURES_OF)
    assert "claims.yaml: " in str(error.value) and message in str(error.value)


def test_a_claim_names_the_figures_that_it_needs():
    table, figure = ["table1", "a", "linear"], ["figure6", "a", "outside"]
    assert not Claim(claim="c", place="p", pairs=[[table, table]]).figures
    assert Claim(claim="c", place="p", pairs=[[figure, figure], [table, table]]).figures == {"figure6"}
    assert str(Cell.model_validate(figure)) == "figure6 a outside"
