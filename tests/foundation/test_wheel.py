"""The timer wheel, against cases at its boundaries and against a naive model."""

import gc
import random
import sys
import weakref

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from sipfast._wheel import Timed, Wheel

SECOND = 1000
DAY = 86_400 * SECOND
NOW = 1_790_000_000_123  # no boundary of any level
LIMIT = 12 * DAY


class Recorder(Timed):
    """Notes what fired; `then` is called for each."""

    def __init__(self, then=None):
        self.fired = []
        self.then = then

    def expired(self, kind, payload, now):
        self.fired.append((kind, payload, now))
        if self.then is not None:
            self.then(kind, payload, now)
        return 0

    @property
    def kinds(self):
        return [kind for kind, _, _ in self.fired]


def run_by_deadline(wheel, until):
    """What a worker does: sleep until the deadline, advance, until the time is reached."""
    steps = 0
    while (deadline := wheel.deadline()) != -1 and deadline <= until:
        wheel.advance(deadline)
        steps += 1
    wheel.advance(until)
    return steps


# One millisecond before, at and after each level's span, for the spans of 256 ms, 65.536 s and 4.66 h.
DELAYS = sorted(
    {1, 2, 500, 32 * SECOND, 3600 * SECOND, DAY, 10 * DAY, LIMIT - 1, LIMIT}
    | {256**level + offset for level in (1, 2, 3) for offset in (-1, 0, 1)}
)
STARTS = [0, 1, 255, 256, 65_535, 65_536, 2**24 - 1, 2**24, 2**32 - 1, 2**32, NOW]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("delay", DELAYS)
def test_a_timer_fires_at_its_millisecond_and_not_before(start, delay):
    wheel, owner = Wheel(start), Recorder()
    wheel.schedule(start + delay, owner, 7, "payload")
    assert wheel.advance(start + delay - 1) == 0
    assert owner.fired == []
    assert wheel.deadline() == start + delay
    assert wheel.advance(start + delay) == 1
    assert owner.fired == [(7, "payload", start + delay)]
    assert (wheel.count, wheel.deadline()) == (0, -1)


@pytest.mark.parametrize("delay", DELAYS)
def test_the_deadline_is_early_at_most_once_for_each_level(delay):
    wheel, owner = Wheel(NOW), Recorder()
    wheel.schedule(NOW + delay, owner)
    steps = run_by_deadline(wheel, NOW + delay)
    assert owner.fired == [(0, None, NOW + delay)]
    assert steps <= 4


def test_every_delay_near_a_boundary_fires_in_order_when_stepped_through():
    wheel, owner = Wheel(65_536 - 300), Recorder()
    for delay in range(600, 0, -1):
        wheel.schedule(wheel.now + delay, owner, delay)
    start = wheel.now
    for step in range(1, 601):
        assert wheel.advance(start + step) == 1
    assert owner.kinds == list(range(1, 601))


def test_one_jump_fires_everything_in_order_of_time_and_tells_the_present():
    wheel, owner = Wheel(NOW), Recorder()
    delays = [*DELAYS] * 3
    random.Random(3).shuffle(delays)
    for delay in delays:
        wheel.schedule(NOW + delay, owner, 0, delay)
    assert wheel.advance(NOW + 400 * DAY) == len(delays)
    assert [payload for _, payload, _ in owner.fired] == sorted(delays)
    assert {now for _, _, now in owner.fired} == {NOW + 400 * DAY}


