"""In a real kernel a long run shows one line in its own cell; a recorded cell shows it too, and replays without."""

import pytest

from tests.e2e.kernels import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

RUN = """
import time
import awaitly_nb as aw
workflow = aw.create_workflow("report", cache=None)
result = workflow.run_sync(lambda ctx: [ctx.step(f"step {n}", time.sleep, 1.2) for n in range(3)])
"""


def lines(shown):
    texts = [output.get("data", {}).get("text/plain", "") for output in shown.outputs]
    return [text for text in texts if text.startswith("report: ")]


def test_a_long_run_shows_a_line_in_its_cell_that_no_replay_repeats(tmp_path):
    with kernel(tmp_path) as running:
        (line,) = lines(running.run(RUN))
        assert line.startswith("report: 3 steps in ")
        (line,) = lines(running.run(f"%%awaitly recorded --vars result\n{RUN}"))
        assert line.startswith("report: 3 steps in ")
        assert lines(running.run(f"%%awaitly recorded --vars result\n{RUN}")) == []
