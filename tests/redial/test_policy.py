"""Who is offered redial: the policy of a caller, of a domain and of all, and callees that nobody is watched for."""

from __future__ import annotations

from typing import Any

import pytest
from net.redialing import arm, armed, come_back, final_of, stage, watch_of
from net.scene import Scene
from net.stores import count_watches

from sipfast.config import Config, Redial, RedialDomain, RedialUser

ALICE = RedialUser(aor="sip:alice@Example.COM", policy="always", period=1_200)
COMPANY = RedialDomain(domain="Example.com", policy="always", period=2_400)


def seconds(redial: dict[str, Any], expires: int | None, caller: str = "alice", callee: str = "bob") -> int:
    """For how long a call that finds nobody is watched; 0: it is not."""
    scene = Scene(Config(redial=Redial(**redial)))
    call = arm(scene, scene.phone(caller), expires, callee)
    watch = watch_of(scene, f"sip:{caller}@example.com".encode(), f"sip:{callee}@example.com".encode())
    assert bool(final_of(call).lines("call-info")) == (watch is not None)
    return (watch.expires_at - watch.armed_at) // 1000 if watch is not None else 0


@pytest.mark.parametrize(
    ("redial", "expires", "expected"),
    [
        ({"policy": "ask"}, None, 0),
        ({"policy": "ask", "default_period": 900}, None, 900),
        ({"policy": "always", "default_period": 900}, 180, 900),
        ({"policy": "always", "default_period": 900}, 3_600, 3_600),
        ({"policy": "never", "default_period": 900}, 3_600, 0),
        ({"user": (ALICE,)}, None, 1_200),
        ({"user": (ALICE,)}, 180, 1_200),
        ({"user": (ALICE,)}, 300, 300),
        ({"policy": "never", "user": (ALICE,)}, None, 1_200),
        ({"domain": (COMPANY,)}, None, 2_400),
        ({"domain": (COMPANY,), "user": (ALICE,)}, None, 1_200),
        ({"domain": (COMPANY,), "user": (RedialUser(aor="sip:alice@example.com"),)}, None, 2_400),
        ({"domain": (COMPANY,), "user": (RedialUser(aor="sip:carol@example.com", policy="never"),)}, None, 2_400),
        ({"default_period": 900, "user": (RedialUser(aor="sip:alice@example.com", policy="ask"),)}, None, 0),
        ({"default_period": 900, "user": (RedialUser(aor="sip:alice@example.com", policy="always"),)}, None, 900),
        ({"domain": (RedialDomain(domain="example.net", policy="always", period=900),)}, None, 0),
    ],
)
def test_the_most_particular_policy_says_for_how_long(redial: dict[str, Any], expires: int | None, expected: int) -> None:
    assert seconds(redial, expires) == expected


def test_a_user_is_known_in_any_spelling() -> None:
    """RFC 3261 §19.1.4: an escaped character is that character."""
    assert seconds({"user": (RedialUser(aor="sip:%61lice@example.com", policy="always", period=1_200),)}, None) == 1_200


@pytest.mark.parametrize(
    ("patterns", "callee", "arms"),
    [
        (("112", "911"), "112", False),
        (("112", "911"), "1123", True),
        (("112",), "4112", True),
        (("group-*",), "group-sales", False),
        (("group-*",), "sales", True),
        (("bob@example.com",), "bob", False),
        (("sip:bob@EXAMPLE.com",), "bob", False),
        (("bob@example.net",), "bob", True),
        (("*@example.com",), "bob", False),
    ],
)
def test_nobody_is_watched_for_at_such_numbers(patterns: tuple[str, ...], callee: str, arms: bool) -> None:
    redial = {"never_callees": patterns, "user": (RedialUser(aor="sip:alice@example.com", policy="always", period=1_200),)}
    assert seconds(redial, 3_600, callee=callee) == (3_600 if arms else 0)
    assert seconds(redial, None, callee=callee) == (1_200 if arms else 0)


def test_a_caller_may_cancel_whatever_the_policy_is() -> None:
    scene, alice, _ = stage({"user": (ALICE,)})
    arm(scene, alice, None)
    assert watch_of(scene) is not None
    arm(scene, alice, 0)
    assert watch_of(scene) is None


def test_a_watch_outlives_a_policy_that_would_not_arm_it_any_more() -> None:
    scene, alice, bob = armed()
    scene.server.engine.configure(Config(redial=Redial(policy="never", never_callees=("bob",))))
    assert not final_of(arm(scene, alice, callee="carol")).lines("call-info")
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()
    assert count_watches(scene.store) == 0
