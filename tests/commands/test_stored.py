"""How a command finds a store, and what it says and leaves alone where there is none."""

import json

import pytest
from command import one_line, sipfast_command

from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.repository import Store


def test_an_empty_list_says_so(tmp_path):
    Store(LmdbTables(tmp_path / "data")).close()
    for name in ("watches", "bindings"):
        assert sipfast_command(name, "--data", tmp_path / "data").stdout == f"no {name} in {tmp_path / 'data'}\n"
        assert json.loads(sipfast_command(name, "--json", "--data", tmp_path / "data").stdout) == []


@pytest.mark.parametrize(
    "arguments",
    [["watches"], ["watches", "cancel", "a@b", "c@d"], ["bindings", "remove", "a@b"], ["phones"], ["phones", "--forget"]],
)
def test_a_missing_data_directory_is_not_made(tmp_path, arguments):
    line = one_line(sipfast_command(*arguments, "--data", tmp_path / "none"), 2)
    assert line.startswith(f"sipfast: {tmp_path / 'none'}: ")
    assert one_line(sipfast_command(*arguments, folder=tmp_path), 2).startswith("sipfast: sipfast-data: ")
    assert list(tmp_path.iterdir()) == []


def test_the_data_directory_of_a_configuration_is_found_and_a_flag_comes_before_it(data, tmp_path):
    path = tmp_path / "sipfast.toml"
    path.write_text(f'[store]\ndata = "{data}"\n')
    assert "bob@example.com" in sipfast_command("watches", "--config", path).stdout
    assert "bob@example.com" in sipfast_command("watches", "list", "--config", path).stdout
    path.write_text('[store]\ndata = "/nowhere"\n')
    assert "bob@example.com" in sipfast_command("watches", "--config", path, "--data", data).stdout


def test_a_store_that_is_none_is_said_and_left_alone(tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    (place / "data.mdb").write_bytes(b"not a store" * 1000)
    for arguments in (["watches"], ["watches", "cancel", "a@b", "c@d"], ["bindings", "remove", "a@b"]):
        line = one_line(sipfast_command(*arguments, "--data", place), 2)
        assert line.startswith(f"sipfast: {place}: ")
    assert (place / "data.mdb").read_bytes() == b"not a store" * 1000
