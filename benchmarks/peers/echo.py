"""The C-speed echo of benchmarks/loadgen/echo.pyx as a server: python -m benchmarks.peers.echo PORT BUFFER [one-by-one]"""

from __future__ import annotations

import socket
import sys

from ..build import ensure_built


def main() -> None:
    ensure_built("loadgen")
    from ..loadgen import echo

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(sys.argv[2]))
        bound.bind(("127.0.0.1", int(sys.argv[1])))
        echo.serve(bound.fileno(), "one-by-one" not in sys.argv)


if __name__ == "__main__":
    main()
