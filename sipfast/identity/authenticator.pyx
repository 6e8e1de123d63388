"""Digest authentication, the server's side (RFC 3261 §22, RFC 7616, RFC 8760): MD5 and SHA-256, qop "auth" and "auth-int".

Credentials are looked at in this order. Whether the nonce is one of this worker's for the address that they come from:
whoever sends another one, right or wrong, gets a new one and `stale=true` (RFC 7616 §3.3), so that no phone asks for its
password anew, a guess with a nonce of one's own tells nothing, and nobody fails in another's name. Whether the source may
try at all. Whether the response is that of the user's password. And only then whether the nonce is still good with that
count. Somebody who does not exist has a password that nobody knows: the same is done for him, and the answer is the same.

Without qop it is what RFC 2069 had, which RFC 3261 §22.4 still wants to be understood: then a nonce is good for one request.
-sess is not offered, and not understood.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr, memcmp

from .._flow cimport Flow
from .._grammar cimport Span
from .._hash cimport fold_bytes, hex16
from .._parser cimport H_USER_AGENT, Message, SCHEME_OTHER, Uri, parse_message, uris_equal
from .._writer cimport put
from ..transaction.branch cimport read_hex
from .credentials cimport (
    ALGORITHM_MD5, ALGORITHM_NONE, ALGORITHM_SHA256, QOP_AUTH_INT, QOP_NONE, QOP_OTHER, Credentials, read_credentials, unescaped,
)
from .digests cimport MOST_HEX, digest, hex_size, same_hex
from .failures cimport Failures
from .nonces cimport WORTH_NOTHING, Nonces
from .users cimport User, Users

cdef enum:
    MOST_PART = 256         # bytes of a nonce and of a cnonce
    COUNT_SIZE = 8
    MOST_HASHED = 1024      # bytes: of A2, and of what the response is a hash of; what has more is put together elsewhere

cdef bytes SHA256_LAST = b'",qop="auth,auth-int",algorithm=SHA-256'
cdef bytes MD5_LAST = b'",qop="auth,auth-int",algorithm=MD5'


cdef inline char *put_span(char *to, const unsigned char *p, Span span) noexcept:
    return put(to, p + span.start, span.end - span.start)


cdef inline Py_ssize_t size_of(Span span) noexcept:
    return span.end - span.start


cdef bytes realm_of(const unsigned char *p, Span value):
    cdef Credentials found
    return unescaped(p, found.realm) if read_credentials(p, value, &found) == 1 else None


cdef bint is_realm(const unsigned char *p, Span span, bytes realm) except -1:
    if size_of(span) == PyBytes_GET_SIZE(realm):
        return memcmp(p + span.start, PyBytes_AS_STRING(realm), size_of(span)) == 0
    return memchr(p + span.start, c'\\', size_of(span)) != NULL and unescaped(p, span) == realm


# Whether credentials have all that a digest is made of (RFC 7616 §3.4), in sizes that somebody may have.
cdef bint is_whole(const unsigned char *p, const Credentials *found) noexcept:
    if found.algorithm == ALGORITHM_NONE or found.qop == QOP_OTHER or size_of(found.uri) == 0 or size_of(found.username) == 0:
        return False
    if size_of(found.nonce) > MOST_PART or size_of(found.response) != hex_size(found.algorithm):
        return False
    if found.qop != QOP_NONE and (size_of(found.count) != COUNT_SIZE or not 0 < size_of(found.cnonce) <= MOST_PART):
        return False
    # What is hashed is what was between the quotes, without escapes. None of these needs any, and nobody sends them.
    return (memchr(p + found.nonce.start, c'\\', size_of(found.nonce)) == NULL
            and memchr(p + found.cnonce.start, c'\\', size_of(found.cnonce)) == NULL
            and memchr(p + found.uri.start, c'\\', size_of(found.uri)) == NULL)


@cython.final
cdef class Authenticator:

    cdef bint find(self, Message request, int field, bytes realm, Credentials *found) except -1:
        cdef int i = request.first[field]
        # RFC 3261 §22.3: a value is for the realm that it names. Values have commas, and so a line of their own (§20.7).
        while i != -1:
            if read_credentials(request.p, request.fields[i].value, found) == 1 and is_realm(request.p, found.realm, realm) and (
                    is_whole(request.p, found)):
                return True
            i = request.fields[i].next
        return False

    cdef int login(self, Message request, int field, bytes realm, Flow flow, int64_t now) except -1:
        cdef Credentials found
        cdef User user
        cdef bytes secret
        cdef bint good = True
        cdef uint32_t count = 0
        if not self.find(request, field, realm, &found) or not is_about(request, found.uri):
            return LOGIN_NONE
        if found.algorithm == ALGORITHM_NONE or not self.users.algorithms(realm) >> found.algorithm & 1:
            return LOGIN_NONE                 # it was not offered
        if found.qop != QOP_NONE:
            count = <uint32_t>read_hex(request.p + found.count.start, COUNT_SIZE, &good)
            if not good:
                return LOGIN_NONE
        if not self.nonces.is_ours(request.p, found.nonce, realm, flow, now):
            return LOGIN_STALE
        self.name = unescaped(request.p, found.username)
        self.pause = self.failures.wait(flow, self.name, now)
        if self.pause > 0:
            return LOGIN_TOO_OFTEN
        user = self.users.find(realm, self.name)
        if user is None:
            user = self.nobody
        secret = user.sha256 if found.algorithm == ALGORITHM_SHA256 else user.md5
        if not self.is_right(request, &found, secret) or user is self.nobody:
            self.failures.add(flow, self.name, now)
            return LOGIN_WRONG
        if self.nonces.use(count, fold_bytes(self.nonces.secret.high, request.p, request.size), now) == WORTH_NOTHING:
            return LOGIN_STALE
        self.user = user
        return LOGIN_GOOD

    cdef bint is_right(self, Message request, const Credentials *found, bytes secret) except -1:
        cdef char ours[MOST_HEX]
        compute(request, found, secret, ours)
        return same_hex(ours, request.p + found.response.start, hex_size(found.algorithm))

    cdef bytes challenge(self, Message request, bytes field, bytes realm, Flow flow, bint stale, int64_t now):
        # RFC 8760 §2.3: the best first. Only what all users have: a phone takes the best that it knows, not one that fits.
        cdef int algorithms = self.users.algorithms(realm)
        cdef bytes first = field + b': Digest realm="' + realm + b'",nonce="' + self.nonces.make(realm, flow, now)
        cdef bytes last = b",stale=true\r\n" if stale else b"\r\n"
        cdef bytes lines = b""
        if algorithms & 1 << ALGORITHM_SHA256 and not (algorithms & 1 << ALGORITHM_MD5 and self.knows_md5_only(request)):
            lines = first + SHA256_LAST + last
        if algorithms & 1 << ALGORITHM_MD5:
            lines = lines + first + MD5_LAST + last
        return lines

    cdef bint knows_md5_only(self, Message request) except -1:
        # RFC 8760 §2.4 has a phone pass over what it does not know; some give up instead. MD5 is offered to all the others,
        # too, so that who lies about his phone gains nothing.
        return request.has(H_USER_AGENT) and request.text(request.value_of(H_USER_AGENT)).startswith(self.md5_only)


# RFC 8760 §2.6 item 6: the digest is of a Request-URI that was sent, and of this one but for what a proxy on the way may
# have made of it; the same user anyway.
cdef bint is_about(Message request, Span span) except -1:
    cdef Uri uri
    if size_of(span) == size_of(request.request_uri) and memcmp(
            request.p + span.start, request.p + request.request_uri.start, size_of(span)) == 0:
        return True
    if request.parse_uri(span, &uri) != 1 or uri.scheme == SCHEME_OTHER:
        return False
    return uris_equal(request.p, &uri, request.p, &request.uri) or (
        size_of(uri.user) == size_of(request.uri.user)
        and memcmp(request.p + uri.user.start, request.p + request.uri.user.start, size_of(uri.user)) == 0)


# RFC 7616 §3.4.1 to §3.4.3. `secret`: H(A1), of the length that the algorithm has.
cdef int compute(Message request, const Credentials *found, bytes secret, char *out) except -1:
    cdef char hashed[MOST_HASHED]
    cdef char second[MOST_HEX]
    cdef char *to = hashed
    cdef const unsigned char *p = request.p
    cdef int algorithm = found.algorithm, hex = hex_size(algorithm)
    cdef bytes long_one
    if size_of(request.method_name) + size_of(found.uri) + MOST_HEX + 2 > MOST_HASHED:
        long_one = request.text(request.method_name) + b":" + request.text(found.uri)
        if found.qop == QOP_AUTH_INT:
            digest(algorithm, <const char *>p + request.body.start, size_of(request.body), second)
            long_one = long_one + b":" + second[:hex]
        digest(algorithm, PyBytes_AS_STRING(long_one), PyBytes_GET_SIZE(long_one), second)
    else:
        to = put_span(to, p, request.method_name)
        to = put(to, b":", 1)
        to = put_span(to, p, found.uri)
        if found.qop == QOP_AUTH_INT:         # of an empty body, too: RFC 8760 §2.6 item 7
            to = put(to, b":", 1)
            digest(algorithm, <const char *>p + request.body.start, size_of(request.body), to)
            to += hex
        digest(algorithm, hashed, to - hashed, second)
    to = put(hashed, PyBytes_AS_STRING(secret), PyBytes_GET_SIZE(secret))
    to = put(to, b":", 1)
    to = put_span(to, p, found.nonce)
    if found.qop != QOP_NONE:
        to = put(to, b":", 1)
        to = put_span(to, p, found.count)
        to = put(to, b":", 1)
        to = put_span(to, p, found.cnonce)
        to = put(to, b":auth-int" if found.qop == QOP_AUTH_INT else b":auth", 9 if found.qop == QOP_AUTH_INT else 5)
    to = put(to, b":", 1)
    to = put(to, second, hex)
    return digest(algorithm, hashed, to - hashed, out)


cdef Authenticator make_authenticator(Users users, Nonces nonces, Failures failures, tuple md5_only,
                                      bytes randomness):
    cdef Authenticator made = Authenticator.__new__(Authenticator)
    cdef bytes hex = b"".join([hex16(int.from_bytes(randomness[i:i + 8], "little")) for i in (0, 8, 0, 8)])
    made.users = users
    made.nonces = nonces
    made.failures = failures
    made.md5_only = md5_only
    made.nobody = User(b"", b"", hex[:32], hex, ())
    return made


def response_of(str algorithm not None, bytes secret not None, bytes method not None, bytes body not None, bytes value not None):
    cdef Credentials found
    cdef char out[MOST_HEX]
    cdef Message request
    cdef bytes text = method + b" sip:a SIP/2.0\r\nAuthorization: " + value + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    cdef int field
    request = parse_message(text)
    for field in range(request.count):
        if read_credentials(request.p, request.fields[field].value, &found) == 1 and is_whole(request.p, &found):
            compute(request, &found, secret, out)
            return out[:hex_size(found.algorithm)]
    return b""
