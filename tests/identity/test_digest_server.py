"""Digests, as RFC 7616 §3.9 works them out, and nonces (RFC 7616 §3.3, §3.4)."""

from __future__ import annotations

import hashlib

import pytest

from sipfast._flow import Flow
from sipfast.identity.authenticator import response_of
from sipfast.identity.credentials import credentials
from sipfast.identity.digests import hexdigest
from sipfast.identity.failures import Failures
from sipfast.identity.nonces import Nonces
from sipfast.identity.users import User, UserTable

# RFC 7616 §3.9.1
EXAMPLE = (
    b'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=%b, '
    b'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
    b'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
    b'response="%b", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
VECTORS = {
    "MD5": b"8ca523f5e9506fed4657c9700eebdbec",
    "SHA-256": b"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
}
HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
HERE, ELSEWHERE = Flow("192.0.2.1", 5060), Flow("192.0.2.2", 5060)
START, REALM = 1_700_000_000_000, b"example.com"


def h(algorithm: str, text: bytes) -> bytes:
    return HASHES[algorithm](text).hexdigest().encode()


def test_who_is_refused_too_often_in_a_minute() -> None:
    """The 20th at once; one every 4 s never; and each address for itself."""
    failures = Failures(1)
    assert [failures.often(HERE, 20, START + n) for n in range(20)] == [False] * 19 + [True]
    assert not failures.often(ELSEWHERE, 20, START + 20)
    assert not any(failures.often(Flow("192.0.2.3", 5060), 20, START + n * 4_000) for n in range(100))
    assert not failures.often(HERE, 20, START + 120_000)
    assert failures.pause(HERE, b"alice", START) == 0  # it is another account than that of who has to wait


@pytest.mark.parametrize("algorithm", VECTORS)
def test_the_examples_of_rfc_7616(algorithm: str) -> None:
    secret = h(algorithm, b"Mufasa:http-auth@example.org:Circle of Life")
    value = EXAMPLE % (algorithm.encode(), VECTORS[algorithm])
    assert response_of(algorithm, secret, b"GET", b"", value) == VECTORS[algorithm]
    assert credentials(value)["response"] == VECTORS[algorithm]


def test_the_example_of_rfc_2617_without_qop_is_that_of_rfc_2069() -> None:
    # RFC 2069 §2.4 with its erratum 749; RFC 3261 §22.4 item 8 has servers understand it.
    value = (b'Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
             b'uri="/dir/index.html", response="1949323746fe6a43ef61f9606e7febea"')  # fmt: skip
    secret = h("MD5", b"Mufasa:testrealm@host.com:CircleOfLife")
    assert response_of("MD5", secret, b"GET", b"", value) == b"1949323746fe6a43ef61f9606e7febea"


@pytest.mark.parametrize("body", [b"", b"v=0\r\n"], ids=["no body", "a body"])
@pytest.mark.parametrize("algorithm", VECTORS)
def test_auth_int_has_the_body_in_it(algorithm: str, body: bytes) -> None:
    secret = h(algorithm, b"a:b:c")
    value = EXAMPLE.replace(b"qop=auth", b"qop=auth-int") % (algorithm.encode(), VECTORS[algorithm])
    second = h(algorithm, b"INVITE:/dir/index.html:" + h(algorithm, body))  # RFC 7616 §3.4.3, RFC 8760 §2.6
    parts = (secret, b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", b"00000001",
             b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", b"auth-int", second)  # fmt: skip
    assert response_of(algorithm, secret, b"INVITE", body, value) == h(algorithm, b":".join(parts))


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 120, 500, 5000])
@pytest.mark.parametrize("algorithm", VECTORS)
def test_hashes_of_any_size(algorithm: str, size: int) -> None:
    data = bytes(range(256)) * 20
    assert hexdigest(algorithm, data[:size]) == h(algorithm, data[:size])


@pytest.mark.parametrize("value", [
    b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", b"Digest", b"Digest username", b'Digest username="a',
    b'Digest username="a" realm="b"',
    b'Digest username="a", username="b"', b"Digest username*=UTF-8''a, username=\"a\"", b'Digest ="a"', b"",
])  # fmt: skip
def test_what_is_no_digest(value: bytes) -> None:
    assert not credentials(value) or not credentials(value)["realm"]


def test_credentials_in_odd_forms() -> None:
    value = b'digest ,USERNAME = "a\\"b" , Realm="r" ,, nonce=x,algorithm="sha-256",qop="auth",nc=00000002 ,other="," '
    found = credentials(value)
    assert found["username"] == b'a"b'
    assert (found["realm"], found["nonce"], found["algorithm"], found["qop"], found["nc"]) == (
        b"r", b"x", b"SHA-256", b"auth", b"00000002",
    )  # fmt: skip


# Nonces


@pytest.fixture
def nonces() -> Nonces:
    return Nonces(b"k" * 16, 3, 60_000, START)


def test_a_nonce_is_good_once_for_each_count(nonces: Nonces) -> None:
    nonce = nonces.new(REALM, HERE, START)
    for count in (1, 2, 5, 3, 70, 69):
        assert nonces.spend(nonce, REALM, HERE, count, b"request %d" % count, START + 40_000 + count) == "good"
    for count in (1, 2, 5, 3, 70, 69, 0):
        assert nonces.spend(nonce, REALM, HERE, count, b"another", START + 41_000) == "stale"


