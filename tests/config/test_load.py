"""The configuration: what is accepted; each mistake is one line naming file or flag, key and reason."""

from pathlib import Path

import msgspec
import pytest

from sipfast import config
from sipfast.config import schema
from sipfast.errors import ConfigError

GOOD = {
    "empty": ("", {}),
    "top level": ('listen = ["udp:127.0.0.1:5070", "udp:[::1]:5070"]', {"listen[1]": "udp:[::1]:5070"}),
    "whole seconds for a fraction": ("[timers]\nt1 = 1", {"timers.t1": 1.0}),
    "redial": ('[redial]\nmin_period = 60\norder = "all"', {"redial.min_period": 60, "redial.order": "all"}),
    "upstream": ('[[upstream]]\nuri = "sip:pbx.example"', {"upstream[0].uri": "sip:pbx.example"}),
    "two upstreams": (
        '[[upstream]]\nuri = "sip:a"\ndomains = ["a.example"]\n[[upstream]]\nuri = "sip:[::1]:5080"',
        {"upstream[1].uri": "sip:[::1]:5080", "upstream[0].domains": ("a.example",)},
    ),
    "an upstream of several addresses": (
        '[[upstream]]\nuri = ["sip:10.0.0.5", "sip:10.0.0.6:5070"]\ntimeout = 2.5\nprobe_interval = 1',
        {"upstream[0].uri": ("sip:10.0.0.5", "sip:10.0.0.6:5070"), "upstream[0].timeout": 2.5},
    ),
    "who is offered redial": (
        '[redial]\npolicy = "never"\nnever_callees = ["112", "group-*"]\n'
        '[[redial.user]]\naor = "sip:alice@example.com"\npolicy = "always"\nperiod = 7200\n'
        '[[redial.domain]]\ndomain = "example.net"\npolicy = "ask"',
        {"redial.user[0].period": 7200, "redial.domain[0].policy": "ask", "redial.never_callees": ("112", "group-*")},
    ),
    "an hour is the most that min_expires may be": ("[registrar]\nmin_expires = 3600", {}),
    "a byte order mark": ('\ufeffadvertise = "sip.example"', {"advertise": "sip.example"}),
    "a level in capitals": ('log_level = "WARNING"', {"log_level": "warning"}),
    "events to a webhook": (
        '[events]\nto = "webhook"\nurl = "https://u:p@hooks.example:8443/x?y"\nbatch = 50',
        {"events.url": "https://u:p@hooks.example:8443/x?y", "events.queue": 10_000},
    ),
    "recall methods": ('[redial]\nmethods = ["callback", "refer"]', {"redial.methods": ("callback", "refer")}),
    "a phone": (
        '[[redial.phone]]\nagent = "Yealink"\nobeys = ["refer"]\nheaders = ["Alert-Info: <x>;info=recall"]',
        {"redial.phone[0].agent": "Yealink", "redial.phone[0].obeys": ("refer",)},
    ),
    "users": (
        '[[redial.user]]\naor = "sip:bob@example.com"\nmethods = ["b2bua"]\n[[redial.user]]\naor = "sip:bob@[2001:db8::1]"',
        {"redial.user[0].methods": ("b2bua",)},
    ),
    "credentials": (
        '[[redial.credentials]]\nrealm = "a"\nuser = "x"\npassword = ""\n[[redial.credentials]]\nuser = "x"\npassword = "y"',
        {"redial.credentials[1].realm": ""},
    ),
    "domains": ('domains = ["example.com", "192.0.2.1", "[2001:db8::1]", "pbx_1.local"]', {}),
}

