# Digest authentication, the server's side. See authenticator.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._grammar cimport Span
from .._parser cimport Message
from .credentials cimport Credentials
from .failures cimport Failures
from .nonces cimport Nonces
from .users cimport User, Users

# What came of looking at a request's credentials.
cdef enum Login:
    LOGIN_NONE = 0          # it has none for this realm that can be checked
    LOGIN_GOOD = 1          # `user` has sent it
    LOGIN_STALE = 2         # the nonce is none that is good here now
    LOGIN_WRONG = 3         # no such user, or another password
    LOGIN_TOO_OFTEN = 4     # its source has failed too often, and it was not looked at

cdef class Authenticator:
    cdef Users users
    cdef Nonces nonces
    cdef Failures failures
    cdef tuple md5_only                  # how the User-Agents begin of phones that give up where SHA-256 is offered
    cdef User nobody                     # has no password that anybody knows
    cdef readonly User user              # of the last LOGIN_GOOD
    cdef readonly bytes name             # of the last LOGIN_WRONG and LOGIN_TOO_OFTEN, as it was sent
    cdef int64_t pause                   # of the last LOGIN_TOO_OFTEN: ms until it may try again
    # `field`: H_AUTHORIZATION or H_PROXY_AUTHORIZATION. A Login.
    cdef int login(self, Message request, int field, bytes realm, Flow flow, int64_t now) except -1
    # Header lines of a challenge to a request. `field`: b"WWW-Authenticate" or b"Proxy-Authenticate".
    cdef bytes challenge(self, Message request, bytes field, bytes realm, Flow flow, bint stale, int64_t now)
    cdef bint knows_md5_only(self, Message request) except -1
    cdef bint find(self, Message request, int field, bytes realm, Credentials *found) except -1
    # Whether the response is that of a password.
    cdef bint is_right(self, Message request, const Credentials *found, bytes secret) except -1

cdef Authenticator make_authenticator(Users users, Nonces nonces, Failures failures, tuple md5_only, bytes randomness)

# The realm that credentials are for, whatever they are worth; None where they cannot be read.
cdef bytes realm_of(const unsigned char *p, Span value)
