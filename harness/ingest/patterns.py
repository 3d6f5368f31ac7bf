"""How each kind of sensitive value is recognised in text.

A finder yields the spans of the values it is sure enough of. Checksums (Luhn, mod 97, national check digits) decide
wherever a kind has one; bare digit runs without one count only beside a word that names them. Every finder is linear
in the text: each repetition is bounded or cannot be entered twice at one place.
"""

import ipaddress
import itertools
import re
from collections.abc import Callable, Iterator
from functools import cache

Span = tuple[int, int]
Finder = Callable[[str], Iterator[Span]]

_SEP = "[ \u00a0\u202f.\u2011-]"
# JSON inside prose spells a line break as \n: the letter belongs to the escape and not to the value behind it.
_EDGE = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"

_AT_EDGE = re.compile(_EDGE)

_DOMAIN = re.compile(r"@(?:[\w-]{1,63}\.){1,20}(?:xn--[\w-]{2,59}|[^\W\d_]{2,63})")
_LOCAL_REVERSED = re.compile(r"[\w.+%~&-]{1,64}(?:'[\w.+%~&-]{1,64})?|[!#$*?^`{|}']{1,64}")


def _emails(text: str) -> Iterator[Span]:
    """Addresses, found from their ``@``: a scan for local parts would be quadratic in long words."""
    done = 0
    for domain in _DOMAIN.finditer(text):
        at = domain.start()
        local = _LOCAL_REVERSED.match(text[max(done, at - 65) : at][::-1])
        if local is None:
            continue
        start = at - local.end()
        if start and text[start - 1] == "\\" and text[start] in "nrt" and at - start > 1:
            start += 1
        done = domain.end()
        yield start, done


_KEY = re.compile(
    _EDGE
    + r"""(?:
      sk-(?=[A-Za-z_-]{0,200}[0-9]|[A-Za-z0-9_]{20})[A-Za-z0-9_-]{16,}
    | (?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])
    | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | glpat-[A-Za-z0-9_-]{16,}
    | xox[a-z]-[A-Za-z0-9-]{10,} | xapp-[A-Za-z0-9-]{10,}
    | AIza[0-9A-Za-z_-]{30,} | ya29\.[\w-]{20,} | GOCSPX-[\w-]{20,}
    | (?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,} | whsec_[A-Za-z0-9+/=]{16,}
    | (?:hf|gsk|npm|r8|tgp_v1|dop_v1|nvapi|pplx|xai|fw|csk)[_-](?=[A-Za-z_-]{0,200}[0-9])[A-Za-z0-9_-]{24,}
    | SG\.[\w-]{16,200}\.[\w-]{16,} | pypi-[\w-]{50,}
    | eyJ[\w-]{8,4096}\.[\w-]{8,}(?:\.[\w-]+)*
    )"""
    + r"|-----BEGIN[ A-Z0-9]{0,30}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----.*?"
    + r"(?:-----END[ A-Z0-9]{0,30}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----|\Z)",
    re.VERBOSE | re.DOTALL,
)
_SECRET_PREFIX = re.compile(r"(?i)(?:api|access|secret|private|account|subscription|encryption|signing)[_ -]?$")
_ASSIGNED = re.compile(
    r"""(?ix)
    (?: key (?:[_-]?id)? | secret | token
      | (?P<password> passwor[dt] | passwd | passphrase | pwd | wachtwoord | kennwort ) )
    \\?["']? \s{0,3} (?: => | [:=] ) \s{0,3} \\?["']?
    (?P<value> (?(password) [^\s"'<>,;\\(){}\[\]]{6,4096} | [A-Za-z0-9_+/=.~-]{12,4096} ) )
    (?! [(\[] )""",
)
_IN_URL = re.compile(r"""://[^\s/@:"'<>]{0,128}:(?P<value>[^\s/@"'<>]{1,256})@""")
_MIXED = re.compile(r"(?=[^0-9]*[0-9])(?=.*[A-Za-z])")


