"""Whom a request speaks for, where there are users: RFC 3261 §22, §10.3; RFC 7616, RFC 8760, RFC 3325."""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any

import pytest
from net.cluster import Cluster, cluster_of
from net.scene import SERVER, Scene, Speaker
from net.sipwire import Sip, literal

from sipfast._flow import Flow
from sipfast.config import Config, Passwords, Peer, Rates, Redial, Upstream
from sipfast.identity.user_file import secrets_of
from sipfast.identity.users import User, UserTable

TRUNK, TRUSTED = ("10.0.9.1", 5060), ("10.0.9.2", 5060)


def table(*names: str, domain: str = "example.com", md5: bool = True) -> UserTable:
    """Users whose passwords are their names, backwards; alice acts for sales, too."""
    users = UserTable()
    for name in names or ("alice", "bob", "carol"):
        secrets = secrets_of(name, domain, name[::-1])
        aors = [f"sip:{name}@{domain}"] + [f"sip:sales@{domain}"] * (name == "alice")
        users.add(User(name.encode(), domain.encode(), secrets["md5"].encode() if md5 else b"", secrets["sha256"].encode(),
                       tuple(each.encode() for each in aors)))  # fmt: skip
    return users


@pytest.fixture
def scene() -> Scene:
    peers = (Peer(addresses=(TRUNK[0],), rights=("relay",)), Peer(addresses=(TRUSTED[0],), rights=("identity",)))
    return Scene(Config(peer=peers, redial=Redial(default_period=600)), users=table())


