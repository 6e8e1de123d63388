"""Our branches: how a response finds its transaction (RFC 3261 §17.1.3), and that nobody else can make one."""

from __future__ import annotations

import pytest
from compiled import looks
from transactions import SECRET, START, TCP, UDP, World, answer_to, request

from sipfast import config
from sipfast._hash import siphash
from sipfast._parser import parse
from sipfast.transaction.layer import TransactionLayer


def test_siphash_reference():
    # Aumasson and Bernstein, "SipHash: a fast short-input PRF", appendix A
    key = int.from_bytes(bytes(range(16)), "little")
    assert siphash(bytes(range(15)), key) == 0xA129CA6149BE45E5


def test_a_response_needs_the_method_of_the_request():
    world = World()
    transaction, user = world.start()
    invite = world.line.sent[0][1]
    assert not world.answer(answer_to(invite, 200, "CANCEL"))
    assert not world.answer(answer_to(invite, 200, "BYE"))
    assert user.told == []
    assert transaction.state_name == "Calling"
    assert world.layer.counters()["stray_responses"] == 2
    assert world.answer(answer_to(invite, 200))


def test_every_digit_of_a_branch_counts():
    world = World()
    _, user = world.start()
    invite = world.line.sent[0][1]
    branch = parse(invite).branch
    good = answer_to(invite, 180)
    for place in range(len(branch)):
        for digit in b"0f":
            forged = branch[:place] + bytes([digit]) + branch[place + 1 :]
            if forged != branch:
                assert not world.answer(good.replace(branch, forged)), forged
                assert looks().loop_of(world.layer, forged) is None
    for forged in (branch[:-1], branch + b"0", branch.upper(), b"z9hG4bK"):
        assert not world.answer(good.replace(branch, forged))
        assert looks().loop_of(world.layer, forged) is None
    assert user.told == []
    assert world.answer(good)


def test_branches_outlive_the_process():
    old, new = World(worker=3), World(worker=5)
    branch = old.layer.branch(0xDEADBEEF)
    assert looks().loop_of(new.layer, branch) == 0xDEADBEEF
    assert looks().worker_of(new.layer, branch) == 3
    stranger = TransactionLayer(config.Timers(), old.wheel, old.line, SECRET + 1)
    assert looks().loop_of(stranger, branch) is None
    assert looks().worker_of(stranger, branch) is None


def test_a_restart_never_makes_a_branch_again():
    old, new = World(), World(now=START + 1)
    assert not {old.layer.branch() for _ in range(1_000)} & {new.layer.branch() for _ in range(1_000)}


def test_a_response_to_an_earlier_user_of_the_slot_is_stray():
    world = World(flow=TCP)  # timer K is 0: the slot is free at once
    _, first = world.start("OPTIONS")
    late = answer_to(world.line.sent[0][1], 200)
    assert world.answer(late)
    world.run_to(0)
    _, second = world.start("OPTIONS")
    branches = [parse(data).branch for _, data, _ in world.line.sent]
    assert branches[0][9:17] == branches[1][9:17]  # worker and slot
    assert branches[0] != branches[1]
    assert not world.answer(late)
    assert (first.told, second.told) == (["200"], [])


def test_a_branch_is_used_once():
    world = World()
    branch = world.layer.branch()
    data = request("OPTIONS", branch.decode())
    world.layer.send_request(data, branch, UDP, None, world.now)
    for wrong in (branch, b"z9hG4bKsf", World(worker=1).layer.branch()):
        with pytest.raises(ValueError, match="reserved"):
            world.layer.send_request(data, wrong, UDP, None, world.now)


def test_a_released_branch_is_gone():
    world = World()
    branch = world.layer.branch()
    assert not world.answer(answer_to(request("OPTIONS", branch.decode()), 200))
    assert world.layer.release_branch(branch)
    assert not world.layer.release_branch(branch)
    with pytest.raises(ValueError, match="reserved"):
        world.layer.send_request(request("OPTIONS", branch.decode()), branch, UDP, None, world.now)
    transaction, _ = world.start()
    assert not world.layer.release_branch(parse(world.line.sent[0][1]).branch)
    assert transaction.state_name == "Calling"
