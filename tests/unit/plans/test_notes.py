"""What is remembered of cells that are not stored."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from awaitly_nb.plans.notes import Notes

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PARTS = {
    "name": "x",
    "parts": [["code", "x", "d1", "x = 1"], ["global", "n", "int 3", "3"], ["helper", "f", "d2", "def f"]],
}


def test_the_median_of_the_latest_runs(tmp_path):
    notes = Notes(tmp_path / "new" / "notes.jsonl")
    assert notes.expected_s("d1") is None
    for seconds in (9.0, 9.0, 9.0, 0.1, 0.2, 0.3, 0.2, 0.1):
        notes.add(code="d1", name="x", seconds=seconds, at=NOW)
    assert notes.expected_s("d1") == 0.2
    assert Notes(tmp_path / "new" / "notes.jsonl").expected_s("d1") == 0.2
    assert notes.expected_s("other") is None


def test_another_kernel_is_seen(tmp_path):
    mine, other = Notes(tmp_path / "n"), Notes(tmp_path / "n")
    assert mine.expected_s("c") is None
    other.add(code="c", name="x", seconds=2.0, at=NOW)
    assert mine.expected_s("c") == 2.0
    (tmp_path / "n").unlink()
    other.add(code="d", name="x", seconds=3.0, at=NOW)
    assert mine.expected_s("d") == 3.0
    assert mine.expected_s("c") is None


def test_what_is_slower_cached_is_remembered_until_it_is_not(tmp_path):
    notes = Notes(tmp_path / "n")
    notes.add(code="c", name="x", seconds=1.5, at=NOW, slower=True)
    assert Notes(tmp_path / "n").is_slower_cached("c")
    notes.add(code="c", name="x", seconds=60.0, at=NOW)
    assert not notes.is_slower_cached("c")


def test_records_tell_what_was_read_and_left(tmp_path):
    notes = Notes(tmp_path / "n")
    made = {"vars": {"x": "int 1"}, "unknown": ["f"], "deleted": [], "changed": ["a"]}
    notes.add(code="d1", name="x", seconds=0.1, at=NOW, parts=PARTS, made=made)
    notes.add(code="d1", name="x", seconds=0.2, at=NOW + timedelta(hours=1), parts=PARTS, made=made)
    notes.add(code="d1", name="x", seconds=0.2, at=NOW)
    (record,) = notes.records()
    assert (record.code, record.made, record.unknown, record.changed) == ("d1", {"x": "int 1"}, ("f",), ("a",))
    assert record.parts[2] == ("helper", "f", "d2", "def f")
    assert record.seconds == 0.2
    assert not record.stored


def test_damaged_lines_are_skipped(tmp_path):
    path = tmp_path / "n"
    notes = Notes(path)
    notes.add(code="c", name="x", seconds=2.0, at=NOW)
    path.write_bytes(path.read_bytes() + b'{"code": "c"\n\xff\xfe\n[]\n{"code": 3, "name": "x", "s": 1, "at": 0}\n')
    notes.add(code="c", name="x", seconds=4.0, at=NOW)
    assert Notes(path).expected_s("c") == 3.0


def test_the_file_does_not_grow_for_ever(tmp_path):
    notes = Notes(tmp_path / "n")
    long = "x" * 20_000
    for number in range(300):
        notes.add(code=f"c{number}", name=long, seconds=1.0, at=NOW + timedelta(seconds=number))
    assert (tmp_path / "n").stat().st_size < 5 << 20
    assert notes.expected_s("c299") == 1.0


def test_several_writers_lose_no_line(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        for number in range(200):
            pool.submit(Notes(tmp_path / "n").add, code=f"c{number}", name="x", seconds=1.0, at=NOW)
    notes = Notes(tmp_path / "n")
    assert all(notes.expected_s(f"c{number}") == 1.0 for number in range(200))


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    Notes(tmp_path / "file" / "n").add(code="c", name="x", seconds=1.0, at=NOW)


def test_what_hits_took_is_expected_and_before_that_what_storing_took(tmp_path):
    def note(seconds):  # in a process of its own
        Notes(tmp_path / "n").note_load("k", "x", seconds, NOW)
        return Notes(tmp_path / "n").load_s("k")

    notes = Notes(tmp_path / "n")
    assert notes.load_s("k") is None
    notes.note_store("k", "x", 3.0, NOW)
    assert notes.load_s("k") == 3.0
    assert note(1.0) == 1.0
    size = (tmp_path / "n").stat().st_size
    assert note(1.1) == 1.0  # as expected: nothing is written
    assert (tmp_path / "n").stat().st_size == size
    assert [note(2.0) for _ in range(3)][-1] == 2.0


def test_only_the_first_time_in_a_process_tells_what_a_fresh_kernel_takes(tmp_path):
    notes = Notes(tmp_path / "n")
    notes.note_store("k", "x", 3.0, NOW)
    notes.note_store("k", "x", 0.1, NOW)  # by force: its imports are there already
    notes.note_load("k", "x", 0.1, NOW)
    assert notes.load_s("k") == 3.0
    notes.note_live("c", 2.0, NOW)
    notes.note_live("c", 0.1, NOW)
    assert Notes(tmp_path / "n").live_s("c") == 2.0
    assert notes.live_s("d") is None
    Notes(tmp_path / "n").note_live("c", 4.0, NOW)
    assert notes.live_s("c") == 3.0


def test_no_folder_is_made_for_a_cell_that_always_runs(tmp_path):
    notes = Notes(tmp_path / "new" / "n")
    notes.note_live("c", 2.0, NOW)
    assert not (tmp_path / "new").exists()
    notes.note_store("k", "x", 3.0, NOW)
    assert Notes(tmp_path / "new" / "n").live_s("c") == 2.0
