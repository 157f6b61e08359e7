"""What a cell shows is recorded as the notebook would keep it."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

from awaitly_nb.notebook.outputs import Recorder, replay, show_badge


def record(shell, source):
    """Run a cell under a recorder; return the recording."""
    shell.ns["recorder"] = recorder = Recorder(shell.ip)
    shell.ns["source"] = source
    shell.run("with recorder:\n    get_ipython().run_cell(source).raise_error()")
    return recorder.outputs()


def kinds(outputs):
    return [output["kind"] for output in outputs]


def test_streams_are_kept_in_order(bare_shell):
    outputs = record(bare_shell, "import sys\nprint('a')\nprint('b', file=sys.stderr)\nprint('c')")
    assert [(output["name"], output["text"]) for output in outputs] == [
        ("stdout", "a\n"),
        ("stderr", "b\n"),
        ("stdout", "c\n"),
    ]
    assert bare_shell.out == "a\nc\n"
    assert bare_shell.err == "b\n"


def test_a_thousand_prints_are_one_output(bare_shell):
    outputs = record(bare_shell, "for i in range(1000):\n    print(i)")
    assert kinds(outputs) == ["stream"]
    assert outputs[0]["text"].count("\n") == 1000


def test_displays_and_streams_keep_their_order(bare_shell):
    outputs = record(bare_shell, "from IPython.display import HTML\nprint(1)\ndisplay(HTML('<b>2</b>'))\nprint(3)")
    assert kinds(outputs) == ["stream", "display", "stream"]
    assert outputs[1]["data"]["text/html"] == "<b>2</b>"


def test_a_handler_that_holds_the_stream_is_recorded(bare_shell):
    bare_shell.ns["logging"] = logging
    bare_shell.run("log = logging.getLogger('cells')")
    source = "log.addHandler(h := logging.StreamHandler())\nlog.error('hm')\nlog.removeHandler(h)"
    assert [output["text"] for output in record(bare_shell, source)] == ["hm\n"]


def test_a_thread_is_recorded(bare_shell):
    bare_shell.ns["threading"] = threading
    outputs = record(bare_shell, "t = threading.Thread(target=print, args=('from a thread',))\nt.start()\nt.join()")
    assert outputs[0]["text"] == "from a thread\n"


def test_the_value_of_the_last_line_is_a_result(bare_shell):
    outputs = record(bare_shell, "[1, 2]")
    assert kinds(outputs) == ["result"]
    assert outputs[0]["data"] == {"text/plain": "[1, 2]"}


def test_an_updated_display_keeps_its_last_content(bare_shell):
    source = "h = display('one', display_id='d')\nprint('between')\nh.update('two')\nh.update('three')"
    outputs = record(bare_shell, source)
    assert kinds(outputs) == ["display", "stream"]
    assert outputs[0]["data"]["text/plain"] == "'three'"
    assert outputs[0]["display_id"] == "d"


def test_an_update_of_an_earlier_cell_is_kept_as_one(bare_shell):
    bare_shell.run("h = display('one', display_id='d')")
    outputs = record(bare_shell, "h.update('two')\nh.update('three')")
    assert [(output["kind"], output["data"]["text/plain"]) for output in outputs] == [("update", "'three'")]


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("print(1)\nclear_output()\nprint(2)", "2\n"),
        ("print(1)\nclear_output(wait=True)\nprint(2)", "2\n"),
        ("print(1)\nclear_output(wait=True)", "1\n"),
    ],
)
def test_what_was_cleared_is_gone(bare_shell, source, kept):
    bare_shell.run("from IPython.display import clear_output")
    outputs = record(bare_shell, source)
    assert "".join(output["text"] for output in outputs) == kept


def test_redirected_text_is_not_shown_and_not_recorded(bare_shell):
    source = "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as text:\n    print('unseen')"
    assert record(bare_shell, source) == []
    assert bare_shell.ns["text"].getvalue() == "unseen\n"


def test_everything_is_put_back_after_a_failure(bare_shell):
    ip = bare_shell.ip
    write, published = sys.stdout.write, ip.display_pub.publish
    with pytest.raises(ZeroDivisionError):
        with Recorder(ip):
            raise ZeroDivisionError
    assert sys.stdout.write == write
    assert ip.display_pub.publish == published
    assert "write_format_data" not in vars(ip.displayhook)


def test_a_replay_records_as_the_original_did(bare_shell):
    source = (
        "import sys\nfrom IPython.display import HTML\nprint('a')\nprint('b', file=sys.stderr)\n"
        "h = display(HTML('<i>c</i>'), display_id='d')\nh.update(HTML('<i>e</i>'))\n{'x': 1}"
    )
    first = record(bare_shell, source)
    recorder = Recorder(bare_shell.ip)
    with recorder:
        replay(bare_shell.ip, first)
    assert recorder.outputs() == first


def test_a_replayed_result_is_the_underscore(bare_shell):
    outputs = record(bare_shell, "[1]")
    bare_shell.ns["outputs"], bare_shell.ns["again"] = outputs, replay
    bare_shell.run("again(get_ipython(), outputs, results=[[1]])")
    assert bare_shell.ns["_"] == [1]


def test_a_badge_escapes_what_it_shows(bare_shell):
    show_badge(bare_shell.ip, "<script>", title='"><img>')
    (shown,) = bare_shell.displayed
    assert "<script>" not in shown["text/html"]
    assert "<img>" not in shown["text/html"]
    assert shown["text/plain"] == "<script>"


def test_an_exception_of_a_repr_is_shown_again(shell):
    source = (
        "%%awaitly c\nclass B:\n    def __repr__(self): return 'B!'\n"
        "    def _repr_html_(self): raise ValueError('no html')\nb = B()\nb"
    )
    shell.run(source)
    first = shell.out
    assert "ValueError: no html" in first
    shell.forget()
    shell.run(source)
    assert shell.badge.startswith("from cache")
    assert shell.out.count("ValueError: no html") == first.count("ValueError: no html")
