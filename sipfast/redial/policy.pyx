"""What redial goes by: who may be watched for how long, how many, and how patiently a recall is tried."""

import re
from fnmatch import translate

from libc.stdint cimport int64_t

from ..identity.claims cimport is_anonymous
from .._parser cimport Message

from .._uri import aor as canonical

cdef enum:
    NEVER = -1

OTHER_DEVICES = {"never": OTHERS_NEVER, "authenticated": OTHERS_OF_THE_KNOWN, "always": OTHERS_ALWAYS}


cdef class Policy:
    """The settings under `redial` of the configuration."""

    def __init__(self, settings):
        self.enabled = settings.enabled
        self.configure(settings)

    def configure(self, settings):
        """Take other settings: all but whether redial is on, which is as at the start."""
        self.serial = settings.order == "serial"
        self.ends_on_refer = settings.end_on == "refer"
        self.attempts = settings.attempts
        self.per_caller = settings.per_caller
        self.per_callee = settings.per_callee
        self.max_watches = settings.max_watches
        self.min_period = settings.min_period
        self.max_period = settings.max_period
        self.default_period = settings.default_period
        self.everybody = NEVER if settings.policy == "never" else self.default_period
        self.users = None
        self.domains = {rules.domain.lower().encode(): period_of(rules, self.default_period) for rules in settings.domain}
        own = {canonical(rules.aor.encode()): period_of(rules, self.default_period) for rules in settings.user if rules.policy}
        if own or self.domains:
            self.users = own
        self.never_callees = pattern_of(settings.never_callees)
        self.keepalive = round(settings.keepalive * 1000)
        self.guard = round(settings.guard * 1000)
        self.retry_pause = round(settings.retry_pause * 1000)
        self.refer_timeout = round(settings.refer_timeout * 1000)
        self.recall_timeout = round(settings.recall_timeout * 1000)
        self.declined_ends = settings.declined == "end"
        self.no_reply_after = round(settings.no_reply_after * 1000)
        self.other_devices = OTHER_DEVICES[settings.other_devices]
        self.max_talk = round(settings.max_talk * 1000)

    cdef int64_t period_for(self, int64_t asked, bytes caller, bytes callee) except -1:
        cdef int64_t usual = self.everybody
        if self.users is not None:
            usual = self.rules_of(caller)[0]
        if usual == NEVER or self.never_callees is not None and self.never_callees.fullmatch(callee):
            return 0
        return min(asked if asked >= self.min_period else usual, self.max_period)

    cdef str why_no_period(self, int64_t asked, bytes caller, bytes callee):
        cdef int64_t usual = self.everybody
        cdef str where = "redial"
        if self.users is not None:
            usual, where = self.rules_of(caller)
        if usual == NEVER:
            return f'the policy for its caller is "never" ({where}.policy)'
        if self.never_callees is not None and self.never_callees.fullmatch(callee):
            return "its callee is never watched for (redial.never_callees)"
        why = "it has no Expires" if asked < 0 else f"its Expires is {asked}, less than redial.min_period"
        if where == "redial":
            return f"{why}, and redial.default_period is 0"
        return f'{why}, and the policy for its caller is "ask" ({where}.policy)'

    cdef str refusal(self, bytes callee, bytes caller, Message request):
        if self.callees is None:
            return None
        return self.callees.refusal(
            callee, caller, request is not None and self.callees.refuses_anonymous(callee) and is_anonymous(request))

    cdef tuple rules_of(self, bytes caller):
        """What applies to a caller: as `everybody`, and the table that says so."""
        period = self.users.get(caller)
        if period is not None:
            return period, "redial.user"
        period = self.domains.get(caller.rpartition(b"@")[2])
        return (self.everybody, "redial") if period is None else (period, "redial.domain")


def period_of(rules, default_period):
    """The period of calls that ask for none, by a config.RedialUser or RedialDomain."""
    if rules.policy == "never":
        return NEVER
    return (rules.period or default_period) if rules.policy == "always" else 0


def pattern_of(globs):
    """One pattern for all AORs that are meant; None for no globs. Without an @ a glob is of the user alone."""
    parts = []
    for text in globs:
        user, at, host = text.removeprefix("sip:").rpartition("@")
        parts.append(translate(f"sip:{user}@{host.lower()}" if at else f"sip:{host}@*"))
    return re.compile("|".join(parts).encode()) if parts else None
