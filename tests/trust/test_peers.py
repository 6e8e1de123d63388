"""Configured peers: what each may do, by its address."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipfast._flow import Flow
from sipfast.config import Config, Peer, load
from sipfast.errors import ConfigError
from sipfast.trust.peers import Peers

PEERS = Peers(
    [
        Peer(addresses=("192.0.2.0/25", "2001:db8::/33"), rights=("relay",)),
        Peer(addresses=("192.0.2.7",), rights=("path", "refer")),
        Peer(addresses=("198.51.100.9",)),
    ],
    ["203.0.113.5", "2001:db8:8000::5"],
)
ALL = {"relay", "path", "refer", "identity"}

WHO: dict[str, tuple[str, set[str]]] = {
    "in a range": ("192.0.2.127", {"relay"}),
    "just outside of it": ("192.0.2.128", set()),
    "in two tables": ("192.0.2.7", {"relay", "path", "refer"}),
    "a peer without rights": ("198.51.100.9", set()),
    "an upstream": ("203.0.113.5", ALL),
    "beside the upstream": ("203.0.113.4", set()),
    "IPv6": ("2001:db8:7fff:ffff::1", {"relay"}),
    "IPv6, just outside": ("2001:db8:8000::1", set()),
    "an upstream, IPv6": ("2001:db8:8000::5", ALL),
    "IPv6 that begins like an IPv4 range": ("c000:0207::", set()),
}


@pytest.mark.parametrize(("host", "rights"), WHO.values(), ids=WHO)
def test_rights_go_by_the_address(host: str, rights: set[str]) -> None:
    assert PEERS.rights(Flow(host, 5060)) == rights


def test_without_peers_nobody_has_rights() -> None:
    assert Peers(()).rights(Flow("192.0.2.7", 5060)) == set()


def test_a_peer_is_configured(tmp_path: Path) -> None:
    file = tmp_path / "sipfast.toml"
    file.write_text('[[peer]]\naddresses = ["192.0.2.0/24"]\nrights = ["path"]\n')
    assert load(file).peer == (Peer(addresses=("192.0.2.0/24",), rights=("path",)),)
    assert Config().peer == ()


WRONG = {
    "a name": ('addresses = ["sbc.example"]', "peer[0].addresses[0]: 'sbc.example' is no IP address"),
    "bits behind the prefix": ('addresses = ["192.0.2.1/24"]', "peer[0].addresses[0]: '192.0.2.1/24' has bits behind"),
    "everybody": ('addresses = ["0.0.0.0/0"]', "peer[0].addresses[0]: '0.0.0.0/0' is everybody"),
    "nobody": ("addresses = []", "peer[0].addresses: no address"),
    "no such right": (
        'addresses = ["192.0.2.1"]\nrights = ["all"]',
        'peer[0].rights[0]: "all" is not one of "identity", "path"',
    ),
}


@pytest.mark.parametrize(("text", "wanted"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, text: str, wanted: str) -> None:
    file = tmp_path / "sipfast.toml"
    file.write_text(f"[[peer]]\n{text}\n")
    with pytest.raises(ConfigError) as error:
        load(file)
    assert wanted in str(error.value) and "\n" not in str(error.value)
