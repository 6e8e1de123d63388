"""What goes over loopback, seen from outside of all programs: SIP messages in their order, and RTP packets counted.

A packet socket of the kernel's (Linux, as root), with a filter for the ports that are watched, so that the traffic of other
tests costs nothing.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from net.sipwire import Sip

BUFFER = 8 << 20  # octets: what comes until a test looks
SO_ATTACH_FILTER, SO_TIMESTAMPNS, SO_RCVBUFFORCE = 26, 35, 33  # <asm-generic/socket.h>
ETH_P_IP = 0x0800  # asked for by protocol, packets are seen as they come only, not as they leave, too
ETHERNET, IP, UDP = 14, 20, 8  # octets of headers; loopback has no IP options

# <linux/filter.h>: load half-word, load byte; jump if equal, if greater, if not less; return
LDH, LDB, JEQ, JGT, JGE, RET = 0x28, 0x30, 0x15, 0x25, 0x35, 0x06
NEXT, KEEP, DROP = 0, -1, -2  # where a jump goes


@dataclass(frozen=True)
class Seen:
    """One SIP message: when (s), from which port to which."""

    at: float
    source: int
    target: int
    message: Sip


class Wire:
    """Sees what concerns its ports, from when they were named."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # which sees nothing before `bind`
        except (AttributeError, PermissionError):
            pytest.skip("not Linux or not root, so nobody counts what goes over the wire")
        self._ports: list[range] = []
        self._filter()
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        self._socket.bind(("lo", ETH_P_IP))
        self.messages: list[Seen] = []
        self.rtp: Counter[tuple[int, int]] = Counter()

    def watch(self, *ports: int | range) -> None:
        """See what comes from and goes to these, too."""
        self._ports += [port if isinstance(port, range) else range(port, port + 1) for port in ports]
        self._filter()

    def read(self) -> None:
        """Take in what has been seen."""
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(65600, socket.CMSG_SPACE(16))
            except BlockingIOError:
                return
            at = _seconds(ancillary[0][2]) if ancillary else time.time()
            self._take(data[ETHERNET + IP :], at)

    def _take(self, packet: bytes, at: float) -> None:
        source, target = struct.unpack("!HH", packet[:4])
        data = packet[UDP:]
        # RFC 3550 §5.1: version 2; a payload type of RTP, not of RTCP (RFC 5761 §4). No SIP message begins like that.
        if len(data) >= 12 and data[0] >> 6 == 2 and not 64 <= data[1] & 0x7F <= 95:
            self.rtp[source, target] += len(set(data[12:])) > 1  # not silence
            return
        # Datagrams that were handed to the kernel in one piece (UDP_SEGMENT) pass here in one piece, too.
        while b"\r\n\r\n" in (data := data.lstrip(b"\r\n")):  # empty lines keep a NAT's mapping (RFC 5626 §3.5.1)
            message = Sip(data)
            self.messages.append(Seen(at, source, target, message))
            data = data[data.index(b"\r\n\r\n") + 4 + len(message.body) :]

    def sound(self, source: range, target: range) -> int:
        """How many RTP packets with sound in them went from one of these ports to one of those."""
        self.read()
        return sum(count for (a, b), count in self.rtp.items() if a in source and b in target)

    def unanswered(self) -> list[str]:
        """Requests without a final answer."""
        self.read()
        answered = {
            (one.target, one.source, one.message.branch, one.message.method)
            for one in self.messages
            if one.message.status >= 200
        }
        return [
            one.message.title
            for one in self.messages
            if not one.message.status
            and one.message.method != "ACK"
            and (one.source, one.target, one.message.branch, one.message.method) not in answered
        ]

    def ladder(self, names: Mapping[int | None, str]) -> str:
        """The messages one a line, with the names of whose ports they are."""
        self.read()
        start = self.messages[0].at if self.messages else 0.0
        return "\n".join(
            f"{one.at - start:8.3f} {names.get(one.source, one.source):>10} -> {names.get(one.target, one.target):<10} "
            f"{one.message.title}  [{one.message.first('cseq')}, {one.message.call_id[:12]}]"
            for one in self.messages
        )

    def close(self) -> None:
        """See nothing any more."""
        self._socket.close()

    def _filter(self) -> None:
        """Have the kernel drop all but UDP of the watched ports."""
        code = [(LDH, 0, 0, ETHERNET - 2), (JEQ, NEXT, DROP, ETH_P_IP)]
        code += [(LDB, 0, 0, ETHERNET + 9), (JEQ, NEXT, DROP, socket.IPPROTO_UDP)]
        for offset in (0, 2):  # source port, target port
            code.append((LDH, 0, 0, ETHERNET + IP + offset))
            for ports in self._ports:
                code += [(JGE, NEXT, 1, ports.start), (JGT, NEXT, KEEP, ports.stop - 1)]
        end = len(code)
        away = {DROP: end, KEEP: end + 1}  # the two returns
        code = [(op, *(away[to] - i - 1 if to < 0 else to for to in (yes, no)), value) for i, (op, yes, no, value) in
                enumerate(code)]  # fmt: skip
        code += [(RET, 0, 0, 0), (RET, 0, 0, 65600)]
        program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
        pointer = struct.pack("@HP", len(code), ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)


def _seconds(stamp: bytes) -> float:
    seconds, nanoseconds = struct.unpack("@ll", stamp)
    return float(seconds + nanoseconds / 1e9)
