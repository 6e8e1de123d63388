"""How many recalls may begin: a token bucket over all of them, and one for each host that they go to.

After an outage all phones come back within a moment, and everybody who has waited for one of them would be called in that
moment, by a server and over lines that have enough to do. So each recall takes its place in time: at once as long as the
bucket has something, else as far apart as the rate says, and each a little later than that by chance, so that they do not march
in step. Several workers have their share of the rate each.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from .._flow cimport Flow
from .._hash cimport Hash, end_hash64, mix_number, start_hash

cdef enum:
    PURPOSE_JITTER = 0x6a697474
    MOST_JITTER = 1_000     # ms
    MOST_HOSTS = 10_000     # until those that nothing waits for are forgotten


cdef class Bucket:
    """Gives recalls their places in time."""

    def configure(self, settings):
        """`settings`: a config.Redial."""
        self.between = spacing(settings.recalls_per_second, self.workers)
        self.depth = self.between * (settings.recalls_burst - 1) // self.workers
        self.host_between = spacing(settings.recalls_per_host, self.workers)
        self.host_depth = min(self.host_between * (settings.recalls_burst - 1) // self.workers, 1_000_000)

    cdef int64_t take(self, Flow flow, int64_t now) except -1:
        cdef int64_t at = now * 1000, when = at, level
        cdef bytes host
        if self.between:
            when = max(when, self.level - self.depth)
            self.level = max(self.level, at) + self.between
        if self.host_between:
            host = PyBytes_FromStringAndSize(<char *>flow.ip, 4 if flow.family == 4 else 16)
            level = self.hosts.get(host, 0)
            when = max(when, level - self.host_depth)
            if len(self.hosts) >= MOST_HOSTS:
                self.forget_idle(at)
            self.hosts[host] = max(level, at) + self.host_between
        if when <= at:
            return 0
        return (when - at + 999) // 1000 + self.jitter(min((when - at) // 1000, <int64_t>MOST_JITTER))

    cdef int64_t jitter(self, int64_t most) noexcept:
        cdef Hash h
        self.made += 1
        start_hash(&h, &self.secret, PURPOSE_JITTER)
        mix_number(&h, self.made)
        return <int64_t>(end_hash64(&h) % <uint64_t>(most + 1))

    cdef int forget_idle(self, int64_t at) except -1:
        self.hosts = {host: level for host, level in self.hosts.items() if level > at}


cdef int64_t spacing(double rate, int workers) noexcept:
    return 0 if rate <= 0 else <int64_t>(workers * 1_000_000 / rate)


cdef Bucket make_bucket(settings, bytes seed, int workers):
    cdef Bucket bucket = Bucket.__new__(Bucket)
    if PyBytes_GET_SIZE(seed) < 16:
        raise ValueError("a seed of 16 random bytes")
    memcpy(&bucket.secret.low, PyBytes_AS_STRING(seed), 8)
    memcpy(&bucket.secret.high, PyBytes_AS_STRING(seed) + 8, 8)
    bucket.workers = workers
    bucket.hosts = {}
    bucket.configure(settings)
    return bucket
