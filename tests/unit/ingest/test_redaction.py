"""What is found, what is left alone, and that a conversation still makes sense afterwards."""

import json
import re
import time
from dataclasses import replace

import pytest

from harness.config import Redaction
from harness.domain.exchange import ChatRequest
from harness.domain.observation import CallError, Completion, ErrorKind, ToolCall
from harness.errors import ConfigurationError
from harness.ingest.redaction import Redactor
from harness.testing import exchange, observation

PLACEHOLDER = re.compile(r"<([A-Z_]+)_(?:[0-9a-f]{12}|[0-9a-f]{4})>")


def redactor(**fields) -> Redactor:
    return Redactor(Redaction(**fields))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("EMAIL", "alice@example.com"),
        ("EMAIL", "bob.o'neil+news@sub.example.co.uk"),
        ("EMAIL", "иван@почта.рф"),
        ("PHONE", "+31 6 12345678"),
        ("PHONE", "+1 (415) 555-0133"),
        ("PHONE", "0031612345678"),
        ("PHONE", "(415) 555-0133"),
        ("PHONE", "415.555.0133"),
        ("PHONE", "1-800-555-0199"),
        ("PHONE", "06-12345678"),
        ("PHONE", "020 7946 0958"),
        ("PHONE", "06 12 34 56 78"),
        ("PHONE", "030/1234567"),
        ("CARD", "4111111111111111"),
        ("CARD", "4111 1111 1111 1111"),
        ("CARD", "5500-0000-0000-0004"),
        ("CARD", "3782 822463 10005"),
        ("IBAN", "NL91ABNA0417164300"),
        ("IBAN", "DE89 3704 0044 0532 0130 00"),
        ("IBAN", "gb82west12345698765432"),
        ("IBAN", "MT84MALT011000012345MTLCAST001S"),
        ("NATIONAL_ID", "123-45-6789"),
        ("NATIONAL_ID", "AB 12 34 56 C"),
        ("NATIONAL_ID", "1112.22.333"),
        ("NATIONAL_ID", "12345678Z"),
        ("NATIONAL_ID", "X1234567L"),
        ("NATIONAL_ID", "2 55 08 14 168 025 38"),
        ("NATIONAL_ID", "36 574 261 809"),
        ("NATIONAL_ID", "RCCMNL83S18D969H"),
        ("NATIONAL_ID", "756.9217.0769.85"),
        ("NATIONAL_ID", "390.533.447-05"),
        ("IP", "203.0.113.7"),
        ("IP", "2001:db8::8a2e:370:7334"),
        ("API_KEY", "sk-abcdefghijklmnopqrstuv1234"),
        ("API_KEY", "sk-ant-api03-abc_DEF-1234567890abcd"),
        ("API_KEY", "AKIAIOSFODNN7EXAMPLE"),
        ("API_KEY", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("API_KEY", "xoxb-123456789012-abcdef"),
        ("API_KEY", "AIzaSyA1234567890abcdefghijklmnopqrstuv"),
        ("API_KEY", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"),
        ("API_KEY", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAAA=\n-----END RSA PRIVATE KEY-----"),
    ],
)
def test_each_kind_is_replaced_whole_and_once(kind, value):
    subject = redactor()
    text = subject.text(f"I said: {value}, and then left.")
    match = PLACEHOLDER.search(text)
    assert match is not None
    assert match[1] == kind
    assert text == f"I said: {match[0]}, and then left."
    assert subject.counts == {kind.lower(): 1}


@pytest.mark.parametrize(
    ("before", "secret", "after"),
    [
        ("Authorization: Bearer ", "abcdef1234567890", ""),
        ("authorization: Basic ", "dXNlcjpwYXNzd29yZDE=", " end"),
        ("password=", "hunter22!", " and so on"),
        ("my api_key is set: API_KEY='", "0123abcd4567efgh", "'"),
        ('client_secret": "', "abcDEF123456xyz", '", "a"'),
        ("AWS_SECRET_ACCESS_KEY = ", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "\n"),
        ("BSN 111222333 is named: bsn ", "111222333", "."),
        ("tel. number 12; phone: ", "4155550133", "."),
    ],
)
def test_only_the_value_beside_a_telling_word_is_replaced(before, secret, after):
    text = redactor().text(before + secret + after)
    assert secret not in text
    assert text.startswith(before.split(secret)[0])
    assert text.endswith(after)


@pytest.mark.parametrize(
    "text",
    [
        "Version 1.2.3, version 1.2.3.4 and Chrome/120.0.0.0 at 12:34:56 on 2023-01-15 10:30:45.123456",
        "std::dec a::b 127.0.0.1 0.0.0.0 255.255.255.0 ::1",
        "0.4111111111111111 1700000000 1,000,000 1700000000000 978-0-306-40615-7 $1234567.89 pages 100-200",
        "task-550e8400-e29b-41d4-a716-446655440000 2023-01-15",
        "4111 1111 1111 1112 has a wrong check digit, NL91ABNA0417164301 too, and 01-02-2023 10:30 is a date",
        "max_tokens: 1000, token = tokenizer.encode2(text), api_key=os.environ['OPENAI_API_KEY'], the secret: patience",
        "@app.route npm i @angular/core@17.0.1 user@localhost a @ b",
        "scikit-learn risk-averse desk-bound-but-happy-people sk-short",
        "987654321 and 12345678901 are numbers, a call took 12345678 ns; the mobile app of 2023-01-15",
        "",
    ],
)
def test_ordinary_text_is_left_alone(text):
    subject = redactor()
    assert subject.text(text) == text
    assert not subject.counts


def test_the_same_value_has_one_placeholder_everywhere_and_different_values_differ():
    first, second = redactor(), redactor()
    assert first.text("a@x.com and A@X.com") == second.text("a@x.com and a@x.com")
    assert first.text("4111 1111 1111 1111") == second.text("4111111111111111")
    assert first.text("a@x.com") != first.text("b@x.com")
    assert Redactor(Redaction(), key="other").text("a@x.com") != first.text("a@x.com")


def test_an_exchange_is_redacted_in_every_place_that_holds_content():
    value = "alice@example.com"
    arguments = json.dumps({"to": value, "body": f"line\n{value}", "n": 3, "card": 4111111111111111})
    call = {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}
    request = ChatRequest(
        model="gpt-4o",
        messages=(
            {"role": "system", "content": f"You help {value}."},
            {"role": "user", "content": [{"type": "text", "text": f"I am {value}"}], "name": value},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": f'{{"sent":["{value}"],"password":"x"}}'},
        ),
        tools=({"type": "function", "function": {"name": "send", "description": "Mail help@example.com"}},),
        params={"temperature": 0.1, "user": value, "extra_headers": {"Authorization": "Bearer short"}},
    )
    production = observation(
        completion=Completion(
            text=f"Sent to {value}",
            tool_calls=(
                ToolCall(name="send", arguments={"to": [value], "id": value}),
                ToolCall(name="x", arguments=value),
            ),
            refusal=f"no, {value}",
        ),
    )
    subject = redactor()
    result = subject.exchange(
        exchange(
            request=request, production=production, user=value, session=value, tags=(value,), metadata={"who": value}
        )
    )
    assert value not in repr(replace_tools(result))
    assert result.request.tools == request.tools
    assert "Bearer short" not in repr(result)
    sent = json.loads(result.request.messages[2]["tool_calls"][0]["function"]["arguments"])
    placeholder = subject.text(value)
    assert sent == {"to": placeholder, "body": f"line\n{placeholder}", "n": 3, "card": sent["card"]}
    assert isinstance(sent["card"], int)
    assert sent["card"] < 2**16
    assert result.request.messages[2]["tool_calls"][0]["id"] == "call_1"
    assert result.request.messages[3]["content"].startswith(f'{{"sent":["{placeholder}"],"password":"<API_KEY_')
    assert result.production.completion.text == f"Sent to {placeholder}"
    assert result.production.completion.tool_calls[0].arguments == {"to": [placeholder], "id": placeholder}
    assert result.user == result.session == result.tags[0] == result.metadata["who"] == result.request.params["user"]
    assert re.fullmatch(r"<EMAIL_[0-9a-f]{12}>", result.user)
    assert subject.exchange(result) == result


def replace_tools(value):
    return replace(value, request=replace(value.request, tools=()))


def test_numbers_in_json_stay_numbers():
    text = json.dumps({"phone_number": 4155550133, "bsn": 111222333, "total": 4155550133, "pan": -4111111111111111})
    subject = redactor()
    result = json.loads(subject.text(text))
    assert result["total"] == 4155550133
    assert all(0 <= result[name] < 2**16 for name in ("phone_number", "bsn", "pan"))
    assert subject.counts == {"phone": 1, "national_id": 1, "card": 1}
    assert subject.text(json.dumps(result)) == json.dumps(result)


def test_errors_are_redacted():
    failed = observation(error=CallError(kind=ErrorKind.AUTHENTICATION, message="bad key sk-abcdefghijklmnop1234"))
    result = redactor().observation(failed)
    assert result.error.message.startswith("bad key <API_KEY_")
    assert result.error.kind is ErrorKind.AUTHENTICATION


def test_inline_images_stay_byte_for_byte_and_text_beside_them_does_not():
    image = "data:image/png;base64," + "iVBORw0KGgo4111111111111111/+sk" * 200 + "=="
    subject = redactor()
    assert subject.text(image) == image
    assert subject.text(f"![x]({image}) by a@x.com").startswith(f"![x]({image}) by <EMAIL_")
    assert "a@x.com" not in subject.text("data:text/plain;base64,AAAA a@x.com")


def test_own_patterns_come_first_and_are_counted_under_their_name():
    subject = redactor(patterns={"customer": r"CU-\d+"})
    assert re.fullmatch(r"ask <CUSTOMER_[0-9a-f]{4}>", subject.text("ask CU-4111111111111111"))
    assert subject.counts == {"customer": 1}
    greedy = redactor(patterns={"upper": r"[A-Z]+"})
    once = greedy.text("HELLO a@x.com")
    assert greedy.text(once) == once


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patterns": {"broken": "(a"}}, r"patterns\.broken: '\(a' is not a regular expression"),
        ({"patterns": {"empty": "a*"}}, "matches the empty text"),
        ({"patterns": {"email": "x"}}, "'email' cannot name a kind"),
        ({"kinds": ["emial"]}, "'emial' is not known; available: api_key"),
    ],
)
def test_a_wrong_configuration_names_itself(fields, message):
    with pytest.raises(ConfigurationError, match=message):
        redactor(**fields)


