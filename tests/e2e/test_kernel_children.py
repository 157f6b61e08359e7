"""What a child process writes is shown where it was written, and again on each replay."""

from __future__ import annotations

import pytest

from tests.e2e.kernels import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

WRITES = {
    "subprocess": "import subprocess\nprint('before')\n_ = subprocess.run(['sh', '-c', 'echo in it'])\nprint('after')",
    "both streams": "import subprocess\n_ = subprocess.run(['sh', '-c', 'echo one; echo two >&2'])",
    "os.system": "import os\n_ = os.system('echo in it')\nprint('after')",
    "a shell line": "print('before')\n!echo in it\nprint('after')",
    "several": "import subprocess\nfor i in range(5):\n    _ = subprocess.run(['echo', str(i)])\n    print('said', i)",
    "much": "import subprocess\n_ = subprocess.run(['seq', '20000'])\nprint('after')",
}
# Between what a child writes and what the cell prints no kernel keeps an order; all of it has to be there.
WANTED = {
    "both streams": "one\ntwo\n",
    "subprocess": "before\nin it\nafter\n",
    "os.system": "in it\nafter\n",
    "a shell line": "before\nin it\nafter\n",
    "several": "".join(f"{i}\nsaid {i}\n" for i in range(5)),
    "much": "".join(f"{i}\n" for i in range(1, 20001)) + "after\n",
}


def test_the_output_of_a_child_is_the_same_on_each_replay(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # with it, kernels leave what children write to pytest
    with kernel(tmp_path) as one:
        first = {}
        for name, source in WRITES.items():
            shown = one.run(f"%%awaitly '{name}' --allow-shell\n{source}")
            assert shown.badge.startswith("computed in"), shown.badge
            first[name] = shown.text.replace("\r\n", "\n")
            replays = [one.run(f"%%awaitly '{name}' --allow-shell\n{source}") for _ in range(3)]
            assert [shown.is_hit for shown in replays] == [True] * 3, [shown.badge for shown in replays]
            (replay,) = {shown.text.replace("\r\n", "\n") for shown in replays}
            if name == "both streams":  # which of two streams comes first is the kernel's affair
                assert sorted(replay.split()) == sorted(first[name].split())
            else:
                assert replay == first[name]
    # What the cell prints may come in the middle of a line of the child's.
    assert first["much"].replace("after\n", "") == WANTED["much"].replace("after\n", "")
    assert {name: sorted(text) for name, text in first.items()} == {name: sorted(text) for name, text in WANTED.items()}
