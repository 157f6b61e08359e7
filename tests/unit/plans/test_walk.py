"""What the plan says of a notebook is what its next run does: keys of real runs are compared with the walk."""

import ast
import random
from datetime import UTC, datetime, timedelta

import pytest

from awaitly_nb.errors import UnkeyableError
from awaitly_nb.keys import cell_parts, cell_reads, part_digest, seeded_as, tree_digest
from awaitly_nb.plans.history import CellRecord, History
from awaitly_nb.plans.statics import always_runs, read_statics
from awaitly_nb.plans.walk import CellText, Checks, walk

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def checks(*, files=None, traces=None, modules=None, now=NOW):
    return Checks(
        digest=part_digest,
        tree=tree_digest,
        seed=seeded_as,
        files=files or (lambda stamps: None),
        traces=traces or (lambda used: None),
        module=(modules or {}).get,
        now=now,
    )


def text_of(index, source, **more):
    tree = ast.parse(source)
    reads = tuple(dict.fromkeys(chain[0] for chain in cell_reads(tree).chains))
    return CellText(
        index=index,
        name=more.pop("name", f"c{index}"),
        tree=tree,
        python=source,
        code=tree_digest(tree.body),
        statics=read_statics(tree, source),
        reads=reads,
        live=always_runs(tree),
        **more,
    )


def run(cells, records=()):
    """Run cells as cached cells are run; return which hit, what was recorded, and the namespace they left."""
    names, hits, made = {"__name__": "__main__"}, [], {record.key: record for record in records}
    import linecache

    for index, source in enumerate(cells):
        filename = f"<ipython-input-{index}-{hash(source)}>"
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        tree = ast.parse(source)
        if always_runs(tree):
            exec(compile(source, filename, "exec"), names)
            hits.append("live")
            continue
        parts = cell_parts(source, names, name="cell")
        hits.append("hit" if parts.key in made else "run")
        inputs = {c[0] for c in cell_reads(tree).chains if c[0] in names}
        before = {name: digest_of(name, names[name]) for name in inputs}
        shown = parts.to_data()["parts"]
        exec(compile(source, filename, "exec"), names)
        left = {name: digest_of(name, names[name]) for name in read_statics(tree, source).bound if name in names}
        changed = {name for name in inputs if name in names and digest_of(name, names[name]) != before[name]}
        left.update({name: digest_of(name, names[name]) for name in changed})
        made[parts.key] = CellRecord(
            name=f"c{index}",
            namespace="",
            key=parts.key,
            parts=tuple(tuple(row) for row in shown),
            made={name: digest for name, digest in left.items() if digest},
            unknown=tuple(name for name, digest in left.items() if not digest),
            deleted=tuple(name for name in read_statics(tree, source).deleted),
            changed=tuple(changed),
            variables=tuple(left),
            seconds=1.0,
            at=NOW - timedelta(hours=1),
        )
    return hits, list(made.values()), names


def digest_of(name, value):
    if callable(value):
        return None
    try:
        return part_digest(name, value)
    except UnkeyableError:
        return None


def states(cells, records, **more):
    plans, _ = walk([text_of(i, source) for i, source in enumerate(cells)], History(records), checks(**more))
    return [plan.state for plan in plans], [plan.reason for plan in plans]


CELLS = [
    "import math",
    "n = 3\nrate = 0.5",
    "def scale(x, by=2):\n    return [v * by * rate for v in x]",
    "data = [float(i) for i in range(n)]",
    "scaled = scale(data)\ntotal = sum(scaled)",
    "root = math.sqrt(total)",
]


def test_a_second_run_hits_everywhere():
    _, records, _ = run(CELLS)
    said, _ = states(CELLS, records)
    assert said == ["live", "live", "live", "hit", "hit", "hit"]
    assert run(CELLS, records)[0] == said


@pytest.mark.parametrize(
    ("statement", "use"),
    [
        ("import os.path as place", "place.join('a', 'b')"),
        ("import xml.dom.minidom as dom", "dom.Node.TEXT_NODE"),
        ("from collections import OrderedDict", "OrderedDict(a=1)"),
        ("from datetime import datetime as moment", "moment(2020, 1, 1).year"),
        ("import numpy as np", "np.arange(3).sum().item()"),
        ("from numpy.testing import assert_allclose", "assert_allclose.__name__"),
        ("import concurrent.futures", "concurrent.futures.FIRST_COMPLETED"),
    ],
)
def test_imports_of_all_forms_are_met_again(statement, use):
    cells = [statement, f"x = [{use}]"]
    _, records, _ = run(cells)
    assert states(cells, records)[0] == ["live", "hit"]


