"""REGISTER by users who have passwords (RFC 7616): MD5 and qop=auth, which all servers have."""

import hashlib

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from . import core, requests  # must be loaded first  # no-cython-lint
from sipfast.identity.credentials cimport ALGORITHM_MD5
from sipfast.identity.digests cimport openssl_digest
from .core cimport Call
from .requests cimport Register
from .wire cimport REGISTER, Out, Scan, put, put_hex, put_number, put_part, text

from sipfast.identity import digests

cdef extern from *:
    """
    #define _GNU_SOURCE
    #include <string.h>
    """
    void *memmem(const void *, size_t, const void *, size_t) nogil

cdef enum:
    HEX = 32            # digits of an MD5
    MOST_NONCE = 80

cdef struct Login:
    char secret[HEX]    # H(A1)
    char nonce[MOST_NONCE]
    int nonce_size      # 0: not challenged yet
    uint32_t count


cdef class RegisterDigest(Register):
    """Every user in turn: the first round is challenged and binds, further ones refresh with the nonce that they have."""

    cdef Login *logins

    def __init__(self, *args, domain="example.test", password="secret", **more):
        cdef bytes secret
        cdef int i
        if not digests.quick:
            raise RuntimeError("register-digest needs OpenSSL's own functions: the load generator has no time for others")
        super().__init__(*args, **more)
        self.logins = <Login *>calloc(self.size, sizeof(Login))
        if self.logins == NULL:
            raise MemoryError
        for i in range(self.size):
            secret = hashlib.md5(f"u{i}:{domain}:{password}".encode()).hexdigest().encode()
            memcpy(self.logins[i].secret, <const char *>secret, HEX)

    def __dealloc__(self):
        free(self.logins)

    cdef void begin(self, Call *call) noexcept nogil:
        self.logins[call.number].count += 1
        Register.begin(self, call)

    cdef void put_more(self, Out *out, Call *call) noexcept nogil:
        cdef Login *login = &self.logins[call.number]
        cdef char response[HEX]
        if login.nonce_size == 0:
            return
        self.sign(login, response)
        text(out, b"Authorization: Digest username=\"u")
        put_number(out, call.number)
        text(out, b"\", realm=\"")
        put_part(out, self.domain)
        text(out, b"\", nonce=\"")
        put(out, login.nonce, login.nonce_size)
        text(out, b"\", uri=\"sip:")
        put_part(out, self.domain)
        text(out, b"\", response=\"")
        put(out, response, HEX)
        text(out, b"\", algorithm=MD5, cnonce=\"0a4f113b\", qop=auth, nc=")
        put_hex(out, login.count)
        text(out, b"\r\n")

    cdef void sign(self, Login *login, char *response) noexcept nogil:
        """RFC 7616 §3.4.1"""
        cdef char space[300]
        cdef char second[HEX]
        cdef Out out
        out.p, out.n = space, 0
        text(&out, b"REGISTER:sip:")
        put_part(&out, self.domain)
        openssl_digest(ALGORITHM_MD5, space, out.n, second)
        out.n = 0
        put(&out, login.secret, HEX)
        text(&out, b":")
        put(&out, login.nonce, login.nonce_size)
        text(&out, b":")
        put_hex(&out, login.count)
        text(&out, b":0a4f113b:auth:")
        put(&out, second, HEX)
        openssl_digest(ALGORITHM_MD5, space, out.n, response)

    cdef void received(self, int end, Scan *s) noexcept nogil:
        cdef Call *call
        if s.status != 401:
            Register.received(self, end, s)
            return
        call = self.find(s.call_id, s)
        if call == NULL or s.cseq < call.cseq:
            return
        if s.method != REGISTER or not self.take_nonce(&self.logins[call.number], s):
            self.fail(call, b"a 401 without a nonce", s)
            return
        call.cseq += 1                        # RFC 3261 §22.2
        self.again(call)
        self.expect(call)

    cdef bint take_nonce(self, Login *login, Scan *s) noexcept nogil:
        cdef const char *found = <const char *>memmem(s.data, s.size, b'nonce="', 7)
        cdef int n = 0
        if found == NULL:
            return False
        found += 7
        while found + n < s.data + s.size and found[n] != b'"' and n < MOST_NONCE:
            login.nonce[n] = found[n]
            n += 1
        login.nonce_size = n
        login.count = 1
        return 0 < n < MOST_NONCE
