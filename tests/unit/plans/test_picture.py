"""The picture of a plan is a plain document, and says what the plan says."""

import time
import xml.etree.ElementTree as ET
from base64 import b64decode

from awaitly_nb.plans.picture import FOLD_ABOVE, Graph
from awaitly_nb.plans.report import Plan
from awaitly_nb.plans.walk import CellPlan, Edge

SVG = "{http://www.w3.org/2000/svg}"


def plan_of(count, *, state="hit", name="cell {}"):
    cells = [
        CellPlan(name=name.format(i), index=i, state="live" if i % 3 else state, seconds=0.1) for i in range(count)
    ]
    cells[-1] = CellPlan(name="stale", index=count - 1, state="run", seconds=90.0, reason="n changed", differs="n")
    edges = [Edge(i, i + 1, "x") for i in range(count - 2)] + [Edge(count - 2, count - 1, "n", differs=True)]
    return Plan(cells=tuple(cells), edges=tuple(edges))


def test_every_cell_and_edge_is_drawn():
    tree = ET.fromstring(Graph(plan_of(6)).to_svg())
    texts = [node.text for node in tree.iter(f"{SVG}text")]
    assert "stale" in texts
    assert any("runs, 1m 30s" in (text or "") or "90" in (text or "") or "1 min" in (text or "") for text in texts)
    assert len(list(tree.iter(f"{SVG}rect"))) == 6
    assert any("n changed" in (node.text or "") for node in tree.iter(f"{SVG}title"))


def test_boxes_of_a_layer_do_not_overlap():
    cells = [CellPlan(name=f"a rather long name {i}", index=i, state="hit", seconds=5.0) for i in range(12)]
    edges = [Edge(0, i, "x") for i in range(1, 12)]
    tree = ET.fromstring(Graph(Plan(cells=tuple(cells), edges=tuple(edges))).to_svg())
    boxes = sorted(
        (float(box.get("y")), float(box.get("x")), float(box.get("x")) + float(box.get("width")))
        for box in tree.iter(f"{SVG}rect")
    )
    for (y, _, end), (next_y, begin, _) in zip(boxes, boxes[1:], strict=False):
        assert y != next_y or end < begin


def test_a_hostile_name_is_inert():
    graph = Graph(plan_of(3, name='<script>alert(1)</script>" onload="x'))
    tree = ET.fromstring(graph.to_svg())
    assert not list(tree.iter(f"{SVG}script"))
    assert all("onload" not in node.attrib for node in tree.iter())
    assert '"' not in graph.to_mermaid().split("[", 1)[1].split("]")[0].strip('"')


def test_above_sixty_cells_cheap_ones_fold_and_stale_ones_do_not():
    tree = ET.fromstring(Graph(plan_of(FOLD_ABOVE + 20)).to_svg())
    assert len(list(tree.iter(f"{SVG}circle"))) == FOLD_ABOVE + 19
    assert [node.text for node in tree.iter(f"{SVG}text") if node.text == "stale"]


def test_mermaid_text_names_cells_edges_and_classes():
    text = Graph(plan_of(3)).to_mermaid()
    assert text.startswith("flowchart TD\n")
    assert ":::run" in text
    assert '==>|"n"|' in text
    assert "classDef hit" in text


def woven(count):
    """A plan in which cells feed one to three later ones, every ninth of which runs."""
    cells = [
        CellPlan(name=f"v{i}", index=i, state="run" if i % 9 == 8 else "hit", seconds=float(i % 7))
        for i in range(count)
    ]
    edges = [Edge(i, i + step, f"v{i}") for i in range(count) for step in (1, 4, 11)[: 1 + i % 3] if i + step < count]
    return Plan(cells=tuple(cells), edges=tuple(edges))


def test_two_hundred_cells_take_less_than_a_third_of_a_second():
    plan = woven(200)
    began = time.process_time()
    svg = Graph(plan).to_svg()
    assert time.process_time() - began <= 0.3
    assert "v199" in svg


def test_sixty_cells_are_not_wider_than_a_page_and_nothing_lies_on_anything():
    tree = ET.fromstring(Graph(woven(FOLD_ABOVE)).to_svg())
    assert float(tree.get("width")) < 1400
    boxes = [[float(box.get(name)) for name in ("x", "y", "width", "height")] for box in tree.iter(f"{SVG}rect")]
    assert len(boxes) == FOLD_ABOVE
    for at, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[:at]:
            apart = x >= other_x + other_width or other_x >= x + width
            assert apart or y >= other_y + other_height or other_y >= y + height


def test_what_leaves_a_cell_is_written_once_and_why_one_runs_where_it_arrives():
    cells = [CellPlan(name="raw", index=0, state="hit"), CellPlan(name="a", index=1, state="hit")]
    reason = 'table changed: column "price" int64 -> float64'
    cells.append(CellPlan(name="b", index=2, state="run", reason=reason, differs="table"))
    edges = (Edge(0, 1, "table"), Edge(0, 2, "table", differs=True), Edge(0, 1, "n"))
    tree = ET.fromstring(Graph(Plan(cells=tuple(cells), edges=edges)).to_svg())
    texts = [node.text for node in tree.iter(f"{SVG}text")]
    assert texts.count("table, n") == 1
    assert any(text.startswith("table changed: column") for text in texts)


def test_it_survives_nbconvert_and_needs_no_kernel():
    import nbformat
    from nbconvert import HTMLExporter

    shown = nbformat.v4.new_output("display_data", data=Graph(woven(12))._repr_mimebundle_())
    cell = nbformat.v4.new_code_cell("%awaitly graph", outputs=[shown])
    page, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    output = page[page.index('data-mime-type="text/html"') :]
    svg = b64decode(output.partition("base64,")[2].partition('"')[0]).decode()
    assert "v11" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")  # no request
    assert len(list(ET.fromstring(svg).iter(f"{SVG}rect"))) == 12
