"""Browsers that listen to one stream of server-sent events each, and count what comes.

usage: python -m bench.browsers ADDRESS PATH COUNT [gzip]   (each line on its standard input asks for the counts so far)
"""

from __future__ import annotations

import json
import selectors
import socket
import sys

MARK = b"\nevent: "
FLUSHED = b"\0\0\xff\xff"


def main() -> None:
    address, path, count, packed = sys.argv[1], sys.argv[2], int(sys.argv[3]), "gzip" in sys.argv[4:]
    accepted = "gzip" if packed else "identity"
    host, port = address.rsplit(":", 1)
    selector = selectors.DefaultSelector()
    for _ in range(count):
        line = socket.create_connection((host, int(port)))
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept-Encoding: {accepted}\r\n\r\n".encode())
        line.setblocking(False)
        selector.register(line, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    events = received = 0
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                if not sys.stdin.readline():
                    return
                sys.stdout.write(json.dumps({"events": events, "bytes": received}) + "\n")
                sys.stdout.flush()
                continue
            assert isinstance(key.fileobj, socket.socket)
            piece = key.fileobj.recv(1 << 18)
            if not piece:
                raise SystemExit("a stream ended")
            received += len(piece)
            # What is compressed is counted by the empty block at the end of each frame.
            events += piece.count(FLUSHED if packed else MARK)


if __name__ == "__main__":
    main()
