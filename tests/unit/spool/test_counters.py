"""Counts survive kills and removed files, and are folded exactly once."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading

import orjson
import pytest

from harness.domain.mirror import MirrorDrop, NotEligible
from harness.spool import counters
from harness.spool.counters import INDEX, NAMES, CounterFile


def test_every_reason_is_counted_and_fits_into_the_file():
    assert len(set(NAMES)) == len(NAMES) <= counters._SIZE // 8
    assert {f"dropped.{reason}" for reason in MirrorDrop} | {f"not_eligible.{reason}" for reason in NotEligible} <= set(
        NAMES
    )


def test_counts_are_there_for_others_at_once_and_after_the_end(tmp_path):
    file = CounterFile(tmp_path, "a")
    file.values[INDEX["requests"]] += 3
    assert counters.totals(tmp_path)["requests"] == 3
    file.close()
    assert counters.totals(tmp_path)["requests"] == 3


def test_counts_survive_kill_9(tmp_path):
    program = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from harness.spool.counters import INDEX, CounterFile
        file = CounterFile(Path(sys.argv[1]), "a")
        file.values[INDEX["sampled"]] += 7
        file.values[INDEX["dropped.queue_full"]] += 2
        os.kill(os.getpid(), 9)
    """)
    done = subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert counters.totals(tmp_path)["sampled"] == 7
    counters.fold_dead(tmp_path, {"a": 4})
    total = counters.totals(tmp_path)
    assert (total["sampled"], total["spooled"], total["dropped.unflushed"]) == (7, 4, 1)
    assert list(tmp_path.glob("*.counts")) == []
    counters.fold_dead(tmp_path, {"a": 4})
    assert counters.totals(tmp_path) == total


def test_the_living_and_those_with_unread_files_are_not_folded(tmp_path):
    living = CounterFile(tmp_path, "living")
    unread = CounterFile(tmp_path, "unread")
    unread.close()
    counters.fold_dead(tmp_path, {"living": 0})
    assert {path.stem for path in tmp_path.glob("*.counts")} == {"living", "unread"}
    living.close()


def test_a_fold_that_was_killed_before_it_removed_the_files_counts_nothing_twice(tmp_path):
    for name in ("a", "b"):
        file = CounterFile(tmp_path, name)
        file.values[INDEX["requests"]] += 5
        file.close()
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("*.counts")}
    counters.fold_dead(tmp_path, {"a": 0, "b": 0})
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    assert counters.totals(tmp_path)["requests"] == 10
    counters.fold_dead(tmp_path, {"a": 0, "b": 0})
    assert counters.totals(tmp_path)["requests"] == 10
    assert list(tmp_path.glob("*.counts")) == []


def test_totals_never_step_back_while_the_dead_are_folded(tmp_path):
    """A file that is folded between reading the sum and listing the files would be in neither."""
    names = [f"w{number}" for number in range(150)]
    for name in names:
        file = CounterFile(tmp_path, name)
        file.values[INDEX["requests"]] += 1
        file.close()
    done = threading.Event()

    def fold() -> None:
        for name in names:
            counters.fold_dead(tmp_path, {name: 0})
        done.set()

    thread = threading.Thread(target=fold)
    thread.start()
    seen = set()
    while not done.is_set():
        seen.add(counters.totals(tmp_path)["requests"])
    thread.join()
    assert seen <= {150}


def test_a_new_file_is_never_there_without_its_lock(tmp_path):
    """A reader that finds it unlocked takes its process for dead, folds it and removes it."""
    stop = threading.Event()
    unlocked: list[str] = []

    def look() -> None:
        while not stop.is_set():
            unlocked.extend(path.name for path in tmp_path.glob("*.counts") if not counters.is_held(path))

    thread = threading.Thread(target=look)
    thread.start()
    files = [CounterFile(tmp_path, f"w{number}") for number in range(200)]
    stop.set()
    thread.join()
    assert unlocked == []
    for file in files:
        file.close()


def test_a_file_that_was_removed_comes_back_with_its_counts(tmp_path):
    folder = tmp_path / "counters"
    file = CounterFile(folder, "a")
    file.values[INDEX["requests"]] = 5
    file.keep()
    assert [path.name for path in folder.iterdir()] == ["a.counts"]
    shutil.rmtree(folder)
    file.values[INDEX["requests"]] += 1
    file.keep()
    assert counters.totals(folder)["requests"] == 6
    assert counters.is_held(folder / "a.counts")
    shutil.rmtree(folder)
    file.keep()
    file.values[INDEX["requests"]] += 1
    file.close()
    assert counters.totals(folder)["requests"] == 7
    assert not counters.is_held(folder / "a.counts")


def test_a_disk_that_refuses_the_file_is_an_error_or_leaves_the_counts_in_memory(tmp_path):
    blocked = tmp_path / "counters"
    blocked.write_text("")
    with pytest.raises(OSError, match=r"exists|directory"):
        CounterFile(blocked, "a")
    file = CounterFile(blocked, "a", required=False)
    file.values[INDEX["requests"]] += 4
    with pytest.raises(OSError, match=r"exists|directory"):
        file.keep()
    blocked.unlink()
    file.keep()
    assert counters.totals(blocked)["requests"] == 4
    file.close()


def test_a_disk_without_room_for_the_page_refuses_it_instead_of_killing_later(tmp_path):
    """A sparse file would be mapped, and writing to it on a full disk ends the process with SIGBUS."""
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            CounterFile(tmp_path, "a")
        except OSError:
            os._exit(0 if list(tmp_path.iterdir()) == [] else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"counts": {}, "other": 1}'])
def test_a_damaged_sum_is_begun_again(tmp_path, damage):
    (tmp_path / "total.json").write_bytes(damage)
    file = CounterFile(tmp_path, "a")
    file.values[INDEX["requests"]] += 1
    assert counters.totals(tmp_path)["requests"] == 1
    file.close()
    counters.fold_dead(tmp_path, {"a": 0})
    assert orjson.loads((tmp_path / "total.json").read_bytes())["counts"]["requests"] == 1


def test_no_folder_is_no_counts(tmp_path):
    assert counters.totals(tmp_path / "none") == {}
    counters.fold_dead(tmp_path / "none", {})
    assert not counters.is_held(tmp_path / "none")


def test_the_folders_are_for_their_owner_alone(tmp_path):
    with_counts = CounterFile(tmp_path / "spool" / "counters", "g1")
    with_counts.close()
    for folder in (tmp_path / "spool", tmp_path / "spool" / "counters"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_closed_is_not_begun_anew_by_who_comes_late(tmp_path):
    counted = CounterFile(tmp_path, "g1")
    counted.values[INDEX["requests"]] += 5
    counted.close()
    counted.keep()
    assert counters.totals(tmp_path)["requests"] == 5
