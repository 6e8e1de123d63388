"""`sipfast check-config`: what a file comes to, and what is wrong with it in one line."""

import re

import pytest
from command import one_line, sipfast_command


def test_check_config_shows_what_the_file_comes_to(tmp_path):
    path = tmp_path / "sipfast.toml"
    path.write_text('domains = ["example.com"]\n[redial]\nguard = 2\n[[upstream]]\nuri = "sip:pbx.example"\n')
    done = sipfast_command("check-config", path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{path}: good"
    rows = {line.split()[0]: re.split(r"\s{2,}", line) for line in lines[2:]}
    assert rows["redial.guard"] == ["redial.guard", "2.0", "set"]
    assert rows["domains"] == ["domains", '["example.com"]', "set"]
    assert rows["upstream[0].uri"][1] == '"sip:pbx.example"'
    assert rows["redial.min_period"] == ["redial.min_period", "300"]


@pytest.mark.parametrize(
    ("lines", "listen", "mark"),
    [
        ("", "udp:127.0.0.1:5060", []),
        ("open = true", "udp:0.0.0.0:5060", []),
        ('[[upstream]]\nuri = "sip:192.0.2.1"', "udp:0.0.0.0:5060", []),
        ('listen = ["udp:127.0.0.1:5070"]', "udp:127.0.0.1:5070", ["set"]),
        ('open = true\nlisten = ["udp:127.0.0.1:5060"]', "udp:127.0.0.1:5060", ["set"]),
    ],
)
def test_check_config_says_that_listen_is_set_only_where_it_is(tmp_path, lines, listen, mark):
    """Where nobody sets it, it depends on other keys."""
    path = tmp_path / "sipfast.toml"
    path.write_text(lines)
    done = sipfast_command("check-config", path)
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("listen ")]
    assert re.split(r"\s{2,}", row)[1:] == [f'["{listen}"]', *mark]


def test_check_config_shows_no_password(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text('[[redial.credentials]]\nuser = "sipfast"\npassword = "secret4711"')
    done = sipfast_command("check-config", path)
    assert done.returncode == 0
    assert "redial.credentials[0].user" in done.stdout
    assert "secret4711" not in done.stdout


def test_check_config_says_what_is_wrong_in_a_file_of_phones(tmp_path):
    path, phones = tmp_path / "a.toml", tmp_path / "phones.toml"
    path.write_text('[redial]\nphones = "phones.toml"')
    phones.write_text('[[phone]]\nagent = "A"\nstart = "rings"')
    line = one_line(sipfast_command("check-config", path), 2)
    assert line.startswith(f'sipfast: {phones}: phone[0].start: "rings" is not one of ')


def test_check_config_says_what_is_wrong_in_one_line(tmp_path):
    path = tmp_path / "sipfast.toml"
    path.write_text("[redial]\nmin_perod = 300\n")
    line = one_line(sipfast_command("check-config", path), 2)
    assert line == f"sipfast: {path}: redial.min_perod: unknown key; did you mean min_period?"


@pytest.mark.parametrize(("gib", "status"), [(65_536, 0), (65_537, 2), (10**12, 2)])
def test_a_map_size_that_no_process_can_have_is_refused(tmp_path, gib, status):
    """A process has an address space of 128 TiB (47 bits)."""
    path = tmp_path / "sipfast.toml"
    path.write_text(f"[store]\nmap_size = {gib}\n")
    done = sipfast_command("check-config", path)
    assert done.returncode == status
    assert status == 0 or "store.map_size: " in one_line(done, 2)
