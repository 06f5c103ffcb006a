"""A neighbour that asks as fast as it is answered: run as a process of its own, told by lines of JSON what to ask.

Each line names a port, a file with the bytes of a whole request, how many connections and for how long; the answer is a
line with every latency in milliseconds and what the last reply was.
"""

import json
import re
import socket
import sys
import threading
from pathlib import Path
from time import perf_counter
from typing import Any

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
TIMEOUT_S = 30


def ask(sock: socket.socket, request: bytes) -> bytes:
    """One request and its whole reply."""
    sock.sendall(request)
    reply = bytearray()
    while (end := reply.find(b"\r\n\r\n")) < 0:
        if not (more := sock.recv(262144)):
            return bytes(reply)
        reply += more
    found = _LENGTH.search(reply, 0, end + 2)
    whole = end + 4 + (int(found[1]) if found else 0)
    while len(reply) < whole and (more := sock.recv(262144)):
        reply += more
    return bytes(reply)


def measure(port: int, request: bytes, connections: int, seconds: float) -> dict[str, Any]:
    """Latencies of so many connections at once."""
    latencies: list[float] = []
    last: list[bytes] = []
    barrier = threading.Barrier(connections)

    def work() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ask(sock, request)
            barrier.wait()
            until = perf_counter() + seconds
            reply = b""
            while (start := perf_counter()) < until:
                reply = ask(sock, request)
                latencies.append((perf_counter() - start) * 1000)
            last.append(reply)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"latencies_ms": latencies, "reply": last[0].decode("latin-1") if last else ""}


def main() -> None:
    """Until there are no more lines."""
    for line in sys.stdin:
        told = json.loads(line)
        found = measure(told["port"], Path(told["request"]).read_bytes(), told["connections"], told["seconds"])
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
