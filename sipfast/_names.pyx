"""The names of methods and headers, as numbers: RFC 3261 §7.1, §7.3.3 and §20, and IANA's registries of both.

A header that has no number is H_OTHER, and is kept and forwarded as it came.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcpy, memset

cdef dict NAMES = {
    "via": H_VIA, "from": H_FROM, "to": H_TO, "call-id": H_CALL_ID, "cseq": H_CSEQ, "max-forwards": H_MAX_FORWARDS,
    "contact": H_CONTACT, "expires": H_EXPIRES, "route": H_ROUTE, "record-route": H_RECORD_ROUTE,
    "content-length": H_CONTENT_LENGTH, "content-type": H_CONTENT_TYPE, "content-encoding": H_CONTENT_ENCODING,
    "require": H_REQUIRE, "proxy-require": H_PROXY_REQUIRE, "supported": H_SUPPORTED, "unsupported": H_UNSUPPORTED,
    "allow": H_ALLOW, "accept": H_ACCEPT, "path": H_PATH, "service-route": H_SERVICE_ROUTE,
    "min-expires": H_MIN_EXPIRES, "date": H_DATE, "event": H_EVENT, "allow-events": H_ALLOW_EVENTS,
    "subscription-state": H_SUBSCRIPTION_STATE, "refer-to": H_REFER_TO, "referred-by": H_REFERRED_BY,
    "replaces": H_REPLACES, "call-info": H_CALL_INFO, "reason": H_REASON, "warning": H_WARNING,
    "retry-after": H_RETRY_AFTER, "subject": H_SUBJECT, "user-agent": H_USER_AGENT, "server": H_SERVER,
    "authorization": H_AUTHORIZATION, "proxy-authorization": H_PROXY_AUTHORIZATION,
    "www-authenticate": H_WWW_AUTHENTICATE, "proxy-authenticate": H_PROXY_AUTHENTICATE,
    "p-asserted-identity": H_P_ASSERTED_IDENTITY, "p-preferred-identity": H_P_PREFERRED_IDENTITY,
    "session-expires": H_SESSION_EXPIRES, "min-se": H_MIN_SE,
    "sip-etag": H_SIP_ETAG, "sip-if-match": H_SIP_IF_MATCH, "timestamp": H_TIMESTAMP,
    "organization": H_ORGANIZATION, "priority": H_PRIORITY, "max-breadth": H_MAX_BREADTH,
}
# RFC 3261 §7.3.3; o u RFC 6665, r RFC 3515, b RFC 3892, x RFC 4028
cdef dict COMPACT_NAMES = {
    "v": H_VIA, "f": H_FROM, "t": H_TO, "i": H_CALL_ID, "m": H_CONTACT, "l": H_CONTENT_LENGTH, "c": H_CONTENT_TYPE,
    "e": H_CONTENT_ENCODING, "k": H_SUPPORTED, "s": H_SUBJECT, "o": H_EVENT, "u": H_ALLOW_EVENTS, "r": H_REFER_TO,
    "b": H_REFERRED_BY, "x": H_SESSION_EXPIRES,
}


cdef int fill_names() except -1:
    cdef bytes text
    cdef Known *known
    cdef int header
    global SINGLE
    memset(KNOWN, 0, sizeof(KNOWN))
    memset(COMPACT, 0, sizeof(COMPACT))
    for name, header in NAMES.items():
        text = name.encode()
        known = &KNOWN[name_hash(<const unsigned char *>PyBytes_AS_STRING(text), <int32_t>len(text))]
        if known.length or len(text) > LONGEST_NAME:
            raise SystemError(f"no room for the header name {name}")
        known.id = header
        known.length = <int32_t>len(text)
        memcpy(known.name, PyBytes_AS_STRING(text), len(text))
    for name, header in COMPACT_NAMES.items():
        COMPACT[<int>ord(name)] = COMPACT[<int>ord(name.upper())] = header
    SINGLE = 0
    for header in (H_FROM, H_TO, H_CALL_ID, H_CSEQ, H_MAX_FORWARDS, H_CONTENT_TYPE, H_EXPIRES, H_MIN_EXPIRES, H_EVENT,
                   H_REFER_TO, H_REFERRED_BY, H_REPLACES, H_SUBSCRIPTION_STATE, H_SESSION_EXPIRES, H_MIN_SE,
                   H_SIP_ETAG, H_SIP_IF_MATCH):
        SINGLE |= <uint64_t>1 << header
    return 0


fill_names()
