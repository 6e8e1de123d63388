"""Text from the wire, made fit for people: nothing in it breaks a line, drives a terminal or turns its writing around."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text with what is not printable as escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def text_of(wire: bytes) -> str:
    """Wire bytes as printable text; bytes that are no UTF-8 become escapes, too."""
    return printable(wire.decode("utf-8", "backslashreplace"))
