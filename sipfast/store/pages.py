"""Looks over the pages of an LMDB file before LMDB trusts them.

LMDB has no checksums. It follows what a page says: a page that is not what it should be can end the process, and so
does one past the end of a truncated file. `damage` walks all pages that can be reached and sees that each is there once,
is the one that it says it is, and has its nodes inside; so a damaged file is refused with a message instead.
It takes about three seconds for a gigabyte, and looks neither into records nor at pages that are free.

Layout of a file (LMDB 0.9, 64 bits, the byte order of the machine): pages of one size; pages 0 and 1 are the two meta
pages, written in turn, which hold the roots of the free list and of the main tree; trees are made of branch pages, leaf
pages and runs of overflow pages; a leaf node may hold the root of another tree, a named database.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from struct import Struct

PAGE_SIZE = mmap.PAGESIZE  # what LMDB takes for a new file
OVERTAKEN = "the file changed meanwhile"

_PAGE = Struct("=QHHHH")  # number, pad, flags, lower, upper
_META = Struct("=IIQQ")  # magic, version, address, map size
_TREE = Struct("=IHHQQQQQ")  # pad, flags, depth, branch pages, leaf pages, overflow pages, entries, root
_TAIL = Struct("=QQ")  # last page, transaction
_NODE = Struct("=HHHH")  # low, high, flags, key size
_NUMBER = Struct("=Q")

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _KIND = 1, 2, 4, 0x2F
_BIG, _TREE_INSIDE, _DUPLICATES = 1, 2, 4
_NOWHERE = 2**64 - 1


class _Damage(Exception):
    pass


def damage(path: Path, transaction: int) -> str:
    """What is wrong with the snapshot that a read transaction, open in this process, holds: "" for nothing.

    OVERTAKEN where its roots are no longer in the file: begin another transaction and ask again.
    """
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return ""
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            try:
                return _Walk(data, transaction).run()
            except _Damage as found:
                return str(found)


class _Walk:
    def __init__(self, data: mmap.mmap, transaction: int) -> None:
        self._data = data
        self._transaction = transaction
        self._size = PAGE_SIZE
        self._last = 1
        self._seen = bytearray()

    def run(self) -> str:
        if len(self._data) < 2 * 512:
            return "the file is cut short"
        self._size = _TREE.unpack_from(self._data, 16 + _META.size)[0]
        if not 512 <= self._size <= 65536 or self._size & (self._size - 1):
            return "page 0 is damaged"
        if len(self._data) < 2 * self._size:
            return "the file is cut short"
        start = (self._transaction & 1) * self._size + 16  # the two meta pages take turns
        magic, version, _, _ = _META.unpack_from(self._data, start)
        if magic != _MAGIC:
            return "no meta page"
        if version != _VERSION:
            return ""  # of an LMDB that this file knows nothing about; LMDB itself has accepted it
        free, main = start + _META.size, start + _META.size + _TREE.size
        self._last, transaction = _TAIL.unpack_from(self._data, main + _TREE.size)
        if transaction != self._transaction:
            return OVERTAKEN if self._transaction else ""
        self._seen = bytearray(self._last + 1)
        for tree in (free, main):
            self._tree(_TREE.unpack_from(self._data, tree))
        return ""

    def _tree(self, tree: tuple[int, ...]) -> None:
        """Walk one tree, and those inside it; compare what was found with what its root says."""
        _, _, depth, branches, leaves, overflows, entries, root = tree
        found = [0, 0, 0, 0]
        if root != _NOWHERE:
            todo = [(root, 1)]
            while todo:
                number, level = todo.pop()
                if level > depth:
                    raise _Damage(f"page {number} is deeper than its tree")
                todo += [(child, level + 1) for child in self._page(number, level == depth, found)]
        if found != [branches, leaves, overflows, entries]:
            raise _Damage(f"a tree with root {root} has pages or entries lost")

    def _page(self, number: int, leaf: bool, found: list[int]) -> list[int]:
        """Check one page of a tree; returns the pages below it."""
        self._take(number, 1)
        data, start = self._data, number * self._size
        own, _, flags, lower, upper = _PAGE.unpack_from(data, start)
        if own != number or flags & _KIND != (_LEAF if leaf else _BRANCH):
            raise _Damage(f"page {number} is not what it should be")
        if not 16 <= lower <= upper <= self._size or lower & 1:
            raise _Damage(f"page {number} has wrong bounds")
        below = []
        count = (lower - 16) >> 1
        for place in Struct(f"={count}H").unpack_from(data, start + 16):
            if not upper <= place <= self._size - 8:
                raise _Damage(f"page {number} has a node outside")
            low, high, kind, key = _NODE.unpack_from(data, start + place)
            if leaf:
                self._leaf_node(number, place, key, low | high << 16, kind, found)
            else:
                below.append(low | high << 16 | kind << 32)
            if place + 8 + key > self._size:
                raise _Damage(f"page {number} has a node outside")
        found[1 if leaf else 0] += 1
        found[3] += count if leaf else 0
        return below

    def _leaf_node(self, number: int, place: int, key: int, size: int, kind: int, found: list[int]) -> None:
        inside = _NUMBER.size if kind & _BIG else size
        if place + 8 + key + inside > self._size or (kind & _TREE_INSIDE and inside != _TREE.size):
            raise _Damage(f"page {number} has a node outside")
        value = number * self._size + place + 8 + key
        if kind & _BIG:
            first, run = _NUMBER.unpack_from(self._data, value)[0], (15 + size) // self._size + 1
            self._take(first, run)
            own, _, flags, _, _ = _PAGE.unpack_from(self._data, first * self._size)
            if own != first or flags & _KIND != _OVERFLOW:
                raise _Damage(f"page {first} is not what it should be")
            found[2] += run
        elif kind & _TREE_INSIDE and not kind & _DUPLICATES:
            self._tree(_TREE.unpack_from(self._data, value))

    def _take(self, first: int, run: int) -> None:
        if not 2 <= first <= self._last + 1 - run:
            raise _Damage(f"page {first} is outside the store")
        if (first + run) * self._size > len(self._data):
            raise _Damage(f"page {first} is missing: the file is cut short")
        if any(self._seen[first : first + run]):
            raise _Damage(f"page {first} is used twice")
        self._seen[first : first + run] = b"\1" * run
