"""A TCP link with a long round trip: ``delay_link.py PORT HOST TARGET_PORT SECONDS``.

Bytes arrive half a round trip later, whatever the bandwidth; a new connection costs a whole one, as a handshake does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a TCP reset."""
    linger = struct.pack("ii", 1, 0)
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lag: float) -> bool:
    """Pass bytes on, each so many seconds after it came; False if the connection was reset at either end."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(512)

    async def fill() -> None:
        data: bytes | None = b"x"
        while data:
            try:
                data = await reader.read(1 << 17)
            except ConnectionError:
                data = None
            await queue.put((loop.time() + lag, data))

    filling = asyncio.create_task(fill())
    try:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                if data is not None:
                    writer.write_eof()
                return data is not None
            writer.write(data)
            await writer.drain()
    except OSError:
        return False
    finally:
        filling.cancel()


async def main(port: int, host: str, target: int, delay: float) -> None:
    """Serve until killed."""

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(delay)
        try:
            far_reader, far_writer = await asyncio.open_connection(host, target, limit=1 << 20)
        except OSError:
            reset(writer)
            return
        for end in (writer, far_writer):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        directions = [
            asyncio.create_task(carry(*ends, delay / 2)) for ends in ((reader, far_writer), (far_reader, writer))
        ]
        for direction in asyncio.as_completed(directions):
            if not await direction:
                reset(writer)
                reset(far_writer)
                break
        for task in directions:
            task.cancel()
        writer.close()
        far_writer.close()

    server = await asyncio.start_server(link, "127.0.0.1", port, limit=1 << 20, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
