"""Statements whose effect nobody watches are doubted; what is watched, pure, or acts on a variable is not."""

import abc
import asyncio
import csv
import multiprocessing
import os
import random
import signal
import sqlite3
import time
import tracemalloc
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
    tracemalloc.start()


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
    "tracemalloc": tracemalloc,
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
        ("tracemalloc.start()", "tracemalloc.start"),
        ("d = 1\nif d:\n    tracemalloc.start(level)", "tracemalloc.start"),
        ("mp.set_start_method('spawn', force=True)\nd = 1", "multiprocessing.set_start_method"),
        ("asyncio.set_event_loop_policy(Point())", "asyncio.set_event_loop_policy"),
        ("sqlite3.register_adapter(Point, lambda p: p.x)", ""),
        ("ET.register_namespace('z', 'http://z')", ""),
        ("request.install_opener(request.build_opener())", "urllib.request.install_opener"),
        ("signal.alarm(5)", "signal.alarm"),
        ("old = os.umask(7)", "os.umask"),
        ("Shape.register(Point)", "an abstract one"),
        ("@Shape.register\nclass Square: pass", "an abstract one"),
        ("def go():\n    tracemalloc.start()\ngo()", "tracemalloc.start"),
        ("csv.QUOTE.x = 3", ""),
        ("time.sleep(1)\nsleep(1)", ""),
        ("random.seed(3); random.shuffle(items)", ""),
        ("tracemalloc.take(items)", ""),
        ("x = sqlite3.connect(':memory:')", ""),
        ("items.sort()", ""),
        ("def go():\n    tracemalloc.start()", ""),
        ("print('a')\nos.makedirs('x')", ""),
        ("get_ipython().run_line_magic('time', 'x = 1')", ""),
        ("tracemalloc.start(", ""),
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


def test_functions_of_the_user_are_read_too():
    assert "tracemalloc.start" in unwatched("starts()", (starts,), NAMES, shown=False)
    assert unwatched("draws()", (draws,), NAMES, shown=False) == ""


def test_a_value_that_is_shown_is_what_the_call_was_for():
    assert unwatched("tracemalloc.get_traced_memory()", (), NAMES, shown=True) == ""
    assert "get_traced_memory" in unwatched("tracemalloc.get_traced_memory()", (), NAMES, shown=False)
    assert "umask" in unwatched("os.umask(7)", (), NAMES, shown=True)


def test_a_helper_that_is_defined_beside_its_import_is_read(shell):
    shell.run("%%awaitly a\nimport tracemalloc\ndef trace(depth):\n    tracemalloc.start(depth)")
    shell.run("%%awaitly b\ntrace(1)")
    tracemalloc.stop()
    assert "not stored: nobody can tell what tracemalloc.start leaves" in shell.badge
