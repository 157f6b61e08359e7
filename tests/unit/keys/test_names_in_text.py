"""Names that stand in text and are looked up where the text is used: `df.query("a > @limit")`, `eval("limit")`."""

import pytest

from awaitly_nb.keys import function_digest, step_parts
from awaitly_nb.keys.parts import cell_parts

READING = [
    'df.query("a > @limit")',
    'df.query(f"a > @limit and a < {9}")',
    'df.eval("c = a * @limit")',
    'df.query("a > @cfg.limit")',
    'eval("limit + 1")',
    'eval("[limit for _ in range(2)]")',
    'exec("y = limit")',
    'globals()["limit"]',
    '[df.query("a > @limit") for _ in range(2)]',
]
SETUP = """
import pandas as pd
class cfg:
    limit = {limit}
df = pd.DataFrame({{"a": [1, 2, 3]}})
limit = {limit}
"""


@pytest.mark.parametrize("expression", READING)
def test_a_function_reads_the_globals_that_its_text_names(kernel, expression):
    f = kernel.run(SETUP.format(limit=1) + f"def f():\n    x = {expression}\n    return x\n")["f"]
    first = function_digest(f)
    f()
    assert function_digest(f) == first
    kernel.run(SETUP.format(limit=2))
    assert function_digest(f) != first
    kernel.run(SETUP.format(limit=1))
    assert function_digest(f) == first


@pytest.mark.parametrize("expression", READING)
def test_a_cell_reads_the_variables_that_its_text_names(kernel, expression):
    kernel.run(SETUP.format(limit=1))
    cell = f"out = {expression}"
    first = cell_parts(cell, kernel.ns, name="c").key
    kernel.run(cell)
    assert cell_parts(cell, kernel.ns, name="c").key == first
    kernel.run(SETUP.format(limit=2))
    assert cell_parts(cell, kernel.ns, name="c").key != first


def test_a_local_variable_hides_the_global_of_its_name(kernel):
    source = 'def f(df, limit):\n    return df.query("a > @limit")\n'
    f = kernel.run("limit = 1\n" + source)["f"]
    first = function_digest(f)
    kernel.run("limit = 2\n")
    assert function_digest(f) == first
    cell = 'limit = 5\nout = df.query("a > @limit")'
    kernel.run(SETUP.format(limit=1))
    first = cell_parts(cell, kernel.ns, name="c").key
    kernel.run(cell)
    assert cell_parts(cell, kernel.ns, name="c").key == first


def test_text_after_an_at_that_names_nothing_is_text(kernel):
    f = kernel.run('def f():\n    return "me@example.org", "@later"\n')["f"]
    parts = {part.name for part in step_parts(f, (), {}, name="f").parts}
    assert parts == {"f"}
    before = function_digest(f)
    kernel.run("later = [1]\n")
    assert function_digest(f) != before  # it may be what the text means
    cell = 'x = "me@nowhere.org"'
    assert {part.name for part in cell_parts(cell, kernel.ns, name="c").parts} == {"c"}


def test_text_that_is_no_code_is_text(kernel):
    f = kernel.run('def f():\n    return eval("1 +")\n')["f"]
    assert function_digest(f)
    assert cell_parts('eval("1 +")', kernel.ns, name="c").key


QUERIES = [
    "select * from df",
    "SELECT a FROM other JOIN df ON true",
    "select * from other o, df d",
    "with t as (select 1) select * from t where a in (select a from df)",
    "from df select a",
    "summarize df",
    "select *\nfrom df",
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(
    "form", ["out = sql({!r})", "query = {!r}\nout = sql(query)", "out = helper()", "out = sql(QUERY)"]
)
def test_the_tables_of_sql_text_are_variables(kernel, query, form):
    kernel.run(f"def sql(text): pass\ndef helper():\n    return sql({query!r})\nQUERY = {query!r}\n")
    kernel.run("df = [1]\nunread = [1]\n")
    cell = form.format(query)
    first = cell_parts(cell, kernel.ns, name="c").key
    kernel.run("unread = [2]\n")
    assert cell_parts(cell, kernel.ns, name="c").key == first
    kernel.run("df = [2]\n")
    assert cell_parts(cell, kernel.ns, name="c").key != first
    kernel.run("df = [1]\n")
    assert cell_parts(cell, kernel.ns, name="c").key == first


def test_prose_names_no_table(kernel):
    kernel.run("df = [1]\n")
    cell = 'title = "taken from df; join df"'
    first = cell_parts(cell, kernel.ns, name="c").key
    kernel.run("df = [2]\n")
    assert cell_parts(cell, kernel.ns, name="c").key == first


def test_a_variable_with_a_query_is_read_anew_when_it_names_another_table(kernel):
    f = kernel.run("one = [1]\ntwo = [2]\nQ = 'select * from one'\ndef f():\n    return sql(Q)\n")["f"]
    function_digest(f)
    kernel.run("Q = 'select * from two'\n")
    first = function_digest(f)
    kernel.run("two = [3]\n")
    assert function_digest(f) != first