def test_only_the_kinds_asked_for_are_replaced_and_off_is_off():
    text = "a@x.com from 203.0.113.7"
    assert redactor(kinds=["ip"]).text(text).startswith("a@x.com from <IP_")
    off = redactor(enabled=False)
    assert off.text(text) == text
    value = exchange(text)
    assert off.exchange(value) is value


def test_hostile_text_takes_linear_time():
    subject = redactor()
    for text in (
        "a" * 100_000 + "@",
        "1-" * 50_000,
        "@a." * 30_000,
        ":" * 100_000,
        "eyJ" * 30_000,
        "token=" * 20_000,
        "+1 " * 30_000,
    ):
        started = time.process_time()
        subject.text(text)
        assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("before", "secret", "after"),
    [
        ("redis://:", "p4ssw0rd", "@localhost:6379/0"),
        ("see https://user:", "s3cretPass", "@localhost/path"),
        ("postgresql://svc_user:", "Xy9", "@db:5432/app"),
        ("https://user:", "s3cretPass", "@files.example.com/path"),
        ("wachtwoord: ", "Welkom01", ""),
        ("SSN ", "123 45 6789", "."),
        ("call me at ", "415555013", " then"),
        ("mobile number: ", "5550133", ""),
    ],
)
def test_passwords_in_urls_and_named_numbers_go(before, secret, after):
    subject = redactor()
    once = subject.text(before + secret + after)
    assert secret not in once
    assert (once.startswith(before), once.endswith(after)) == (True, True)
    assert redactor().text(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "orders FW-20990 and INV-0123-4567-8901, PO 0450012345, part no. 0012345678, barcode: 036000291452",
        "numbered 0017 0018 0019 0020, 01 02 03 04 05 06 07 08 09 10 and 001 002 003 004 005",
        "Tel Aviv 1909-2009; cell 1048576 rows; phone model 3310-2017; mobile apps 2024 2025",
        "rows 123 45 6789 and 100 20 3000; GPS 40.7128 74.0060 1990-2024 pages",
        "see section 1.2.3.4 and chapter 10.2.0.1",
        "1,234.56 euro on 2024-01-31T10:30:00.123+02:00 in v10.4.2.1, id 550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_numbers_of_other_kinds_are_left_alone(text):
    assert redactor().text(text) == text
