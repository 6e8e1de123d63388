"""The order of methods: which are tried with a phone, in which order, by whom that is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sipfast.config import METHODS, Credentials, Phone, Redial, RedialUser
from sipfast.errors import ConfigError
from sipfast.redial.order import Order
from sipfast.redial.profiles import GENERIC, How

ALICE = b"sip:alice@example.com"
TWINKLE = b"Twinkle/1.10.2"
LINPHONE = b"Linphonec/5.1.65"
UNHEARD = b"Unheard of 1.0"


ALL = Redial(methods=METHODS)


def rungs(
    settings: Redial = ALL,
    agent: bytes = UNHEARD,
    device: Mapping[str, bool] | None = None,
    make: Mapping[str, bool] | None = None,
    aor: bytes = ALICE,
) -> tuple[str, ...]:
    return tuple(name for name, _ in Order(settings).rungs(aor, agent, device, make))


def how(settings: Redial = ALL, agent: bytes = UNHEARD, aor: bytes = ALICE) -> How:
    return Order(settings).rungs(aor, agent, None, None)[0][1]


def all_with(**more: Any) -> Redial:
    return Redial(methods=METHODS, **more)


def test_a_phone_that_nobody_knows_is_tried_in_the_generic_order():
    assert rungs() == METHODS == ("refer", "refer-nosub", "callback", "b2bua", "message")
    assert rungs(Redial(methods=("callback", "refer"))) == ("callback", "refer")
    assert how(ALL) is GENERIC


def test_a_shipped_profile_leaves_out_what_is_refused_and_begins_with_what_works():
    assert rungs(ALL, TWINKLE) == ("callback", "b2bua", "message")
    assert rungs(ALL, b"baresip-python") == ("callback", "refer-nosub", "b2bua")


def test_a_message_never_comes_before_a_call():
    phones = (Phone(agent="Unheard", obeys=("message",)),)
    assert rungs(all_with(phone=phones)) == METHODS
    assert rungs(ALL, device={"message": True}) == METHODS


def test_what_is_remembered_of_a_make_is_weightier_than_the_shipped_table():
    assert rungs(ALL, TWINKLE, make={"refer": True}) == ("refer", "callback", "b2bua", "message")
    assert rungs(ALL, TWINKLE, make={"callback": False}) == ("b2bua", "message")


def test_the_operators_profile_is_weightier_than_what_is_remembered_of_the_make():
    phones = (Phone(agent="Twinkle", refuses=("refer",), obeys=("refer-nosub",)),)
    remembered = {"refer": True, "refer-nosub": False}
    assert rungs(all_with(phone=phones), TWINKLE, make=remembered) == ("refer-nosub", "callback", "b2bua", "message")


def test_what_is_remembered_of_the_device_is_weightier_than_the_operators_profile():
    phones = (Phone(agent="Twinkle", refuses=("refer",), obeys=("refer-nosub",)),)
    remembered = {"refer": True, "callback": False}
    assert rungs(all_with(phone=phones), TWINKLE, remembered) == ("refer", "refer-nosub", "b2bua", "message")


def test_the_users_own_order_is_weightier_than_all():
    settings = all_with(user=(RedialUser(aor="alice@EXAMPLE.com", methods=("b2bua", "refer")),))
    remembered = {"refer": True, "b2bua": False}
    assert rungs(settings, TWINKLE, remembered) == ("b2bua", "refer")
    assert rungs(settings, TWINKLE, aor=b"sip:bob@example.com") == ("callback", "b2bua", "message")


def test_the_order_of_an_operators_profile_stands_in_place_of_the_generic_one():
    settings = all_with(phone=(Phone(agent="Unheard", methods=("message", "b2bua", "callback")),))
    assert rungs(settings) == ("message", "b2bua", "callback")
    assert rungs(settings, device={"callback": True}) == ("callback", "message", "b2bua")


def test_a_method_that_is_switched_off_comes_by_no_profile_and_no_memory():
    settings = Redial(methods=("refer", "callback"))
    assert rungs(settings, TWINKLE, device={"b2bua": True, "refer-nosub": True}) == ("callback",)


def test_where_all_was_refused_once_all_is_tried_again():
    refused = dict.fromkeys(METHODS, False)
    assert rungs(ALL, device=refused) == METHODS
    assert rungs(Redial(methods=("refer", "message")), TWINKLE) == ("refer", "message")


def test_the_start_is_ring_where_anybody_says_that_the_phone_or_its_user_wants_that():
    assert how(ALL, TWINKLE).start == "ring"
    assert how(ALL, b"baresip v1.1.0").start == "dial"
    # Nobody is to call unasked, whatever the make could do.
    assert how(all_with(start="ring"), b"baresip v1.1.0").start == "ring"
    assert how(all_with(phone=(Phone(agent="Twinkle", start="dial"),)), TWINKLE).start == "dial"
    alone = (RedialUser(aor="alice@example.com", start="dial"),)
    assert how(all_with(start="ring", user=alone), b"baresip v1.1.0").start == "dial"
    assert how(all_with(start="ring", user=alone), aor=b"sip:bob@example.com").start == "ring"


def test_the_credentials_that_are_meant_for_fewer_come_first():
    def secret(user: str) -> tuple[Credentials, ...]:
        return (Credentials(user=user, password=""),)

    settings = all_with(
        user=(RedialUser(aor="alice@example.com", credentials=secret("alice")),),
        phone=(Phone(agent="Unheard", credentials=secret("make")),),
        credentials=secret("all"),
    )
    assert [each.user for each in how(settings).credentials] == ["alice", "make", "all"]
    assert [each.user for each in how(settings, aor=b"sip:bob@example.com").credentials] == ["make", "all"]


def test_a_user_who_is_none_is_refused_with_the_key():
    with pytest.raises(ConfigError) as raised:
        Order(all_with(user=(RedialUser(aor="bob", start="ring"),)))
    assert raised.value.key == "redial.user[0].aor"


# What each phone did (docs/redial.md): a REFER out of a dialog was refused by all, one inside the dialog obeyed by all.
@pytest.mark.parametrize("agent", ["", "baresip v1.0.0", "Linphonec/5.3.105", "Twinkle/1.10.2", "Asterisk PBX 22.5"])
def test_each_phone_that_was_tried_is_reached_with_its_profile_and_without(agent: str):
    assert {"callback", "b2bua"} <= set(rungs(ALL, agent.encode()))
    assert {"callback", "b2bua"} <= set(rungs(ALL))


def start(settings: Redial = ALL, agent: bytes = UNHEARD, device: Any = None, make: Any = None) -> str:
    return Order(settings).rungs(ALICE, agent, device, make)[0][1].start


def test_who_refuses_a_refer_while_it_rings_is_asked_once_it_was_answered():
    """By the weight of the words, as the order of methods is."""
    no, yes = {"early-refer": False}, {"early-refer": True}
    assert (start(), start(device=no), start(make=no)) == ("dial", "ring", "ring")
    assert (
        start(ALL, LINPHONE) == "ring" and start(ALL, LINPHONE, make=yes) == "dial"
    )  # what is seen goes before what is read
    given = all_with(phone=(Phone(agent="Unheard", start="dial"),))
    assert (start(given, make=no), start(given, device=no)) == ("dial", "ring")
    assert start(all_with(start="ring"), make=yes) == "ring"
    mine = all_with(user=(RedialUser(aor="sip:alice@example.com", start="dial"),))
    assert start(mine, device=no, make=no) == "dial"


def test_what_is_known_of_an_early_refer_is_no_method():
    assert rungs(device={"early-refer": True}, make={"early-refer": False}) == METHODS
