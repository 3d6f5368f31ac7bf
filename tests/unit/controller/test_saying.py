"""What others say becomes one short line without secrets."""

import pytest

from harness.controller import saying


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("\n \n", ""),
        ("working\nno space left\n\n", "no space left"),
        ("a\x00b\x1b[31mc", "a b [31mc"),
        ("x" * 500, "x" * 199 + "…"),
    ],
)
def test_the_last_line_that_says_anything_is_kept(text, said):
    assert saying.last_line(text) == said


def test_values_of_secret_variables_are_taken_out(monkeypatch):
    monkeypatch.setenv("DEPLOY_TOKEN", "hunter22")
    monkeypatch.setenv("HARNESS_ALERT_URLS", "slack://aaaa/bbbb  json://me:pass@host/")
    monkeypatch.setenv("SHORT_KEY", "ok")
    monkeypatch.setenv("COLOUR", "turquoise")
    said = saying.last_line("hunter22 at json://me:pass@host/ and slack://aaaa/bbbb, turquoise ok")
    assert said == "*** at *** and ***, turquoise ok"


def test_a_secret_that_is_part_of_another_leaves_nothing_of_it(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "abcdef")
    monkeypatch.setenv("B_TOKEN", "abcdef-012345")
    assert saying.last_line("it was abcdef-012345") == "it was ***"


def test_keys_are_known_by_their_form_and_given_ones_by_name():
    said = saying.last_line("Received API Key = sk-abcdefghijklmnop1234 for master-key", secrets=("master-key",))
    assert "sk-abc" not in said
    assert "master-key" not in said


def test_what_utf8_cannot_say_is_written_out():
    assert saying.sayable("a\udc80\x00b") == "a\\udc80 b"
