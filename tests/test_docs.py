"""The documentation tells the truth about names, defaults and links."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from sipfast.config import Config, Credentials, Peer, Phone, RedialDomain, RedialUser, Upstream
from sipfast.config.schema import settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def documented() -> dict[str, str]:
    """Dotted key to default, as the page's tables have them."""
    found, section = {}, ""
    for line in CONFIGURATION.splitlines():
        if line.startswith("##"):
            section = re.sub(r"[^a-z.]", "", line.partition("[")[2])
        if row := re.match(r"\| `(\w+)` \| (?:`(.*?)`)? ?\|", line):
            found[f"{section}.{row[1]}".lstrip(".")] = row[2] or ""
    return found


def test_every_key_is_documented_with_its_default():
    page = documented()
    tables = {
        "upstream": Upstream,
        "peer": Peer,
        "redial.phone": Phone,
        "redial.user": RedialUser,
        "redial.domain": RedialDomain,
        "redial.credentials": Credentials,
    }
    real = {key: value for key, value in settings(Config()) if key not in tables}
    for table, kind in tables.items():
        for field in msgspec.structs.fields(kind):
            real[f"{table}.{field.name}"] = field.default
    assert set(page) == set(real)
    for key, value in real.items():
        expected = "" if value is msgspec.NODEFAULT or value is None else json.dumps(value)
        assert page[key] == expected, key


EXAMPLES = re.findall(r"```toml\n(.*?)```", CONFIGURATION, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["one", "upstreams", "phones", "credentials", "peers"])
def test_examples_of_the_configuration_are_right(example: str):
    msgspec.convert(tomllib.loads(example), Config)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_targets_named_in_the_documentation_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"^make ([a-z-]+)", page.read_text(), re.MULTILINE):
            assert target in targets, f"{page.name}: make {target}"