@pytest.mark.parametrize("due", [NOW + 400, NOW + 70 * SECOND, NOW + 5 * 3600 * SECOND, NOW + 3 * DAY])
def test_ties_fire_in_the_order_of_scheduling_from_however_far_they_were_scheduled(due):
    wheel, owner = Wheel(NOW), Recorder()
    kind = 0
    while wheel.now < due - 1:
        wheel.schedule(due, owner, kind)
        kind += 1
        wheel.advance(wheel.now + max(1, (due - wheel.now) // 3))
    wheel.advance(due)
    assert owner.kinds == list(range(kind))


def test_idle_time_is_jumped_over():
    wheel, owner = Wheel(NOW), Recorder()
    wheel.schedule(NOW + 10 * DAY, owner)
    for day in range(1, 10):
        assert wheel.advance(NOW + day * DAY) == 0
    assert wheel.advance(NOW + 10 * DAY) == 1
    assert wheel.advance(NOW + 10_000 * DAY) == 0
    assert wheel.now == NOW + 10_000 * DAY


@pytest.mark.parametrize("when", [NOW, NOW - 1, 0, -5, -(2**63)])
def test_the_past_and_the_present_fire_at_the_next_advance(when):
    wheel, owner = Wheel(NOW), Recorder()
    wheel.schedule(when, owner)
    assert wheel.deadline() == NOW
    assert owner.fired == []
    assert wheel.advance(NOW) == 1


def test_time_never_goes_back():
    wheel, owner = Wheel(NOW), Recorder()
    wheel.schedule(NOW, owner)
    assert wheel.advance(NOW - 1) == 0
    assert wheel.now == NOW
    assert wheel.advance(NOW) == 1


@pytest.mark.parametrize("when", [NOW + LIMIT + 1, NOW + 365 * DAY, 2**63 - 1])
def test_more_than_twelve_days_are_refused(when):
    wheel = Wheel(NOW)
    with pytest.raises(ValueError, match="12 days"):
        wheel.schedule(when, Recorder())
    assert (wheel.count, wheel.deadline()) == (0, -1)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="epoch"):
        Wheel(-1)
    with pytest.raises(TypeError):
        Wheel(0).schedule(1, None)
    with pytest.raises(TypeError):
        Wheel(0).schedule(1, object())
    with pytest.raises(NotImplementedError):
        Timed().expired(0, None, 0)


def test_cancel_says_whether_there_was_something_to_cancel():
    wheel, owner = Wheel(NOW), Recorder()
    handle = wheel.schedule(NOW + 10, owner)
    assert wheel.cancel(handle) is True
    assert wheel.cancel(handle) is False
    assert wheel.cancel(0) is False
    assert wheel.cancel(2**64 - 1) is False
    assert (wheel.count, wheel.deadline()) == (0, -1)
    fired = wheel.schedule(NOW + 10, owner)
    wheel.advance(NOW + 10)
    assert wheel.cancel(fired) is False


def test_a_handle_is_never_zero_and_never_comes_back():
    wheel, owner = Wheel(NOW), Recorder()
    handles = set()
    for _ in range(1000):
        handle = wheel.schedule(NOW + 1, owner)
        handles.add(handle)
        wheel.cancel(handle)
    assert len(handles) == 1000
    assert 0 not in handles
    current = wheel.schedule(NOW + 1, owner)
    assert not any(wheel.cancel(handle) for handle in handles)
    assert wheel.cancel(current)


@pytest.mark.parametrize("again", [0, -1, -DAY], ids=["now", "past", "long past"])
def test_what_expired_schedules_for_now_waits_for_the_next_advance(again):
    wheel = Wheel(NOW)
    owner = Recorder(lambda kind, payload, now: wheel.schedule(now + again, owner))
    wheel.schedule(NOW + 5, owner)
    for turn in range(1, 4):
        assert wheel.advance(NOW + 5) == 1
        assert len(owner.fired) == turn


def test_what_expired_schedules_between_its_own_time_and_now_waits_too():
    wheel = Wheel(NOW)
    owner = Recorder(lambda kind, payload, now: kind == 0 and wheel.schedule(NOW + 6, owner, 1))
    wheel.schedule(NOW + 5, owner)
    wheel.schedule(NOW + 7, owner, 2)
    assert wheel.advance(NOW + 100) == 2
    assert owner.kinds == [0, 2]
    assert wheel.deadline() == NOW + 100
    assert wheel.advance(NOW + 100) == 1


def test_what_expired_schedules_after_a_long_jump_counts_from_the_new_present():
    wheel = Wheel(NOW)
    owner = Recorder(lambda kind, payload, now: kind or wheel.schedule(now + LIMIT, owner, 1))
    wheel.schedule(NOW + 1, owner)
    wheel.advance(NOW + 50 * DAY)
    assert wheel.advance(NOW + 50 * DAY + LIMIT - 1) == 0
    assert wheel.advance(NOW + 50 * DAY + LIMIT) == 1


def test_expired_may_cancel_what_is_due_in_the_same_advance():
    wheel = Wheel(NOW)
    answers = []
    owner = Recorder(lambda kind, payload, now: answers.extend(wheel.cancel(handles[k]) for k in cancels[kind]))
    cancels = {0: [1, 4], 2: [0, 2, 3]}
    handles = [wheel.schedule(NOW + when, owner, kind) for kind, when in enumerate([5, 5, 6, 7 * SECOND, DAY])]
    assert wheel.advance(NOW + DAY) == 2
    assert owner.kinds == [0, 2]
    assert answers == [True, True, False, False, True]
    assert wheel.count == 0


def test_expired_cannot_advance():
    wheel = Wheel(NOW)
    nested = []
    owner = Recorder(lambda kind, payload, now: nested.append(wheel.advance(now + DAY)))
    wheel.schedule(NOW + 1, owner)
    wheel.schedule(NOW + 2, owner)
    assert wheel.advance(NOW + 2) == 2
    assert nested == [0, 0]
    assert wheel.now == NOW + 2


def test_an_exception_comes_out_and_the_rest_fires_at_the_next_advance():
    def fail(kind, payload, now):
        if kind == 1:
            raise RuntimeError("boom")

    wheel, owner = Wheel(NOW), Recorder(fail)
    for kind, when in enumerate([5, 5, 5, 6, 300]):
        wheel.schedule(NOW + when, owner, kind)
    wheel.schedule(NOW + 400, owner, 5)
    with pytest.raises(RuntimeError, match="boom"):
        wheel.advance(NOW + 350)
    assert (wheel.now, wheel.count, wheel.deadline()) == (NOW + 350, 4, NOW + 350)
    wheel.schedule(NOW, owner, 6)
    assert wheel.advance(NOW + 350) == 4
    assert owner.kinds == [0, 1, 2, 3, 4, 6]
    assert wheel.advance(NOW + 400) == 1


class Payload:
    pass


@pytest.mark.parametrize("end", ["fire", "cancel", "clear", "dealloc", "raise"])
def test_references_are_held_until_the_end_of_the_timer_and_no_longer(end):
    def then(kind, payload, now):
        if end == "raise":
            raise RuntimeError

    wheel, owner, payload = Wheel(NOW), Recorder(then), Payload()
    watching = weakref.ref(owner), weakref.ref(payload)
    handle = wheel.schedule(NOW + 5, owner, 0, payload)
    del owner, payload
    gc.collect()
    assert all(ref() is not None for ref in watching)
    if end == "fire":
        wheel.advance(NOW + 5)
    elif end == "raise":
        with pytest.raises(RuntimeError):
            wheel.advance(NOW + 5)
    elif end == "cancel":
        wheel.cancel(handle)
    elif end == "clear":
        wheel.clear()
    else:
        del wheel
    gc.collect()
    assert [ref() for ref in watching] == [None, None]


def test_a_reference_count_comes_back_to_where_it_was():
    wheel, owner, payload = Wheel(NOW), Recorder(), Payload()
    owner.fired = Discard()
    before = sys.getrefcount(owner), sys.getrefcount(payload)
    handles = [wheel.schedule(NOW + i % 7, owner, 0, payload) for i in range(100)]
    assert (sys.getrefcount(owner), sys.getrefcount(payload)) == (before[0] + 100, before[1] + 100)
    for handle in handles[::2]:
        wheel.cancel(handle)
    wheel.advance(NOW + 7)
    assert (sys.getrefcount(owner), sys.getrefcount(payload)) == before


class Discard:
    def append(self, item):
        pass


def test_a_destructor_may_use_the_wheel():
    """Dropping the last reference runs code that schedules, cancels and makes the arrays grow and move."""
    wheel, owner = Wheel(NOW), Recorder()

    class Busy(Timed):
        def expired(self, kind, payload, now):
            return 0

        def __del__(self):
            for i in range(500):
                wheel.schedule(NOW + 10 + i, owner)
            wheel.cancel(victim)

    wheel.schedule(NOW + 1, Busy())
    victim = wheel.schedule(NOW + 1, owner)
    assert wheel.advance(NOW + 1) == 1
    assert wheel.count == 500
    victim = wheel.schedule(NOW + 2, owner)
    assert wheel.cancel(wheel.schedule(NOW + 3, Busy()))
    assert wheel.count == 1000
    assert wheel.advance(NOW + DAY) == 1000


def test_clear_drops_everything_unfired_and_leaves_a_working_wheel():
    wheel, owner = Wheel(NOW), Recorder()
    handles = [wheel.schedule(NOW + delay, owner) for delay in [-1, *DELAYS]]
    wheel.clear()
    assert (wheel.count, wheel.deadline()) == (0, -1)
    assert not any(wheel.cancel(handle) for handle in handles)
    assert wheel.advance(NOW + 20 * DAY) == 0
    wheel.schedule(wheel.now + 1, owner)
    assert wheel.advance(wheel.now + 1) == 1


def test_memory_is_40_bytes_a_timer():
    wheel, owner = Wheel(NOW), Recorder()
    empty = sys.getsizeof(wheel)
    for i in range(2**16):
        wheel.schedule(NOW + i, owner)
    assert empty < 16 * 1024
    assert sys.getsizeof(wheel) - empty < 40 * 2**16


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_cancelled_timers_hold_up_nothing(count):
    """However many were cancelled last: the wheel is as if they had never been, and their places are used again."""
    wheel, owner = Wheel(NOW), Recorder()
    wheel.schedule(NOW + 7, owner, 1)
    handles = [wheel.schedule(NOW + 5 + i % 3, owner, 0) for i in range(count)]
    wheel.schedule(NOW + 7, owner, 2)
    assert all(wheel.cancel(handle) for handle in handles)
    assert not any(wheel.cancel(handle) for handle in handles)
    assert (wheel.count, wheel.deadline()) == (2, NOW + 7)
    assert wheel.advance(NOW + 6) == 0
    assert wheel.advance(NOW + 7) == 2
    assert owner.kinds == [1, 2]


def test_places_of_cancelled_timers_are_used_again():
    """A million transactions, one after the other, among few at a time: the wheel does not grow with them."""
    wheel, owner = Wheel(NOW), Recorder()
    kept = [wheel.schedule(NOW + DAY, owner) for _ in range(100)]
    size = sys.getsizeof(wheel)
    for _ in range(10_000):
        wheel.cancel(kept.pop())
        kept.append(wheel.schedule(NOW + DAY, owner))
    assert wheel.count == 100
    assert sys.getsizeof(wheel) <= 2 * size


@pytest.mark.parametrize("count", [1, 64, 100])
def test_what_is_cancelled_while_others_fire_does_not_fire(count):
    """However many the first one cancels of those that are due with it."""
    wheel = Wheel(NOW)
    owner = Recorder(lambda kind, payload, now: kind == 0 and [wheel.cancel(handle) for handle in handles])
    wheel.schedule(NOW + 5, owner, 0)
    handles = [wheel.schedule(NOW + 5, owner, 1) for _ in range(count)]
    wheel.schedule(NOW + 5, owner, 2)
    assert wheel.advance(NOW + 5) == 2
    assert owner.kinds == [0, 2]
    assert (wheel.count, wheel.deadline()) == (0, -1)


def test_a_hundred_thousand_random_timers_fire_in_order():
    chance = random.Random(1)
    wheel, owner = Wheel(NOW), Recorder()
    expected = []
    for i in range(100_000):
        when = NOW + chance.choice([500, 32 * SECOND, 3600 * SECOND, DAY]) + chance.randrange(5 * SECOND)
        handle = wheel.schedule(when, owner, i)
        if i % 3 == 0:
            wheel.cancel(handle)
        else:
            expected.append((when, i))
    while wheel.count:
        wheel.advance(wheel.now + chance.choice([1, 40, 300, 70 * SECOND]))
    assert owner.kinds == [i for _, i in sorted(expected)]


delays = st.one_of(
    st.integers(-3, 600),
    st.integers(0, LIMIT),
    st.sampled_from(DELAYS),
    st.sampled_from([256, 65_536, 2**24]).flatmap(lambda span: st.integers(span - 300, span + 300)),
)


class AgainstAList(RuleBasedStateMachine):
    """The model: a list of (time, order of scheduling), sorted."""

    handles = Bundle("handles")

    def __init__(self):
        super().__init__()
        self.wheel = None
        self.owner = Recorder(self.react)
        self.model = {}  # kind -> (time, kind), where the kind is the order of scheduling
        self.handle_of = {}
        self.kind = 0
        self.reactions = {}

    def arm(self, delay, reaction=None):
        when = self.wheel.now + delay
        self.kind += 1
        handle = self.wheel.schedule(when, self.owner, self.kind, when)
        self.model[self.kind] = (max(when, self.wheel.now), self.kind)
        self.handle_of[self.kind] = handle
        if reaction is not None:
            self.reactions[self.kind] = reaction
        return self.kind

    def disarm(self, kind):
        assert self.wheel.cancel(self.handle_of[kind]) is (kind in self.model)
        self.model.pop(kind, None)

    def react(self, kind, payload, now):
        assert self.model.pop(kind)[0] <= now
        delay, victim = self.reactions.pop(kind, (None, None))
        if delay is not None:
            self.fresh.add(self.arm(delay))
        if victim is not None and self.handle_of:
            self.disarm(sorted(self.handle_of)[victim % len(self.handle_of)])

    @rule(start=st.one_of(st.sampled_from(STARTS), st.integers(0, 2**41)))
    def begin(self, start):
        if self.wheel is None:
            self.wheel = Wheel(start)

    @rule(
        target=handles,
        delay=delays,
        reaction=st.none() | st.tuples(st.none() | delays, st.none() | st.integers(0, 1000)),
    )
    def schedule(self, delay, reaction):
        self.begin(NOW)
        return self.arm(delay, reaction)

    @rule(kind=st.one_of(handles, consumes(handles)))
    def cancel(self, kind):
        self.disarm(kind)

    @rule(step=st.one_of(delays, st.integers(0, 60 * DAY)))
    def advance(self, step):
        self.begin(NOW)
        target = self.wheel.now + step
        if step < 0:
            assert self.wheel.advance(target) == 0
            return
        before = len(self.owner.fired)
        self.fresh = set()
        fired = self.wheel.advance(target)
        kinds = self.owner.kinds[before:]
        assert fired == len(kinds)
        assert not self.fresh.intersection(kinds)
        times = [max(when, 0) for _, when, _ in self.owner.fired[before:]]
        assert all(when <= target for when in times)
        assert self.wheel.now == target
        assert all(when > target or kind in self.fresh for when, kind in self.model.values())

    @rule()
    def advance_by_one_deadline(self):
        self.begin(NOW)
        if self.model:
            self.advance(max(0, self.wheel.deadline() - self.wheel.now))

    @rule()
    def fire_all_in_order(self):
        """Without reactions the order is that of the sorted list."""
        self.begin(NOW)
        self.reactions.clear()
        expected = [kind for _, kind in sorted(self.model.values())]
        before = len(self.owner.fired)
        self.advance(13 * DAY)
        assert self.owner.kinds[before:] == expected

    @invariant()
    def deadline_is_never_late(self):
        if self.wheel is None:
            return
        assert self.wheel.count == len(self.model)
        if not self.model:
            assert self.wheel.deadline() == -1
        else:
            assert 0 <= self.wheel.deadline() <= min(self.model.values())[0]


AgainstAList.TestCase.settings = settings(deadline=None)
test_any_sequence_of_operations_against_a_sorted_list = AgainstAList.TestCase