def challenges(answer: Sip) -> list[dict[str, str]]:
    field = "www-authenticate" if answer.status == 401 else "proxy-authenticate"
    return [
        {key.lower(): quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', line)}
        for line in answer.lines(field)
    ]


def signed(
    method: str, uri: str, wanted: dict[str, str], user: str, password: str, *, count: int = 1, qop: str = "auth",
    body: bytes = b"", field: str = "", algorithm: str = "", signed_uri: str = "",
) -> tuple[str, str]:  # fmt: skip
    """The header that answers a challenge, worked out by RFC 7616 §3.4.1."""
    algorithm = algorithm or wanted["algorithm"]

    def h(text: str) -> str:
        return {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[algorithm](text.encode()).hexdigest()

    uri = signed_uri or uri
    second = f"{method}:{uri}" + (f":{h(body.decode())}" if qop == "auth-int" else "")
    nc, cnonce = f"{count:08x}", "0a4f113b"
    middle = f":{nc}:{cnonce}:{qop}:" if qop else ":"
    first = h(f"{user}:{wanted['realm']}:{password}")
    response = h(f"{first}:{wanted['nonce']}{middle}{h(second)}")
    parts = [f'username="{user}"', f'realm="{wanted["realm"]}"', f'nonce="{wanted["nonce"]}"', f'uri="{uri}"',
             f'response="{response}"', f"algorithm={algorithm}"]  # fmt: skip
    if qop:
        parts += [f"qop={qop}", f"nc={nc}", f'cnonce="{cnonce}"']
    return field or ("Authorization" if method == "REGISTER" else "Proxy-Authorization"), "Digest " + ", ".join(parts)


class Device(Speaker):
    """Asks, is challenged, and answers for a user, as a test tells it to."""

    nonce: dict[str, str]
    seq = 0

    def register(self, user: str = "", *, aor: str = "", headers: Any = (), **more: Any) -> Sip:
        user, self.seq = user or self.name, self.seq + 1
        aor = f"<{aor or f'sip:{user}@example.com'}>"
        fields = [("Contact", f"<sip:{user}@{literal(self.address)}>"), ("Expires", "600"), *headers]
        return self.ask("REGISTER", "sip:example.com", to=aor, sender=f"{aor};tag=r", headers=fields, contact="",
                        call_id=f"reg-{self.name}", cseq=self.seq, **more)  # fmt: skip

    def log_in(self, scene: Scene, user: str = "", password: str = "", **more: Any) -> Sip:
        """REGISTER with a password; what the server says."""
        user = user or self.name
        self.register(user)
        scene.run()
        self.nonce = challenges(self.take("REGISTER", 401))[0]
        return self.again_registered(scene, user, password, **more)

    def again_registered(self, scene: Scene, user: str = "", password: str = "", *, aor: str = "", **more: Any) -> Sip:
        user = user or self.name
        header = signed("REGISTER", "sip:example.com", self.nonce, user, password or user[::-1], **more)
        self.register(user, aor=aor, headers=[header])
        scene.run()
        return self.inbox.pop()

    def challenged(self, scene: Scene, method: str, uri: str, **more: Any) -> dict[str, str]:
        asked = self.ask(method, uri, **more)
        scene.run()
        answer = self.inbox.pop()
        if method == "INVITE":
            self.ack(asked, answer)
        return challenges(answer)[0]

    def sign(self, scene: Scene, method: str, uri: str, user: str = "", *, field: str = "", **more: Any) -> Sip:
        """A request with a password; what was sent."""
        user = user or self.name
        wanted = self.challenged(scene, method, uri, **more)
        return self.ask(method, uri, headers=[signed(method, uri, wanted, user, user[::-1], field=field)], **more)


def device(scene: Scene, name: str, address: Any = None) -> Device:
    return scene.network.add(Device(name, address or scene.place()))


def bound(scene: Scene, user: str) -> int:
    return len(scene.store.bindings(f"sip:{user}@example.com".encode()))


# Challenges


def test_who_registers_is_asked(scene: Scene) -> None:
    alice = device(scene, "alice")
    alice.register()
    scene.run()
    answer = alice.take("REGISTER", 401)
    assert bound(scene, "alice") == 0
    found = challenges(answer)
    assert [each["algorithm"] for each in found] == ["SHA-256", "MD5"]  # RFC 8760 §2.3: the best first
    assert all(each["realm"] == "example.com" and each["qop"] == "auth,auth-int" and "stale" not in each for each in found)
    assert re.search(r'qop="auth,auth-int"', answer.lines("www-authenticate")[0])  # quoted, as §3.3 has it
    alice.nonce = found[0]
    assert alice.again_registered(scene).status == 200
    assert bound(scene, "alice") == 1


@pytest.mark.parametrize("qop", ["auth", "auth-int", ""])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_each_way_to_log_in(scene: Scene, algorithm: str, qop: str) -> None:
    assert device(scene, "alice").log_in(scene, algorithm=algorithm, qop=qop).status == 200


def test_only_what_all_have_is_offered_and_taken() -> None:
    scene = Scene(Config(), users=table(md5=False))
    alice = device(scene, "alice")
    alice.register()
    scene.run()
    alice.nonce, = challenges(alice.take("REGISTER", 401))
    assert alice.nonce["algorithm"] == "SHA-256"
    assert alice.again_registered(scene, algorithm="MD5").status == 401
    assert alice.again_registered(scene).status == 200


@pytest.mark.parametrize(("agent", "offered"), [
    ("baresip v1.0.0 (x86_64/linux)", ["MD5"]), ("baresip v2.0.0", ["SHA-256", "MD5"]),
])  # fmt: skip
def test_phones_that_give_up_where_sha_256_is_offered(scene: Scene, agent: str, offered: list[str]) -> None:
    alice = device(scene, "alice")
    alice.register(headers=[("User-Agent", agent)])
    scene.run()
    assert [each["algorithm"] for each in challenges(alice.take("REGISTER", 401))] == offered


@pytest.mark.parametrize(("method", "uri", "status"), [
    ("INVITE", "sip:bob@example.com", 407), ("MESSAGE", "sip:bob@example.com", 407),
    ("SUBSCRIBE", "sip:bob@example.com", 407),
    ("REFER", "sip:bob@example.com", 407), ("OPTIONS", "sip:bob@example.com", 407), ("BYE", "sip:bob@example.com", 407),
    ("INVITE", "sip:bob@elsewhere.test", 407), ("OPTIONS", "sip:example.com", 401), ("INVITE", "sip:example.com", 401),
    ("REGISTER", "sip:example.com", 401),
])  # fmt: skip
def test_which_challenge(scene: Scene, method: str, uri: str, status: int) -> None:
    alice = device(scene, "alice")
    alice.ask(method, uri)
    scene.run()
    assert alice.inbox[-1].status == status


def test_a_challenge_leaves_nothing_behind(scene: Scene) -> None:
    alice = device(scene, "alice")
    timers = scene.server.engine.counters()["timers"]
    invite = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    answer = alice.take("INVITE", 407)
    assert scene.server.engine.counters()["timers"] == timers
    alice.ack(invite, answer)
    alice.cancel(invite)
    scene.run(10_000)
    assert alice.got() == ["481"]  # RFC 3261 §22.1: neither is challenged


# What it takes


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("nobody", "ydobon"), ("bob", "ecila")])
def test_a_wrong_password_and_no_user_look_the_same(scene: Scene, user: str, password: str) -> None:
    answer = device(scene, "alice").log_in(scene, user, password)
    assert answer.status == 401
    assert all("stale" not in each for each in challenges(answer))
    assert sorted(name for name, _ in answer.headers) == sorted(
        ["via", "from", "to", "call-id", "cseq", "www-authenticate", "www-authenticate", "content-length"])  # fmt: skip


