"""The page: self-contained, complete, the same bytes twice, nothing unescaped."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from cae.params import Table, read
from cae.reporting import page, tables

CSV = """\
model,group,method,tokenizer,epochs,epochs_paper,linear,linear_paper
cae-s-300,<b>S</b>,CAE & co,dvae (8 codes),3,300,26.674,51.8
cae-b-300,B,CAE,dvae (8 codes),3,300,,64.1
deit-b-300,B,DeiT,,3,300,,
,B,Other,,,,,
"""
CELLS = """\
model,column,protocol,value,params_hash,seconds,images_per_second,precision,revision,metrics,log,note
cae-s-300,linear,linear,26.674,0123456789abcdef,12.3,1000.0,float32,abc+,results/demo/evaluate/linear/cae-s-300.json,p.log,So.
"""
MODELS = """\
model,method,source,epochs,images,seconds,images_per_second,loss_first,loss_last
mae-b-1600,mae,released,1600,,,,,
cae-b-300,cae,built,3,3840,12.3,312.2,5.5,2.25
"""
CLAIMS = """\
claim,place,paper,ours,difference,verdict,rule
Alignment helps,Table 2,73.8 > 72.7,25.9 < 31.1,-5.2,fails,standard error
Longer is better,Table 1,,,,not run,
"""
PARAMS = read(Path(__file__).parents[2] / "params/paper.yaml")
ROWS = [{"method": "DeiT", "model": "deit-b-300", "cells": {}}]
TABLES = {"table1": {"title": "Quality", "facts": ["tokenizer", "epochs"], "columns": {"linear": "LIN"}, "rows": ROWS}}


@pytest.fixture(autouse=True)
def nothing_is_best(monkeypatch):
    def best_cells(csv, table):
        return pd.DataFrame(False, index=csv.index, columns=tables.cells_as_text(csv, table).columns)

    monkeypatch.setattr(tables, "best_cells", best_cells, raising=False)


@pytest.fixture
def inputs(tmp_path):
    (tmp_path / "table1.csv").write_text(CSV)
    (tmp_path / "table1-cells.csv").write_text(CELLS)
    (tmp_path / "models.csv").write_text(MODELS)
    (tmp_path / "tables.yaml").write_text(yaml.safe_dump(TABLES))
    splits = {"train": {"images": ["a.jpg"] * 1234}, "val": {"images": ["a.jpg"] * 56}}
    (tmp_path / "imagenet.json").write_text(json.dumps({"splits": splits}))
    for i, name in enumerate(("figure3", "tokenizer-dvae-x", "training")):
        Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / f"{name}.png")
    return [tmp_path / name for name in ("table1.csv", "table1-cells.csv", "models.csv", "figure3.png", "tokenizer-dvae-x.png",
                                         "training.png", "tables.yaml", "imagenet.json")]  # fmt: skip


def write(tmp_path, inputs, scale="demo", **changes):
    params = PARAMS | {"scale": scale, "seed": 7} | changes
    page.main(
        *inputs, scale=scale, params=params, output=tmp_path / "index.html", benchmarks=tmp_path / "work/benchmarks"
    )
    return (tmp_path / "index.html").read_text()


def cells(html):
    """Rows of the first table, as text."""
    rows = re.findall(r"<tr>(.*?)</tr>", html[: html.index("</table>")], re.S)
    return [
        [re.sub("<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>.*?</t[hd]>", row)] for row in rows
    ]


def test_nothing_comes_from_elsewhere_and_every_image_is_embedded(tmp_path, inputs):
    html = write(tmp_path, inputs)
    assert "http://" not in html and "https://" not in html and "<link" not in html
    assert "default-src 'none'; img-src data:" in html  # the browser holds to it
    embedded = re.findall(r'src="data:image/png;base64,([^"]*)"', html)
    assert [base64.b64decode(data) for data in embedded] == [
        path.read_bytes() for path in inputs if path.suffix == ".png"
    ]
    assert len(embedded) == html.count("src=") == html.count("<figcaption>")


def test_it_opens_with_the_summary_the_claims_and_the_figures_to_see_first(tmp_path, inputs):
    (tmp_path / "claims.csv").write_text(CLAIMS)
    for name in ("figure4", "figure7"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    more = [tmp_path / name for name in ("claims.csv", "figure4.png", "figure7.png")]
    html = write(tmp_path, [*inputs, *more], models=PARAMS["models"] | {"cae-l-1600": None, "mae-l-1600": None})
    order = re.findall(r'<h2>(.*?)</h2>|<h3 id="(\w+)', html)
    assert ["".join(pair) for pair in order][:8] == [
        "Summary", "Does it reproduce?", "At a glance", "figure4", "figure7", "Tables", "table1", "Figures",
    ]  # fmt: skip
    assert html.count('id="figure4"') == 1 and "2 models of the paper’s, at this scale" in html


@pytest.mark.parametrize("changes,shown", [
    ({}, "<dt>Seed</dt><dd>7</dd>"),
    ({"seeds": [7, 1, 2]}, "<dt>Seeds</dt><dd>7, 1, 2</dd>"),
    ({"seeds": [7, 1], "only": ["random-b", "mae-b-300", "beit-b-300", "cae-b-300"],
      "models": PARAMS["models"] | {"cae-b-300": PARAMS["models"]["cae-b-300"] | {"seeds": [7, 1, 2]}}},
     "<dt>Seeds</dt><dd>7, 1 of 3 models; 7, 1, 2 of 1 model</dd>"),
])  # fmt: skip
def test_the_summary_names_all_seeds(tmp_path, inputs, changes, shown):
    assert shown in write(tmp_path, inputs, **changes)


def test_the_rule_of_the_claims_stands_below_them(tmp_path, inputs):
    (tmp_path / "claims.csv").write_text(CLAIMS)
    section = (
        write(tmp_path, [*inputs, tmp_path / "claims.csv"]).split('<section id="claims">')[1].split("</section>")[0]
    )
    assert "95 % confidence interval of the difference" in section and "McNemar" in section
    assert "confidence interval" not in write(tmp_path, inputs)


def test_a_number_leads_to_what_made_it(tmp_path, inputs):
    html = write(tmp_path, inputs)
    links = re.findall(r'<td[^>]*><a href="#([^"]*)">([^<]*)</a></td>', html)
    assert links == [("table1-cae-s-300-linear", "26.7")]  # the paper's and missing ones have none
    line = html[html.index('<tr id="table1-cae-s-300-linear">') :].split("</tr>")[0]
    for value in (
        "26.674",
        "0123456789ab",
        "12.3",
        "float32",
        "abc+",
        "results/demo/evaluate/linear/cae-s-300.json",
        "p.log",
    ):
        assert value in line


def test_table_has_ours_beside_the_papers(tmp_path, inputs):
    assert cells(write(tmp_path, inputs)) == [
        ["Method", "Tokenizer", "Epochs", "LIN"],
        ["ours", "paper", "ours", "paper"],
        ["&lt;b&gt;S&lt;/b&gt;"],
        ["CAE &amp; co cae-s-300", "dvae (8 codes)", "3", "300", "26.7", "51.8"],
        ["B"],
        ["CAE cae-b-300", "dvae (8 codes)", "3", "300", "–", "64.1"],
        ["DeiT deit-b-300", "n/a", "3", "300", "n/a", ""],
        ["Other", "", "", "", "", ""],
    ]


def test_models_have_a_section(tmp_path, inputs):
    html = write(tmp_path, inputs)
    assert cells(html[html.index('<section id="models">') :]) == [
        ["Model", "Method", "Source", "Epochs", "Images", "Seconds", "Images/s", "First loss", "Last loss"],
        ["mae-b-1600", "MAE", "released", "1600", "", "", "", "", ""],
        ["cae-b-300", "CAE", "built", "3", "3,840", "12", "312", "5.500", "2.250"],
    ]
    assert 'id="models"' not in write(tmp_path, [path for path in inputs if path.stem != "models"])


def test_recipes_are_told_method_by_method(tmp_path, inputs):
    html = write(tmp_path, inputs)
    start = html.index("<summary>Recipes of MoCo v3</summary>")
    recipes = html[start : html.index("</details>", start)]
    head, *rows = cells(recipes)
    assert [row[0] for row in rows] == ["moco-v3-s-300", "moco-v3-b-300"]
    assert {"width", "file"} <= set(head) and "temperature" not in head
    assert "<dt>temperature</dt><dd>0.2</dd>" in recipes and "alignment_weight" not in recipes


def test_summary_says_what_was_run(tmp_path, inputs):
    names = (
        "random-s",
        "cae-s-300",
        "cae-b-300",
        "cae-b-1600",
        "random-b",
        "dino-b-400",
        "deit-b-300",
        "moco-v3-b-300",
    )
    pixels = PARAMS["analyses"]["figure4"]["models"]
    models = {name: PARAMS["models"][name] for name in (*names, *pixels)}
    analyses = {
        name: part | {"models": list(names[2:4])}
        for name, part in PARAMS["analyses"].items()
        if name not in ("figure3", "figure4")
    }
    text = re.sub(
        "<[^>]*>", "", write(tmp_path, inputs, models=models, analyses=PARAMS["analyses"] | analyses, curves=[])
    )
    assert "scale demo" in text and "They compare with nothing but" in text
    assert "5 of 10 models, for 300 to 1600 epochs;\n3 are taken as released; the others are encoders" in text
    assert "1,234 images to train on, 56 to validate on" in text
    assert "1 of 2 cells of the tables; 1 (–) are not run at this scale" in text
    assert re.search(r"Seed\s*7\n", text) and "Git revision" in text


def test_models_of_our_own_tables_are_counted_where_these_are_shown(tmp_path, inputs):
    own = {"title": "Own", "own": True, "columns": {"linear": "LIN"}, "rows": [
        {"method": "SimMIM", "model": "simmim-b-800"}, {"method": "DeiT", "model": "deit-b-300"}]}  # fmt: skip
    (tmp_path / "tables.yaml").write_text(yaml.safe_dump(TABLES | {"methods": own}))
    (tmp_path / "methods-cells.csv").write_text(CELLS)
    (tmp_path / "methods.csv").write_text(CSV)
    without, with_ = (write(tmp_path, [*inputs, *more]) for more in ([], [tmp_path / "methods.csv"]))
    counts = [int(re.search(r"of (\d+) models", html)[1]) for html in (without, with_)]
    assert counts[1] == counts[0] + 1 and "Recipes of SimMIM" in with_ and "Recipes of SimMIM" not in without
    assert (
        '<th colspan="1" scope="colgroup">LIN</th>' in with_ and '<th colspan="2" scope="colgroup">LIN</th>' in without
    )


def test_the_papers_scale_is_not_warned_of(tmp_path, inputs):
    assert "compare with nothing" not in write(tmp_path, inputs, scale="paper")


def test_what_is_in_params_is_escaped(tmp_path, inputs):
    html = write(tmp_path, inputs, datasets={"x": {"layout": "imagenet", "root": "<script>alert(1)</script>"}})
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html


def test_what_is_in_tables_is_escaped(tmp_path, inputs):
    (tmp_path / "claims.csv").write_text(CLAIMS.replace("Alignment", "<script>alert(1)</script>"))
    (tmp_path / "table1.csv").write_text(CSV.replace("CAE & co", "<script>alert(2)</script>"))
    html = write(tmp_path, [tmp_path / "claims.csv", *inputs])
    assert html.count("<script>") == 1 and "&lt;script&gt;alert(1)" in html and "&lt;script&gt;alert(2)" in html


def test_claims_come_first_and_are_counted(tmp_path, inputs):
    (tmp_path / "claims.csv").write_text(CLAIMS)
    (tmp_path / "order.csv").write_text("table,column,rows,spearman\ntable1,LIN,14,0.512345\n")
    html = write(tmp_path, [tmp_path / "claims.csv", tmp_path / "order.csv", *inputs])
    assert cells(html)[1:] == [
        ["Alignment helps", "Table 2", "73.8 &gt; 72.7", "25.9 &lt; 31.1", "-5.2", "fails", "standard error"],
        ["Longer is better", "Table 1", "", "", "", "not run", ""],
    ]
    assert '<span class="verdict not-run">not run</span>' in html
    text = " ".join(re.sub("<[^>]*>", "", html).split())
    assert "Claims0 holds, 1 fails, 0 undecided, 1 not run" in text
    assert ["table1", "LIN", "14", "0.51"] in cells(html[html.index("The paper’s order") :])
    assert "claims" not in cells(write(tmp_path, inputs))[0]


def test_the_best_of_a_column_is_bold(tmp_path, inputs, monkeypatch):
    def first_of_ours(csv, table):
        best = pd.DataFrame(False, index=csv.index, columns=tables.cells_as_text(csv, table).columns)
        best.loc[0, ("LIN", "ours")] = True
        return best

    monkeypatch.setattr(tables, "best_cells", first_of_ours, raising=False)
    assert re.findall(r'<td class="best"[^>]*><a [^>]*>([^<]*)</a></td>', write(tmp_path, inputs)) == ["26.7"]


THREE = pd.DataFrame(
    {
        "model": ["a", "b", "c", "d"],
        "linear": [10.0, 30.0, 20.0, 99.0],
        "linear_paper": [61.0, 31.5, 20.0, None],
    }
)


@pytest.mark.parametrize(
    ("scale", "ours", "papers"),
    [
        ("demo", [0, 1, 0.5, None], [1, 0.5, 0, None]),  # places, of rows with both numbers
        ("paper", [-1, -0.5, 0, None], None),  # by the difference; at 3 and more as dark as it gets
    ],
)
def test_shades(scale, ours, papers):
    table = Table.model_validate({"title": "", "columns": {"linear": "LIN"}, "rows": []})
    shades = page.shades(THREE, table, scale)
    assert [None if pd.isna(shade) else shade for shade in shades["LIN", "ours"]] == ours
    assert (("LIN", "paper") in shades) == bool(papers)
    if papers:
        assert [None if pd.isna(shade) else shade for shade in shades["LIN", "paper"]] == papers


def test_a_number_of_another_protocol_has_no_place():
    rows = [{"method": "DeiT", "model": "b", "cells": {"linear": "supervised"}}]
    table = Table.model_validate({"title": "", "columns": {"linear": "LIN"}, "rows": rows})
    shades = page.shades(THREE, table, "demo")["LIN", "ours"]
    assert shades[[0, 2]].tolist() == [0, 1] and shades[[1, 3]].isna().all()


def test_costs_are_summed_over_the_jobs_of_a_step(tmp_path, inputs):
    assert 'id="costs"' not in write(tmp_path, inputs)
    head = "s\th:m:s\tmax_rss\tcpu_time\n"
    jobs = {"probe/a.tsv": "60\t0:01:00\t100\t90\n", "probe/b.tsv": "30\t0:00:30\t1400\t30\n",
            "tokenize/dvae/1-of-1.tsv": "100\t0:01:40\t-\t66\n"}  # fmt: skip
    for name, line in jobs.items():
        (tmp_path / "work/benchmarks" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work/benchmarks" / name).write_text(head + line)
    html = write(tmp_path, inputs)
    assert cells(html[html.index('<section id="costs">') :])[1:] == [
        ["tokenize", "1", "100", "100", "", "1.1"],
        ["probe", "2", "90", "60", "1,400", "2.0"],
    ]


def test_the_same_bytes_twice(tmp_path, inputs):
    assert write(tmp_path, inputs) == write(tmp_path, inputs)


def test_html_is_balanced_and_links_lead_somewhere(tmp_path, inputs):
    void, stack, ids, links = {"meta", "img"}, [], set(), set()
    figures = ["figures/figure3.png", "figures/tokenizer-dvae-x.png", "figures/training.png"]

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            stack.extend([tag] if tag not in void else [])
            ids.update(value for key, value in attrs if key == "id")
            links.update(value for key, value in attrs if key == "href")

        def handle_endtag(self, tag):
            assert stack.pop() == tag

    Parser().feed(write(tmp_path, inputs))
    assert not stack and links == {f"#{name}" for name in ids - {"hint", "figures"}} | set(figures)
    assert ids == {
        "hint", "figures", "table1",
        "table1-cae-s-300-linear", "figure3", "tokenizer-dvae-x", "training", "models", "provenance", "params"
    }  # fmt: skip


def test_models_that_a_scale_leaves_out_are_not_counted(tmp_path, inputs):
    html = write(tmp_path, inputs, only=["cae-b-300", "mae-b-1600"])
    assert "1 of 2 models, for 300 epochs; 1 are taken as released" in " ".join(html.split())


def test_hostile_words_stay_words_everywhere(tmp_path, inputs):
    """In each text of each file that the page is made of: no element, no attribute and no script comes of it."""
    evil = "x'\"></script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}"
    quoted = '"' + evil.replace('"', '""') + '"'

    def count(html: str) -> dict[str, int]:
        tags: dict[str, int] = {}

        class Parser(HTMLParser):
            def handle_starttag(self, tag, attrs):
                tags[tag] = tags.get(tag, 0) + 1
                assert not [key for key, _ in attrs if key.startswith("on")]

        Parser().feed(html)
        return tags

    def files(word: str) -> list[Path]:
        csv = CSV.replace("CAE & co", word).replace("<b>S</b>", word).replace("dvae (8 codes)", word)
        (tmp_path / "table1.csv").write_text(csv)
        cells = CELLS.replace("Done so.", word).replace("abc+", word).replace("work/l.log", word)
        (tmp_path / "table1-cells.csv").write_text(cells.replace("cae-s-300,", f"{word},"))
        (tmp_path / "models.csv").write_text(MODELS.replace("cae-b-300", word))
        (tmp_path / "claims.csv").write_text(CLAIMS.replace("Longer is better", word).replace("Table 2", word))
        (tmp_path / "order.csv").write_text(f"table,column,rows,spearman\ntable1,{word},14,0.5\n")
        texts = {**TABLES["table1"], "title": word.strip('"'), "note": word.strip('"')}
        (tmp_path / "tables.yaml").write_text(yaml.safe_dump({"table1": texts}))
        return [tmp_path / "claims.csv", tmp_path / "order.csv", *inputs]

    tame = write(tmp_path, files("word"), datasets={"x": {"layout": "imagenet", "root": "word"}})
    wild = write(tmp_path, files(quoted), datasets={"x": {"layout": "imagenet", "root": evil}})
    assert count(wild) == count(tame) and count(wild)["script"] == 1
    assert "alert(1)" in wild and "{{ 7 * 7 }}" in wild  # they are told, and nothing is filled in
