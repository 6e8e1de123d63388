"""The client's side of digest: RFC 7616's own examples, and what is answered how often to whom."""

from __future__ import annotations

import hashlib
import re

import pytest

from sipfast._parser import parse
from sipfast.config import Credentials
from sipfast.dialog.digest import MOST_BYTES, MOST_ROUNDS, Answers, Challenge, Cnonces, Request, challenges_of, response_of

MUFASA = Credentials(user="Mufasa", password="Circle of Life")
GET = Request(b"GET", b"/dir/index.html")
CNONCE = b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
REFER = Request(b"REFER", b"sip:alice@192.0.2.1:5060")
NEW = 'Digest realm="r", nonce="n", qop="auth"'


def refusal(*challenges: str, status: int = 401, name: str = "WWW-Authenticate"):
    lines = "".join(f"{name}: {challenge}\r\n" for challenge in challenges)
    return parse(
        f"SIP/2.0 {status} No\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n"
        f"Call-ID: c\r\nCSeq: 1 REFER\r\n{lines}Content-Length: 0\r\n\r\n".encode()
    )


def example(algorithm: str, qops: tuple[str, ...] = ("auth", "auth-int")) -> Challenge:
    return Challenge(
        "Authorization", b"http-auth@example.org", b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", algorithm, qops,
        b"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", False,
    )  # fmt: skip


def dice() -> bytes:
    return b"0a4f113b"


def answers(*credentials: Credentials) -> Answers:
    return Answers(credentials or (Credentials(user="u", password="p"),), dice)


def params(line: bytes) -> dict[str, str]:
    found = re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', line.decode())
    return {name: quoted or bare for name, quoted, bare in found}


def h(name: str, *parts: str) -> str:
    return hashlib.new(name, ":".join(parts).encode()).hexdigest()


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [  # RFC 7616 §3.9.1
        ("MD5", b"8ca523f5e9506fed4657c9700eebdbec"),
        ("", b"8ca523f5e9506fed4657c9700eebdbec"),
        ("md5", b"8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", b"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_the_rfc(algorithm: str, expected: bytes):
    assert response_of(example(algorithm), MUFASA, GET, b"auth", b"00000001", CNONCE) == expected


def test_sha_512_256_is_that_of_fips_180():
    # §3.9.2's response, ae66e67d..., was made by SHA-512 cut to 256 bits, which the RFC's errata say is wrong.
    jason = Credentials(user="Jäsøn Doe", password="Secret, or not?")
    nonce = b"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK"
    challenge = Challenge("Authorization", b"api@example.org", nonce, "SHA-512-256", ("auth",), None, False)
    request, cnonce = Request(b"GET", b"/doe.json"), b"NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"
    expected = b"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
    assert response_of(challenge, jason, request, b"auth", b"00000001", cnonce) == expected


def test_a_session_is_keyed_by_both_nonces():
    first = h("md5", h("md5", "Mufasa:http-auth@example.org:Circle of Life"), example("").nonce.decode(), "c")
    expected = h("md5", first, example("").nonce.decode(), "00000001", "c", "auth", h("md5", "GET:/dir/index.html"))
    assert response_of(example("MD5-sess"), MUFASA, GET, b"auth", b"00000001", b"c") == expected.encode()


def test_auth_int_signs_the_body():
    second = h("sha256", "GET:/dir/index.html", h("sha256", "body"))
    first = h("sha256", "Mufasa:http-auth@example.org:Circle of Life")
    expected = h("sha256", first, example("").nonce.decode(), "00000001", "c", "auth-int", second)
    request = Request(b"GET", b"/dir/index.html", b"body")
    assert response_of(example("SHA-256"), MUFASA, request, b"auth-int", b"00000001", b"c") == expected.encode()


def test_a_challenge_of_rfc_2069_is_answered_as_that_one_has_it():
    line = answers().answer(refusal('Digest realm="r", nonce="n"'), REFER)
    told = params(line)
    first, second = h("md5", "u:r:p"), h("md5", "REFER:sip:alice@192.0.2.1:5060")
    assert told == {"username": "u", "realm": "r", "nonce": "n", "uri": "sip:alice@192.0.2.1:5060",
                    "response": h("md5", first, "n", second)}  # fmt: skip


def test_the_header_line_has_what_the_challenge_asks_back():
    line = answers().answer(refusal('Digest realm="r", nonce="n", opaque="", algorithm=MD5, qop="auth-int,auth"'), REFER)
    assert line.startswith(b'Authorization: Digest username="u", ')
    assert line.endswith(b"\r\n")
    assert line.count(b"\r\n") == 1
    told = params(line)
    assert (told["opaque"], told["algorithm"], told["qop"], told["nc"]) == ("", "MD5", "auth", "00000001")
    first, second = h("md5", "u:r:p"), h("md5", "REFER:sip:alice@192.0.2.1:5060")
    assert told["response"] == h("md5", first, "n", "00000001", told["cnonce"], "auth", second)


@pytest.mark.parametrize("status", [401, 407])
def test_a_proxy_is_answered_in_its_own_header(status: int):
    line = answers().answer(refusal(NEW, status=status, name="Proxy-Authenticate"), REFER)
    assert line.startswith(b"Proxy-Authorization: Digest ")


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (["MD5", "SHA-256"], "SHA-256"),
        (["SHA-256", "MD5"], "SHA-256"),
        (["MD5", "SHA-256", "SHA-512-256"], "SHA-512-256"),
        (["SHA3-512", "MD5"], "MD5"),
        (["SHA-256-sess", "SHA-256"], "SHA-256-sess"),  # as strong: the one that it prefers
    ],
)
def test_of_several_challenges_of_a_realm_the_strongest_that_is_known_is_answered(offered: list[str], taken: str):
    line = answers().answer(refusal(*(f"{NEW}, algorithm={name}" for name in offered)), REFER)
    assert line.count(b"Authorization:") == 1
    assert params(line)["algorithm"] == taken