def _api_keys(text: str) -> Iterator[Span]:
    """Vendor keys by their prefix, JWTs, PEM keys, passwords in URLs, values assigned to a name that says secret."""
    if "://" in text and "@" in text:
        yield from (match.span("value") for match in _IN_URL.finditer(text))
    for mark in _KEY_MARKS:
        done = 0
        for start in _places(text, mark):
            match = _KEY.match(text, start) if start >= done else None
            if match is not None:
                done = match.end()
                yield match.span()
    lowered = _ascii_lower(text)
    for word in _SECRET_WORDS:
        done = 0
        for start in _places(lowered, word):
            match = _ASSIGNED.match(text, start) if start >= done else None
            if match is None or (word == "key" and not _SECRET_PREFIX.search(text[max(0, start - 14) : start])):
                continue
            done = match.end()
            # Code assigns variables and calls to such names; a secret mixes letters and digits.
            if _MIXED.match(match["value"]):
                yield match.span("value")


def _places(text: str, mark: str) -> Iterator[int]:
    place = text.find(mark)
    while place >= 0:
        yield place
        place = text.find(mark, place + 1)


def _ascii_lower(text: str) -> str:
    """Lower case of the same length, so that places in it are places in ``text``."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(character.lower() if character.isascii() else character for character in text)


_BEARER = re.compile(
    r"(?i)(?:bearer\s{1,3}|authorization\\?[\"']?\s{0,3}[:=]\s{0,3}\\?[\"']?(?:(?:basic|token|bearer|digest)\s{1,3})?)"
    r"(?P<value>(?=[A-Za-z._~+/-]{0,200}[0-9=])[A-Za-z0-9._~+/-]{12,}={0,2})"
)


def _bearer_tokens(text: str) -> Iterator[Span]:
    lowered = _ascii_lower(text)
    for word in ("bearer", "authorization"):
        done = 0
        for start in _places(lowered, word):
            match = _BEARER.match(text, start) if start >= done else None
            if match is not None:
                done = match.end()
                yield match.span("value")


_COUNTRIES_BY_LENGTH = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
IBAN_LENGTHS = {country: length for length, codes in _COUNTRIES_BY_LENGTH.items() for country in codes.split()}
"""Country to length, SWIFT IBAN registry."""
_IBAN = re.compile(r"[0-9]{2}(?<=[A-Za-z]{2}[0-9]{2})(?=[ \u00a0-]?[A-Za-z0-9]{2})")
_ALNUM = re.compile(r"[ \u00a0-]?[A-Za-z0-9]")


def _ibans(text: str) -> Iterator[Span]:
    """As many characters as the country's IBANs have, single blanks or hyphens between groups, checked modulo 97."""
    for match in _IBAN.finditer(text):
        start = match.start() - 2
        length = IBAN_LENGTHS.get(text[start : start + 2].upper())
        if length is None or not _at_edge(text, start):
            continue
        end = match.end()
        for _ in range(length - 4):
            step = _ALNUM.match(text, end)
            if step is None:
                break
            end = step.end()
        else:
            following = text[end : end + 1]
            if not (following.isascii() and following.isalnum()) and _mod97(_compact(text[start:end])):
                yield start, end


def _at_edge(text: str, start: int) -> bool:
    return _AT_EDGE.match(text, start) is not None


def _compact(text: str) -> str:
    return "".join(character for character in text if character.isalnum()).upper()


def _mod97(iban: str) -> bool:
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


_DIGIT_ROW = re.compile(r"[0-9](?<![0-9][0-9])(?<![0-9]\.[0-9])(?:[ \u00a0\u202f-]?[0-9]){12,}")
_GROUP = re.compile(r"[0-9]+")


def luhn(digits: str) -> bool:
    """Whether the last digit is right (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_card(digits: str) -> bool:
    """Whether bare digits are a payment card number: 13 to 19 digits, an issuer's first digit, Luhn."""
    return 13 <= len(digits) <= 19 and digits[0] in "23456" and len(set(digits)) > 1 and luhn(digits)


def _cards(text: str) -> Iterator[Span]:
    """Card numbers, also as some of the groups of a longer row of numbers."""
    for row in _DIGIT_ROW.finditer(text):
        groups = [group.span() for group in _GROUP.finditer(text, *row.span())]
        first = 0
        while first < len(groups):
            last = next((last for last in range(min(len(groups), first + 5) - 1, first - 1, -1)
                         if _is_grouped_card(text, groups[first : last + 1])), None)  # fmt: skip
            if last is not None:
                yield groups[first][0], groups[last][1]
                first = last
            first += 1


