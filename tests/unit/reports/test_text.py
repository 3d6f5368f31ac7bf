import pytest

from reports.text import cut, one_line, plural, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\r\nof two lines", "plain\ttext\nof two lines"),
        ("\x1b[31mred\x07\x00", "␛[31mred␇␀"),
        ("\x7f\x9b", "␡[U+009B]"),
        ("a\u202eb\u2069", "a[U+202E]b[U+2069]"),
        ("zero\u200bwidth\ufeff", "zero[U+200B]width[U+FEFF]"),
        ("\ud800", "[U+D800]"),
        ("\U000e0041", "[U+E0041]"),
        ("\u2028", "[U+2028]"),
        ("می‌خواهم 👩‍👧 שלום", "می‌خواهم 👩‍👧 שלום"),  # joiners and right-to-left letters are text, not tricks
    ],
)
def test_what_acts_on_a_reader_or_terminal_becomes_visible(text, shown):
    assert visible(text) == shown
    visible(text).encode()


def test_cut_says_how_much_is_missing():
    whole, part = cut("short", 10), cut("x" * 5_000, 1_000)
    assert (whole.text, whole.note) == ("short", "")
    assert len(part.text) == 1_000
    assert part.note == "Cut for display: 1,000 of 5,000 characters shown."


def test_one_line_folds_and_bounds():
    assert one_line(" a \n b\t c ") == "a b c"
    assert one_line("word " * 100, 20) == "word word word word…"
    assert len(one_line("x" * 2_000_000, 50)) == 51


def test_plural():
    assert [plural(n, "pair") for n in (0, 1, 1234)] == ["0 pairs", "1 pair", "1,234 pairs"]
