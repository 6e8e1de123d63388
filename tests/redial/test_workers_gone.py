"""With several workers a callee may be gone again when the notice of the return comes to the owner."""

from __future__ import annotations

import pytest
from net import scene
from net.cluster import Cluster, owner_of
from net.redialing import armed, refers


@pytest.mark.parametrize("salt", range(4))
def test_who_is_gone_again_is_nobody_to_be_called(salt: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever worker sees the callee: the caller's phone rings for who can be reached."""
    monkeypatch.setattr(scene, "Server", Cluster)
    monkeypatch.setattr(Cluster, "salt", salt)
    monkeypatch.setattr(Cluster, "delay", 200)
    one, _, bob = armed()
    server = one.server
    assert isinstance(server, Cluster)
    elsewhere = server.home(bob.address) != owner_of(one)
    bob.register()
    one.network.wait(lambda: bob.registered)
    bob.unregister()
    one.run(10_000)
    assert len(refers(one)) == (0 if elsewhere else 1)