@pytest.mark.parametrize(
    "challenge",
    [
        'Basic realm="r"',
        'Digest nonce="n"',
        'Digest realm="r"',
        'Digest realm="r", nonce="n", algorithm=SHA3-512',
        'Digest realm="r", nonce="n", qop="token"',
        'Digest realm="r", nonce="n\x01"',
        "Digest",
        "",
    ],
)
def test_what_cannot_be_answered_is_not(challenge: str):
    assert answers().answer(refusal(challenge), REFER) == b""


def test_a_line_may_have_several_challenges_and_other_schemes_between_them():
    response = refusal('Basic realm="x", Digest realm="a", nonce="1", qop="auth", Digest nonce=2, realm="b"')
    assert [(each.realm, each.nonce) for each in challenges_of(response)] == [(b"a", b"1"), (b"b", b"2")]


def test_folded_lines_are_read_as_one():
    response = refusal('Digest realm="a",\r\n nonce="1",\r\n\tqop="auth"')
    assert [(each.realm, each.qops) for each in challenges_of(response)] == [(b"a", ("auth",))]


def test_quoted_text_is_given_back_as_it_came_and_a_user_is_quoted():
    line = answers(Credentials(user='a"b\\c', password="")).answer(refusal(r'Digest realm="say \"r\"", nonce="n"'), REFER)
    assert rb'realm="say \"r\""' in line
    assert rb'username="a\"b\\c"' in line


def test_each_realm_has_its_own_credentials_and_the_nameless_are_for_the_rest():
    mine = (
        Credentials(user="any", password="1"), Credentials(user="one", password="2", realm="r"),
    )  # fmt: skip
    assert params(answers(*mine).answer(refusal(NEW), REFER))["username"] == "one"
    assert params(answers(*mine).answer(refusal(NEW.replace('"r"', '"other"')), REFER))["username"] == "any"
    assert answers(mine[1]).answer(refusal(NEW.replace('"r"', '"other"')), REFER) == b""
    assert Answers((), dice).answer(refusal(NEW), REFER) == b""


def test_a_second_challenge_means_that_we_are_not_who_we_say():
    state = answers()
    assert state.answer(refusal(NEW), REFER)
    assert state.answer(refusal(NEW.replace('"n"', '"m"')), REFER) == b""


def test_a_stale_nonce_is_answered_once_more_and_no_more():
    state = answers()
    assert state.answer(refusal(NEW), REFER)
    again = params(state.answer(refusal('Digest realm="r", nonce="m", qop="auth", stale=TRUE'), REFER))
    assert (again["nonce"], again["nc"]) == ("m", "00000001")
    assert state.answer(refusal(f"{NEW}, stale=true"), REFER) == b""


def test_a_proxy_on_the_way_sees_its_own_answer_again_when_the_phone_asks_too():
    state = answers()
    state.answer(refusal('Digest realm="proxy", nonce="p", qop="auth"', status=407, name="Proxy-Authenticate"), REFER)
    first, second = state.answer(refusal('Digest realm="phone", nonce="q", qop="auth"'), REFER).splitlines()
    assert (params(first)["realm"], params(first)["nc"]) == ("proxy", "00000002")
    assert (params(second)["realm"], params(second)["nc"]) == ("phone", "00000001")
    assert first.startswith(b"Proxy-Authorization:")
    assert second.startswith(b"Authorization:")


def test_who_asks_by_ever_other_realms_is_answered_so_often_only():
    state = answers()
    given = [state.answer(refusal(f'Digest realm="{number}", nonce="n"'), REFER) for number in range(MOST_ROUNDS + 2)]
    assert [bool(each) for each in given] == [True] * MOST_ROUNDS + [False] * 2


def test_client_nonces_are_new_each_time_and_other_for_each_start():
    one, other = Cnonces(b"0" * 16), Cnonces(b"1" * 16)
    assert len({one() for _ in range(100)} | {other() for _ in range(100)}) == 200


def test_a_challenge_too_long_to_be_answered_is_not():
    assert answers().answer(refusal(f'Digest realm="r", nonce="{"n" * MOST_BYTES}"'), REFER) == b""
