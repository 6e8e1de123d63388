# What redial reads of an INVITE, and says in its 480. See invite.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport Message
from ..store.codec cimport StoredWatch

# The INVITE's Expires in seconds, at most 2**31; -1 where it is absent or malformed.
cpdef int64_t expires_of(Message request) except? -2
# Contact URI of an INVITE and its +sip.instance; where it has none, the address that the INVITE came from.
cdef tuple contact_of(Message request, Flow flow)
# Its User-Agent (RFC 3261 §20.41), cut; b"" where it tells none.
cdef bytes agent_of(Message request)
# Reason phrase and header lines of a 480 whose caller will be recalled (RFC 6910 §7.1 for Call-Info).
cdef tuple offer(StoredWatch watch, int64_t now)
# A Warning line for people to read (RFC 3261 §20.43, code 399).
cdef bytes warning(bytes callee, bytes text)
