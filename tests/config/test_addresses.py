"""What may stand where an address is asked for, and what is refused."""

import pytest

from sipfast.config import addresses
from sipfast.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("udp:127.0.0.1:5060", ("UDP", "127.0.0.1", 5060)),
        ("UDP:[2001:db8::1]:5060", ("UDP", "2001:db8::1", 5060)),
        ("udp:localhost:0", ("UDP", "localhost", 0)),
    ],
)
def test_listen_syntax(text, expected):
    assert addresses.parse_listen(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "udp",
        "udp:",
        "udp::5060",
        "udp:h",
        "udp:h:",
        "udp:h:x",
        "udp:h:65536",
        "udp:h:-1",
        "udp:h:٣",
        "udp:::1:5060",
        "udp:[::1]",
        "udp:[h]:5060",
        "udp:[127.0.0.1]:5060",
        "tcp:h:5060",
        "127.0.0.1:5060",
        "udp:300.1.1.1:5060",
        "udp:a..b:5060",
        "udp:-a:5060",
        "udp:[fe80::1%eth0]:5060",
        "",
        "udp:h:5060\n",
    ],
)
def test_listen_syntax_refused(text):
    with pytest.raises(ConfigError):
        addresses.parse_listen(text)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:pbx.example.com", ("pbx.example.com", 5060)),
        ("SIP:PBX:5080", ("pbx", 5080)),
        ("sip:[2001:DB8::1]", ("2001:db8::1", 5060)),
        ("sip:[::1]:5061", ("::1", 5061)),
        ("sip:192.0.2.1:5061", ("192.0.2.1", 5061)),
    ],
)
def test_upstream_syntax(uri, expected):
    assert addresses.parse_upstream(uri) == expected


@pytest.mark.parametrize(
    "uri",
    ["", "h", "sip:", "sip:h:", "sip:h:0", "sip:h:65536", "sip:::1", "sip:h;lr", "sip:h?a=b", "sip:a@h"],
)
def test_upstream_syntax_refused(uri):
    with pytest.raises(ConfigError):
        addresses.parse_upstream(uri)
