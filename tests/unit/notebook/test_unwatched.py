"""Statements whose effect nobody watches are doubted; what is watched, pure, or acts on a variable is not."""

import abc
import asyncio
import csv
import faulthandler
import importlib
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import time
import urllib.request
import xml.etree.ElementTree as ET
from time import sleep
from typing import ClassVar

import pytest

from awaitly_nb.notebook.ledger.unwatched import unwatched


class Point:
    pass


class Tables:
    class XMLParser:
        entity: ClassVar[dict[str, int]] = {}


class Shape(abc.ABC):  # noqa: B024 - it is only registered with
    pass


def starts():
    faulthandler.enable()


def draws():
    return random.random()


NAMES = {
    "asyncio": asyncio,
    "csv": csv,
    "mp": multiprocessing,
    "os": os,
    "random": random,
    "signal": signal,
    "sqlite3": sqlite3,
    "time": time,
    "faulthandler": faulthandler,
    "request": urllib.request,
    "ET": ET,
    "sleep": sleep,
    "Point": Point,
    "Shape": Shape,
    "items": [3, 1],
    "level": 3,
}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("faulthandler.enable()", "faulthandler.enable"),
        ("d = 1\nif d:\n    faulthandler.enable(level)", "faulthandler.enable"),
        ("mp.set_start_method('spawn', force=True)\nd = 1", ""),
        ("mp.freeze_support()\nd = 1", "multiprocessing.freeze_support"),
        ("asyncio.set_event_loop_policy(Point())", "asyncio.set_event_loop_policy"),
        ("sqlite3.register_adapter(Point, lambda p: p.x)", ""),
        ("ET.register_namespace('z', 'http://z')", ""),
        ("request.install_opener(request.build_opener())", ""),
        ("old = os.umask(7)", ""),
        ("signal.alarm(5)", "signal.alarm"),
        ("old = os.setsid()", "os.setsid"),
        ("Shape.register(Point)", "an abstract one"),
        ("@Shape.register\nclass Square: pass", "an abstract one"),
        ("def go():\n    faulthandler.enable()\ngo()", "faulthandler.enable"),
        ("csv.QUOTE.x = 3", ""),
        ("time.sleep(1)\nsleep(1)", ""),
        ("random.seed(3); random.shuffle(items)", ""),
        ("faulthandler.take(items)", ""),
        ("x = sqlite3.connect(':memory:')", ""),
        ("items.sort()", ""),
        ("def go():\n    faulthandler.enable()", ""),
        ("print('a')\nos.makedirs('x')", ""),
        ("get_ipython().run_line_magic('time', 'x = 1')", ""),
        ("faulthandler.enable(", ""),
    ],
)
def test_a_call_is_doubted_by_what_it_is(source, told):
    found = unwatched(source, (), NAMES, shown=False)
    assert (told in found) if told else (found == "")


def test_what_a_cell_sets_on_an_object_of_a_library_is_doubted():
    told = unwatched("mp.process.current_process().x = 1\nmp.process.ORIGINAL_DIR = '/'", (), NAMES, shown=False)
    assert told == ""  # a module's own attributes are watched
    told = unwatched("ET.XMLParser.entity['a'] = 1", (), {"ET": Tables()}, shown=False)
    assert told == ""  # a variable
    told = unwatched("mp.context._default_context.x = 1", (), NAMES, shown=False)
    assert told == "nobody can tell what setting multiprocessing.context._default_context.x leaves"


