"""Planted private data: what is found of them, and what is mistaken for them."""

import ipaddress

import numpy as np
import pytest

from scaling.config.cleaning_heuristics import PrivateData
from scaling.data.cleaning.private_data import ADDRESS, EMAIL, PHONE, private_data, starred
from scaling.data.sources import Document


def masked(text: str, **changes) -> tuple[str, dict[str, int]]:
    verdict = private_data(PrivateData(**changes))(Document(name="d", text=text))
    return verdict.text, dict(verdict.counts)


EMAILS = [
    "ada@example.org",
    "ada.lovelace+notes@mail.example.co.uk",
    "A_B-c@x-y.io",
    "99@numbers.net",
    "first.last@sub.domain.museum",
]
IPS = ["81.2.69.142", "203.0.114.7", "8.8.4.200", "2001:4860:4860::8888", "2a00:1450:4001:81b:0:0:0:200e"]
PHONES = [
    "+1 212 555 0187",
    "+49 30 901820-13",
    "+4930901820",
    "(212) 555-0187",
    "212-555-0187",
    "212.555.0187",
    "+44 (0)20 7946 0958",
    "+33 1 70 18 99 00",
]
NOT_EMAILS = ["@property", "a@b", "user@localhost", "x @ y.com", "@app.route", "user@-bad.com", "name@domain.c"]
NOT_IPS = [
    "version 1.2.3.4",
    "v10.20.30.40",
    "foo-1.22.3.4",
    "package==2.30.1.1",
    "section 4.3.2.21",
    "1.2.3.4",
    "127.0.0.1",
    "192.168.1.20",
    "10.0.0.255",
    "255.255.255.0",
    "300.1.2.3",
    "1.2.3.4.55",
    "12:34:56",
    "3.11.7",
    "std::vector",
    "2001:db8::1",
    "00:1b:44:11:3a:b7",
]
NOT_PHONES = [
    "2020-12-11",
    "123456789012",
    "978-3-16-148410-0",
    "+100",
    "1.234.567",
    "x+12345678901",
    "+0100",
    "1234-5678-9012-3456",
    "3.14159265358",
    "111-222-3333",
    "(1, 2, 3)",
    "0x2125550187",
]


@pytest.mark.parametrize(
    ("planted", "mask", "name"),
    [(EMAILS, EMAIL, "e-mail addresses"), (IPS, ADDRESS, "IP addresses"), (PHONES, PHONE, "telephone numbers")],
)
def test_each_planted_one_is_replaced_whole_and_counted(planted, mask, name):
    for private in planted:
        assert masked(f"Ask at {private}, or later.") == (f"Ask at {mask}, or later.", {name: 1})
    text, counts = masked("; ".join(planted))
    assert text == "; ".join([mask] * len(planted)) and counts == {name: len(planted)}


@pytest.mark.parametrize("public", NOT_EMAILS + NOT_IPS + NOT_PHONES)
def test_what_only_looks_like_private_data_stays(public):
    for text in (public, f"See {public} for more.", f"({public})"):
        assert masked(text) == (text, {})


def test_what_stands_before_an_address_tells_it_from_a_version():
    assert masked("host 5.6.7.8")[0] == f"host {ADDRESS}"
    assert masked("release 5.60.7.8")[1] == {}


def test_a_thousand_planted_among_prose_and_numbers():
    """Recall over random ones of every kind, and false positives over as many lures."""
    random = np.random.default_rng(0)
    found = {EMAIL: 0, ADDRESS: 0, PHONE: 0}
    false = 0
    for _ in range(1000):
        a, b, c, d = (int(x) for x in random.integers(20, 240, 4))
        address = f"{a}.{b}.{c}.{d}"
        planted = {
            EMAIL: f"user{a}.{b}@host{c}.example.com",
            PHONE: f"({a % 800 + 200}) {b % 800 + 200}-{1000 + c}",
        } | ({ADDRESS: address} if ipaddress.ip_address(address).is_global and a < 224 else {})
        text, _ = masked("; ".join(planted.values()))
        for mask in planted:
            found[mask] += mask in text
        found[ADDRESS] += ADDRESS not in planted
        lure = f"v{a}.{b}.{c}.{d} at 20{a % 90 + 10}-0{b % 9 + 1}-1{c % 9}, {a}{b}{c}{d}, {a}.{b}, part {a}-{b}-{c}"
        false += bool(masked(lure)[1])
    assert found == {EMAIL: 1000, ADDRESS: 1000, PHONE: 1000}
    assert false == 0


def test_masking_twice_is_masking_once():
    once, _ = masked("; ".join(EMAILS + IPS + PHONES))
    assert masked(once) == (once, {})


def test_kinds_can_be_chosen():
    text = "ada@example.org 81.2.69.142 212-555-0187"
    assert masked(text, ip_addresses=False, phones=False)[1] == {"e-mail addresses": 1}
    assert masked(text, emails=False, phones=False)[1] == {"IP addresses": 1}
    assert masked(text, emails=False, ip_addresses=False)[1] == {"telephone numbers": 1}
    with pytest.raises(ValueError, match="masks nothing; leave the step out"):
        PrivateData(emails=False, ip_addresses=False, phones=False)


def test_stars_keep_the_length_and_nothing_private():
    text = f"one {EMAILS[1]} two {IPS[3]} three {PHONES[0]} four"
    hidden = starred(text)
    assert len(hidden) == len(text) and set(hidden) - set("one two three four") == {"*"}


@pytest.mark.timeout(30)  # they take half a second; in quadratic time one alone would take hours
@pytest.mark.parametrize("sign", "@.+1(a:2-")
def test_long_runs_of_signs_are_left_in_linear_time(sign):
    for text in (sign * 200_000, f"a{sign}" * 100_000):
        assert masked(text) == (text, {})
