"""The page in a real browser, at a phone's width, a tablet's and a laptop's."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cae.params import Table, read
from cae.reporting import page, tables
from tests.conftest import ROOT

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--virtual-time-budget=20000", "--dump-dom",
]  # fmt: skip
WIDTHS = (390, 800, 1300)
LAPTOP = 1300
MEASURE = """
const found = {};
for (const frame of document.querySelectorAll("iframe")) {
  const inner = frame.contentDocument, root = inner.documentElement, window = frame.contentWindow;
  for (const part of inner.querySelectorAll("details")) part.open = true;
  const wide = [...inner.querySelectorAll(".wide")];
  const column = (table, i) => [...table.querySelectorAll("tbody tr")].map(row => row.cells[i]?.textContent.trim());
  const state = () => ({method: column(table, 0), ours: column(table, 5), sorts: heads.map(head => head.ariaSort)});
  const table = inner.querySelector("#table1 ~ .wide table");
  const heads = [...table.querySelectorAll("th[data-column='5'], th[data-column='0']")];
  const button = heads.find(head => head.dataset.column === "5").querySelector("button");
  const states = [state()];
  for (let i = 0; i < 3; i++) {
    button.focus();
    button.click();
    states.push(state());
  }
  const dialog = inner.querySelector("dialog"), picture = inner.querySelector("figure img");
  picture.click();
  const opened = [dialog.open, dialog.querySelector("img").src === picture.src];
  dialog.click();
  found[frame.width] = {
    window: window.innerWidth, document: root.scrollWidth,
    blocks: Math.max(...wide.map(block => block.getBoundingClientRect().right)),
    pictures: Math.max(...[...inner.querySelectorAll("figure img")].map(image => image.getBoundingClientRect().right)),
    scrolled: wide.filter(block => !block.closest("details") && block.scrollWidth > block.clientWidth).length,
    requests: window.performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith("data:")),
    opened: [...opened, dialog.open], states: states, focused: inner.activeElement === button,
  };
}
document.getElementById("found").textContent = JSON.stringify(found);
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict[str, dict]:
    """What the browser finds at each width, of a page with all tables of the paper."""
    if not BROWSER:
        pytest.skip("no chromium is here to show the page in")
    folder = tmp_path_factory.mktemp("page")
    inputs, rng = [ROOT / "params/tables.yaml"], np.random.default_rng(0)
    for name, raw in read(inputs[0]).items():
        table = Table.model_validate(raw)
        about = {"epochs": 3, "crops": 1, "tokenizer": "dvae (d-VAE, 128 codes)"}
        facts = {row.model: {fact: about[fact] for fact in table.facts} for row in table.rows if row.model}
        metrics = {column.metric for column in table.columns.values()}
        about = {"seconds": 12.3, "revision": 12 * "a"}
        cells = {(row.model, protocol): {metric: rng.uniform(0, 90) for metric in metrics} | about
                 for row in table.rows for protocol in table.cells_of(row).values()}  # fmt: skip
        tables.join(table, facts, cells).to_csv(folder / f"{name}.csv", index=False)
        tables.provenance(table, cells, "demo").to_csv(folder / f"{name}-cells.csv", index=False)
        inputs.append(folder / f"{name}.csv")
    (folder / "claims.csv").write_text(
        "claim,place,paper,ours,difference,verdict,rule\n"
        + f"{'A long claim. ' * 9},Table 1,1 > 2,2 > 1,1,holds,{'By a rule. ' * 9}\n" * 3
    )
    Image.new("RGB", (1600, 900)).save(folder / "training.png")
    inputs += [folder / "claims.csv", folder / "training.png"]
    params = read(ROOT / "params/paper.yaml") | {"scale": "demo"}
    page.main(*inputs, scale="demo", params=params, output=folder / "index.html")
    return measure(folder)


def measure(folder: Path) -> dict:
    content = html.escape((folder / "index.html").read_text())
    frames = "".join(f'<iframe width="{width}" height="900" srcdoc="{content}"></iframe>' for width in WIDTHS)
    (folder / "frames.html").write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><pre id="found"></pre>{frames}'
        f'<script>addEventListener("load", () => {{ {MEASURE} }});</script>'
    )
    command = [BROWSER, *OPTIONS, f"--user-data-dir={folder / 'profile'}", (folder / "frames.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout)
    assert found, done.stderr
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(measured, width):
    found = measured[str(width)]
    assert found["window"] == width
    assert found["document"] <= width and found["blocks"] <= width and found["pictures"] <= width
    if width == LAPTOP:
        assert found["scrolled"] == 0  # no table hides a column


def test_nothing_is_requested(measured):
    assert all(found["requests"] == [] for found in measured.values())


def test_a_heading_sorts_twice_and_then_restores_the_groups(measured):
    before, descending, ascending, restored = measured[str(LAPTOP)]["states"]
    assert before == restored and before["sorts"] == ["none", "none"] and "Methods using ViT-B" in before["method"]
    empty = ("", "–", "n/a")
    numbers = [float(text) for text in descending["ours"] if text not in empty]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) > 1
    assert descending["sorts"] == ["none", "descending"] and ascending["sorts"] == ["none", "ascending"]
    assert [float(text) for text in ascending["ours"][: len(numbers)]] == sorted(numbers)
    assert len(ascending["ours"]) > len(numbers) and set(ascending["ours"][len(numbers) :]) <= set(empty)
    assert "Methods using ViT-B" not in descending["method"]
    assert sorted(descending["method"]) == sorted(text for text in before["method"] if not text.startswith("Methods"))


def test_headings_can_be_reached_by_keyboard_and_figures_open_at_full_size(measured):
    for found in measured.values():
        assert found["focused"] and found["opened"] == [True, True, False]
