"""How things are shown to people."""

import pytest

from sipfast.commands.console import duration
from sipfast.observe.printable import printable


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (864_000, "10 d 0 h"),
    ],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_what_is_not_printable_is_escaped():
    assert printable("Zoë\x1b\u202e\n") == "Zoë\\x1b\\u202e\\n"
