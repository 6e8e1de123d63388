"""baresip-python (libre and libbaresip as a library) as a program: see this package's docstring for what it speaks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from typing import Any

import baresip
from baresip import Account, Config, Event, Runtime, UserAgent

NAMES = {Event.CALL_RINGING: "ringing", Event.CALL_ESTABLISHED: "established", Event.CALL_CLOSED: "closed"}


def say(event: str, **details: object) -> None:
    print(json.dumps({"event": event, **details}), flush=True)


class Phone:
    """One user agent and the calls that it has."""

    def __init__(self, settings: dict[str, Any]):
        self.settings = settings
        self.calls: list[Any] = []

    async def run(self) -> None:
        """Register, then do what the input says until it ends."""
        host, media = self.settings["host"], f"{self.settings['media']}-{self.settings['media_end']}"
        runtime = Runtime()
        await runtime.start(
            Config(
                net_interface=host,
                audio_source=f"aufile,{self.settings['sound']}",
                audio_player="aumem",
                native_log_level="info",
                sip_trace=True,
                max_concurrent_calls=4,
                extra_config_text=f"sip_listen {host}:{self.settings['port']}\nrtp_ports {media}\n",
            )
        )
        account = Account(
            user=self.settings["user"],
            domain=self.settings["domain"],
            password=self.settings["user"],
            registrar=f"sip:{self.settings['proxy']}",
            reg_interval=self.settings["refresh"],
            audio_codecs=("pcmu",),
        )
        agent = await UserAgent.create(runtime, account, transfer_policy=self.settings["transfer_policy"])
        agent.on_incoming(self.incoming)
        agent.on_transfer_call(self.calls.append)
        agent.on(self.happened)
        try:
            await agent.register()
            say("registered", version=baresip.__version__)
        except baresip.RegistrationError as error:
            say("refused", text=str(error))
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            try:
                await self.do(agent, json.loads(line))
            except baresip.BaresipError as error:
                say("error", text=str(error))
        await agent.unregister()
        await runtime.close()

    def incoming(self, call: Any) -> None:
        self.calls.append(call)
        say("incoming", peer=call.peer)
        if self.settings["answers"]:
            self._answering = asyncio.get_running_loop().create_task(call.answer())

    def happened(self, event: Any) -> None:
        """An event of the stack."""
        name = NAMES.get(event.event)
        details = {"text": event.text} if event.text else {}
        if event.event is Event.CALL_CLOSED:
            self.calls[:] = [call for call in self.calls if call.handle != event.call]
        if event.event is Event.CALL_TRANSFER:
            name = "transfer"
        if name:
            say(name, **details)

    async def do(self, agent: Any, command: dict[str, Any]) -> None:
        """One command."""
        match command["do"]:
            case "dial":
                self.calls.append(await agent.dial(command["uri"]))
            case "answer":
                await self.calls[-1].answer()
            case "hang up":
                for call in [*self.calls]:
                    with contextlib.suppress(baresip.StaleHandleError):  # it has ended already
                        await call.hangup()


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(Phone(json.loads(sys.argv[1])).run())