def test_a_count_is_good_once(scene: Scene) -> None:
    alice = device(scene, "alice")
    assert alice.log_in(scene).status == 200
    assert alice.again_registered(scene, count=2).status == 200
    answer = alice.again_registered(scene, count=2)
    assert (answer.status, challenges(answer)[0]["stale"]) == (401, "true")
    alice.nonce = challenges(answer)[0]
    assert alice.again_registered(scene).status == 200


def test_a_retransmission_gets_what_it_got(scene: Scene) -> None:
    alice = device(scene, "alice")
    alice.log_in(scene)
    alice.register(headers=[signed("REGISTER", "sip:example.com", alice.nonce, "alice", "ecila", count=2)])
    sent = scene.network.trace[-1].data
    scene.run()
    first = alice.inbox.pop()
    alice.transmit(sent, SERVER)
    scene.run()
    assert (alice.inbox.pop().raw, first.status) == (first.raw, 200)
    alice.transmit(sent.replace(b"Expires: 600", b"Expires: 000"), SERVER)  # somebody who has listened
    scene.run()
    assert (alice.inbox.pop().status, bound(scene, "alice")) == (401, 1)


def test_a_nonce_runs_out_and_the_password_is_not_asked_for(scene: Scene) -> None:
    alice = device(scene, "alice")
    alice.log_in(scene)
    scene.run(3_601_000)
    answer = alice.again_registered(scene, count=2)
    assert challenges(answer)[0]["stale"] == "true"
    answer = alice.again_registered(scene, password="wrong", count=3)
    assert "stale" not in challenges(answer)[0]


def test_after_a_restart_nobody_is_asked_for_a_password(scene: Scene) -> None:
    alice = device(scene, "alice")
    alice.log_in(scene)
    scene.server.end(scene.now)
    scene.run(1_000)
    answer = alice.again_registered(scene, count=2)
    assert challenges(answer)[0]["stale"] == "true"
    alice.nonce = challenges(answer)[0]
    assert alice.again_registered(scene).status == 200


def test_a_nonce_of_ones_own_tells_nothing_and_has_nobody_slowed_down(scene: Scene) -> None:
    alice = device(scene, "alice")
    alice.log_in(scene)
    alice.nonce = {**alice.nonce, "nonce": "0" * 38}
    for count in range(1, 50):
        right, wrong = alice.again_registered(scene, count=count), alice.again_registered(scene, password="x", count=count)
        assert [challenges(each)[0]["stale"] for each in (right, wrong)] == ["true", "true"]
    assert scene.server.engine.counters()["failed_logins"] == 0
    assert alice.log_in(scene).status == 200


def test_what_is_signed_is_what_is_asked(scene: Scene) -> None:
    alice = device(scene, "alice")
    wanted = alice.challenged(scene, "MESSAGE", "sip:bob@example.com")
    header = signed("MESSAGE", "sip:bob@example.com", wanted, "alice", "ecila")
    for method, uri in (("MESSAGE", "sip:carol@example.com"), ("SUBSCRIBE", "sip:bob@example.com")):
        alice.ask(method, uri, headers=[header])
        scene.run()
        assert alice.inbox.pop().status == 407
    alice.ask("MESSAGE", "sip:bob@EXAMPLE.com", headers=[header])  # RFC 3261 §19.1.4: the same
    scene.run()
    assert alice.inbox.pop().status == 480


