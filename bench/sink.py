"""The least that a server can do: take in each body, throw it away, and say yes. What the load reaches here is the most
that it can show of any server. ``python -m bench.sink PORT``"""

from __future__ import annotations

import re
import socket
import sys
import threading

LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
OFFSET = re.compile(rb"upload-offset: *([0-9]+)", re.IGNORECASE)
ANSWERS = {
    b"POST": "201 Created\r\nLocation: /files/x\r\nContent-Length: 0",
    b"HEAD": "200 OK\r\nContent-Length: 0",
}


def serve(connection: socket.socket) -> None:
    """One connection, until it ends."""
    buffer, head = bytearray(1024 * 1024), b""
    while True:
        while b"\r\n\r\n" not in head:
            block = connection.recv(65536)
            if not block:
                return
            head += block
        request, _, head = head.partition(b"\r\n\r\n")
        said = LENGTH.search(request)
        size = int(said[1]) if said else 0
        missing, head = size - len(head[:size]), head[size:]
        while missing:
            missing -= connection.recv_into(buffer, min(missing, len(buffer)))
        at = OFFSET.search(request)
        offset = (int(at[1]) if at else 0) + size
        status = ANSWERS.get(request.partition(b" ")[0], "204 No Content")
        connection.sendall(f"HTTP/1.1 {status}\r\nUpload-Offset: {offset}\r\n\r\n".encode())


def main() -> None:
    """Serve until killed."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=2048) as listener:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
