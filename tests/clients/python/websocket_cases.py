"""What a proxy can break in a WebSocket, case by case: frames by hand, straight to the upstream and through the
gateway, over HTTP/1.1 and as a stream of HTTP/2 (RFC 8441). What comes back must be the same.

The cases follow the groups of the Autobahn suite: framing, pings and pongs, reserved bits, opcodes, fragmentation,
UTF-8, close handling, sizes, compression.
"""

import asyncio
import base64
import os
import ssl
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import h2.settings
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader
from websockets.utils import apply_mask

from script import REQUIRED, expect, options, report

PATIENCE_S = 60
READ_BYTES = 65536
MIB = 1024 * 1024
CUT = "cut inside a frame"
DEFLATE = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"


def frame(opcode: int, data: bytes = b"", fin: bool = True, rsv: int = 0) -> bytes:
    """A masked frame, whatever its rules are (RFC 6455 section 5.2)."""
    head = bytes([fin << 7 | rsv << 4 | opcode])
    match len(data):
        case size if size < 126:
            head += bytes([0x80 | size])
        case size if size < 65536:
            head += b"\xfe" + size.to_bytes(2, "big")
        case size:
            head += b"\xff" + size.to_bytes(8, "big")
    key = os.urandom(4)
    return head + key + apply_mask(data, key)


def text(data: str | bytes, fin: bool = True, rsv: int = 0) -> bytes:
    return frame(Opcode.TEXT, data.encode() if isinstance(data, str) else data, fin, rsv)


def binary(data: bytes, fin: bool = True) -> bytes:
    return frame(Opcode.BINARY, data, fin)


def more(data: bytes, fin: bool = False) -> bytes:
    return frame(Opcode.CONT, data, fin)


def ping(data: bytes = b"") -> bytes:
    return frame(Opcode.PING, data)


def close(code: int = 1000, reason: str = "") -> bytes:
    return frame(Opcode.CLOSE, Close(code, reason).serialize())


