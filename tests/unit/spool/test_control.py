"""The kill switch."""

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


def test_a_file_about_something_else_changes_nothing(tmp_path):
    (tmp_path / control.FILE).write_text('{"note": "keep"}')

    assert control.is_mirroring(tmp_path)
