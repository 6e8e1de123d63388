"""python -m benchmarks.presence: the server of sipfast with a presence agent in the place of redial, for comparison."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from contextlib import ExitStack
from typing import Any, cast

import uvloop

from sipfast import config
from sipfast.driver.clock import Clock
from sipfast.driver.driver import Driver
from sipfast.engine.engine import Engine
from sipfast.errors import SipFastError
from sipfast.node import worker
from sipfast.observe import logs
from sipfast.observe.faults import Complaints
from sipfast.transport.sockets import listener_for, open_socket
from sipfast.transport.udp import UdpTransport

from ..build import ensure_built
from .store import PresenceStore

log = logging.getLogger("benchmarks.presence")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.presence", description=__doc__, allow_abbrev=False)
    parser.add_argument("--listen", metavar="udp:HOST:PORT", required=True)
    parser.add_argument("--domain", metavar="NAME", required=True)
    parser.add_argument("--data", metavar="DIR", required=True)
    parser.add_argument("--log-level", metavar="LEVEL", default="warning")
    arguments = parser.parse_args()
    ensure_built("presence")
    logs.setup(arguments.log_level)
    settings = config.Config(
        rates=config.Rates(enabled=False),  # it has no dispatch that would ask
        listen=(arguments.listen,),
        domains=(arguments.domain,),
        store=config.Storage(data=arguments.data),
        redial=config.Redial(enabled=False),
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except SipFastError as error:
        print(f"benchmarks.presence: {error}", file=sys.stderr)
        return 2
    return 0


async def serve(settings: config.Config) -> None:
    """As sipfast.node.worker serves alone, with the agent between transport and engine."""
    from .agent import Agent

    with ExitStack() as stack:
        driver = Driver(asyncio.get_running_loop(), Clock(), Complaints(log, time.monotonic))
        stack.callback(driver.close)
        transport = UdpTransport(driver)
        opened = open_socket(settings.listen[0])
        transport.add(opened)
        listeners = [listener_for(opened, settings.advertise)]
        storage = settings.store
        store = PresenceStore(storage.data, durability=storage.durability, map_size_gib=storage.map_size, exclusive=True)
        stack.callback(store.close)
        agent: Any = Agent(settings, store, driver, listeners, domains=settings.domains)
        # It has of an engine what the worker uses: the face of a receiver, and `start`.
        await worker.run(settings, store, driver, cast(Engine, agent), lambda: None)
        log.info("stopped", extra={"sip": agent.counters()})
        agent.close()


if __name__ == "__main__":
    sys.exit(main())
