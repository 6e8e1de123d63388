"""Looks over the pages of an LMDB file before LMDB trusts them.

LMDB has no checksums. It follows what a page says: a page that is not what it should be can end the process, and so
does one past the end of a truncated file. `damages` walks all pages that can be reached and sees that each is there once,
is the one that it says it is, has its nodes inside, side by side and without a gap, and its keys in order and between
those of its neighbours; so a damaged file is refused with a message that names what is hit.
It takes some seconds for a gigabyte, and looks neither into records nor at pages that are free: a record that can be
read, but is not what was written, is not found.

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
_FREE = "the free list"
_SHOWN = 40  # bytes of a key


class _Damage(Exception):
    """Of one page or tree: what is wrong."""


def is_lmdb(path: Path) -> bool:
    """Whether a file begins as one of LMDB's does."""
    with path.open("rb") as file:
        start = file.read(16 + _META.size)
    return len(start) == 16 + _META.size and _META.unpack_from(start, 16)[0] == _MAGIC


def damages(path: Path, transaction: int) -> list[str]:
    """All that is seen to be wrong with the snapshot that a read transaction, open in this process, holds.

    Each names the page, what is wrong with it, and which records are hit: the database and the first key of the page. Just
    OVERTAKEN where the roots are no longer in the file: begin another transaction and ask again.
    """
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return []
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            walk = _Walk(data, transaction)
            try:
                walk.run()
            except _Damage as found:
                walk.found.append(str(found))
            return walk.found