def _is_grouped_card(text: str, groups: list[Span]) -> bool:
    """Whether groups make a card number: one separator throughout, and at most 6 digits in each of several."""
    if len(groups) > 1:
        separators = {text[groups[i][1]] for i in range(len(groups) - 1)}
        if len(separators) > 1 or max(end - start for start, end in groups) > 6:
            return False
    return is_card("".join(text[start:end] for start, end in groups))


_NATIONAL = re.compile(
    r"[0-9](?<![A-Za-z0-9][0-9])(?:"
    r"(?P<us_ssn>[0-9]{2}[- ][0-9]{2}[- ][0-9]{4})"
    r"|(?P<es_dni>[0-9]{7}[- ]?[A-Za-z])"
    r"|(?P<ch_ssn>(?<=7)56\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2})"
    r"|(?P<br_cpf>[0-9]{2}\.[0-9]{3}\.[0-9]{3}-[0-9]{2})"
    r"|(?P<be_nn>[0-9]\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2})"
    r"|(?P<fr_nir>(?<=[12])[ .]?[0-9]{2}[ .]?[0-9]{2}[ .]?[0-9][0-9AB][ .]?[0-9]{3}[ .]?[0-9]{3}[ .]?[0-9]{2})"
    r"|(?P<se_personnummer>(?:[0-9]{2})?[0-9]{5}[-+][0-9]{4})"
    r"|(?P<nl_bsn>[0-9]{3}\.[0-9]{2}\.[0-9]{3})"
    r"|(?P<de_idnr>[0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3})"
    r"|(?P<named>[0-9]{8}|[0-9]{10})"
    r")(?![A-Za-z0-9])"
)
_LETTERED = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?P<gb_nino>(?i:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]) ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?(?i:[A-D]))"
    r"|(?P<it_codicefiscale>(?i:[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]))"
    r"|(?P<es_nie>[XYZxyz][- ]?[0-9]{7}[- ]?[A-Za-z])"
    r")(?![A-Za-z0-9])"
)
_NAMED_ID = re.compile(
    r"(?i)(?:\bbsn\b|burger\s?service|sofi|\bssn\b|social\s?(?:security|insurance)|\bpesel\b|rijksregister"
    r"|num[eé]ro national|\bcpf\b|national\s?(?:id|number)|identity\s?(?:card|number)|steuer)"
)


@cache
def _checks() -> dict[str, tuple[Callable[[str], bool], ...]]:
    """Check digits by kind of id, from python-stdnum; its modules are small but many, so they load on first use."""
    from stdnum.be import nn
    from stdnum.br import cpf
    from stdnum.ch import ssn as ch_ssn
    from stdnum.de import idnr
    from stdnum.es import dni, nie
    from stdnum.fr import nir
    from stdnum.it import codicefiscale
    from stdnum.nl import bsn
    from stdnum.pl import pesel
    from stdnum.se import personnummer
    from stdnum.us import ssn

    return {
        "us_ssn": (ssn.is_valid,),
        "gb_nino": (lambda _: True,),
        "it_codicefiscale": (codicefiscale.is_valid,),
        "es_dni": (dni.is_valid,),
        "es_nie": (nie.is_valid,),
        "ch_ssn": (ch_ssn.is_valid,),
        "br_cpf": (cpf.is_valid,),
        "be_nn": (nn.is_valid,),
        "fr_nir": (nir.is_valid,),
        "se_personnummer": (personnummer.is_valid,),
        "nl_bsn": (bsn.is_valid,),
        "de_idnr": (idnr.is_valid,),
        "named": (bsn.is_valid, ssn.is_valid, pesel.is_valid, nn.is_valid, cpf.is_valid, idnr.is_valid),
    }


def _national_ids(text: str) -> Iterator[Span]:
    """National ids with a valid check digit; bare digits of common lengths only after a word that names them."""
    lettered = any(shape in _shape(text) for shape in _LETTERED_SHAPES)
    found = [*_NATIONAL.finditer(text), *(_LETTERED.finditer(text) if lettered else ())]
    for match in found:
        value = match.group()
        kinds = [match.lastgroup or "named"]
        if value.isdigit() and len(value) in {9, 11}:
            kinds.append("named")
        for kind in kinds:
            # Three groups with blanks between are as likely a row of numbers.
            is_loose = kind == "us_ssn" and " " in value
            if (kind == "named" or is_loose) and _NAMED_ID.search(
                text, max(0, match.start() - 60), match.start()
            ) is None:
                continue
            if any(check(value.replace(" ", "-") if is_loose else value) for check in _checks()[kind]):
                yield match.span()
                break


