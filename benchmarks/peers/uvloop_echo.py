"""A bare uvloop DatagramProtocol that echoes, the usual way in Python: python -m benchmarks.peers.uvloop_echo PORT BUFFER"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvloop


class Echo(asyncio.DatagramProtocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


async def main() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(sys.argv[2]))
        bound.bind(("127.0.0.1", int(sys.argv[1])))
        bound.setblocking(False)
        await loop.create_datagram_endpoint(Echo, sock=bound)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
