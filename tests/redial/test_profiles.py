"""Phone profiles: which line is about which phone, and what several of them come to."""

from __future__ import annotations

import pytest

from sipfast.config import METHODS, Credentials, Phone
from sipfast.redial.profiles import GENERIC, UNKNOWN, fits, how_of, profile_of, shipped


@pytest.mark.parametrize(
    ("agent", "sent", "expected"),
    [
        ("Yealink", "Yealink SIP-T46G 28.81.0.25", True),
        ("yealink sip", "Yealink SIP-T46G 28.81.0.25", True),
        ("SIP-T46G", "Yealink SIP-T46G 28.81.0.25", False),  # a prefix, not a part
        ("*(belle-sip/1.*)", "Linphone (belle-sip/1.6.3)", True),
        ("*(belle-sip/1.*)", "Linphone (belle-sip/1.6.3) more", False),  # a pattern is of the whole
        ("Z 3.?.30891*", "Z 3.7.30891 r30851", True),
        ("Z 3.", "Z 307", False),  # a dot is a dot
        ("", "", True),
        ("", "Yealink", False),
        ("Yealink", "", False),
        ("*", "", True),
        ("*", "anything", True),
    ],
)
def test_which_phone_a_line_is_about(agent: str, sent: str, expected: bool):
    assert fits(Phone(agent=agent), sent) is expected


def test_what_a_line_leaves_open_the_next_one_that_fits_says():
    one, other, more = (
        Phone(agent="Acme X1", refuses=("refer",), start="ring"),
        Phone(agent="Zoom", obeys=("message",), refer_after=9.0),
        Phone(agent="Acme", obeys=("refer", "callback"), start="dial", refer_after=0.5, headers=("A: b",), hangs_up=False),
    )
    profile = profile_of((one, other, more), "Acme X1 7.1")
    assert profile.obeys == {"callback"}
    assert profile.refuses == {"refer"}
    assert [profile.verdict(method) for method in ("refer", "callback", "b2bua")] == [False, True, None]
    assert (profile.start, profile.refer_after, profile.headers, profile.hangs_up) == ("ring", 0.5, ("A: b",), False)
    assert profile_of((one, other, more), "Unheard of") is UNKNOWN


def test_how_is_of_the_weightier_profile_where_both_speak():
    mine = profile_of([Phone(agent="A", norefersub="require", headers=("Alert-Info: <x>", "P: ä"), refer_after=0.0)], "A")
    theirs = profile_of([Phone(agent="A", norefersub="none", hangs_up=True, refer_after=1.6)], "A")
    secret = (Credentials(user="u", password="p"),)
    how = how_of("ring", (mine, theirs), secret)
    assert how.norefersub == b"Require"
    assert how.headers == "Alert-Info: <x>\r\nP: ä\r\n".encode()
    assert (how.start, how.refer_after, how.hangs_up, how.credentials) == ("ring", 0, True, secret)
    assert how_of("dial", (UNKNOWN, theirs), ()).norefersub == b""
    assert how_of("dial", (UNKNOWN, theirs), ()).refer_after == 1600


def test_a_phone_that_nothing_is_known_of_costs_no_new_object():
    assert how_of("dial", (UNKNOWN, UNKNOWN), ()) is GENERIC
    assert (GENERIC.start, GENERIC.norefersub, GENERIC.refer_after) == ("dial", b"Supported", 50)


def test_each_shipped_line_has_its_source_and_is_the_only_one_of_its_phones():
    agents = [phone.agent for phone in shipped()]
    assert len(set(agents)) == len(agents) > 4
    for phone in shipped():
        assert phone.source, phone.agent
        assert not phone.credentials, phone.agent
        assert set(phone.obeys) | set(phone.refuses) <= set(METHODS)


# User-Agents as the phones sent them, and what each did when it was asked (docs/redial.md): by a REFER out of a dialog, by
# an early one (None: not tried), by one in the dialog.
TRIED = {
    "baresip v1.0.0 (x86_64/linux)": (False, True, True),
    "baresip v1.1.0 (x86_64/linux)": (False, True, True),
    "baresip-python": (False, True, True),
    "Linphonec/5.1.65": (False, False, True),
    "Linphonec/5.3.105": (False, False, True),
    "Twinkle/1.10.2": (False, False, True),
    "Asterisk PBX 22.5.2": (False, None, True),
}


@pytest.mark.parametrize("agent", TRIED)
def test_the_shipped_table_says_what_the_phones_did(agent: str):
    refer, early, inside = TRIED[agent]
    profile = profile_of(shipped(), agent)
    assert profile.verdict("refer") is refer
    assert profile.verdict("callback") is inside
    assert profile.verdict("b2bua") is True
    if early is not None:
        assert profile.start == ("dial" if early else "ring")


def test_what_the_shipped_table_says_besides():
    assert profile_of(shipped(), "Twinkle/1.10.2").hangs_up is True
    assert profile_of(shipped(), "Asterisk PBX 22.5.2").refer_after > 1.5
    assert profile_of(shipped(), "baresip-python").verdict("refer-nosub") is None  # 401: by credentials it obeys
    assert profile_of(shipped(), "Asterisk PBX 18.1") is UNKNOWN
    assert profile_of(shipped(), "") is UNKNOWN
