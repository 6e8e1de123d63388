"""Recall by REFER: what names one. The rest of it is seen in test_recall.py."""

from __future__ import annotations

from net.redialing import arm, refers, stage, watch_of
from net.sipwire import Sip


def test_no_two_refers_have_a_call_id_or_a_tag_in_common() -> None:
    """RFC 3261 §8.1.1.4: neither within a start nor after a restart."""
    scene, alice, bob = stage({"retry_pause": 1.0, "attempts": 100, "recall_timeout": 0.5})
    alice.on_refer = "idle"
    arm(scene, alice)
    bob.register()
    for _ in range(3):
        scene.run(20_500)
        scene.network.wait(lambda: (watch := watch_of(scene)) is not None and watch.state == "armed")  # or it is the same
        scene.server.crash(scene.now)
    seen: set[str] = set()
    for event in refers(scene):
        refer = Sip(event.data)
        assert len(refer.call_id) == 24 and len(refer.from_tag) == 10
        assert not {refer.call_id, refer.from_tag} & seen
        seen |= {refer.call_id, refer.from_tag}
    assert len(seen) > 60
