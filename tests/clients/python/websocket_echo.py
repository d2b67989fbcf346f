"""A WebSocket upstream that echoes messages.

The first message is JSON: the handshake as it arrived. Then each message comes back; `close 4001 why` closes
with that code and reason, `ping` sends a ping and says how long the pong took. Of the subprotocols offered it
takes the first that it knows, or none.
"""

import asyncio
import json
import logging

from websockets.asyncio.server import ServerConnection, serve

from script import options, ready

MESSAGE_MAX_BYTES = 32 * 1024 * 1024
SUBPROTOCOLS = ("echo.v2", "echo.v1")


async def echo(connection: ServerConnection) -> None:
    request = connection.request
    await connection.send(json.dumps({
        "target": request.path, "headers": list(request.headers.raw_items()), "subprotocol": connection.subprotocol,
    }))
    async for message in connection:
        match message.split(" ", 2) if isinstance(message, str) else []:
            case ["close", code, reason]:
                return await connection.close(int(code), reason)
            case ["ping"]:
                await connection.send(f"pong after {await (await connection.ping()):.6f} s")
            case _:
                await connection.send(message)


def choose(connection: ServerConnection, offered: list[str]) -> str | None:
    return next((name for name in offered if name in SUBPROTOCOLS), None)


async def main() -> None:
    given = options(__doc__, host="127.0.0.1", port=0)
    logging.disable()  # some clients break rules on purpose, and each time it would print where it noticed
    async with serve(
        echo, given.host, given.port, select_subprotocol=choose, max_size=MESSAGE_MAX_BYTES,
    ) as server:
        port = server.sockets[0].getsockname()[1]
        ready(url=f"http://{given.host}:{port}", port=port)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
