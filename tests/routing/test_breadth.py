"""RFC 5393: loops that are seen, and forks that cannot grow."""

from __future__ import annotations

import pytest
from net.calling import forked, pair
from net.scene import SERVER, Scene
from net.sipwire import literal


@pytest.mark.parametrize(("given", "forwarded"), [(None, "60"), ("60", "60"), ("7", "7"), ("200", "60"), ("1", "1")])
@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_max_breadth_is_added_and_kept(method: str, given: str | None, forwarded: str) -> None:
    """§5.3.3: what exceeds 60 is overwritten."""
    scene, alice, bob = pair()
    alice.ask(method, "sip:bob@example.com", headers=[("Max-Breadth", given)] if given else [])
    scene.run()
    assert bob.take(method).lines("max-breadth") == [forwarded]


@pytest.mark.parametrize(
    ("given", "shares"), [(None, [20, 20, 20]), ("60", [20, 20, 20]), ("8", [2, 3, 3]), ("3", [1, 1, 1])],
)  # fmt: skip
def test_max_breadth_is_shared_out_between_branches(given: str | None, shares: list[int]) -> None:
    """§5.3.3: the sum of the branches is no more than what came."""
    scene, alice, phones = forked(3)
    alice.ask("INVITE", "sip:bob@example.com", headers=[("Max-Breadth", given)] if given else [])
    scene.run()
    assert sorted(int(phone.take("INVITE").first("max-breadth")) for phone in phones) == shares


@pytest.mark.parametrize(("phones", "given"), [(3, "2"), (1, "0"), (3, "0")])
def test_a_breadth_that_is_too_small_is_440(phones: int, given: str) -> None:
    """§5.3.3, §6.2"""
    scene, alice, bobs = forked(phones)
    alice.ask("INVITE", "sip:bob@example.com", headers=[("Max-Breadth", given)])
    scene.run()
    assert alice.take("INVITE", 440).to_tag
    assert not any(bob.inbox for bob in bobs)


def test_what_we_made_ourselves_is_a_loop() -> None:
    """§16.3 step 4: it has one Via only, which is ours."""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    ours = bob.take("INVITE").all("via")[0]
    alice.ask("MESSAGE", "sip:bob@example.com", via=ours)
    scene.run()
    assert not bob.count("MESSAGE")
    assert scene.server.engine.counters()["loops"] == 1


def test_sixteen_bindings_that_lead_back_do_not_grow() -> None:
    """One call to 16 bindings, each of which comes back as a call to the same user: not 16 to the power of n."""
    scene = Scene()
    alice, mirror = scene.peer("alice"), scene.peer("mirror")
    for i in range(0, 16, 8):
        mirror.bind("bob", [f"<sip:bob@{literal(mirror.address)};n={i + j}>" for j in range(8)])
        scene.run()
    mirror.inbox.clear()
    returned = 0

    def back() -> None:
        nonlocal returned
        for message in list(mirror.inbox):
            mirror.inbox.remove(message)
            if message.method == "INVITE" and not message.status:
                returned += 1
                via = f"Via: SIP/2.0/UDP {literal(mirror.address)};branch={mirror.token('z9hG4bK')}\r\n".encode()
                rest = message.raw.partition(b"\r\n")[2]
                mirror.transmit(b"INVITE sip:bob@example.com;n=%d SIP/2.0\r\n" % returned + via + rest, SERVER)

    alice.ask("INVITE", "sip:bob@example.com")
    for _ in range(20):
        scene.run(20)
        back()
    assert 0 < returned <= 60