def test_the_window_of_counts_is_bounded(nonces: Nonces) -> None:
    nonce = nonces.new(REALM, HERE, START)
    assert nonces.spend(nonce, REALM, HERE, 1000, b"a", START) == "good"
    assert nonces.spend(nonce, REALM, HERE, 937, b"b", START) == "good"
    assert nonces.spend(nonce, REALM, HERE, 936, b"c", START) == "stale"  # it may have been there


def test_a_retransmission_is_known_for_as_long_as_there_are_any(nonces: Nonces) -> None:
    nonce = nonces.new(REALM, HERE, START)
    assert nonces.spend(nonce, REALM, HERE, 1, b"the request", START) == "good"
    assert nonces.spend(nonce, REALM, HERE, 1, b"the request", START + 32_000) == "copy"
    assert nonces.spend(nonce, REALM, HERE, 1, b"the reqXest", START + 32_000) == "stale"
    assert nonces.spend(nonce, REALM, HERE, 1, b"the request", START + 40_000) == "stale"


def test_a_retransmission_outlives_its_nonce(nonces: Nonces) -> None:
    nonce = nonces.new(REALM, HERE, START)
    assert nonces.spend(nonce, REALM, HERE, 1, b"the request", START + 59_000) == "good"
    assert nonces.spend(nonce, REALM, HERE, 1, b"the request", START + 63_000) == "copy"
    assert nonces.spend(nonce, REALM, HERE, 2, b"another", START + 63_000) == "stale"


def test_whose_nonce_it_is(nonces: Nonces) -> None:
    nonce = nonces.new(REALM, HERE, START)
    assert nonces.spend(nonce, b"example.org", HERE, 1, b"", START) == "stale"
    assert nonces.spend(nonce, REALM, ELSEWHERE, 1, b"", START) == "stale"
    assert Nonces(b"k" * 16, 4, 60_000, START).spend(nonce, REALM, HERE, 1, b"", START) == "stale"
    assert Nonces(b"x" * 16, 3, 60_000, START).spend(nonce, REALM, HERE, 1, b"", START) == "stale"
    assert nonces.spend(nonce, REALM, HERE, 1, b"", START - 1) == "stale"  # made in the future
    for place in range(len(nonce)):
        other = nonce[:place] + (b"1" if nonce[place : place + 1] == b"0" else b"0") + nonce[place + 1 :]
        assert nonces.spend(other, REALM, HERE, 1, b"", START) == "stale"
    assert nonces.spend(nonce, REALM, Flow("192.0.2.1", 1024), 1, b"", START) == "good"  # a NAT has given it another port


def test_what_a_process_before_has_let_in_is_not_let_in_again(nonces: Nonces) -> None:
    nonce = nonces.new(REALM, HERE, START)
    assert Nonces(b"k" * 16, 3, 60_000, START + 1000).spend(nonce, REALM, HERE, 1, b"", START + 1001) == "stale"


def test_what_is_forgotten_is_not_believed_anew() -> None:
    nonces = Nonces(b"k" * 16, 0, 3_600_000, START)
    first = nonces.new(REALM, HERE, START)
    assert nonces.spend(first, REALM, HERE, 1, b"first", START) == "good"
    for number in range(1, 300_000):
        made = START + 1 + number // 100
        assert nonces.spend(nonces.new(REALM, HERE, made), REALM, HERE, 1, b"x", made) in ("good", "stale")
    assert nonces.spend(first, REALM, HERE, 1, b"replay", START + 10_000) == "stale"


def test_no_two_nonces_are_the_same(nonces: Nonces) -> None:
    assert len({nonces.new(REALM, HERE, START) for _ in range(1000)}) == 1000


# Users


def test_only_what_all_users_of_a_realm_have_is_offered() -> None:
    users = UserTable()
    users.add(User(b"a", REALM, b"m", b"s", ()))
    assert users.offered(REALM) == {"MD5", "SHA-256"}
    users.add(User(b"b", REALM, b"m", b"", ()))
    users.add(User(b"b", b"other", b"", b"s", ()))
    assert (users.offered(REALM), users.offered(b"other")) == ({"MD5"}, {"SHA-256"})
    with pytest.raises(ValueError):
        users.add(User(b"a", REALM, b"m", b"s", ()))


# Who guesses


def test_who_guesses_is_slowed_down() -> None:
    failures, now = Failures(7), START
    for _ in range(5):
        assert failures.pause(HERE, b"alice", now) <= 0
        failures.note(HERE, b"alice", now)
    assert 0 < failures.pause(HERE, b"alice", now) <= 10_000
    assert failures.pause(HERE, b"bob", now) <= 0  # a colleague behind the same address
    assert failures.pause(ELSEWHERE, b"alice", now) <= 0
    assert failures.pause(HERE, b"alice", now + 10_001) <= 0


def test_who_guesses_at_many_users_is_slowed_down() -> None:
    failures, now, tried = Failures(7), START, 0
    for number in range(100):
        if failures.pause(HERE, b"user%d" % number, now) <= 0:
            tried += 1
            failures.note(HERE, b"user%d" % number, now)
    assert tried == 30
    assert failures.pause(Flow("192.0.2.1", 9), b"x", now) > 0  # another port is the same source
    assert failures.pause(HERE, b"x", now + 1_001) <= 0


def test_a_household_of_ipv6_is_one_source() -> None:
    failures = Failures(7)
    for number in range(30):
        failures.note(Flow(f"2001:db8::{number + 1:x}", 5060), b"user%d" % number, START)
    assert failures.pause(Flow("2001:db8::ffff", 5060), b"x", START) > 0
    assert failures.pause(Flow("2001:db8:0:1::1", 5060), b"x", START) <= 0