def test_credentials_for_others_are_passed_over(scene: Scene) -> None:
    alice = device(scene, "alice")
    alice.log_in(scene)
    for value in ('Digest username="alice", realm="other.test", nonce="x", uri="sip:x", response="' + "0" * 32 + '"',
                  "Basic YTpi", "Digest",
                  'Digest username="", realm="example.com", nonce="", uri="", response=""'):  # fmt: skip
        own = signed("REGISTER", "sip:example.com", alice.nonce, "alice", "ecila", count=alice.seq + 5)
        alice.register(headers=[("Authorization", value)])
        scene.run()
        assert alice.inbox.pop().status == 401
        alice.register(headers=[("Authorization", value), own])
        scene.run()
        assert alice.inbox.pop().status == 200
    assert scene.server.engine.counters()["failed_logins"] == 0


# For whom


def test_nobody_registers_another(scene: Scene) -> None:
    alice = device(scene, "alice")
    alice.log_in(scene)
    assert alice.again_registered(scene, aor="sip:bob@example.com", count=2).status == 403  # §10.3 step 4
    assert bound(scene, "bob") == 0
    assert alice.again_registered(scene, aor="sip:sales@example.com", count=3).status == 200
    assert bound(scene, "sales") == 1


def test_who_has_a_password_binds_whatever_his_address_has_bound() -> None:
    scene = Scene(Config(rates=Rates(source_aors=1)), users=table())
    alice = device(scene, "alice")
    alice.log_in(scene)
    assert alice.again_registered(scene, aor="sip:sales@example.com", count=2).status == 200


def test_who_calls_with_a_password_has_a_rate_of_his_own() -> None:
    scene = Scene(Config(rates=Rates(source_new=1, phone_new=50)), users=table())
    alice = device(scene, "alice")
    limiter, there = scene.server.engine.limiter, Flow(*alice.address)
    assert sum(limiter.admits(b"INVITE sip:a@b", there, scene.now) == 0 for _ in range(100)) == 5
    alice.sign(scene, "INVITE", "sip:bob@example.com", call_id="c1", tag="t1")
    scene.run()
    assert sum(limiter.admits(b"INVITE sip:a@b", there, scene.now) == 0 for _ in range(100)) == 100


def test_a_token_of_a_call_registers_nobody(scene: Scene) -> None:
    bob = device(scene, "bob")
    bob.log_in(scene)
    alice = device(scene, "alice")
    alice.sign(scene, "INVITE", "sip:bob@example.com", call_id="c1", tag="t1")
    scene.run()
    route = bob.take("INVITE").all("record-route")
    assert route
    alice.ask("REGISTER", "sip:example.com", to="<sip:bob@example.com>;tag=x", sender="<sip:alice@example.com>;tag=t1",
              call_id="c1", route=route, headers=[("Expires", "60")], contact="<sip:bob@10.6.6.6>")  # fmt: skip
    scene.run()
    assert 200 not in [each.status for each in alice.inbox if each.method == "REGISTER"]
    assert bound(scene, "bob") == 1


@pytest.mark.parametrize(("sender", "status"), [
    ("sip:alice@example.com", 480), ("sip:sales@example.com", 480), ("sips:alice@example.com", 480),
    ("sip:bob@example.com", 403), ("sip:anonymous@anonymous.invalid", 480), ("sip:alice@elsewhere.test", 403),
])  # fmt: skip
def test_whom_a_user_calls_for(scene: Scene, sender: str, status: int) -> None:
    alice = device(scene, "alice")
    alice.sign(scene, "INVITE", "sip:bob@example.com", sender=f"<{sender}>;tag=a")
    scene.run()
    assert alice.inbox[-1].status == status


def test_a_watch_is_armed_by_who_has_the_password_only(scene: Scene) -> None:
    alice, mallory = device(scene, "alice"), device(scene, "mallory")
    mallory.ask("INVITE", "sip:bob@example.com", sender="<sip:alice@example.com>;tag=m")
    scene.run()
    assert list(scene.store.each_watch()) == []
    alice.sign(scene, "INVITE", "sip:bob@example.com")
    scene.run()
    assert [watch.caller for watch in scene.store.each_watch()] == [b"sip:alice@example.com"]


