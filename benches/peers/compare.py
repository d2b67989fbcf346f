#!/usr/bin/env python3
"""Hold scopegate against other proxies on one machine, interleaved, in CPU time per request. README.md says how.

compare.py [--rounds 3] [--seconds 4] [--connections 64] [--add NAME=PORT[,TLSPORT]=COMMAND]... [NAME...]

Each proxy is pinned to processor 0 with one worker; upstream and load generator to processor 1. The figure that holds on a
noisy machine is `cpu_us`: the proxy's user+system time divided by the requests it answered. NAME picks rows of the table
(default: all). --add puts in another proxy: COMMAND is started, must listen on 127.0.0.1:PORT (and with TLS, KEYS/tls.crt and
KEYS/tls.key, on TLSPORT, HTTP/1.1 and HTTP/2 by ALPN), and gets KEYS in its environment. Rows in -tls are HTTP/1.1 by wrk, held
against nginx-tls; rows in -h2 are h2load, 32 streams a connection over 16 connections, one token, held against nginx-h2.
SCRATCH: a scratch folder; keys and tokens are minted there once. SCOPEGATE: the binary (default: target/release/scopegate).
"""
import argparse, os, pathlib, re, shlex, signal, socket, statistics, string, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(os.environ.get("SCRATCH", pathlib.Path(tempfile.gettempdir()) / "scopegate-peers"))
KEYS = WORK / "keys"
TICK = os.sysconf("SC_CLK_TCK")
# row: (server, port, algorithm of the token or None, distinct tokens)
ROWS = {
    "nginx-plain": ("nginx", 9101, None, 0),
    "haproxy-plain": ("haproxy", 9102, None, 0),
    "envoy-plain": ("envoy", 9105, None, 0),
    "nginx-tls": ("nginx", 9111, None, 0),
    "haproxy-tls": ("haproxy", 9112, None, 0),
    "envoy-tls": ("envoy", 9115, None, 0),
    "nginx-h2": ("nginx", 9111, None, 0),
    "haproxy-h2": ("haproxy", 9112, None, 0),
    "envoy-h2": ("envoy", 9115, None, 0),
    "haproxy-rs256": ("haproxy", 9103, "RS256", 20_000),
    "haproxy-es256": ("haproxy", 9104, "ES256", 20_000),
    "envoy-rs256-20k": ("envoy", 9106, "RS256", 20_000),
    "envoy-es256-20k": ("envoy", 9106, "ES256", 20_000),
    "envoy-rs256-warm": ("envoy", 9107, "RS256", 100),
    "apache-rs256-warm": ("apache", 9108, "RS256", 100),
    "apache-rs256-20k": ("apache", 9108, "RS256", 20_000),
    "apache-opaque-warm": ("apache", 9109, "RS256", 100),
}


def render(name):
    """Fill ${KEYS}, ${RUN} and ${BODY} into one of the configuration files; returns the rendered path."""
    run = WORK / "run"
    run.mkdir(parents=True, exist_ok=True)
    text = (HERE / name).read_text()
    for key, value in {"KEYS": str(KEYS), "RUN": str(run), "BODY": "x" * 1024}.items():
        text = text.replace("${%s}" % key, value)
    (run / "introspection-secret").write_text("rs")
    path = run / name
    path.write_text(text)
    return path


def envoy_binary():
    import importlib.util
    spec = importlib.util.find_spec("envoy")
    return str(pathlib.Path(list(spec.submodule_search_locations)[0]) / "_bin" / "envoy")


def scopegate_binary():
    binary = pathlib.Path(os.environ.get("SCOPEGATE", HERE.parents[1] / "target/release/scopegate"))
    return str(binary) if binary.exists() else sys.exit(f"{binary} is missing: cargo build --release")


COMMANDS = {
    "nginx": lambda: ["nginx", "-c", str(render("proxy.nginx.conf"))],
    "haproxy": lambda: ["haproxy", "-db", "-f", str(render("haproxy.cfg"))],
    "envoy": lambda: [envoy_binary(), "-c", str(render("envoy.yaml")), "--concurrency", "1", "-l", "error", "--use-dynamic-base-id"],
    "scopegate": lambda: [scopegate_binary(), "run", "--config", str(render("scopegate.toml"))],
    "apache": lambda: ["apache2", "-DFOREGROUND", "-f", str(render("apache.conf"))],
}


def start(command, processor):
    log = open(WORK / "run" / (pathlib.Path(command[0]).name + ".log"), "ab")
    return subprocess.Popen(["taskset", "-c", str(processor)] + command, stdout=log, stderr=log,
                            start_new_session=True, env={**os.environ, "KEYS": str(KEYS)})