def test_what_a_package_alone_can_tell_is_unknown():
    cells = ["from numpy.linalg import norm", "x = [norm([3.0, 4.0]).item()]"]
    assert states(cells, run(cells)[1])[0] == ["live", "unknown"]


def test_another_import_under_the_same_name_runs():
    _, records, _ = run(["import json as tool", "x = [tool.dumps(1)]"])
    said, why = states(["import pickle as tool", "x = [tool.dumps(1)]"], records)
    assert said[1] == "run"
    assert "import tool: json" in why[1]


def test_without_records_all_is_new():
    assert states(CELLS, [])[0] == ["live", "live", "live", "new", "new", "new"]


@pytest.mark.parametrize(
    ("index", "source", "at", "reason"),
    [
        (1, "n = 4\nrate = 0.5", 3, "n changed: 3 -> 4"),
        (1, "n = 3\nrate = 0.75", 4, "rate changed: 0.5 -> 0.75"),
        (2, CELLS[2].replace("v * by", "v + by"), 4, "helper scale edited"),
        (2, CELLS[2].replace("by=2", "by=3"), 4, "helper scale edited"),
        (4, "scaled = scale(data)\ntotal = sum(scaled) + 1", 4, "code of c4 edited"),
    ],
)
def test_an_edit_is_named_where_it_is_met_first(index, source, at, reason):
    _, records, _ = run(CELLS)
    edited = [*CELLS[:index], source, *CELLS[index + 1 :]]
    said, why = states(edited, records)
    assert said[at] == "run"
    assert why[at] == reason
    assert all(state in ("hit", "live") for state in said[:at])
    assert said[at + 1 :] == ["depends"] * len(said[at + 1 :])


def test_a_comment_or_an_unused_name_changes_nothing():
    _, records, _ = run(CELLS)
    edited = ["import math, json", "# settings\nn = 3\nrate = 0.5\nunused = 1", *CELLS[2:]]
    assert states(edited, records)[0] == ["live", "live", "live", "hit", "hit", "hit"]


def test_what_comes_out_equal_cuts_off_early():
    _, records, _ = run(CELLS)
    edited = [*CELLS[:3], "data = [0.0, 1.0, 2.0]", *CELLS[4:]]
    said, _ = states(edited, records)
    assert said[3] == "live"  # a constant now
    assert said[4:] == ["hit", "hit"]


def test_what_is_changed_in_place_is_followed():
    cells = ["base = list(range(3))", "base.append(9)", "size = len(base)"]
    _, records, _ = run(cells)
    assert states(cells, records)[0] == ["hit", "hit", "hit"]
    said, why = states(["base = list(range(3))", "base.append(8)", "size = len(base)"], records)
    assert said == ["hit", "run", "depends"]
    assert "c1" in why[2]


def test_what_a_text_cannot_tell_is_unknown_and_says_why():
    cells = ["exec('k = 2')", "v = k + 1"]
    said, why = states(cells, run(cells)[1])
    assert said[0] in ("hit", "live")
    text = [text_of(0, cells[0], cached=False), text_of(1, cells[1])]
    plans, _ = walk(text, History(run(cells)[1]), checks())
    assert plans[1].state == "unknown"
    assert "exec()" in plans[1].reason


def test_a_cell_that_is_not_cached_leaves_what_nobody_knows():
    cells = ["data = list(range(3))", "total = sum(data)"]
    _, records, _ = run(cells)
    plans, _ = walk([text_of(0, cells[0], cached=False), text_of(1, cells[1])], History(records), checks())
    assert [plan.state for plan in plans] == ["live", "unknown"]
    assert "cell 0" in plans[1].reason


def test_files_traces_age_and_variables_count():
    _, (record,), _ = run(["a = sum([1])\nb = 2"])
    cell = text_of(0, "a = sum([1])\nb = 2")

    def said(record=record, cell=cell, **more):
        (plan,), _ = walk([cell], History([record]), checks(**more))
        return plan.state, plan.reason

    from dataclasses import replace

    assert said() == ("hit", "")
    assert said(files=lambda stamps: "file d.csv changed") == ("run", "file d.csv changed")
    assert said(traces=lambda used: "environment MODE differs") == ("run", "environment MODE differs")
    assert said(replace(record, ttl_s=60.0)) == ("run", "its time to live is over")
    assert said(cell=replace(cell, variables=("a", "z"))) == ("run", "the entry does not hold z")
    assert said(replace(record, stored=False)) == ("live", "runs each time: storing it was not worth it")
    assert said(cell=replace(cell, force=True))[0] == "run"


