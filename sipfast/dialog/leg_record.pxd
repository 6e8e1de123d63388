# What is stored of a leg. See leg_record.pyx.

from .leg cimport Ground, Leg

# records.Leg
cdef object record_of(Leg leg)
# The leg as it was stored; nothing is sent by that.
cdef Leg leg_of(Ground ground, object record)