_PHONE = re.compile(
    r"(?<![\w+#])(?<![0-9]\.)(?<![A-Za-z]-)(?:"
    rf"(?:\+|00(?=[1-9]))[1-9](?:{_SEP}?[()/]?{_SEP}?[0-9]){{7,14}}"
    rf"|(?:1{_SEP})?(?:\([0-9]{{3}}\){_SEP}?|[0-9]{{3}}{_SEP})[0-9]{{3}}{_SEP}[0-9]{{4}}"
    # The trunk prefix 0, an area code and the rest in groups; not a date.
    r"|\(?(?![0-9]{2}[-/ .][0-9]{2}[-/ .][0-9]{4})0[1-9][0-9]{0,4}\)?[ \u00a0/-]{0,2}"
    r"[0-9]{2,8}(?:[ \u00a0.-]?[0-9]{2,4}){0,4}"
    r")(?![\w])(?!\.[0-9])"
)
_NUMBER_ROW = re.compile("[0-9](?:[ ().+/\u00a0\u202f\u2011-]{0,3}[0-9]){5,}")
_PHONE_NAME = re.compile(
    r"(?i)\b(?:tele?|phone|telephone|telefoon|telefon|t[ée]l[ée]phone|mobile|mobiel"
    r"|mobil|cell(?:phone|(?=\W{1,2}(?:phone|number|no|nr)\b|\s?[:=#]))|call (?:me|us|him|her|them)|fax|whatsapp|sms)\b"
    # Few digits behind other words are years or counts; the word has to stand right before them.
    r"(?:[^\n0-9]{0,16}(?=[0-9](?:[ .-]?[0-9]){8})|\W{0,4}(?:(?:phone|number|nummer|no|nr|is|at|on|op)\b\W{0,4}){0,3})"
    r"(?P<value>(?!(?:19|20)[0-9]{2}[-.][0-9]{2}[-.])[0-9](?:[ .-]?[0-9]){6,14})(?![\w])"
)
_NUMBERED = re.compile(
    r"(?i)\b(?:order|bestelling|invoice|factuur|rechnung|part|po|ref|reference|ticket|case|barcode|ean|upc|sku|tracking|item"
    r"|article|artikel|customer|klant|batch|lot|serial|id)(?:[ -]?(?:number|nummer|no|nr|code|id))?\W{0,3}$"
)


def _phones(text: str) -> Iterator[Span]:
    """International and national numbers in the forms people write; bare digits only after a word that names them."""
    rows = list(_NUMBER_ROW.finditer(text))
    for match in (match for row in rows for match in _PHONE.finditer(text, max(0, row.start() - 3), row.end() + 2)):
        digits = _compact(match.group())
        if 8 <= len(digits) <= 17 and digits not in {"0123456789", "01234567", "012345678"}:
            if not match.group().startswith(("+", "00", "(")) and not 9 <= len(digits) <= 12:
                continue
            if _is_series(match.group()):
                continue
            if match.group().isdigit() and _NUMBERED.search(text[max(0, match.start() - 32) : match.start()]):
                continue
            yield match.span()
    for row in rows:
        named = _PHONE_NAME.search(text, max(0, row.start() - 32), row.end() + 1)
        if named is not None:
            yield named.span("value")


def _is_series(value: str) -> bool:
    """Whether this is a row of numbers that count up, such as ``0017 0018 0019 0020``."""
    numbers = [int(group) for group in _GROUP.findall(value)]
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    return len(numbers) > 2 and len(steps) == 1 and not value.startswith("+")


_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w])(?!\.[0-9])")
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9A-Fa-f:]{0,40}[0-9])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}"
    r"(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3})?(?![\w:])"
)
_VERSION = re.compile(
    r"(?i)(?:\b(?:versions?|ver\.?|release|build|sections?|chapters?|clauses?|paragraphs?)\s?[:=]?\s?|§\s?|[A-Za-z]/)$"
)


