"""Who waits for whom, as far as one process knows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sipfast._wheel import Timed, Wheel
from sipfast.redial.waiting import Waiting

NOW = 1_700_000_000_000
few = st.sampled_from([b"sip:a@example.org", b"sip:b@example.org", b"sip:c@example.org"])


class Owner(Timed):
    def __init__(self) -> None:
        self.fired: list[tuple[int, object]] = []

    def expired(self, kind: int, payload: object, now: int) -> int:
        self.fired.append((kind, payload))
        return 0


@given(st.lists(st.tuples(st.booleans(), few, few), max_size=40))
def test_it_knows_what_was_noted_and_not_dropped_since(steps: list[tuple[bool, bytes, bytes]]) -> None:
    wheel = Wheel(NOW)
    waiting = Waiting(wheel, Owner(), 1)
    known: set[tuple[bytes, bytes]] = set()
    for hold, callee, caller in steps:
        if hold:
            waiting.remember((callee, caller), NOW + 1_000)
            known.add((callee, caller))
        else:
            waiting.forget((callee, caller))
            known.discard((callee, caller))
        assert set(waiting.timers) == known and wheel.count == len(known)
        for aor in (callee, caller):
            assert sorted(waiting.callers(aor)) == sorted(two for one, two in known if one == aor)
            assert waiting.count(aor) == sum(two == aor for _, two in known)


def test_another_time_takes_the_place_of_the_first() -> None:
    wheel, owner = Wheel(NOW), Owner()
    waiting = Waiting(wheel, owner, 7)
    pair = (b"sip:b@example.org", b"sip:a@example.org")
    waiting.remember(pair, NOW + 1_000)
    waiting.remember(pair, NOW + 5_000)
    wheel.advance(NOW + 4_999)
    assert owner.fired == []
    wheel.advance(NOW + 5_000)
    assert owner.fired == [(7, pair)]
    assert waiting.callers(pair[0]) == [pair[1]]  # until it is dropped: only its owner knows whether it has ended
