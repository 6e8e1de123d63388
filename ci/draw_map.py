"""Draws the rooms of the code with their modules, and the arrows between them, as they are imported: `make map`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path

from .arrows import arrows, between_rooms, room_of

Box = tuple[float, float, float, float]
"""left, top, width, height, in px"""

MAP = Path(__file__).parent.parent / "docs" / "map.svg"
WIDTH = 1000
LINE, LETTER, PAD, GAP = 17, 7.2, 12, 56  # px: of a text line, of a letter, around a box's text, between rows
STYLE = """
  text { font: 12px ui-monospace, monospace; fill: #1f2933 }
  .room { fill: #f5f7fa; stroke: #52606d }
  .name { font-weight: bold }
  .arrow { stroke: #829ab1; fill: none; stroke-width: 1.3; marker-end: url(#head) }
"""


def rows(rooms: set[str], edges: Mapping[tuple[str, str], list[str]]) -> list[list[str]]:
    """Rooms in rows: each above all that it imports."""
    level: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in level:
            level[room] = 1 + max((height(to) for source, to in edges if source == room), default=-1)
        return level[room]

    for room in rooms:
        height(room)
    return [sorted(room for room in rooms if level[room] == row) for row in range(max(level.values()), -1, -1)]


def columns(modules: list[str]) -> list[list[str]]:
    """The modules of a room in columns of at most seven."""
    count = -(-len(modules) // 7)
    size = -(-len(modules) // count)
    return [modules[i : i + size] for i in range(0, len(modules), size)]


def draw(found: Mapping[str, set[str]]) -> str:
    """The picture, as SVG."""
    inside: dict[str, list[str]] = {}
    for module in sorted(found):
        if module and not any(other.startswith(module + ".") for other in found):  # a package is its room
            inside.setdefault(room_of(module), []).append(module)
    edges = between_rooms(found)
    boxes: dict[str, Box] = {}
    parts: list[str] = []
    top = float(PAD)
    for row in rows(set(inside), edges):
        shapes = {}
        for room in row:
            shown = columns([module.removeprefix(room + ".") for module in inside[room]])
            wide = [max(map(len, column)) * LETTER + PAD for column in shown]
            shapes[room] = shown, wide, max(sum(wide) + PAD, len(room) * LETTER + 2 * PAD)
        left = (WIDTH - sum(width for _, _, width in shapes.values())) / (len(row) + 1)
        x, tallest = left, 0.0
        for room in row:
            shown, wide, width = shapes[room]
            height = LINE * (len(shown[0]) + 1) + 2 * PAD
            boxes[room] = x, top, width, height
            parts.append(f'<rect class="room" x="{x:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6"/>')
            parts.append(f'<text class="name" x="{x + PAD:.0f}" y="{top + LINE + 4:.0f}">{escape(room)}</text>')
            at = x + PAD
            for column, space in zip(shown, wide, strict=True):
                for number, module in enumerate(column, 2):
                    parts.append(f'<text x="{at:.0f}" y="{top + LINE * number + 4:.0f}">{escape(module)}</text>')
                at += space
            x += width + left
            tallest = max(tallest, height)
        top += tallest + GAP
    lines = [arrow(boxes, edges, source, target) for source, target in sorted(edges)]
    whole = top - GAP + PAD
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {whole:.0f}">\n<style>{STYLE}</style>\n'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#829ab1"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{whole:.0f}" fill="white"/>\n' + "\n".join(lines + parts) + "\n</svg>\n"
    )


def arrow(boxes: Mapping[str, Box], edges: Mapping[tuple[str, str], list[str]], source: str, target: str) -> str:
    """From the foot of one room to the head of another; the modules at both ends show where the pointer rests on it."""
    out = sorted((to for start, to in edges if start == source), key=lambda room: boxes[room][0])
    into = sorted((start for start, to in edges if to == target), key=lambda room: boxes[room][0])
    x, y, width, height = boxes[source]
    start = x + width * (out.index(target) + 1) / (len(out) + 1), y + height
    x, y, width, _ = boxes[target]
    end = x + width * (into.index(source) + 1) / (len(into) + 1), y - 2
    bend = (end[1] - start[1]) / 2
    told = escape("\n".join(edges[source, target]))
    return (
        f'<path class="arrow" d="M{start[0]:.0f} {start[1]:.0f} C{start[0]:.0f} {start[1] + bend:.0f} '
        f'{end[0]:.0f} {end[1] - bend:.0f} {end[0]:.0f} {end[1]:.0f}"><title>{told}</title></path>'
    )


def main() -> int:
    """Write docs/map.svg."""
    MAP.write_text(draw(arrows()))
    print(f"drawn: {MAP}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
