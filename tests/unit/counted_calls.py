"""How many calls of Python functions something makes: whether a loop runs in compiled code shows in no time."""

import sys


def calls_of(act):
    """Return how many functions written in Python run while `act` does."""
    count = 0

    def note(_frame, event, _argument):
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(before)
    return count
