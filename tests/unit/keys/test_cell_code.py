"""A function of a cell is keyed by its source, also where the same cell imports what it calls."""

import ast
import linecache

from awaitly_nb.keys import function_text

SOURCE = "import json\ndef text(value):\n    return json.dumps(value, indent=1)\n"


def test_a_function_beside_its_import_has_its_source():
    # As IPython does it: statement by statement, where a call through an import is other code than in a whole module.
    name, namespace = "<cell of this test>", {}
    linecache.cache[name] = (len(SOURCE), None, SOURCE.splitlines(keepends=True), name)
    for statement in ast.parse(SOURCE).body:
        exec(compile(ast.Module([statement], []), name, "exec"), namespace)
    assert function_text(namespace["text"]) == SOURCE.partition("\n")[2]