class _Walk:
    def __init__(self, data: mmap.mmap, transaction: int) -> None:
        self.found: list[str] = []
        self._data = data
        self._transaction = transaction
        self._size = PAGE_SIZE
        self._last = 1
        self._seen = bytearray()

    def run(self) -> None:
        if len(self._data) < 2 * 512:
            raise _Damage("the file is cut short")
        self._size = _TREE.unpack_from(self._data, 16 + _META.size)[0]
        if not 512 <= self._size <= 65536 or self._size & (self._size - 1):
            raise _Damage("page 0 is damaged")
        if len(self._data) < 2 * self._size:
            raise _Damage("the file is cut short")
        start = (self._transaction & 1) * self._size + 16  # the two meta pages take turns
        magic, version, _, _ = _META.unpack_from(self._data, start)
        if magic != _MAGIC:
            raise _Damage("no meta page")
        if version != _VERSION:
            return  # of an LMDB that this file knows nothing about; LMDB itself has accepted it
        free, main = start + _META.size, start + _META.size + _TREE.size
        self._last, transaction = _TAIL.unpack_from(self._data, main + _TREE.size)
        if transaction != self._transaction:
            if self._transaction:
                raise _Damage(OVERTAKEN)
            return
        if self._last >= len(self._data):  # more pages than bytes
            raise _Damage(f"page {start // self._size} is damaged")
        self._seen = bytearray(self._last + 1)
        self._tree(_TREE.unpack_from(self._data, free), _FREE)
        self._tree(_TREE.unpack_from(self._data, main), "the list of databases")

    def _tree(self, tree: tuple[int, ...], name: str) -> None:
        """Walk one tree, and those inside it; compare what was found with what its root says."""
        _, _, depth, branches, leaves, overflows, entries, root = tree
        counts = [0, 0, 0, 0]
        sound = True
        todo: list[tuple[int, int, bytes, bytes | None]] = [(root, 1, b"", None)] if root != _NOWHERE else []
        while todo:
            number, level, low, high = todo.pop()
            try:
                if level > depth:
                    raise _Damage(f"page {number} is deeper than its tree")
                below = self._page(number, level == depth, counts, name, low, high)
                todo += [(child, level + 1, first, end) for child, first, end in below]
            except _Damage as found:
                sound = False
                self.found.append(f"{found}: {self._place(name, low)}")
        if sound and counts != [branches, leaves, overflows, entries]:
            self.found.append(f"a tree with root {root} has pages or entries lost: {name}")

    @staticmethod
    def _place(name: str, low: bytes) -> str:
        if name == _FREE or not low:
            return name
        return f"{name} from {low[:_SHOWN].decode('ascii', 'backslashreplace')}"

    def _page(
        self, number: int, leaf: bool, counts: list[int], name: str, low: bytes, high: bytes | None
    ) -> list[tuple[int, bytes, bytes | None]]:
        """Check one page of a tree; returns the pages below it, each with the keys that bound it."""
        self._take(number, 1)
        data, start = self._data, number * self._size
        own, _, flags, lower, upper = _PAGE.unpack_from(data, start)
        if own != number or flags & _KIND != (_LEAF if leaf else _BRANCH):
            raise _Damage(f"page {number} is not what it should be")
        if not 16 <= lower <= upper <= self._size or lower & 1:
            raise _Damage(f"page {number} has wrong bounds")
        keys, children, used = [], [], 0
        for place in Struct(f"={(lower - 16) >> 1}H").unpack_from(data, start + 16):
            if not upper <= place <= self._size - 8:
                raise _Damage(f"page {number} has a node outside")
            low_size, high_size, kind, key = _NODE.unpack_from(data, start + place)
            inside = 0
            if leaf:
                inside = _NUMBER.size if kind & _BIG else low_size | high_size << 16
            else:
                children.append(low_size | high_size << 16 | kind << 32)
            if place + 8 + key + inside > self._size:
                raise _Damage(f"page {number} has a node outside")
            used += 8 + key + inside + 1 & ~1
            keys.append(data[start + place + 8 : start + place + 8 + key])
            if leaf:
                self._leaf_node(number, place, keys[-1], low_size | high_size << 16, kind, counts, name)
        if used != self._size - upper:
            raise _Damage(f"page {number} has nodes that overlap, or a gap")
        self._in_order(number, leaf, keys, name, low, high)
        counts[1 if leaf else 0] += 1
        counts[3] += len(keys) if leaf else 0
        return [
            (child, low if i == 0 else keys[i], keys[i + 1] if i + 1 < len(keys) else high)
            for i, child in enumerate(children)
        ]

    def _in_order(self, number: int, leaf: bool, keys: list[bytes], name: str, low: bytes, high: bytes | None) -> None:
        if name == _FREE:  # its keys are numbers
            return
        sorted_ones = keys if leaf else keys[1:]  # the first key of a branch is everything up to the second
        before = low if leaf else b""
        for i, key in enumerate(sorted_ones):
            if key < before or (i and key == before) or (high is not None and key >= high):
                raise _Damage(f"page {number} has keys that are not in order")
            before = key

    def _leaf_node(self, number: int, place: int, key: bytes, size: int, kind: int, counts: list[int], name: str) -> None:
        value = number * self._size + place + 8 + len(key)
        if kind & _TREE_INSIDE and not kind & _DUPLICATES:
            if size != _TREE.size:
                raise _Damage(f"page {number} has a node outside")
            self._tree(_TREE.unpack_from(self._data, value), key.decode("ascii", "backslashreplace"))
        elif kind & _BIG:
            first, run = _NUMBER.unpack_from(self._data, value)[0], (15 + size) // self._size + 1
            try:
                self._take(first, run)
                own, _, flags, _, _ = _PAGE.unpack_from(self._data, first * self._size)
                if own != first or flags & _KIND != _OVERFLOW:
                    raise _Damage(f"page {first} is not what it should be")
            except _Damage as found:  # of this record, not of the page
                self.found.append(f"{found}: {name} at {key[:_SHOWN].decode('ascii', 'backslashreplace')}")
            counts[2] += run

    def _take(self, first: int, run: int) -> None:
        if not 2 <= first <= self._last + 1 - run:
            raise _Damage(f"page {first} is outside the store")
        if (first + run) * self._size > len(self._data):
            raise _Damage(f"page {first} is missing: the file is cut short")
        if any(self._seen[first : first + run]):
            raise _Damage(f"page {first} is used twice")
        self._seen[first : first + run] = b"\1" * run
