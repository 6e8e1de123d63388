"""Run in a network namespace of its own by test_udp.py: many messages of one size over a loopback whose MTU is 600.

Prints how many of 40 arrived whole and in order, and how many the transport could not send.
"""

import fcntl
import socket
import struct

import uvloop

from sipfast._flow import Flow
from sipfast.driver.clock import Clock
from sipfast.driver.driver import Driver
from sipfast.transport.udp import UdpTransport

SIOCSIFMTU, SIOCSIFFLAGS, IFF_UP = 0x8922, 0x8914, 1


def main() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFMTU, struct.pack("16si12x", b"lo", 600))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    kind = socket.AF_INET, socket.SOCK_DGRAM
    with socket.socket(*kind) as client, socket.socket(*kind) as server:
        for each in (client, server):
            each.bind(("127.0.0.1", 0))
        client.settimeout(10)
        server.setblocking(False)
        transport = UdpTransport(Driver(uvloop.new_event_loop(), Clock(), print))
        transport.add(server)
        words = [b"%03d" % number + b"." * 800 for number in range(40)]
        for word in words:
            transport.send(word, Flow(*client.getsockname()))
        transport.flush()
        arrived = [client.recv(65535) for _ in words]
        print(sum(got == sent for got, sent in zip(arrived, words, strict=True)), transport.counters()["udp_send_errors"])


if __name__ == "__main__":
    main()
