#!/usr/bin/env python3
"""What a warm request costs the gateway, in processor time, with each of these parts on: a plain bearer token, DPoP with
a proof for each request, a token exchanged for the upstream, a signed identity. Each row beside the first, in turns.

    SCOPEGATE=target/release/scopegate tests/.cache/venv/bin/python benches/parts.py [--requests 2000] [--rounds 3]
"""
import argparse
import asyncio
import base64
import hashlib
import http.client
import json
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

ISSUER, AUDIENCE = "https://issuer.test", "https://api.test"
CONFIGURATION = """
workers = 1
listeners = [{{ address = "127.0.0.1:0" }}]
log = {{ access = false }}
[authorization_servers.main]
issuer = "{issuer}"
audiences = ["{audience}"]
jwks_file = "jwks.json"
token_endpoint = "{token_endpoint}"
dpop = {{ window = "10m" }}
[clients.inner]
authorization_server = "main"
client_id = "gateway"
client_secret = {{ file = "secret" }}
grant = "token_exchange"
audience = "https://inner.test"
[signers.identity]
issuer = "https://gateway.test"
audience = "https://inner.test"
[upstreams.api]
endpoints = ["{upstream}"]
[[routes]]
path = "/token"
upstream = "api"
access = {{ scopes = ["read"] }}
[[routes]]
path = "/exchange"
upstream = "api"
access = {{ scopes = ["read"] }}
forward = {{ exchange = "inner" }}
[[routes]]
path = "/signed"
upstream = "api"
access = {{ scopes = ["read"] }}
forward = {{ signed = "identity" }}
"""
EXCHANGED = json.dumps({
    "access_token": "x" * 400, "token_type": "Bearer", "expires_in": 3600,
    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
})


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public_jwk(key):
    numbers = key.public_key().public_numbers()
    return {"crv": "P-256", "kty": "EC", "x": base64url(numbers.x.to_bytes(32)), "y": base64url(numbers.y.to_bytes(32))}


def jwt(key, header, claims):
    signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    r, s = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{base64url(r.to_bytes(32) + s.to_bytes(32))}"


def server(body):
    """A server that answers everything with `body`; gives its port. How many requests it had is in `server.requests`."""
    async def answer(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                requests[writer.get_extra_info("sockname")[1]] = requests.get(port, 0) + 1
                length = re.search(rb"(?i)content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(answer, "127.0.0.1", 0), loop).result()
    port = listening.sockets[0].getsockname()[1]
    return port


requests = {}


class Gateway:
    def __init__(self, folder):
        binary = os.environ.get("SCOPEGATE", "target/release/scopegate")
        self.log = open(folder / "log", "w+")
        self.process = subprocess.Popen([binary, "run", "--config", folder / "gateway.toml"], stderr=self.log)
        address = None
        for _ in range(100):
            address = re.search(r"listening address=(\S+)", (folder / "log").read_text())
            if address:
                break
            time.sleep(0.1)
        if not address:
            raise SystemExit((folder / "log").read_text())
        self.address = address[1]
        self.connection = http.client.HTTPConnection(self.address)

    def processor_time(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cost(self, path, sent):
        """Microseconds of processor time for each of these requests; each must be answered with 200."""
        before = self.processor_time()
        for headers in sent:
            self.connection.request("GET", path, headers=headers)
            response = self.connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise SystemExit(f"{path}: {response.status} {body.decode()}")
        return (self.processor_time() - before) / len(sent) * 1e6


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--requests", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    issuer_key, caller_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    caller_jwk = public_jwk(caller_key)
    thumbprint = base64url(hashlib.sha256(json.dumps(caller_jwk, separators=(",", ":")).encode()).digest())
    token_endpoint = server(EXCHANGED.encode())
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 3600, "iat": now, "sub": "alice", "client_id": "app", "jti": "1", "scope": "read"}
    header = {"alg": "ES256", "kid": "1", "typ": "at+jwt"}
    plain, bound = (jwt(issuer_key, header, claims | more) for more in ({}, {"cnf": {"jkt": thumbprint}}))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "jwks.json").write_text(json.dumps({"keys": [public_jwk(issuer_key) | {"kid": "1", "alg": "ES256"}]}))
        (folder / "secret").write_text("a secret of the gateway's client")
        (folder / "gateway.toml").write_text(CONFIGURATION.format(
            issuer=ISSUER, audience=AUDIENCE, token_endpoint=f"http://127.0.0.1:{token_endpoint}/token",
            upstream=f"http://127.0.0.1:{server(b'x' * 1024)}"))
        gateway = Gateway(folder)

        def proof():
            said = {"htm": "GET", "htu": f"http://{gateway.address}/token", "iat": int(time.time()), "jti": str(uuid.uuid4()),
                    "ath": base64url(hashlib.sha256(bound.encode()).digest())}
            return {"Authorization": f"DPoP {bound}", "DPoP": jwt(caller_key, {"alg": "ES256", "typ": "dpop+jwt", "jwk": caller_jwk}, said)}

        bearer = {"Authorization": f"Bearer {plain}"}
        rows = {"bearer": ("/token", lambda: bearer), "DPoP": ("/token", proof), "exchange": ("/exchange", lambda: bearer),
                "signed identity": ("/signed", lambda: bearer)}
        try:
            seen = {name: [] for name in rows}
            for turn in range(options.rounds + 1):  # the first warms up
                for name, (path, headers) in rows.items():
                    sent = [headers() for _ in range(options.requests if turn else 100)]
                    cost = gateway.cost(path, sent)
                    if turn:
                        seen[name].append(cost)
            print(f"{'part':16} {'cpu_us':>7} {'x bearer':>9}   each round")
            first = statistics.median(seen["bearer"])
            for name, costs in seen.items():
                median = statistics.median(costs)
                print(f"{name:16} {median:7.1f} {median / first:9.2f}   {' '.join(f'{cost:.1f}' for cost in costs)}")
            print(f"requests to the token endpoint: {requests.get(token_endpoint, 0)}")
        finally:
            gateway.process.terminate()
            gateway.process.wait(20)


if __name__ == "__main__":
    main()