BAD = {
    "unknown key": ("[redial]\nmin_perod = 1", "redial.min_perod: unknown key; did you mean min_period?"),
    "unknown section": ("[redail]", "redail: unknown key; did you mean redial?"),
    "unknown key far from all": ("[timers]\nzzz = 1", "timers.zzz: unknown key; known here: t1, t2, t4, c"),
    "unknown key in a list": ('[[upstream]]\nurl = "sip:a"\nuri = "sip:a"', "upstream[0].url: unknown key"),
    "missing key": ("[[upstream]]\ndomains = []", "upstream[0]: the key uri is missing"),
    "wrong type": ('[redial]\nattempts = "3"', 'redial.attempts: "3" is not a whole number of at'),
    "fraction": ("[redial]\nmin_period = 1.5", "redial.min_period: 1.5 is not a whole number of at least 1"),
    "flag as number": ("[redial]\nenabled = 1", "redial.enabled: 1 is not true or false"),
    "text for a list": ('listen = "udp:0.0.0.0:5060"', 'listen: "udp:0.0.0.0:5060" is not a list of texts'),
    "number in a list of texts": ("listen = [5060]", "listen[0]: 5060 is not a text in quotes"),
    "number for a section": ("redial = 3", "redial: 3 is not a table"),
    "table for a list of tables": ("[upstream]", "upstream: {} is not a list of tables"),
    "choice": ('[redial]\norder = "seriel"', 'redial.order: "seriel" is not one of "'),
    "below its range": ("[redial]\nmin_period = 0", "redial.min_period: 0 is not a whole number of"),
    "more than an address space": ("[store]\nmap_size = 65537", "store.map_size: 65537 is not a whole number of at"),
    "above its range": ("[registrar]\nmin_expires = 3601", "registrar.min_expires: 3601 is not a whole"),
    "not above its limit": ("[store]\nflush_interval = 0", "store.flush_interval: 0 is not a number above 0"),
    "infinite": ("[store]\nflush_interval = inf", "store.flush_interval: inf is not a number of seconds"),
    "not a number": ("[redial]\nmax_talk = nan", "redial.max_talk: nan is not a number"),
    "a method unknown": ('[redial]\nmethods = ["refer", "fax"]', 'redial.methods[1]: "fax" is not one of "'),
    "a method twice": ('[redial]\nmethods = ["refer", "refer"]', 'redial.methods[1]: "refer" is there twice'),
    "no method": ("[redial]\nmethods = []", "redial.methods: no method, so nobody would be called: name some, or set"),
    "a phone without an agent": ("[[redial.phone]]\nobeys = []", "redial.phone[0]: the key agent is missing"),
    "obeys what it refuses": (
        '[[redial.phone]]\nagent = "A"\nobeys = ["refer"]\nrefuses = ["b2bua", "refer"]',
        'redial.phone[0].refuses[1]: "refer" is in obeys, too; leave it in one of them',
    ),
    "two header lines in one": (
        '[[redial.phone]]\nagent = "A"\nheaders = ["Alert-Info: <x>\\r\\nVia: y"]',
        'redial.phone[0].headers[0]: "Alert-Info: <x>\\r\\nVia: y" is not one line',
    ),
    "a header of ours": (
        '[[redial.phone]]\nagent = "A"\nheaders = ["call-id: x"]',
        "redial.phone[0].headers[0]: call-id is written by the server itself; leave it out",
    ),
    "credentials of nobody": (
        '[[redial.credentials]]\nuser = ""\npassword = "x"',
        "redial.credentials[0].user: an empty name",
    ),
    "a password that is no text is not shown": (
        '[[redial.credentials]]\nuser = "a"\npassword = 4711',
        "redial.credentials[0].password: its value is not a text in quotes",
    ),
    "two for one realm": (
        '[[redial.credentials]]\nuser = "a"\npassword = "x"\n[[redial.credentials]]\nuser = "b"\npassword = "x"',
        'redial.credentials[1].realm: "" is there twice',
    ),
    "nothing to listen on": ("listen = []", "listen: nothing to listen on"),
    "listen twice": ('listen = ["udp:127.0.0.1:5060", "udp:127.0.0.1:5060"]', "listen[1]: "),
    "transport unknown": ('listen = ["sctp:127.0.0.1:5060"]', "listen[0]: 'sctp:127.0.0.1:5060' is not udp:"),
    "advertise with a port": ('advertise = "sip.example.com:5060"', "advertise: "),
    "domain with a scheme": ('domains = ["sip:example.com"]', "domains[0]: 'sip:example.com' is neither"),
    "empty domain": ('domains = ["a", ""]', "domains[1]: '' is neither"),
    "t1 above t2": ("[timers]\nt1 = 5.0\nt2 = 4.0", "timers.t1: 5.0 is more than timers.t2, which is 4.0"),
    "min_expires above the default": (
        "[registrar]\ndefault_expires = 30",
        "registrar.min_expires: 60 is more than registrar.default_expires, which is 30",
    ),
    "default_expires above the maximum": (
        "[registrar]\ndefault_expires = 4000\nmax_expires = 3600",
        "registrar.default_expires: 4000 is more than registrar.max_expires, which is 3600",
    ),
    "min_period above max_period": (
        "[redial]\nmax_period = 200",
        "redial.min_period: 300 is more than redial.max_period, which is 200",
    ),
    "default_period above max_period": (
        "[redial]\ndefault_period = 1000\nmax_period = 900",
        "redial.default_period: 1000 is more than redial.max_period, which is 900",
    ),
    "upstream without a scheme": (
        '[[upstream]]\nuri = "pbx:5060"',
        "upstream[0].uri: 'pbx:5060' is not sip:",
    ),
    "upstream with a user": ('[[upstream]]\nuri = "sip:bob@pbx"', "upstream[0].uri: 'sip:bob@pbx' is not"),
    "upstream over TLS": ('[[upstream]]\nuri = "sips:pbx"', "upstream[0].uri: 'sips:pbx' is not sip:"),
    "upstream that is a number": ("[[upstream]]\nuri = 1", "upstream[0].uri: 1 is not a text in quotes or a list of"),
    "upstream without an address": ("[[upstream]]\nuri = []", "upstream[0].uri: an empty list; name at least one sip:"),
    "one of an upstream's addresses": ('[[upstream]]\nuri = ["sip:a", "b"]', "upstream[0].uri[1]: 'b' is not sip:HOST"),
    "a number among them": ('[[upstream]]\nuri = ["sip:a", 1]', "upstream[0].uri[1]: 1 is not a text in quotes"),
    "an upstream's address twice": (
        '[[upstream]]\nuri = ["sip:A", "sip:a:5060"]',
        "upstream[0].uri[1]: 'sip:a:5060' is there twice",
    ),
    "upstream that is down at once": (
        '[[upstream]]\nuri = "sip:a"\ntimeout = 0',
        "upstream[0].timeout: 0 is not a number above 0 and at most 32",
    ),
    "upstream that is down for ever": (
        '[[upstream]]\nuri = "sip:a"\nprobe_interval = 0',
        "upstream[0].probe_interval: 0 is not a number of at least 0.1 and at most 3600",
    ),
    "upstream domain twice": (
        '[[upstream]]\nuri="sip:a"\ndomains=["x.example"]\n[[upstream]]\nuri="sip:b"\ndomains=["X.example"]',
        "upstream[1].domains[0]: 'X.example' belongs to upstream[0] already",
    ),
    "a policy that there is not": (
        '[[redial.user]]\naor = "sip:a@b"\npolicy = "sometimes"',
        'redial.user[0].policy: "sometimes" is not one of "always", "ask", "never"',
    ),
    "always, for no time": ('[redial]\npolicy = "always"', 'redial.policy: "always" needs a period; set redial.default_'),
    "a user's always, for no time": (
        '[[redial.user]]\naor = "sip:a@b"\npolicy = "always"',
        'redial.user[0].policy: "always" needs a period; set it here, or redial.default_period',
    ),
    "a period that nobody uses": (
        '[[redial.domain]]\ndomain = "b"\npolicy = "ask"\nperiod = 600',
        'redial.domain[0].period: goes with policy = "always" only',
    ),
    "a period above the longest": (
        '[redial]\nmax_period = 600\n[[redial.domain]]\ndomain = "b"\npolicy = "always"\nperiod = 601',
        "redial.domain[0].period: 601 is more than redial.max_period, which is 600",
    ),
    "a user without a host": ('[[redial.user]]\naor = "alice"', 'redial.user[0].aor: "alice" is not sip:USER@HOST'),
    "a user with a port": ('[[redial.user]]\naor = "sip:a@b:5060"', 'redial.user[0].aor: "sip:a@b:5060" is not sip:'),
    "a user twice": (
        '[[redial.user]]\naor = "sip:a@b"\n[[redial.user]]\naor = "sip:a@B"',
        'redial.user[1].aor: "sip:a@b" is in redial.user[0] already',
    ),
    "a domain twice": (
        '[[redial.domain]]\ndomain="b"\npolicy="ask"\n[[redial.domain]]\ndomain="B"\npolicy="never"',
        'redial.domain[1].domain: "b" is in redial.domain[0] already',
    ),
    "a domain with a scheme": (
        '[[redial.domain]]\ndomain = "sip:b"\npolicy = "ask"',
        'redial.domain[0].domain: "sip:b" is neither a host name',
    ),
    "no callee": ('[redial]\nnever_callees = [" "]', "redial.never_callees[0]: empty; name a user, or a pattern"),
    "no data directory": ('[store]\ndata = ""', 'store.data: "" is not a directory'),
    "events to no file": ('[events]\nto = "file"', 'events.path: "" is not a file; events.to asks for one'),
    "events to nowhere": (
        '[events]\nto = "webhook"\nurl = "hooks.example/x"',
        'events.url: "hooks.example/x" is not http://',
    ),
    "events to a port that is none": (
        '[events]\nto = "webhook"\nurl = "http://h:99999/"',
        'events.url: "http://h:99999/" is not http://',
    ),
    "not TOML": ("listen = [", "not TOML: "),
}


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "sipfast.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(("text", "expected"), GOOD.values(), ids=GOOD)
def test_a_good_file_is_taken_and_the_rest_keeps_its_defaults(tmp_path, text, expected):
    loaded = dict(schema.settings(config.load(write(tmp_path, text))))
    for key, value in expected.items():
        if key == "listen[1]":
            assert loaded["listen"][1] == value
        else:
            assert loaded[key] == value
    defaults = dict(schema.settings(config.Config()))
    assert loaded["redial.recall_timeout"] == defaults["redial.recall_timeout"]


