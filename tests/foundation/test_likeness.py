"""Which URIs are equal, against the rules of RFC 3261 §19.1.4 put down as plainly as they can be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfast._likeness import same_uri

MATTERS = {"transport", "user", "ttl", "method", "maddr"}
Pairs = list[tuple[str, str | None]]

names = st.sampled_from(["a", "b", "transport", "ttl", "A", "%61", "x"])
values = st.sampled_from([None, "1", "2", "V", "v", "%76", "%2f", "/"])
params = st.lists(st.tuples(names, values), max_size=6)


def unescaped(text: str) -> str:
    # An escape is its character; one of a reserved character is not (§19.1.4).
    return text.replace("%61", "a").replace("%76", "v").lower()


def agree(one: Pairs, other: Pairs) -> bool:
    read = [(unescaped(name), None if value is None else unescaped(value)) for name, value in other]
    for name, value in one:
        pair = unescaped(name), None if value is None else unescaped(value)
        if pair not in read and (pair[0] in MATTERS or pair[0] in [each for each, _ in read]):
            return False
    return True


def uri(pairs: Pairs) -> bytes:
    return ("sip:u@h" + "".join(f";{name}" + (f"={value}" if value is not None else "") for name, value in pairs)).encode()


@given(params, params)
def test_parameters_are_compared_as_the_rules_say(one: Pairs, other: Pairs) -> None:
    assert same_uri(uri(one), uri(other)) == (uri(one) == uri(other) or (agree(one, other) and agree(other, one)))


headers = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("12")), max_size=5)


@given(headers, headers)
def test_headers_are_the_same_as_often(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    def text(pairs: list[tuple[str, str]]) -> bytes:
        return ("sip:u@h" + ("?" if pairs else "") + "&".join(f"{name}={value}" for name, value in pairs)).encode()

    assert same_uri(text(one), text(other)) == (sorted(one) == sorted(other))


def test_64_parameters_in_any_order() -> None:
    pairs = [f";p{i}={i}" for i in range(64)]
    one = "sip:u@h" + "".join(pairs)
    assert same_uri(one.encode(), ("sip:u@h" + "".join(reversed(pairs))).encode())
    for i in (0, 31, 63):
        other = [*reversed(pairs[:i]), f";p{i}=other", *pairs[i + 1 :]]
        assert not same_uri(one.encode(), ("sip:u@h" + "".join(other)).encode())


@pytest.mark.parametrize("core", ["sip:u@H:5060", "sip:v@h", "sips:u@h", "sip:u:@h", "sip:u@g", "sip:h"])
def test_another_core_is_another_uri(core: str) -> None:
    assert not same_uri(b"sip:u@h;a=1", core.encode() + b";a=1")


@pytest.mark.parametrize("pairs", list(itertools.permutations([";ext=1", ";isub=2", ";phone-context=+1-2"])), ids="".join)
def test_all_parameters_of_a_number_matter_and_separators_do_not(pairs: tuple[str, ...]) -> None:
    one = ("tel:55-5" + "".join(pairs)).encode()
    assert same_uri(one, b"tel:555;phone-context=+12;ext=1;isub=2")
    assert not same_uri(one, b"tel:555;phone-context=+12;ext=1")
