import pytest

from harness.cli import output


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain — ünïcödé\n\ttabs stay", "plain — ünïcödé\n\ttabs stay"),
        ("\x1b[2J\x1b]0;owned\x07", "␛[2J␛]0;owned␇"),
        ("a\rb\x08\x7f", "a␍b␈␡"),
        ("\x9b31m", "�31m"),
        ("\u202egnp.exe\u2066", "�gnp.exe�"),
        ("\ud800", "?"),
    ],
)
def test_text_from_models_cannot_drive_a_terminal(text, shown):
    assert output.safe(text) == shown


def test_everything_printed_is_made_safe(capsys):
    output.out("\x1b[31mred")
    output.err("\x1b[31mred")

    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err


def test_json_output_has_no_nan_and_escapes_control_characters(capsys):
    output.out_json({"value": float("nan"), "text": "\x1b[31m"})

    printed = capsys.readouterr().out
    assert '"value": null' in printed
    assert "\x1b" not in printed


def test_a_table_lines_up_and_leaves_unknown_cells_empty():
    assert output.table([{"a": 1, "b": None}, {"a": 1000, "b": "x"}], ["a", "b"]) == "a     b\n1\n1000  x"
