import subprocess
import sys

import pytest

from cae.errors import UserError
from cae.reporting.figures import dag
from tests.conftest import ROOT
from tests.reporting.figures.conftest import texts

DOT = """digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
\t0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
\t1[label = "table", color = "0.30 0.6 0.85", style="rounded"];
\t2[label = "train", color = "0.41 0.6 0.85", style="rounded"];
\t3[label = "data", color = "0.41 0.6 0.85", style="rounded"];
\t1 -> 0
\t2 -> 1
\t3 -> 1
\t3 -> 2
}
"""


def inputs(folder, text=DOT):
    (folder / "dag.dot").write_text(text)
    return [folder / "dag.dot"]


def test_rules_are_named_and_lie_below_what_they_read(tmp_path):
    names, edges = dag.read_dot(*inputs(tmp_path))
    boxes, ways = dag.layout(names, edges)
    assert set(names.values()) == set(texts(dag.draw(*inputs(tmp_path)))) and len(edges) == len(ways) == 4
    assert all(boxes[a][1] + dag.BOX < boxes[b][1] for a, b in edges)


def test_boxes_of_a_layer_lie_apart(tmp_path):
    lines = [f'\t{i}[label = "a_rule_{i}", color = "x"];' for i in range(8)]
    lines += [f"\t0 -> {i}\n\t{i} -> 7" for i in range(1, 7)]
    boxes, _ = dag.layout(*dag.read_dot(*inputs(tmp_path, "\n".join(lines))))
    layer = sorted((x - width / 2, x + width / 2) for x, y, width in (boxes[str(i)] for i in range(1, 7)))
    assert all(left[1] < right[0] for left, right in zip(layer, layer[1:]))


def test_an_arrow_is_pale_where_a_longer_way_leads_there(tmp_path):
    names, edges = dag.read_dot(*inputs(tmp_path))
    pale = [edge for edge in edges if dag.longer_way(edge, edges)]
    assert [(names[a], names[b]) for a, b in pale] == [("data", "table")]


def test_a_file_without_rules_is_named(tmp_path):
    with pytest.raises(UserError, match=r"dag.dot: no rulegraph; make it with `snakemake --rulegraph`"):
        dag.draw(*inputs(tmp_path, "Building DAG of jobs"))


def test_the_layout_is_the_same_in_any_process(tmp_path):
    lines = [f'\t{i}[label = "a_rule_{i}", color = "x"];' for i in range(12)]
    lines += [f"\t{i} -> {j}" for i in range(12) for j in range(i + 1, 12) if (i * j) % 3 == 1 or j == i + 4 or i == 0]
    path = str(*inputs(tmp_path, "\n".join(lines)))
    script = f"from cae.reporting.figures import dag; print(dag.layout(*dag.read_dot({path!r})))"
    run = [
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True).stdout
        for _ in range(2)
    ]
    assert run[0] == run[1] == f"{dag.layout(*dag.read_dot(path))}\n".encode()