def test_an_explicit_key_and_its_template():
    record = CellRecord(name="c1", namespace="", key="model:3", variables=("m",), made={"m": "x"}, at=NOW)
    n = text_of(0, "n = 3")
    for key, state in (("model:3", "hit"), ("model:4", "run"), ("model:{n}", "hit"), ("model:{other}", "unknown")):
        plans, _ = walk([n, text_of(1, "m = fit()", key=key)], History([record]), checks())
        assert plans[1].state == state, key


def test_a_helper_in_a_module_of_the_users_is_read_from_its_text():
    source = "def clean(x):\n    return [v for v in x if v > LIMIT]\nLIMIT = 3\n"
    import sys
    import types

    module = types.ModuleType("own_helpers")
    module.__file__ = "/home/me/own_helpers.py"
    import linecache

    linecache.cache[module.__file__] = (len(source), None, source.splitlines(keepends=True), module.__file__)
    exec(compile(source, module.__file__, "exec"), vars(module))
    sys.modules["own_helpers"] = module
    try:
        cells = ["import own_helpers", "kept = own_helpers.clean([1, 5])"]
        _, records, _ = run(cells)
    finally:
        del sys.modules["own_helpers"]
    for text, state, reason in (
        (source, "hit", ""),
        (source.replace("v > LIMIT", "v >= LIMIT"), "run", "clean"),
        (source.replace("= 3", "= 4"), "run", "LIMIT"),
        (source.replace("LIMIT = 3", "LIMIT = f()"), "unknown", "LIMIT"),
    ):
        said, why = states(cells, records, modules={"own_helpers": read_statics(ast.parse(text), text)})
        assert said[1] == state
        assert reason in why[1]


def test_edges_carry_the_variable_and_what_differs():
    _, records, _ = run(CELLS)
    edited = [CELLS[0], "n = 4\nrate = 0.5", *CELLS[2:]]
    _, edges = walk([text_of(i, source) for i, source in enumerate(edited)], History(records), checks())
    wires = {(e.source, e.target, e.variable): e.differs for e in edges}
    assert wires[1, 3, "n"] is True
    assert wires[3, 4, "data"] is False
    assert (4, 5, "total") in wires


@pytest.mark.parametrize("seed", range(60))
def test_random_edits_end_as_the_plan_said(seed):
    rng = random.Random(seed)
    cells = program(rng)
    records = run(cells)[1]
    edited = edit(rng, cells)
    said, why = states(edited, records)
    did, _, _ = run(edited, records)
    for index, (state, real) in enumerate(zip(said, did, strict=True)):
        if state in ("hit", "live"):
            assert real == state, (index, edited[index], why[index])
        elif state in ("run", "new"):
            assert real == "run", (index, edited[index], why[index])
        else:
            assert state == "depends", (index, edited[index], why[index])


def program(rng):
    cells, names = ["k = 2", "def f(x, by=1):\n    return [v + by * k for v in x]"], ["k"]
    lists = []
    for index in range(8):
        kind = rng.choice(["make", "use", "change", "constant", "sum"]) if lists else "make"
        name = f"v{index}"
        if kind == "make":
            cells.append(f"{name} = list(range({rng.randint(1, 5)} + {rng.choice(names)}))")
            lists.append(name)
        elif kind == "use":
            cells.append(f"{name} = f({rng.choice(lists)})")
            lists.append(name)
        elif kind == "change":
            cells.append(f"{rng.choice(lists)}.append({rng.randint(0, 9)})")
        elif kind == "sum":
            cells.append(f"{name} = sum({rng.choice(lists)})")
            names.append(name)
        else:
            cells.append(f"{name} = {rng.randint(0, 3)}")
            names.append(name)
    return cells


def edit(rng, cells):
    cells = list(cells)
    kind = rng.choice(["constant", "helper", "default", "insert", "swap constants", "comment", "body"])
    if kind == "constant":
        cells[0] = "k = 3"
    elif kind == "helper":
        cells[1] = cells[1].replace("v + by", "v - by")
    elif kind == "default":
        cells[1] = cells[1].replace("by=1", "by=5")
    elif kind == "insert":
        cells.insert(rng.randrange(2, len(cells)), "fresh = sorted([3, 1])")
    elif kind == "comment":
        at = rng.randrange(2, len(cells))
        cells[at] = f"# a note\n{cells[at]}"
    elif kind == "body":
        at = rng.randrange(2, len(cells))
        cells[at] = cells[at].replace("range(", "range(1 + ")
    return cells


def test_magics_are_no_variable_that_one_cell_hands_to_another():
    from awaitly_nb.plans import plan

    found = plan(["%load_ext awaitly_nb", "%config x.y = 1\nn = 3", "%awaitly status", "!ls\nm = n"], directory="none")
    assert [(edge.source, edge.target, edge.variable) for edge in found.edges] == [(1, 3, "n")]
