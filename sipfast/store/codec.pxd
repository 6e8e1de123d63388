# The stored forms of an AOR with one binding and of a watch, read and written as bytes. See codec.pyx.

cimport cython
from libc.stdint cimport int64_t

from .._uri cimport Uri

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
    int64_t reg_id
    int64_t branch
    int64_t doubtful

# records.Watch, in the same way.
cdef struct WatchEntry:
    Piece callee
    Piece caller
    int64_t armed_at
    int64_t expires_at
    Piece call_id
    Piece contact
    Piece path
    Piece flow
    Piece instance
    Piece mode
    Piece state
    int64_t attempts
    Piece last_result
    Piece refer_call_id
    Piece refer_tag
    int64_t recalled_at
    int64_t not_before
    Piece method
    Piece agent
    Piece registration
    Piece identity
    int64_t pauses
    Piece offer
    int64_t port


# All bindings of an AOR in their stored form, or none. `single`: it is one, and `at` points into `record`.
@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class StoredBindings:
    cdef readonly bytes record      # None: there are none
    cdef readonly bint single
    cdef Entry at
    cdef tuple read                 # of records.Binding; None until somebody asks for them
    cdef tuple all(self)


# A watch in its stored form: `at` points into `record`, and both stay as they are.
@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class StoredWatch:
    cdef bytes record
    cdef WatchEntry at

cdef inline Piece piece_of(const void *text, Py_ssize_t size) noexcept:
    cdef Piece piece
    piece.text = <const char *>text
    piece.size = size
    return piece

# Whether the record is that of exactly one binding of this AOR, in the version that is written here; then `entry` points
# into it. False for all else, damaged ones too: records.decode_bindings knows what is to be said of those.
cdef bint read_entry(bytes record, bytes aor, Entry *entry) noexcept
# What records.encode_bindings(aor, (binding,)) would return; `at` is the entry again, with its pieces in that.
cdef bytes write_entry(bytes aor, const Entry *entry, Entry *at)

# When the first and the last of a record's bindings run out, read without the rest of it; False where it is not plainly in
# the version that is written here, or has none. And whose it is, of such a record.
cdef bint read_expiry(bytes record, int64_t *first, int64_t *last) noexcept
cdef bytes owner_of(bytes record)

# The bindings of a record, None or one of another AOR's: none. StoreUnreadable as records.decode_bindings raises it.
cpdef StoredBindings stored_bindings(bytes aor, bytes record)
# The one binding of an entry, whose pieces may be anybody's.
cdef StoredBindings written_bindings(bytes aor, const Entry *entry)
# Of a sequence of records.Binding, or what is such a one already.
cdef StoredBindings bindings_of(bytes aor, object bindings)

cdef bytes bytes_of(Piece piece)
# Of a bytes object that somebody keeps for as long.
cdef Piece piece_in(bytes text) noexcept
cdef bint same_piece(Piece one, bytes other) noexcept

# The watch of a record. StoreUnreadable as records.decode_watch raises it. Where that one reads more than what is written
# here (fields left out, or added by a later version), `record` is what it comes to.
cpdef StoredWatch stored_watch(bytes record)
# The watch of an entry, whose pieces may be anybody's, and whose strings are UTF-8; the record is what records.encode_watch
# would return. StoreUnreadable where that could not be read again.
cdef StoredWatch written_watch(const WatchEntry *entry)
# Of a records.Watch, or what is stored already.
cdef StoredWatch watch_of(object watch)

# What the store's index of Contacts knows a Contact URI by: 8 bytes of a hash of user, host and port. None where the URI is
# no SIP URI, or has the user of its AOR: then it is found without an index.
cdef bytes contact_key(const unsigned char *p, const Uri *uri)
cdef bytes contact_key_beside(Piece contact, bytes aor)
# Those of an AOR's bindings, and of its record.
cdef tuple keys_of(StoredBindings bindings, bytes aor)
cdef tuple keys_in(bytes record, bytes aor)
