"""Flow tokens (RFC 5626 §5): where a request is to go, written into the user part of our own URI.

A phone behind a NAT has a Contact that leads nowhere. So our Path and Record-Route values carry the flow by which the
phone was seen, and what comes back with such a value goes there, whatever host the Request-URI names. The server keeps
nothing for it: a token outlives a restart, and any worker can read it. It stands in the user part since proxies and
registrars drop parameters that they do not know, and it is checked by a keyed hash, so nobody can make the server send
where he likes.

A token is base64url (RFC 4648 §5) of these bytes behind the version prefix, most significant bits first::

    header      kind 2 bits, family 1, own address 1, which ends leave from it 2, listener 2 (3: in the next byte)
    ends        one or two: address 4 or 16 bytes, port 2; for a link-local peer its interface 4
    own         4 or 16 bytes, where the header says so: the local address that the flow came to
    digest      4 bytes of a keyed hash: of the Call-ID and the tag of who made the dialog, or of the AOR
    check       5 to 8 bytes of a keyed hash over all of the above, as many as there is room for

With IPv4 it has at most 40 characters, with IPv6 64. What would be longer (two flows of a machine with many IPv6
addresses) is not written: then each side gets a value of its own. The digest is keyed as well, and what shows a token
for a call has to show that call, too: a forger needs both, 72 bits and more.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from ..transaction.branch cimport read_hex, write_hex
from .._flow cimport TRANSPORT_UDP, Flow, make_flow
from .._hash cimport Hash, end_hash64, mix_bytes, mix_number, mix_token, start_hash
from .._grammar cimport HEX
from .._uri cimport Uri, parse_uri_at, read_ip

cdef enum:
    PREFIX_SIZE = 2
    ROOM4 = 28              # bytes that 38 characters hold
    ROOM6 = 46              # 62
    LEAST_CHECK = 5
    MOST_CHECK = 8
    DIGEST = 4
    LISTENER_BEHIND = 3     # the listener's number is in a byte of its own
    PURPOSE_CHECK = 0x746f6b63
    PURPOSE_CALL = 0x746f6b64
    PURPOSE_AOR = 0x746f6b61
    PURPOSE_KEY = 0x746f6b65
    KEY_STEP = 16           # bits of a time in ms that are left out: a minute
    KEY_LASTS = 220         # minutes: what somebody once has seen is of no use later

# The local address that an end's messages leave from: what the kernel takes, the listener's public one, one of its own.
cdef enum Own:
    OWN_ANY = 0
    OWN_PUBLIC = 1
    OWN_WRITTEN = 2

cdef const char *PREFIX = b"f1"
cdef const char *ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

cdef unsigned char[256] VALUES
memset(VALUES, 255, 256)
for _i in range(64):
    VALUES[<unsigned char>ALPHABET[_i]] = _i


cdef inline bint is_link_local(const unsigned char *ip, int family) noexcept:
    return family == 6 and ip[0] == 0xFE and (ip[1] & 0xC0) == 0x80


cdef bint looks_like_token(const unsigned char *p, Span user) noexcept:
    return user.end - user.start > PREFIX_SIZE + 20 and memcmp(p + user.start, PREFIX, PREFIX_SIZE) == 0


# The user part without its escapes, or -1: one that is malformed, or more than a token has. RFC 3261 §19.1.4: an escaped
# character is the character itself, and phones do escape some (Twinkle writes %5a for each Z of a Route).
cdef int unescape(unsigned char *to, const unsigned char *p, Span user) noexcept:
    cdef int32_t i = user.start
    cdef int n = 0
    while i < user.end:
        if n == MOST_TOKEN:
            return -1
        if p[i] == c'%':
            if i + 2 >= user.end or HEX[p[i + 1]] < 0 or HEX[p[i + 2]] < 0:
                return -1
            to[n] = <unsigned char>(HEX[p[i + 1]] << 4 | HEX[p[i + 2]])
            i += 2
        else:
            to[n] = p[i]
        n += 1
        i += 1
    return n


# ---- base64url, without padding

cdef int encode(char *to, const unsigned char *data, int size) noexcept:
    cdef const char *letters = ALPHABET
    cdef unsigned int bits
    cdef int i = 0, n = 0
    while i + 3 <= size:                # 24 bits are four characters
        bits = <unsigned int>data[i] << 16 | <unsigned int>data[i + 1] << 8 | data[i + 2]
        to[n] = letters[bits >> 18]
        to[n + 1] = letters[bits >> 12 & 63]
        to[n + 2] = letters[bits >> 6 & 63]
        to[n + 3] = letters[bits & 63]
        i += 3
        n += 4
    if i == size:
        return n
    bits = <unsigned int>data[i] << 16
    if i + 1 < size:
        bits |= <unsigned int>data[i + 1] << 8
    to[n] = letters[bits >> 18]
    to[n + 1] = letters[bits >> 12 & 63]
    if i + 1 == size:
        return n + 2
    to[n + 2] = letters[bits >> 6 & 63]
    return n + 3


# The bytes written, or -1: another character, or bits that encode() would not have set, so each token has one spelling.
cdef int decode(unsigned char *to, const unsigned char *text, int size) noexcept:
    cdef unsigned int bits
    cdef unsigned char seen = 0
    cdef int i = 0, n = 0, rest = size & 3
    if rest == 1:
        return -1
    while i + 4 <= size:
        seen |= VALUES[text[i]] | VALUES[text[i + 1]] | VALUES[text[i + 2]] | VALUES[text[i + 3]]
        bits = (<unsigned int>VALUES[text[i]] << 18 | <unsigned int>VALUES[text[i + 1]] << 12
                | <unsigned int>VALUES[text[i + 2]] << 6 | VALUES[text[i + 3]])
        to[n] = bits >> 16 & 255
        to[n + 1] = bits >> 8 & 255
        to[n + 2] = bits & 255
        i += 4
        n += 3
    if rest:
        seen |= VALUES[text[i]] | VALUES[text[i + 1]]
        bits = <unsigned int>VALUES[text[i]] << 18 | <unsigned int>VALUES[text[i + 1]] << 12
        if rest == 3:
            seen |= VALUES[text[i + 2]]
            bits |= <unsigned int>VALUES[text[i + 2]] << 6
        to[n] = bits >> 16 & 255
        n += 1
        if rest == 3:
            to[n] = bits >> 8 & 255
            n += 1
        if bits & (0xFFFF if rest == 2 else 0xFF):
            return -1
    return -1 if seen > 63 else n


# ---- one end

cdef inline int size_of_end(const unsigned char *ip, int family) noexcept:
    return (4 if family == 4 else 16) + 2 + (4 if is_link_local(ip, family) else 0)


cdef inline unsigned char *put_end(unsigned char *to, Flow flow) noexcept:
    cdef int width = 4 if flow.family == 4 else 16
    memcpy(to, flow.ip, width)
    to[width] = flow.port >> 8
    to[width + 1] = flow.port & 255
    if not is_link_local(flow.ip, flow.family):
        return to + width + 2
    memcpy(to + width + 2, &flow.scope, 4)
    return to + width + 6


# What follows the end, or NULL.
cdef inline const unsigned char *get_end(const unsigned char *at, const unsigned char *last, int family, End *end) noexcept:
    cdef int width = 4 if family == 4 else 16
    if last - at < width + 2:
        return NULL
    memcpy(end.ip, at, width)
    end.port = at[width] << 8 | at[width + 1]
    end.scope = 0
    at += width + 2
    if not is_link_local(end.ip, family):
        return at
    if last - at < 4:
        return NULL
    memcpy(&end.scope, at, 4)
    return at + 4


# The packed address that a host is, or None for a name.
cdef bytes literal_of(const unsigned char *p, Span host):
    cdef unsigned char ip[16]
    cdef int family = read_ip(p, host, ip)
    return (<const char *>ip)[:4 if family == 4 else 16] if family else None


@cython.final
cdef class Tokens:

    def __init__(self, bytes secret not None, listeners):
        """`secret`: 16 bytes, the same for all workers and after a restart. `listeners`: each a Listener, in order."""
        cdef Uri uri
        cdef bytes address
        if len(secret) != 16:
            raise ValueError("a secret of 16 bytes")
        memcpy(&self.secret.low, PyBytes_AS_STRING(secret), 8)
        memcpy(&self.secret.high, PyBytes_AS_STRING(secret) + 8, 8)
        self.publics = []
        self.families = []
        for listener in listeners:
            address = b"sip:" + bytes(listener.sent_by)
            host = None
            if listener.host in ("0.0.0.0", "::") and parse_uri_at(
                    <const unsigned char *>PyBytes_AS_STRING(address), 0, <int>PyBytes_GET_SIZE(address), &uri) == 1:
                host = literal_of(<const unsigned char *>PyBytes_AS_STRING(address), uri.host)
            self.publics.append(host)
            self.families.append(listener.family)

    cdef uint32_t digest_of_call(self, Message request, Span tag) noexcept:
        cdef Hash h
        start_hash(&h, &self.secret, PURPOSE_CALL)
        mix_bytes(&h, request.p + request.call_id.start, request.call_id.end - request.call_id.start)
        mix_token(&h, request.p + tag.start, tag.end - tag.start)
        return <uint32_t>end_hash64(&h)

    cdef uint32_t digest_of_aor(self, bytes aor) noexcept:
        cdef Hash h
        start_hash(&h, &self.secret, PURPOSE_AOR)
        mix_bytes(&h, <const unsigned char *>PyBytes_AS_STRING(aor), PyBytes_GET_SIZE(aor))
        return <uint32_t>end_hash64(&h)

    cdef int put_check(self, unsigned char *to, const unsigned char *data, int size) noexcept:
        cdef Hash h
        cdef uint64_t check
        cdef int i
        start_hash(&h, &self.secret, PURPOSE_CHECK)
        mix_bytes(&h, data, size)
        check = end_hash64(&h)
        for i in range(MOST_CHECK):
            to[i] = (check >> (8 * i)) & 255
        return 0

    cdef int own_of(self, Flow flow) noexcept:
        cdef object public
        if not flow.has_own or is_link_local(flow.ip, flow.family):
            return OWN_ANY
        public = self.publics[flow.local]
        if public is not None and memcmp(PyBytes_AS_STRING(public), flow.own, PyBytes_GET_SIZE(public)) == 0:
            return OWN_PUBLIC
        return OWN_WRITTEN

    cdef int write(self, char *to, int kind, Flow first, Flow second, uint32_t digest) noexcept:
        cdef unsigned char data[ROOM6 + MOST_CHECK]
        cdef unsigned char *at = data + 1
        cdef int family = first.family, width = 4 if family == 4 else 16, room = ROOM4 if family == 4 else ROOM6
        cdef int own = self.own_of(first), other = OWN_ANY, size
        if second is not None:
            other = self.own_of(second)
            if own and other and (own != other or (own == OWN_WRITTEN and memcmp(first.own, second.own, width) != 0)):
                return 0
        size = (1 + (first.local >= LISTENER_BEHIND) + size_of_end(first.ip, family) + DIGEST
                + (size_of_end(second.ip, family) if second is not None else 0)
                + (width if own == OWN_WRITTEN or other == OWN_WRITTEN else 0))
        if size + LEAST_CHECK > room or first.local > 255:
            return 0
        data[0] = ((kind - 1) << 6 | (family == 6) << 5 | (own == OWN_WRITTEN or other == OWN_WRITTEN) << 4
                   | (own != OWN_ANY) << 3 | (other != OWN_ANY) << 2 | min(first.local, <int>LISTENER_BEHIND))
        if first.local >= LISTENER_BEHIND:
            at[0] = <unsigned char>first.local
            at += 1
        at = put_end(at, first)
        if second is not None:
            at = put_end(at, second)
        if own == OWN_WRITTEN:
            memcpy(at, first.own, width)
            at += width
        elif other == OWN_WRITTEN:
            memcpy(at, second.own, width)
            at += width
        memcpy(at, &digest, DIGEST)
        self.put_check(data + size, data, size)
        memcpy(to, PREFIX, PREFIX_SIZE)
        return PREFIX_SIZE + encode(to + PREFIX_SIZE, data, min(size + MOST_CHECK, room))

    cdef bint read(self, const unsigned char *p, Span user, Token *token) noexcept:
        cdef const unsigned char *text = p + user.start
        cdef unsigned char plain[MOST_TOKEN]
        cdef unsigned char data[ROOM6 + 2]
        cdef unsigned char check[MOST_CHECK]
        cdef const unsigned char *at = data + 1
        cdef const unsigned char *last
        cdef int size = user.end - user.start, width, room, checked
        token.kind = TOKEN_NONE
        if memchr(text, c'%', size) != NULL:
            size = unescape(plain, p, user)
            text = plain
        if size > MOST_TOKEN or not looks_like_token(text, Span(0, size)):
            return False
        size = decode(data, text + PREFIX_SIZE, size - PREFIX_SIZE)
        if size < 1 + 6 + DIGEST + LEAST_CHECK:
            return False
        last = data + size
        token.family = 6 if data[0] & 0x20 else 4
        token.local = data[0] & 3
        width, room = (4, ROOM4) if token.family == 4 else (16, ROOM6)
        if token.local == LISTENER_BEHIND:
            token.local = at[0]
            at += 1
        at = get_end(at, last, token.family, &token.ends[0])
        if at != NULL and (data[0] >> 6) + 1 == TOKEN_BOTH:
            at = get_end(at, last, token.family, &token.ends[1])
        if at == NULL:
            return False
        token.ends[0].own = (OWN_WRITTEN if data[0] & 0x10 else OWN_PUBLIC) if data[0] & 8 else OWN_ANY
        token.ends[1].own = (OWN_WRITTEN if data[0] & 0x10 else OWN_PUBLIC) if data[0] & 4 else OWN_ANY
        if data[0] & 0x10:
            if last - at < width:
                return False
            memcpy(token.own, at, width)
            at += width
        checked = <int>(at - data) + DIGEST
        if size != min(checked + MOST_CHECK, room) or size - checked < LEAST_CHECK:
            return False
        memcpy(&token.digest, at, DIGEST)
        self.put_check(check, data, checked)
        if not alike(check, data + checked, size - checked):
            return False
        token.kind = (data[0] >> 6) + 1
        return True

    cdef bytes key_of(self, const Token *token, int64_t now):
        cdef char key[KEY_SIZE]
        cdef uint64_t made = <uint64_t>(now >> KEY_STEP) & 0xffffffff
        write_hex(write_hex(key, made, 8), self.key_check(token, made), 16)
        return PyBytes_FromStringAndSize(key, KEY_SIZE)

    cdef bint is_key(self, const Token *token, const unsigned char *p, Span key, int64_t now) noexcept:
        cdef bint good = key.end - key.start == KEY_SIZE
        cdef uint64_t made
        if not good:
            return False
        made = read_hex(p + key.start, 8, &good)
        return (((<uint64_t>(now >> KEY_STEP) - made) & 0xffffffff) <= KEY_LASTS
                and read_hex(p + key.start + 8, 16, &good) == self.key_check(token, made) and good)

    cdef uint64_t key_check(self, const Token *token, uint64_t made) noexcept:
        cdef Hash h
        start_hash(&h, &self.secret, PURPOSE_KEY)
        mix_number(&h, made << 32 | token.digest)
        mix_bytes(&h, token.ends[0].ip, 4 if token.family == 4 else 16)
        mix_number(&h, token.ends[0].port)
        return end_hash64(&h)

    cdef Flow flow_to(self, const Token *token, int end):
        cdef const End *to = &token.ends[end]
        cdef Flow flow
        cdef bytes public
        cdef int local = token.local
        if local >= len(self.families) or self.families[local] != token.family:
            # The token outlives the configuration: another listener of its family serves as well.
            if token.family not in self.families:
                return None
            local = self.families.index(token.family)
        flow = make_flow(TRANSPORT_UDP, token.family, to.ip, to.port, local)
        flow.scope = to.scope
        if to.own == OWN_WRITTEN:
            flow.leave_from(token.own)
        elif to.own == OWN_PUBLIC:
            public = self.publics[local]
            if public is not None:
                flow.leave_from(<const unsigned char *>PyBytes_AS_STRING(public))
        return flow


# The same time whatever differs: nobody learns from it how much of a check was right.
cdef inline bint alike(const unsigned char *a, const unsigned char *b, int size) noexcept:
    cdef int i
    cdef unsigned char differs = 0
    for i in range(size):
        differs |= a[i] ^ b[i]
    return differs == 0