def test_a_call_goes_on_by_its_token(scene: Scene) -> None:
    alice = scene.phone("alice", password="ecila")
    bob = scene.phone("bob", password="bob", register=False)
    bob.password = "bob"[::-1]
    bob.register()
    scene.network.wait(lambda: bob.registered, what="bob to register")
    alice.talk_time = 1_000
    call = alice.call("bob")
    scene.run(10_000)
    assert call.was_answered and call.over
    assert all(each.over for each in bob.calls)
    sent = [Sip(event.data) for event in scene.network.trace if event.source == "server"]
    invite, = [each for each in sent if each.method == "INVITE" and not each.status]
    assert not invite.lines("proxy-authorization")  # §22.3: they end here, so that no callee can guess by them
    ack, = [each for each in sent if each.method == "ACK"]
    assert not ack.lines("proxy-authorization")


def test_who_is_recalled_calls_with_a_password(scene: Scene) -> None:
    alice = scene.phone("alice", password="ecila")
    alice.call("bob")
    scene.run(2_000)
    bob = scene.phone("bob", password="bob")
    scene.network.wait(lambda: any(call.was_answered for call in bob.calls), what="alice to talk to bob")


def test_a_wrong_token_does_not_pass(scene: Scene) -> None:
    alice = device(scene, "alice")
    alice.ask("BYE", "sip:bob@example.com", to="<sip:bob@example.com>;tag=x")
    scene.run()
    assert alice.inbox[-1].status == 407


# From elsewhere


def test_calls_from_elsewhere_are_let_in_where_that_is_set_and_arm_nothing() -> None:
    config = Config(passwords=Passwords(outside_calls=True), redial=Redial(default_period=600, callers="any"))
    scene = Scene(config, users=table())
    stranger, bob = device(scene, "stranger"), device(scene, "bob")
    outside = "<sip:eve@elsewhere.test>;tag=e"
    stranger.ask("INVITE", "sip:bob@example.com", sender=outside)
    scene.run()
    assert stranger.inbox.pop().status == 480
    assert list(scene.store.each_watch()) == []
    bob.log_in(scene)
    stranger.ask("INVITE", "sip:bob@example.com", sender=outside)
    scene.run()
    assert bob.count("INVITE") == 1
    others = ("INVITE", "sip:eve@third.test"), ("MESSAGE", "sip:bob@example.com"), ("REFER", "sip:bob@example.com")
    for method, uri in others:
        stranger.ask(method, uri, sender=outside)
        scene.run()
        assert stranger.inbox.pop().status == 407


@pytest.mark.parametrize(("address", "sender", "status"), [
    (TRUSTED, "sip:alice@example.com", 480), (TRUSTED, "sip:eve@elsewhere.test", 480),
    (TRUNK, "sip:eve@elsewhere.test", 480), (TRUNK, "sip:alice@example.com", 407),
])  # fmt: skip
def test_peers(scene: Scene, address: Any, sender: str, status: int) -> None:
    peer = device(scene, "peer", address)
    peer.ask("INVITE", "sip:bob@example.com", sender=f"<{sender}>;tag=p")
    scene.run()
    assert peer.inbox[-1].status == status


@pytest.mark.parametrize("users", [True, False], ids=["with passwords", "without"])
def test_another_device_is_recalled_of_a_caller_who_has_shown_a_password(users: bool) -> None:
    """redial.other_devices = "authenticated", the default: a phone that restarts looks like another one, or is one."""
    scene = Scene(Config(redial=Redial(default_period=600)), users=table() if users else None)
    desk, cell, bob = device(scene, "desk"), device(scene, "cell"), device(scene, "bob")

    def registers(phone: Device, user: str, headers: Any = ()) -> None:
        if users:
            assert phone.log_in(scene, user).status == 200
        else:
            phone.register(user, headers=headers)
            scene.run()
            assert phone.inbox.pop().status == 200

    registers(desk, "alice")
    caller = {"sender": "<sip:alice@example.com>;tag=a", "contact": f"<sip:alice@{literal(desk.address)}>"}
    if users:
        desk.sign(scene, "INVITE", "sip:bob@example.com", "alice", **caller)
    else:
        desk.ask("INVITE", "sip:bob@example.com", **caller)
    scene.run()
    (watch,) = scene.store.each_watch()
    assert watch.identity == ("password" if users else "")
    scene.store.put_bindings(b"sip:alice@example.com", [])
    scene.store.commit()
    registers(cell, "alice")
    desk.inbox.clear()
    registers(bob, "bob")
    scene.run()
    assert (cell.count("REFER") >= 1, desk.count("REFER")) == (users, 0)


