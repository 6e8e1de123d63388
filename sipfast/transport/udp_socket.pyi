"""Typed face of the compiled module `udp_socket`: a bound UDP socket, its kernel buffers, and what leaves by it."""

from socket import socket as Socket

BATCHED: bool
"""Whether the platform reads and sends many datagrams with one call (recvmmsg, sendmmsg)."""

def widen(socket: Socket, size: int) -> tuple[int, int]:
    """Make the kernel's buffers of a socket `size` bytes each, past the system's limit where that is allowed.

    Returns the bytes attained for receiving and sending.
    """

def kernel_drops(socket: Socket) -> int:
    """Datagrams for the socket that the kernel has thrown away so far, mostly since nobody read fast enough."""

def ask_for_errors(socket: Socket) -> bool:
    """Have a UDP socket keep what the network says about what was sent by it (IP_RECVERR). Returns whether it does."""

def may_segment(socket: Socket) -> bool:
    """Whether the kernel cuts what is handed to it in one piece: Linux since 4.18. An older one would send it as it is."""
