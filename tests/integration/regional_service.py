"""A service of one region, for a test to kill: `python -m tests.integration.regional_service NAME [grpc]`.

Says its port on standard output. Over HTTP/1.1 it answers every request with its name; over gRPC, every call of
`/test.Regions/Where`. A request for `/hold` (with gRPC: the message `hold`) is answered after the next `release` on
standard input; how many are held is said on standard output.
"""

from __future__ import annotations

import asyncio
import sys

import grpc
import grpc.aio
import h11


class Service:
    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.release = asyncio.Event()
        self.held = 0

    async def hold(self) -> None:
        self.held += 1
        print(f"held {self.held}", flush=True)
        await self.release.wait()

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(65_536))
                elif isinstance(event, h11.Request):
                    if event.target == b"/hold":
                        await self.hold()
                elif isinstance(event, h11.EndOfMessage):
                    self._answer(connection, writer)
                    await writer.drain()
                    if connection.our_state is h11.MUST_CLOSE:
                        return
                    connection.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed):
                    return
        except (ConnectionError, h11.ProtocolError):
            return
        finally:
            writer.close()

    def _answer(self, connection: h11.Connection, writer: asyncio.StreamWriter) -> None:
        events = (
            h11.Response(status_code=200, headers=[("content-length", str(len(self.name)))]),
            h11.Data(self.name),
            h11.EndOfMessage(),
        )
        # In one piece: half an answer of a killed service is one that no proxy can ask for again.
        writer.write(b"".join(connection.send(event) or b"" for event in events))

    async def where(self, request: bytes, context: object) -> bytes:
        if request == b"hold":
            await self.hold()
        return self.name


async def main(name: str, kind: str) -> None:
    service = Service(name)
    if kind == "grpc":
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        method = grpc.unary_unary_rpc_method_handler(service.where)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Regions", {"Where": method}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
    else:
        listening = await asyncio.start_server(service.http, "127.0.0.1", 0, backlog=256)
        port = listening.sockets[0].getsockname()[1]
    print(port, flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        service.release.set()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "http"))