def test_a_trusted_peer_says_who_calls(scene: Scene) -> None:
    peer = device(scene, "peer", TRUSTED)
    peer.ask("INVITE", "sip:bob@example.com", sender="<sip:alice@example.com>;tag=p",
             headers=[("P-Asserted-Identity", "<tel:+4930123>, <sip:carol@example.com>")])  # fmt: skip
    scene.run()
    assert [watch.caller for watch in scene.store.each_watch()] == [b"sip:carol@example.com"]


@pytest.mark.parametrize("users", [None, "some"])
@pytest.mark.parametrize(("address", "privacy", "stays"), [
    (TRUSTED, "", True), (TRUSTED, "none", True), (TRUSTED, "header;id", False), (None, "", False), (None, "none", False),
])  # fmt: skip
def test_asserted_identities(address: Any, privacy: str, stays: bool, users: Any) -> None:
    # RFC 3325 §5, §7
    peers = (Peer(addresses=(TRUSTED[0],), rights=("identity",)),)
    scene = Scene(Config(peer=peers), users=table() if users else None)
    bob = scene.phone("bob", password="bob")
    alice = device(scene, "alice", address)
    headers = [("P-Asserted-Identity", "<sip:boss@example.com>"), ("P-Preferred-Identity", "<sip:boss@example.com>"),
               *([("Privacy", privacy)] if privacy else [])]  # fmt: skip
    if users and address is None:
        wanted = alice.challenged(scene, "MESSAGE", "sip:bob@example.com")
        headers.append(signed("MESSAGE", "sip:bob@example.com", wanted, "alice", "ecila"))
    alice.ask("MESSAGE", "sip:bob@example.com", headers=headers)
    scene.run()
    message, = bob.messages
    assert bool(message.lines("p-asserted-identity")) == stays
    assert bool(message.lines("p-preferred-identity")) == (address is TRUSTED)


def test_credentials_for_this_server_reach_no_phone(scene: Scene) -> None:
    """RFC 3261 §22.3: who is called could guess the password by them. Those for others go on."""
    bob = scene.phone("bob", password="bob")
    alice = device(scene, "alice")
    wanted = alice.challenged(scene, "MESSAGE", "sip:bob@example.com")
    others = ("Proxy-Authorization", 'Digest username="a", realm="other.test", nonce="x", uri="sip:x", response="y"')
    own = signed("MESSAGE", "sip:bob@example.com", wanted, "alice", "ecila")
    alice.ask("MESSAGE", "sip:bob@example.com", headers=[others, own])
    scene.run()
    message, = bob.messages
    assert message.lines("proxy-authorization") == [others[1]]