def wait_port(port, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on 127.0.0.1:{port}")


def family(pid):
    """The process and its descendants."""
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        try:
            queue += map(int, pathlib.Path(f"/proc/{one}/task/{one}/children").read_text().split())
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    total = 0
    for one in family(pid):
        try:
            fields = pathlib.Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total / TICK


def rss_mib(pid):
    total = 0
    for one in family(pid):
        try:
            total += int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{one}/status").read_text())[1])
        except (OSError, TypeError):
            pass
    return total / 1024


UNIT_MS = {"us": 1e-3, "ms": 1, "s": 1e3}


def load_h2(port, algorithm, seconds):
    """h2load over TLS: it reports no percentiles, so the mean stands for p50 and the maximum for p99."""
    token = ["-H", "authorization: Bearer " + (KEYS / f"{algorithm}.tokens").open().readline().strip()] if algorithm else []
    out = subprocess.run(["taskset", "-c", "1", "h2load", "-t1", "-c16", "-m32", "-D", str(seconds), *token,
                          f"https://127.0.0.1:{port}/"], capture_output=True, text=True, check=True).stdout
    done = re.search(r"requests: \d+ total, \d+ started, (\d+) done, \d+ succeeded, (\d+) failed", out)
    longest, mean = re.search(r"time for request:\s+\S+\s+([\d.]+(?:us|ms|s))\s+([\d.]+(?:us|ms|s))", out).groups()
    in_ms = lambda text: float(re.match(r"[\d.]+", text)[0]) * UNIT_MS[re.search(r"[a-z]+", text)[0]]
    return {"requests": int(done[1]), "refused": int(done[2]), "errors": "", "p50": in_ms(mean), "p99": in_ms(longest),
            "rps": float(re.search(r"finished in [^,]+, ([\d.]+) req/s", out)[1])}


def load(port, algorithm, tokens, seconds, connections, scheme="http"):
    env = {**os.environ, "TOKENS": str(tokens or 1)}
    if algorithm:
        env["TOKEN_FILE"] = str(KEYS / f"{algorithm}.tokens")
    out = subprocess.run(["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
                          "-s", str(HERE / "bearer.lua"), f"{scheme}://127.0.0.1:{port}"],
                         capture_output=True, text=True, env=env, check=True).stdout
    requests = int(re.search(r"(\d+) requests in", out)[1])
    refused = int((re.search(r"Non-2xx or 3xx responses: (\d+)", out) or [0, 0])[1])
    errors = re.search(r"Socket errors: (.*)", out)
    def percentile(name):
        value, suffix = re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(value) * UNIT_MS[suffix]
    return {"requests": requests, "refused": refused, "errors": errors[1] if errors else "",
            "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), "p50": percentile(50), "p99": percentile(99)}


def rows_of(name, port, tls_port):
    """Every row of a proxy that judges RS256, ES256 and opaque tokens at one port."""
    kinds = {
        "rs256-warm": ("RS256", 100), "rs256-20k": ("RS256", 20_000), "es256-20k": ("ES256", 20_000),
        "opaque-warm": ("opaque", 100), "opaque-20k": ("opaque", 20_000),
    }
    rows = {f"{name}-{kind}": (name, port, *tokens) for kind, tokens in kinds.items()}
    if tls_port:
        rows[f"{name}-rs256-warm-tls"] = (name, tls_port, "RS256", 100)
        rows[f"{name}-rs256-warm-h2"] = (name, tls_port, "RS256", 1)
    return rows


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=4)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--add", action="append", default=[])
    options.add_argument("names", nargs="*")
    options = options.parse_args()
    (WORK / "run").mkdir(parents=True, exist_ok=True)
    if not (KEYS / "jwks.json").exists():
        subprocess.run([sys.executable, str(HERE / "mint.py"), str(KEYS)], check=True)
    if not (KEYS / "tls.crt").exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", str(KEYS / "tls.key"), "-out", str(KEYS / "tls.crt")], check=True, capture_output=True)
        (KEYS / "tls.pem").write_text((KEYS / "tls.crt").read_text() + (KEYS / "tls.key").read_text())
    rows = dict(ROWS)
    rows |= rows_of("scopegate", 9120, 9121)
    for added in options.add:
        name, ports, command = added.split("=", 2)
        port, _, tls_port = ports.partition(",")
        COMMANDS[name] = lambda command=command: shlex.split(string.Template(command).safe_substitute(KEYS=str(KEYS)))
        rows[f"{name}-plain"] = (name, int(port), None, 0)
        rows |= rows_of(name, int(port), int(tls_port) if tls_port else None)
    picked = options.names or list(rows)
    servers = {rows[name][0] for name in picked}
    running, results = {}, {name: [] for name in picked}
    try:
        running["upstream"] = start(["nginx", "-c", str(render("upstream.nginx.conf"))], 1)
        running["authserver"] = start([sys.executable, str(HERE / "authserver.py")], 1)
        wait_port(9100), wait_port(9110)
        for server in servers:
            running[server] = start(COMMANDS[server](), 0)
        for name in picked:
            wait_port(rows[name][1])
        for round_number in range(options.rounds + 1):
            for name in picked:
                server, port, algorithm, tokens = rows[name]
                pid = running[server].pid
                before = cpu_seconds(pid)
                seconds = options.seconds if round_number else 1
                measured = load_h2(port, algorithm, seconds) if name.endswith("-h2") else load(
                    port, algorithm, tokens, seconds, options.connections, "https" if name.endswith("-tls") else "http")
                measured["cpu_us"] = (cpu_seconds(pid) - before) / max(measured["requests"], 1) * 1e6
                measured["rss"] = rss_mib(pid)
                if round_number:
                    results[name].append(measured)
    finally:
        for process in running.values():
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
    median = lambda name, key: statistics.median(one[key] for one in results[name])
    floors = {kind: median(row, "cpu_us") for kind, row in (("plain", "nginx-plain"), ("tls", "nginx-tls"), ("h2", "nginx-h2")) if results.get(row)}
    print(f"{'row':24} {'cpu_us':>8} {'x nginx':>8} {'req/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'RSS MiB':>8}  refused")
    for name in picked:
        floor = floors.get(name.rsplit("-", 1)[1] if name.endswith(("-tls", "-h2")) else "plain")
        ratio = f"{median(name, 'cpu_us') / floor:8.2f}" if floor else " " * 8
        print(f"{name:24} {median(name, 'cpu_us'):8.1f} {ratio} {median(name, 'rps'):9.0f} {median(name, 'p50'):8.2f} "
              f"{median(name, 'p99'):8.2f} {median(name, 'rss'):8.1f}  {sum(one['refused'] for one in results[name])} {results[name][0]['errors']}")


main()
