"""E-mail addresses, IP addresses and telephone numbers, found and replaced by their kind.

What is found is nowhere written but in the count. A pattern finds candidates
quickly; a check then says no to what only looks like one, such as the number
of a version. Every pattern begins with a class of characters and none looks
behind itself, which lets `re` skip ahead; what stands before is for the check.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator

from scaling.config.cleaning_heuristics import PrivateData
from scaling.data.cleaning.contract import Local, Verdict
from scaling.data.sources import Document

EMAIL, ADDRESS, PHONE = "<e-mail address>", "<IP address>", "<telephone number>"
Span = tuple[int, int]

LOCAL_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._%+-]*[A-Za-z0-9_%+-])?$")
DOMAIN = re.compile(r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}(?<!-))?\.)+[A-Za-z]{2,24}(?![A-Za-z0-9_-]|\.[A-Za-z0-9])")
LONGEST_LOCAL_PART = 64  # RFC 5321, section 4.5.3.1.1

IPV4 = re.compile(r"[0-9][0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_-]|\.[0-9])")
# What an address is never preceded by, but the number of a version, section or object is.
NUMBERED = re.compile(
    r"(?:[\w.+/-]|[=<>~!^]=\s*|\b(?:v|ver|version|release|section|chapter|rev|revision|build|oid|sec)\.?:?\s*|§\s*)$",
    re.IGNORECASE,
)
HOSTLIKE = re.compile(r"\b(?:ip|ipv4|host|addr|address|server|client|from|peer|dns|ping|ssh|://)\W*$", re.IGNORECASE)
LEAST_OCTET = 20  # at least one part of an address that nothing else speaks for; versions have small ones

TWO_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
IPV6 = re.compile(r"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}")  # 2000::/3 is all that is given out

ABROAD = re.compile(r"\+[1-9](?:[ .\-/]?\(?[0-9]\)?){7,14}(?![0-9A-Za-z_])")  # with the country's code
AMERICAN = re.compile(
    r"[(2-9](?:(?<=\()[2-9][0-9]{2}\) ?|[0-9]{2}[.-])[2-9][0-9]{2}[.-][0-9]{4}(?![0-9A-Za-z_.-]*[0-9])"
)
LEAST_UNBROKEN = 10  # digits of a number without any space or sign between them


def private_data(rule: PrivateData) -> Local:
    """Replaces what is found; counts by kind."""
    kinds = [(rule.emails, EMAIL, _emails), (rule.ip_addresses, ADDRESS, _addresses), (rule.phones, PHONE, _phones)]
    chosen = [(mask, find) for wanted, mask, find in kinds if wanted]

    def judge(document: Document) -> Verdict:
        text, counts = _masked(document.text, chosen)
        return Verdict(text=text, reason="masked" if counts else "", counts=counts)

    return judge


def starred(text: str) -> str:
    """A text of the same length, whose private characters are stars."""
    for find in (_emails, _addresses, _phones):
        for start, end in find(text):
            text = text[:start] + "*" * (end - start) + text[end:]
    return text


def _masked(text: str, chosen: list[tuple[str, Callable[[str], Iterator[Span]]]]) -> tuple[str, dict[str, int]]:
    counts: dict[str, int] = {}
    for mask, find in chosen:
        spans = list(find(text))
        if spans:
            counts[f"{mask[1:-1]}es" if mask.endswith("ss>") else f"{mask[1:-1]}s"] = len(spans)
            text = _replaced(text, spans, mask)
    return text, counts


def _replaced(text: str, spans: list[Span], mask: str) -> str:
    parts, done = [], 0
    for start, end in spans:
        parts += [text[done:start], mask]
        done = end
    return "".join([*parts, text[done:]])


def _emails(text: str) -> Iterator[Span]:
    at, done = text.find("@"), 0
    while at >= 0:
        domain = DOMAIN.match(text, at)
        name = LOCAL_PART.search(text[max(done, at - LONGEST_LOCAL_PART) : at]) if domain else None
        if name:
            done = domain.end()
            yield at - len(name[0]), done
        at = text.find("@", at + 1)


def _addresses(text: str) -> Iterator[Span]:
    found = [match.span() for match in IPV4.finditer(text) if _is_ipv4(text, match)] if "." in text else []
    found += [span for match in IPV6.finditer(text) if (span := _ipv6(text, match))] if TWO_COLONS.search(text) else []
    return iter(sorted(found))


def _is_ipv4(text: str, match: re.Match[str]) -> bool:
    try:
        address = ipaddress.IPv4Address(match[0])
    except ValueError:
        return False
    before = text[max(0, match.start() - 20) : match.start()]
    if not address.is_global or address.is_multicast:
        return False
    if HOSTLIKE.search(before):
        return True
    return not NUMBERED.search(before) and max(address.packed) >= LEAST_OCTET


def _ipv6(text: str, match: re.Match[str]) -> Span | None:
    start, found = match.start(), match[0].rstrip(":")
    end = start + len(found)
    if text[start - 1 : start].isalnum() or text[start - 1 : start] in (":", "_") or text[end : end + 1].isalnum():
        return None
    try:
        return (start, end) if ipaddress.IPv6Address(found).is_global else None
    except ValueError:
        return None


def _phones(text: str) -> Iterator[Span]:
    found = [match.span() for match in AMERICAN.finditer(text) if _stands_alone(text, match)]
    for match in ABROAD.finditer(text) if "+" in text else ():
        digits = sum(map(str.isdigit, match[0]))
        if _stands_alone(text, match) and (digits + 1 < len(match[0]) or digits >= LEAST_UNBROKEN):
            found.append(match.span())
    done = 0
    for start, end in sorted(found):
        if start >= done:  # of two that overlap, the first
            done = end
            yield start, end


def _stands_alone(text: str, match: re.Match[str]) -> bool:
    """Whether nothing before it makes it a part of a number, a name or a formula."""
    before = text[match.start() - 1 : match.start()] if match.start() else ""
    return not before.isalnum() and before not in tuple("_.-+/=%$#&")