def test_a_phone_asserts_nothing_in_an_answer(scene: Scene) -> None:
    bob, peer = device(scene, "bob"), device(scene, "peer", TRUSTED)
    bob.log_in(scene)
    peer.ask("MESSAGE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("MESSAGE"), 200, headers=[("P-Asserted-Identity", "<sip:boss@example.com>")])
    scene.run()
    assert not peer.take("MESSAGE", 200).lines("p-asserted-identity")


def test_an_upstream_asks_itself() -> None:
    upstream = ("10.0.8.1", 5060)
    scene = Scene(Config(upstream=(Upstream(uri=f"sip:{literal(upstream)}"),)), users=table())
    behind, alice = scene.peer("upstream", upstream), device(scene, "alice")
    alice.register()
    scene.run()
    assert behind.count("REGISTER") == 1
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    assert behind.count("INVITE") == 1


# Who guesses


def guess(scene: Scene, name: str, times: int) -> Any:
    """A phone that tries wrong passwords, all with the nonce that it got."""
    phone = device(scene, name)
    phone.register()
    scene.run()
    phone.nonce = challenges(phone.take("REGISTER", 401))[0]
    for n in range(times):
        phone.again_registered(scene, password=f"guess {n}", count=n + 1)
    return phone


def test_who_goes_on_guessing_is_banned(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        mallory = guess(scene, "alice", 19)
        assert scene.server.engine.limiter.bans(scene.now) == []
        mallory.again_registered(scene, password="the last", count=20)
        scene.run(1_000)
    (source, until), = scene.server.engine.limiter.bans(scene.now)
    assert source == mallory.address[0] and 290_000 < until - scene.now <= 300_000
    assert [record.sip["source"] for record in caplog.records if record.message == "source-banned"] == [source]
    limiter, there = scene.server.engine.limiter, Flow(mallory.address[0], 5070)
    assert limiter.admits(mallory.text("OPTIONS", "sip:example.com"), there, scene.now) == 1  # it is dropped


def test_nobody_is_banned_where_a_phone_is_registered_or_by_a_nonce_of_another_address(scene: Scene) -> None:
    bob = device(scene, "bob")
    bob.register()
    scene.run()
    bob.nonce = challenges(bob.take("REGISTER", 401))[0]
    assert bob.again_registered(scene, count=1).status == 200
    scene.run()  # he has answered the OPTIONS that asks whether he is there
    assert scene.server.engine.limiter.admits(b"\r\n\r\n", Flow(*bob.address), scene.now) == 0
    for n in range(40):
        bob.again_registered(scene, password=f"guess {n}", count=n + 2)
    mallory, carol = guess(scene, "carol", 1), device(scene, "alice")
    carol.nonce = mallory.nonce  # whom it was not sent to
    for n in range(40):
        carol.again_registered(scene, password=f"guess {n}", count=n + 2)
    assert scene.server.engine.limiter.bans(scene.now) == []


def test_a_ban_for_guessing_can_be_off() -> None:
    for more in ({"passwords": Passwords(ban_after=0)}, {"rates": Rates(enabled=False)}):
        scene = Scene(Config(**more), users=table())  # type: ignore[arg-type]
        guess(scene, "alice", 60)
        assert scene.server.engine.limiter.bans(scene.now) == []


def test_who_guesses_is_slowed_down_and_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    alice = device(scene, "alice")
    alice.register()
    scene.run()
    alice.nonce = challenges(alice.take("REGISTER", 401))[0]
    with caplog.at_level(logging.INFO):
        answers = [alice.again_registered(scene, password=f"guess {n}", count=n + 1).status for n in range(8)]
    assert answers == [401] * 5 + [503] * 3
    answer = alice.again_registered(scene, count=50)  # the right one does not show, either
    assert answer.status == 503 and int(answer.first("retry-after")) in range(1, 11)
    lines = [record.sip for record in caplog.records if record.message == "login-failed"]
    assert len(lines) == 8
    assert list(lines[0]) == ["source", "user", "realm", "method", "why"]  # in this order docs/security.md reads them
    assert lines[0]["source"] == alice.address[0].encode() and lines[0]["user"] == b"alice"
    scene.run(11_000)
    assert alice.again_registered(scene, count=51).status == 200


def test_other_users_are_taken_up_while_it_runs(scene: Scene) -> None:
    dave = device(scene, "dave")
    assert dave.log_in(scene).status == 401
    scene.server.engine.know(table("dave"))
    assert dave.log_in(scene).status == 200
    assert device(scene, "alice").log_in(scene).status == 401


def test_a_phone_that_comes_to_another_worker_is_not_asked_for_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("net.scene.Server", Cluster)
    scene = Scene(Config(), users=table())
    alice = device(scene, "alice")
    assert alice.log_in(scene).status == 200
    home, port = cluster_of(scene).home, 5061
    while home((alice.address[0], port)) == home(alice.address):
        port += 1
    scene.network.move(alice, (alice.address[0], port))
    answer = alice.again_registered(scene, count=2)
    alice.nonce = challenges(answer)[0]
    assert (answer.status, alice.nonce["stale"]) == (401, "true")
    assert alice.again_registered(scene).status == 200