def pieces(data: bytes, count: int, between: bytes = b"") -> bytes:
    size = -(-len(data) // count)
    parts = [data[at:at + size] for at in range(0, len(data), size)]
    out = text(parts[0], fin=len(parts) == 1)
    for at, part in enumerate(parts[1:], 2):
        out += between + more(part, fin=at == len(parts))
    return out


def compressed(data: bytes) -> bytes:
    deflate = PerMessageDeflate(True, True, 15, 15)
    return Frame(Opcode.TEXT, data).serialize(mask=True, extensions=[deflate])


def cases() -> Iterator[tuple[str, bytes, int, bytes]]:
    """Name, what is said, how many messages come back to it, and what is said then: the end, or a mistake."""
    end = close()
    for size in (0, 1, 125, 126, 127, 128, 65535, 65536, 128 * 1024):
        yield f"1.1 text of {size}", text("*" * size), 1, end
        yield f"1.2 binary of {size}", binary(b"\xfe" * size), 1, end
    for size in (0, 1, 125):
        yield f"2.1 ping of {size}", text("a"), 1, ping(b"\xff" * size) + end
    yield "2.5 a ping that is too long", text("a"), 1, ping(b"x" * 126) + ping()
    yield "2.7 pongs nobody asked for", text("a"), 1, frame(Opcode.PONG, b"x") + ping(b"y") + end
    yield "2.10 many pings", b"", 0, b"".join(ping(bytes([n])) for n in range(50)) + end
    for bits in range(1, 8):
        yield f"3.1 reserved bits {bits}", text("a"), 1, text("b", rsv=bits) + ping()
    for opcode in (3, 7, 11, 15):
        yield f"4.1 opcode {opcode}", text("a"), 1, frame(opcode, b"b") + ping()
    yield "5.1 a ping in fragments", b"", 0, frame(Opcode.PING, b"a", fin=False) + more(b"b", fin=True)
    yield "5.3 two fragments", pieces(b"fragment", 2), 1, end
    yield "5.6 pings between fragments", pieces(b"f" * 1000, 100, ping(b"between")), 1, end
    yield "5.9 a continuation of nothing", text("a"), 1, more(b"x", fin=True) + text("b")
    yield "5.18 a message within a message", text("a"), 1, text("b", fin=False) + text("c")
    yield "6.1 empty fragments", text("", fin=False) + more(b"") + more(b"", fin=True), 1, end
    yield "6.2 UTF-8", text("Hello-µ@ßöäüàá-UTF-8!! 🦀"), 1, end
    yield "6.2 UTF-8 cut inside characters", pieces("κόσμε🦀".encode(), 14), 1, end
    for bad in (b"\xce\xba\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xf0\x9f\xa6"):
        yield f"6.3 bad UTF-8 {bad.hex()}", text("a"), 1, text(bad)
    yield "7.1 frames behind a close", text("a"), 1, end + text("b") + ping() + end
    yield "7.3 a close without a code", b"", 0, frame(Opcode.CLOSE)
    yield "7.3 a close of one byte", b"", 0, frame(Opcode.CLOSE, b"\x03")
    yield "7.3 the longest reason", b"", 0, close(1000, "r" * 123)
    yield "7.5 a reason that is no UTF-8", b"", 0, frame(Opcode.CLOSE, b"\x03\xe8\xff")
    for code in (1000, 1001, 1003, 1007, 1011, 3000, 4999):
        yield f"7.7 code {code}", text("a"), 1, close(code, "why")
    for code in (0, 999, 1004, 1005, 1006, 1016, 2999, 5000, 65535):
        yield f"7.9 bad code {code}", b"", 0, frame(Opcode.CLOSE, code.to_bytes(2, "big"))
    yield "7.13 a close that the upstream begins", text("a"), 1, text("close 4001 enough of it")
    yield "8.1 a frame without a mask", text("a"), 1, b"\x81\x01a"
    yield "9.1 text of 1 MiB", text("x" * MIB), 1, end
    yield "9.2 binary of 1 MiB", binary(os.urandom(16) * (MIB // 16)), 1, end
    yield "9.3 1 MiB in 64 fragments", pieces(b"y" * MIB, 64, ping(b"p")), 1, end
    yield "9.7 2000 messages", b"".join(text(f"message {n}") for n in range(2000)), 2000, end
    yield "12.1 compressed", compressed(b"compress me " * 1000) + text("plain"), 2, end
    yield "12.2 1 MiB compressed", compressed(b"z" * MIB) + compressed(b"again"), 2, end
    yield "12.3 no compression agreed", text("a"), 1, text("a", rsv=4) + ping()
    yield CUT, text("whole"), 1, binary(b"x" * 300)[:100]


class Http1:
    """The handshake of RFC 6455, and the bytes behind it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, url: str, headers: dict[str, str], trust: ssl.SSLContext | None) -> tuple["Http1", dict]:
        parts = urlsplit(url)
        wire = cls(*await asyncio.open_connection(parts.hostname, parts.port, ssl=trust))
        key = base64.b64encode(os.urandom(16)).decode()
        fields = {
            "Host": parts.netloc, "Connection": "Upgrade", "Upgrade": "websocket",
            "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13", **headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        wire.writer.write(f"GET {parts.path} HTTP/1.1\r\n{lines}\r\n".encode())
        status, *answered = (await wire.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        expect("status", status.split(" ")[1], "101")
        return wire, {name.lower(): value for name, value in (line.split(": ", 1) for line in answered)}

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def finish(self, name: str) -> None:
        if self.writer.can_write_eof():
            self.writer.write_eof()
        elif name == CUT:
            self.writer.close()  # TLS has no half of an end here, and nobody else would end it

    async def received(self) -> AsyncIterator[bytes]:
        try:
            while data := await self.reader.read(READ_BYTES):
                yield data
        except ConnectionError:
            pass
        self.writer.close()


class Http2:
    """A stream of HTTP/2 that was opened by an extended CONNECT (RFC 8441 section 5)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.stream = 0
        self.is_over = False
        self.early = []  # events that came with the answer
        self.moved = asyncio.Condition()

    @classmethod
    async def open(cls, url: str, headers: dict[str, str], trust: ssl.SSLContext | None) -> tuple["Http2", dict]:
        parts = urlsplit(url)
        wire = cls(*await asyncio.open_connection(parts.hostname, parts.port, ssl=trust))
        wire.h2.initiate_connection()
        await wire.flush()
        setting = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
        while wire.h2.remote_settings.get(setting) != 1:
            await wire.events()
        wire.stream = wire.h2.get_next_available_stream_id()
        wire.h2.send_headers(wire.stream, [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", parts.scheme), (":path", parts.path),
            (":authority", parts.netloc), ("sec-websocket-version", "13"),
            *((name.lower(), value) for name, value in headers.items()),
        ])
        await wire.flush()
        while True:
            events = await wire.events()
            for at, event in enumerate(events, 1):
                if isinstance(event, h2.events.ResponseReceived):
                    answered = dict(event.headers)
                    expect("status", answered[":status"], "200")
                    wire.early = events[at:]
                    return wire, answered

    async def events(self) -> list:
        data = await self.reader.read(READ_BYTES)
        if not data:
            raise ConnectionError("the connection has ended")
        events = self.h2.receive_data(data)
        await self.flush()
        return events

    async def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    async def send(self, data: bytes) -> None:
        while data and not self.is_over:
            async with self.moved:
                size = min(self.h2.local_flow_control_window(self.stream), self.h2.max_outbound_frame_size, len(data))
                if size == 0:
                    await self.moved.wait()
                    continue
                self.h2.send_data(self.stream, data[:size])
                data = data[size:]
                await self.flush()

    async def finish(self, name: str) -> None:
        if not self.is_over:
            self.h2.end_stream(self.stream)
            await self.flush()

    async def received(self) -> AsyncIterator[bytes]:
        while not self.is_over:
            events, self.early = self.early or await self.events(), []
            for event in events:
                if isinstance(event, h2.events.DataReceived):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    yield event.data
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset | h2.events.ConnectionTerminated):
                    self.is_over = True
            await self.flush()
            async with self.moved:
                self.moved.notify_all()
        self.writer.close()


class Marked:
    """In place of an extension: a compressed message stays as it came, and says so."""

    def decode(self, one: Frame, *, max_size: int | None = None) -> Frame:
        return replace(one, rsv1=False, data=b"compressed " + bytes(one.data)) if one.rsv1 else one


class Ear:
    """Frames as they come; control frames apart, as an upstream may answer them before or after a message."""

    def __init__(self) -> None:
        self.reader, self.heard = StreamReader(), asyncio.Condition()
        self.messages, self.control = [], []
        self.parser = self.begin()

    def begin(self) -> Generator[None, None, Frame]:
        return Frame.parse(self.reader.read_exact, mask=False, max_size=None, extensions=[Marked()])

    async def hear(self, data: bytes) -> None:
        self.reader.feed_data(data)
        try:
            while True:
                try:
                    next(self.parser)
                    break
                except StopIteration as done:
                    one = done.value
                    kind = self.control if one.opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE) else self.messages
                    kind.append((one.opcode.name, one.fin, bytes(one.data)))
                    self.parser = self.begin()
        finally:
            async with self.heard:
                self.heard.notify_all()

    async def wait_for(self, messages: int) -> None:
        async with self.heard:
            await self.heard.wait_for(lambda: messages <= len(self.messages))


async def converse(
    wire: type, url: str, headers: dict, trust: ssl.SSLContext | None, case: tuple[str, bytes, int, bytes], chop: int,
) -> dict:
    connection, answered = await wire.open(url, headers, trust)
    ear = Ear()
    name, said, answers, last = case

    async def talk() -> None:
        try:
            await ear.wait_for(1)
            for at in range(0, len(said), chop):
                await connection.send(said[at:at + chop])
            await ear.wait_for(1 + answers)
            for at in range(0, len(last), chop):
                await connection.send(last[at:at + chop])
            await connection.finish(name)
        except ConnectionError:
            pass  # the other side has closed: what it said stands

    talking = asyncio.create_task(talk())
    async for piece in connection.received():
        await ear.hear(piece)
    await talking
    chosen = {name: answered.get(f"sec-websocket-{name}") for name in ("extensions", "protocol")}
    # The first message is the handshake as it arrived at the upstream.
    return {"chosen": chosen, "messages": ear.messages[1:], "control": ear.control, "rest": len(ear.reader.buffer)}


def differ(wanted: dict, seen: dict) -> list[str]:
    return [
        f"{key}: {str(wanted[key])[:200]} became {str(seen[key])[:200]}" for key in wanted if wanted[key] != seen[key]
    ]


async def run() -> dict:
    given = options(__doc__, gateway=REQUIRED, direct=REQUIRED, token=REQUIRED, path="/websocket", ca="", wire="http1")
    wire = {"http1": Http1, "http2": Http2}[given.wire]
    trust = ssl.create_default_context(cafile=given.ca) if given.ca else None
    if trust:
        trust.set_alpn_protocols(["h2" if wire is Http2 else "http/1.1"])
    broken, messages, count = [], 0, 0
    for case in cases():
        name, said, *_ = case
        headers = {"Sec-WebSocket-Protocol": "echo.v1, echo.v2"}
        if name.startswith("12.") and "no compression" not in name:
            headers["Sec-WebSocket-Extensions"] = DEFLATE
        direct = await asyncio.wait_for(
            converse(Http1, given.direct + given.path, headers, None, case, MIB), PATIENCE_S)
        headers["Authorization"] = f"Bearer {given.token}"
        chop = 1 if len(said) < 1000 else 777  # bytes at a time
        through = await asyncio.wait_for(
            converse(wire, given.gateway + given.path, headers, trust, case, chop), PATIENCE_S)
        broken += [f"{name}: {what}" for what in differ(direct, through)]
        count += 1
        messages += len(direct["messages"])
    expect("differences", broken, [])
    return {"conversations": count, "messages": messages}


if __name__ == "__main__":
    report("websocket cases", lambda: asyncio.run(run()))