def _ips(text: str) -> Iterator[Span]:
    """Addresses of machines; loopback, unspecified, netmasks and four-part version numbers name nobody and stay."""
    for pattern in [pattern for pattern, mark in ((_IPV4, _IPV4_MARK), (_IPV6, _IPV6_MARK)) if mark.search(text)]:
        for match in pattern.finditer(text):
            value = match.group()
            if pattern is _IPV6 and value.count(":") < 3 and len(value) < 6:
                continue
            try:
                address = ipaddress.ip_address(value)
            except ValueError:
                continue
            if address.is_loopback or address.is_unspecified or value.startswith("255."):
                continue
            if pattern is _IPV4 and _VERSION.search(text[max(0, match.start() - 12) : match.start()]):
                continue
            yield match.span()


FINDERS: dict[str, Finder] = {
    "bearer_token": _bearer_tokens,
    "api_key": _api_keys,
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "national_id": _national_ids,
    "phone": _phones,
    "ip": _ips,
}
"""Kind to finder, in the order they are applied: the surest first, so that a card is not taken for a telephone."""

SECRET_NAME = re.compile(
    r"(?i)(?:x[-_])?api[-_]?key|(?:proxy[-_])?authorization|password|passwd|passphrase"
    r"|(?:client[-_])?secret|secret[-_]key|(?:access|refresh|auth|id)[-_]token|private[-_]key|(?:set[-_])?cookie"
)
"""Names of fields whose text is a secret whatever it looks like."""

_KEY_MARKS = (
    "sk-", "AKIA", "ASIA", "AIza", "eyJ", "-----BEGIN", "xox", "xapp-", "glpat-", "ya29.", "GOCSPX-", "SG.",
    "pypi-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "sk_live_", "sk_test_", "rk_live_", "rk_test_",
    "pk_live_", "pk_test_", "whsec_", "hf_", "gsk_", "npm_", "r8_", "tgp_v1_", "dop_v1_", "nvapi-", "pplx-", "xai-",
    "fw_", "csk-",
)  # fmt: skip
_MARKS_BY_CHARACTER = (
    ("-", tuple(mark for mark in _KEY_MARKS if "-" in mark)),
    ("_", tuple(mark for mark in _KEY_MARKS if "_" in mark)),
    ("", tuple(mark for mark in _KEY_MARKS if "-" not in mark and "_" not in mark)),
)
_SECRET_WORDS = ("key", "secret", "token", "passw", "passphrase", "pwd", "wachtwoord", "kennwort")
_IPV4_MARK = re.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_IPV6_MARK = re.compile(r":[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}")
_LETTERED_SHAPES = (b"AA000000A", b"00A00A000A", b"A0000000A")
_DROPPED = b" ().+/:-\xc2\xa0\xe2\x80\xaf\x91"
_SHAPE = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x41 for byte in range(256))


def _shape(text: str) -> bytes:
    """Digits folded to ``0``, all else to ``A``, separators left out."""
    return text.encode("utf-8", "surrogatepass").translate(_SHAPE, _DROPPED)


def _says_key(text: str, lowered: str) -> bool:
    for word in _SECRET_WORDS:
        if word in lowered:
            return True
    for character, marks in _MARKS_BY_CHARACTER:
        if character in text:
            for mark in marks:
                if mark in text:
                    return True
    return False


def suspects(text: str) -> list[str]:
    """Kinds that may occur in ``text``, by substring search alone; never misses one that its finder would find.

    This is what makes clean text cheap: with digits folded to one character and separators deleted, a number of six
    digits or more is one substring search away.
    """
    lowered = text.lower()
    shape = _shape(text)
    found = []
    if "bearer" in lowered or "authorization" in lowered:
        found.append("bearer_token")
    if _says_key(text, lowered) or ("://" in text and "@" in text):
        found.append("api_key")
    if "@" in text:
        found.append("email")
    if b"AA00" in shape:
        found.append("iban")
    if b"000000" in shape:
        found += ["card", "national_id", "phone"]
    elif b"00A00A000A" in shape:
        found.append("national_id")
    if ("." in text and _IPV4_MARK.search(text)) or (":" in text and _IPV6_MARK.search(text)):
        found.append("ip")
    return found