@pytest.mark.parametrize(("text", "line"), BAD.values(), ids=BAD)
def test_a_mistake_is_one_line_with_the_file_the_key_and_the_reason(tmp_path, text, line):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot read the configuration: No such file"):
        config.load(missing)
    with pytest.raises(ConfigError, match="Is a directory"):
        config.load(tmp_path)
    with pytest.raises(ConfigError, match="not UTF-8 at byte 1"):
        config.load(write(tmp_path, b"#\xff"))


def test_without_a_file_the_defaults_are_those_of_the_issue():
    loaded = config.load(None)
    assert loaded == config.Config()
    assert loaded.listen == ("udp:127.0.0.1:5060",)
    assert loaded.workers == 0  # one a core
    assert loaded.store.data == "./sipfast-data"
    assert (loaded.redial.min_period, loaded.redial.max_period) == (300, 86_400)
    assert loaded.redial.default_period == 0
    assert (loaded.redial.order, loaded.redial.end_on, loaded.redial.callers) == ("serial", "answer", "local")
    assert (loaded.redial.attempts, loaded.redial.per_caller, loaded.redial.per_callee) == (3, 20, 100)
    assert (loaded.redial.refer_timeout, loaded.redial.recall_timeout, loaded.redial.guard) == (5, 20, 0)
    assert (loaded.timers.t1, loaded.timers.t2, loaded.timers.t4) == (0.5, 4, 5)  # RFC 3261 table 4


