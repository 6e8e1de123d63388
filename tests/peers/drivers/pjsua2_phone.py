"""pjsua2 (PJSIP as a Python library) as a program: see this package's docstring for what it speaks."""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any

import pjsua2 as pj

POLL = 10  # ms


def say(event: str, **details: object) -> None:
    print(json.dumps({"event": event, **details}), flush=True)


class Call(pj.Call):
    """One call, which hears the tone as soon as there is sound."""

    def __init__(self, phone: Phone, call_id: int = pj.PJSUA_INVALID_ID):
        super().__init__(phone, call_id)
        self.phone = phone
        phone.calls.append(self)

    def onCallState(self, prm: Any) -> None:
        info = self.getInfo()
        match info.state:
            case pj.PJSIP_INV_STATE_EARLY:
                say("ringing")
            case pj.PJSIP_INV_STATE_CONFIRMED:
                say("established")
            case pj.PJSIP_INV_STATE_DISCONNECTED:
                say("closed", text=f"{info.lastStatusCode} {info.lastReason}")
                self.phone.ended.append(self)

    def onCallMediaState(self, prm: Any) -> None:
        info = self.getInfo()  # which owns what is in it
        for i, media in enumerate(info.media):
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                self.phone.tone.startTransmit(self.getAudioMedia(i))

    def onCallTransferRequest(self, prm: Any) -> None:
        say("transfer", text=prm.dstUri)
        prm.newCall = Call(self.phone)


class Phone(pj.Account):
    """One account and the calls that it has."""

    def __init__(self, settings: dict[str, Any], tone: Any):
        super().__init__()
        self.settings, self.tone = settings, tone
        self.calls: list[Call] = []
        self.ended: list[Call] = []

    def onRegState(self, prm: Any) -> None:
        say("registered" if prm.code == 200 else "refused", text=f"{prm.code} {prm.reason}")

    def onIncomingCall(self, prm: Any) -> None:
        call = Call(self, prm.callId)
        say("incoming", peer=call.getInfo().remoteUri)
        answer(call, 200 if self.settings["answers"] else 180)

    def do(self, command: dict[str, Any]) -> None:
        """One command."""
        match command["do"]:
            case "dial":
                Call(self).makeCall(command["uri"], pj.CallOpParam(True))
            case "answer":
                answer(self.calls[-1], 200)
            case "hang up":
                for call in [*self.calls]:
                    call.hangup(pj.CallOpParam())

    def forget(self) -> None:
        """Let go of calls that have ended, outside of their own callbacks."""
        while self.ended:
            self.calls.remove(self.ended.pop())


def answer(call: Call, status: int) -> None:
    """Say 180 or 200 to a call."""
    prm = pj.CallOpParam()
    prm.statusCode = status
    call.answer(prm)


def account(settings: dict[str, Any]) -> Any:
    """How it registers."""
    config = pj.AccountConfig()
    config.idUri = f"sip:{settings['user']}@{settings['domain']}"
    config.regConfig.registrarUri = f"sip:{settings['domain']}"
    config.regConfig.timeoutSec = settings["refresh"]
    config.sipConfig.proxies.append(f"sip:{settings['proxy']};lr")
    config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", settings["user"], 0, settings["user"]))
    config.mediaConfig.transportConfig.port = settings["media"]
    config.mediaConfig.transportConfig.portRange = settings["media_end"] - settings["media"]
    config.mediaConfig.transportConfig.boundAddress = settings["host"]
    config.natConfig.sdpNatRewriteUse = 0
    return config


def main(settings: dict[str, Any]) -> None:
    """Register, then do what the input says until it ends."""
    end = pj.Endpoint()
    end.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.medConfig.noVad = True
    config.medConfig.sndAutoCloseTime = -1
    config.logConfig.level = 5
    config.logConfig.consoleLevel = 0
    config.logConfig.filename = settings["log"]
    end.libInit(config)
    transport = pj.TransportConfig()
    transport.port, transport.boundAddress = settings["port"], settings["host"]
    end.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    end.libStart()
    end.audDevManager().setNullDev()
    for codec in end.codecEnum2():
        end.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith("PCMU/") else 0)
    tone = pj.AudioMediaPlayer()
    tone.createPlayer(settings["sound"])
    phone = Phone(settings, tone)
    phone.create(account(settings))
    pending = b""
    while True:
        end.libHandleEvents(POLL)
        phone.forget()
        if not select.select([0], [], [], 0)[0]:
            continue
        piece = os.read(0, 65536)
        if not piece:
            break
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            try:
                phone.do(json.loads(line))
            except pj.Error as error:
                say("error", text=error.info())
    end.hangupAllCalls()
    phone.shutdown()
    end.libDestroy()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