def test_a_table_that_a_library_keeps_is_its_own():
    names = {"json": json, "importlib": importlib, "os": os, "sys": sys}
    for source in ("json.decoder.BACKSLASH['x'] = 'y'", "json.decoder.BACKSLASH.update(x='y')"):
        assert "json.decoder.BACKSLASH" in unwatched(source, (), names, shown=False)
    assert "json._default_encoder.indent" in unwatched("json._default_encoder.indent = 2", (), names, shown=False)
    assert "importlib.reload" in unwatched("_ = importlib.reload(json)", (), names, shown=False)
    # These have a watcher.
    assert unwatched("os.environ['A'] = '1'; sys.path.append('x'); sys.argv[0] = 'y'", (), names, shown=False) == ""
    assert unwatched("n = json.decoder.BACKSLASH['x']\njson.decoder.BACKSLASH.get('x')", (), names, shown=False) == ""


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("t = os.path.getmtime('a')", "getmtime: when a file was written is no input"),
        ("t = Path('a').stat().st_mtime_ns", "st_mtime_ns: when a file was written is no input"),
        ("d = f.__doc__", "__doc__: comments, docstrings and line numbers are no input"),
        ("t = inspect.getsource(f)", "getsource: comments, docstrings and line numbers are no input"),
        ("f.__doc__ = 'x'", ""),
        ("for lineno, line in enumerate(lines): print(lineno)", ""),
    ],
)
def test_what_no_key_holds_is_doubted(source, told):
    assert unwatched(source, (), NAMES, shown=False) == told


def test_functions_of_the_user_are_read_too():
    assert "faulthandler.enable" in unwatched("starts()", (starts,), NAMES, shown=False)
    assert unwatched("draws()", (draws,), NAMES, shown=False) == ""


def looks_up(name):
    return globals()[name]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = globals()[name]", "globals() may read any variable"),
        ("'{a}'.format_map(vars())", "vars() may read any variable"),
        ("rows = [eval(text) for text in texts]", "eval(...) may read any variable"),
        ("x = get_ipython().user_ns['a']", "user_ns may read any variable"),
        ("x = sys._getframe().f_globals", "f_globals may read any variable"),
        ("x = sys.modules['__main__'].a", "sys.modules may read any variable"),
        ("m = importlib.import_module(name)", "a module that is imported by a call is no input: write `import`"),
        ("m = importlib.import_module('json')", ""),
        ("ip.user_ns['a'] = 1", ""),
        ("x = globals()['a']; globals()[name] = 1; 'a' in globals()", ""),
        ("x = eval('a + 1'); y = eval(text, {})", ""),
        ("def f(a):\n    return locals()", ""),
        ("x = vars(a)", ""),
    ],
)
def test_a_name_that_only_running_tells_is_doubted(source, told):
    assert unwatched(source, (), NAMES, shown=False) == told


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("seen = {id(items): 1}", "id(...) is another one in each process"),
        ("def f(x):\n    return hash(x)", "hash(...) is another one in each process"),
        ("pid = os.getpid()", "getpid() is another one in each process"),
        ("same = id(items) == id(other)", ""),
        ("class A:\n    def __hash__(self): return hash(self.x)", ""),
        ("class A:\n    def __deepcopy__(self, memo): memo[id(self)] = 1", ""),
        ("x = grid(3); y = a.id(3)", ""),
    ],
)
def test_a_number_of_this_process_is_doubted(source, told):
    assert unwatched(source, (), NAMES, shown=False) == told
    assert unwatched("x = id(3)", (), {"id": len}, shown=False) == ""  # the user's own


def test_a_name_that_only_running_tells_is_doubted_in_functions_too():
    assert unwatched("looks_up('a')", (looks_up,), NAMES, shown=False) == "looks_up: globals() may read any variable"
    assert unwatched("eval(text)", (), {"eval": len}, shown=False) == ""  # the user's own


def test_a_value_that_is_shown_is_what_the_call_was_for():
    assert unwatched("faulthandler.is_enabled()", (), NAMES, shown=True) == ""
    assert "is_enabled" in unwatched("faulthandler.is_enabled()", (), NAMES, shown=False)
    assert "setsid" in unwatched("os.setsid()", (), NAMES, shown=True)


def test_a_helper_that_is_defined_beside_its_import_is_read(shell):
    shell.run("%%awaitly a\nimport signal\ndef trace(depth):\n    signal.alarm(depth)")
    shell.run("%%awaitly b\ntrace(0)")
    assert "not stored: nobody can tell what signal.alarm leaves" in shell.badge
