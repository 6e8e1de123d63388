"""What redial goes by: who may be watched for how long, how many, and how patiently a recall is tried."""

from libc.stdint cimport int64_t


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
        self.min_period = settings.min_period
        self.max_period = settings.max_period
        self.default_period = settings.default_period
        self.guard = round(settings.guard * 1000)
        self.retry_pause = round(settings.retry_pause * 1000)
        self.refer_timeout = round(settings.refer_timeout * 1000)
        self.recall_timeout = round(settings.recall_timeout * 1000)
        self.max_talk = round(settings.max_talk * 1000)

    cdef int64_t period_for(self, int64_t asked) noexcept:
        return min(asked if asked >= self.min_period else self.default_period, self.max_period)

    cdef str why_no_period(self, int64_t asked):
        return ("it has no Expires" if asked < 0 else f"its Expires is {asked}, less than redial.min_period") + (
            ", and redial.default_period is 0")