def test_flags_override_the_file_key_by_key(tmp_path):
    path = write(tmp_path, '[store]\ndata = "/a"\nflush_interval = 5\n[[upstream]]\nuri = "sip:a"')
    flags = {"store.data": "/b", "upstream": [{"uri": "sip:b"}], "listen": ["udp:[::1]:5070"]}
    loaded = config.load(path, flags)
    assert (loaded.store.data, loaded.store.flush_interval) == ("/b", 5)
    assert loaded.upstream == (config.Upstream(uri="sip:b"),)
    assert loaded.listen == ("udp:[::1]:5070",)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ({"listen": ["udp:127.0.0.1"]}, "--listen: 'udp:127.0.0.1' is not udp:HOST:PORT"),
        ({"domains": ["a b"]}, "--domain: 'a b' is neither a host name nor an IP address"),
        ({"upstream": [{"uri": "pbx"}]}, "--upstream: 'pbx' is not sip:HOST[:PORT]"),
        ({"store.data": ""}, '--data: "" is not a directory'),
    ],
    ids=["listen", "domain", "upstream", "data"],
)
def test_a_mistake_in_a_flag_names_the_flag_and_not_the_file(tmp_path, overrides, line):
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path, "[redial]\nmin_period = 301"), overrides)
    assert str(caught.value).startswith(line)


def test_a_mistake_in_the_file_beside_a_flag_still_names_the_file(tmp_path):
    path = write(tmp_path, "store = 3")
    with pytest.raises(ConfigError) as caught:
        config.load(path, {"store.data": "/b"})
    assert str(caught.value) == f"{path}: store: 3 is not a table"


