# A token in the place of a phone's Contact, for registrars behind us that know no Path. See mid_registrar.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport Message, Uri
from .token cimport Token
from .location cimport Location
from .outbound cimport Outbound

cdef class MidRegistrar:
    cdef Location location
    cdef Outbound outbound
    # The REGISTER as the registrar behind us is to see it: each Contact is our URI with a token, and there is no Path. The
    # request itself, where it names no Contact.
    cdef Message hidden(self, Message request, Flow flow, bytes aor, int64_t now)
    # Its 200 as the phone is to see it: with the Contacts of phones again.
    cdef Message restored(self, Message request, Message response, Flow flow, bytes aor, int64_t now)
    # What the token in a Request-URI stands for: targets of the phones behind it. [] where `status` says why there are none.
    cdef list targets(self, const Token *token, Message request, int64_t now)
    cdef int status
    # Let requests with tokens of an AOR find it.
    cdef int remember(self, bytes aor) except -1
    cdef Flow way_of(self, Message request, Flow flow, const Uri *contact, bint by_path)
    cdef list former_uris(self, Message request, bytes aor, int64_t now)
    cdef list contacts_to_bind(self, Message request, Flow flow)
    cdef list contacts_behind(self, const Token *token, list asked, bytes aor, int64_t now)
