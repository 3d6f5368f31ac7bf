"""The kill switch."""

import errno
from pathlib import Path

import pytest

from harness.spool import control


def test_without_a_file_traffic_is_mirrored(tmp_path):
    assert control.is_mirroring(tmp_path / "not-there")


@pytest.mark.parametrize("mirror", [True, False])
def test_the_switch_says_what_it_was_set_to(tmp_path, mirror):
    control.switch(tmp_path / "spool", mirror=mirror)

    assert control.is_mirroring(tmp_path / "spool") is mirror


@pytest.mark.parametrize("text", ["", "{", "[]", '{"mirror": "no"}', '{"mirror": 0}'])
def test_a_file_that_makes_no_sense_stops_mirroring(tmp_path, text):
    (tmp_path / control.FILE).write_text(text)

    assert not control.is_mirroring(tmp_path)


def test_a_full_disk_has_room_for_off(tmp_path, monkeypatch):
    write = Path.write_bytes

    def full(path, data):
        write(path, b"")
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        control.switch(tmp_path, mirror=True)
    assert control.is_mirroring(tmp_path)
    control.switch(tmp_path, mirror=False)
    assert not control.is_mirroring(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [control.FILE]


def test_a_file_about_something_else_changes_nothing(tmp_path):
    (tmp_path / control.FILE).write_text('{"note": "keep"}')

    assert control.is_mirroring(tmp_path)