def test_the_configuration_cannot_be_changed_after_it_is_loaded():
    with pytest.raises(AttributeError):
        config.load(None).redial.order = "all"
    assert msgspec.structs.asdict(config.Timers()) == {"t1": 0.5, "t2": 4.0, "t4": 5.0, "c": 181.0}


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_phones_of_a_file_beside_the_configuration_come_after_its_own(tmp_path):
    written(tmp_path / "phones.toml", '[[phone]]\nagent = "B"\nobeys = ["refer"]')
    path = written(tmp_path / "a.toml", '[redial]\nphones = "phones.toml"\n[[redial.phone]]\nagent = "A"')
    assert [phone.agent for phone in config.load(path).redial.phone] == ["A", "B"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[phone]]\nagent = "B"\nobey = ["refer"]', "phones.toml: phone[0].obey: unknown key; did you mean obeys?"),
        ('[[phone]]\nagent = "B"\nobeys = ["fax"]', 'phones.toml: phone[0].obeys[0]: "fax" is not one of "b2bua",'),
        ('[[phone]]\nagent = "B"\nheaders = ["x"]', 'phones.toml: phone[0].headers[0]: "x" is not one line'),
        ('[[phones]]\nagent = "B"', "phones.toml: phones: unknown key; did you mean phone?"),
        ("[[phone]", "a.toml: redial.phones: "),
    ],
)
def test_a_mistake_in_a_file_of_phones_names_that_file(tmp_path, text, says):
    written(tmp_path / "phones.toml", text)
    with pytest.raises(ConfigError) as raised:
        config.load(written(tmp_path / "a.toml", '[redial]\nphones = "phones.toml"'))
    assert str(raised.value).removeprefix(f"{tmp_path}/").startswith(says)


def test_a_file_of_phones_that_is_not_there_is_named_with_the_key_that_names_it(tmp_path):
    path = written(tmp_path / "a.toml", '[redial]\nphones = "none.toml"')
    with pytest.raises(ConfigError) as raised:
        config.load(path)
    assert str(raised.value) == (
        f"{path}: redial.phones: {tmp_path / 'none.toml'}: cannot read the configuration: No such file or directory"
    )


LOOPBACK, EVERYWHERE = ("udp:127.0.0.1:5060",), ("udp:0.0.0.0:5060",)
UPSTREAM = '[[upstream]]\nuri = "sip:10.0.0.5"\n'


@pytest.mark.parametrize(("text", "listen"), [
    ("", LOOPBACK), ('domains = ["example.com"]', LOOPBACK), ("open = true", EVERYWHERE), ('users = "users"', EVERYWHERE),
    (UPSTREAM, EVERYWHERE), (UPSTREAM + 'domains = ["a.test"]', LOOPBACK),
    ('domains = ["A.test"]\n' + UPSTREAM + 'domains = ["a.test"]', EVERYWHERE),
])  # fmt: skip
def test_who_lets_anybody_in_listens_on_loopback_only(tmp_path, text, listen):
    (tmp_path / "c.toml").write_text(text)
    assert config.load(tmp_path / "c.toml").listen == listen


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "sip.example.com"])
def test_beyond_loopback_it_has_to_be_wanted_that_anybody_registers(tmp_path, host):
    path = tmp_path / "c.toml"
    listen = f'listen = ["udp:127.0.0.1:5060", "udp:localhost:5061", "udp:[::1]:5060", "udp:{host}:5062"]\n'
    path.write_text(listen)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(caught.value).startswith(f"{path}: listen[3]: ")
    assert "users" in str(caught.value) and "open = true" in str(caught.value) and "\n" not in str(caught.value)
    for text in (f"open = true\n{listen}", f'users = "u"\n{listen}', listen + UPSTREAM):
        path.write_text(text)
        assert len(config.load(path).listen) == 4


def test_a_file_of_users_starts_where_the_configuration_is(tmp_path):
    (tmp_path / "c.toml").write_text('users = "users"')
    assert config.load(tmp_path / "c.toml").users == str(tmp_path / "users")
    assert config.load(tmp_path / "c.toml", {"users": "other"}).users == "other"


def test_open_and_users_do_not_go_together(tmp_path):
    (tmp_path / "c.toml").write_text('users = "users"\nopen = true')
    with pytest.raises(ConfigError, match="open: "):
        config.load(tmp_path / "c.toml")
