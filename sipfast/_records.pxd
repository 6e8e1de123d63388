# The stored form of an AOR with one binding, read and written as bytes, without making an object. See _records.pyx.

from libc.stdint cimport int64_t

cdef struct Piece:
    const char *text
    Py_ssize_t size

# records.Binding; the pieces point into memory of somebody else's.
cdef struct Entry:
    Piece contact
    int64_t expires
    Piece call_id
    int64_t cseq
    int64_t q
    Piece params
    Piece path
    Piece flow
    Piece instance
    int64_t updated

cdef inline Piece piece_of(const void *text, Py_ssize_t size) noexcept:
    cdef Piece piece
    piece.text = <const char *>text
    piece.size = size
    return piece

# Whether the record is that of exactly one binding of this AOR, in the version that is written here; then `entry` points
# into it. False for all else, damaged ones too: records.decode_bindings knows what is to be said of those.
cdef bint read_entry(bytes record, bytes aor, Entry *entry) noexcept
# What records.encode_bindings(aor, (binding,)) would return.
cdef bytes write_entry(bytes aor, const Entry *entry)
