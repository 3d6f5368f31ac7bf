"""Which language a message is in: short ones, mixed ones, code, and what redaction left of them."""

import pytest

from harness.store.language import UNKNOWN, language
from harness.store.prose import prose, without_placeholders


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I get my money back for this order?", "en"),
        ("Wie setze ich mein Passwort zurück?", "de"),
        ("Hoe kan ik mijn wachtwoord opnieuw instellen?", "nl"),
        ("Comment réinitialiser mon mot de passe ?", "fr"),
        ("¿Cuál es la diferencia entre una lista y una tupla?", "es"),
        ("A minha encomenda ainda não chegou, pode verificar onde está?", "pt"),
        ("Voglio annullare il mio abbonamento e riavere i soldi.", "it"),
        ("Hvordan nulstiller jeg min adgangskode?", "da"),
        ("Jak zresetować moje hasło?", "pl"),
        ("Siparişim henüz gelmedi, nerede olduğuna bakabilir misiniz?", "tr"),
        ("Мой заказ ещё не пришёл, можете проверить, где он?", "ru"),
        ("Моє замовлення ще не прийшло, можете перевірити, де воно?", "uk"),
        ("أريد إلغاء اشتراكي واسترداد أموالي.", "ar"),
        ("मैं अपना पासवर्ड कैसे रीसेट करूँ?", "hi"),
        ("翻译下面的句子。", "zh"),
        ("次の文を翻訳してください。", "ja"),
        ("다음 문장을 번역해 주세요.", "ko"),
        ("WHERE IS MY PARCEL, I HAVE BEEN WAITING FOR A WEEK", "en"),
        ("Hvor er hovudstaden i Noreg, og kor mange menneske bur der no?", "no"),
    ],
)
def test_one_sentence_is_enough(text: str, expected: str) -> None:
    assert language(prose(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "ok",
        "thanks a lot",
        "Привет, как дела",
        "12 + 30 = ?",
        "asdkjh qwieuy zxmcnb qpwoei alskdj",
        "BTC ETH SOL ADA DOT AVAX LINK MATIC",
        "QWxhZGRpbjpvcGVuIHNlc2FtZSBhbmQgbW9yZSB0ZXh0",
        "John Smith, Maria Garcia, Hans Mueller, Yuki Tanaka, Ali Hassan",
        '{"a": 1, "name": "foo", "items": [1, 2, 3], "status": "ok"}',
        "```\nthis fence was never closed and holds nothing but code",
    ],
)
def test_too_short_or_undecidable_is_unknown(text: str) -> None:
    assert language(prose(text)) == UNKNOWN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Warum läuft dieses Programm nicht?\n```python\n# return the number of items in the list\n```",
            "de",
        ),
        ("Was macht `return the number of items in the list` in diesem Programm hier?", "de"),
        ("~~~\nthis is what the program prints to the terminal\n~~~\nQue veut dire ce message d'erreur ?", "fr"),
        (
            "Résume cette page en trois points : https://example.com/the-most-important-news-of-the-week/in-english.html",
            "fr",
        ),
        ("これは何ですか~~~ とても面白いですね", "ja"),
        ("Mein Kollege <EMAIL_1a2b> ist unter <PHONE_00ff> nicht zu erreichen <TICKET_NUMBER_0123456789ab>", "de"),
        ("<EMAIL_1a2b> <PHONE_00ff> <IBAN_0123456789ab> <API_KEY_beef> <CARD_1234> <IP_abcd>", UNKNOWN),
        ("Translate to German: the cat sat on the mat and looked at the birds outside.", "en"),
        ("Traduis en anglais : le chat est assis sur le tapis et regarde les oiseaux. « The cat »", "fr"),
    ],
)
def test_only_what_a_person_wrote_counts(text: str, expected: str) -> None:
    assert language(prose(text)) == expected


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Write to <EMAIL_1a2b> or see www.example.com today", "Write to or see today"),
        ("<p class='x'>Hello</p>\nthere", "Hello there"),
        ("half an emoji \ud83d and a \x00 byte", "half an emoji ? and a byte"),
        ("a <b and c", "a <b and c"),
        ("key " + "QWxh" * 20 + " end", "key end"),
        ("run `ls -l` now", "run `ls -l` now"),
    ],
)
def test_placeholders_tags_addresses_and_encoded_data_are_no_words(text: str, kept: str) -> None:
    assert without_placeholders(text) == kept
