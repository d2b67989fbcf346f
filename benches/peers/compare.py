#!/usr/bin/env python3
"""Hold scopegate against other proxies on one machine, interleaved, in CPU time per request. README.md says how.

compare.py [--rounds 3] [--seconds 4] [--connections 64] [--add NAME=PORT[,TLSPORT]=COMMAND]... --all | NAME...

rows.py has the rows and the servers. --all builds scopegate, measures every row whose programs are there, and says what is missing.
Each proxy has processor 0 to itself and one worker; upstream and load generator have the others. The figure that holds on a noisy
machine is `cpu_us`: the proxy's user+system time divided by the requests it answered. --add puts in another proxy: COMMAND is
started, must listen on 127.0.0.1:PORT (and with TLS, KEYS/tls.crt and KEYS/tls.key, on TLSPORT, HTTP/1.1 and HTTP/2 by ALPN), and
gets KEYS in its environment. Rows by "tls" are HTTP/1.1 by wrk; rows by "h2" are h2load, 32 streams a connection over 16
connections, one token. SCRATCH: a scratch folder; keys and tokens are minted there once. SCOPEGATE: the binary (default:
target/release/scopegate).
"""
import argparse, http.client, importlib.util, json, os, pathlib, re, resource, shlex, shutil, signal, socket, ssl, statistics, string
import subprocess, sys, tempfile, time

import idle
from rows import ROWS, SERVERS, Row, Server, judging

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(os.environ.get("SCRATCH", pathlib.Path(tempfile.gettempdir()) / "scopegate-peers"))
KEYS, RUN = WORK / "keys", WORK / "run"
TICK = os.sysconf("SC_CLK_TCK")
PROCESSORS = os.cpu_count()
# With 4 or more, two are left to the proxy, and upstream and generator do not share one.
UPSTREAM, GENERATOR = ("2", f"3-{PROCESSORS - 1}") if PROCESSORS >= 4 else ("1", "1")
GENERATOR_THREADS = max(1, min(PROCESSORS - 3, 4))
TOKENS_LAST_S = 82_800


def program(name):
    """Where a program is, or None."""
    if name == "scopegate":
        binary = pathlib.Path(os.environ.get("SCOPEGATE", HERE.parents[1] / "target/release/scopegate"))
        return str(binary) if binary.exists() else None
    if name == "envoy" and (found := importlib.util.find_spec("envoy")):
        return str(pathlib.Path(list(found.submodule_search_locations)[0]) / "_bin" / "envoy")
    return shutil.which(name)


def render(name, config, fill):
    """Fill ${KEYS}, ${RUN}, ${BODY} and the server's own into one of the configuration files; returns the rendered path."""
    text = (HERE / config).read_text()
    for key, value in {"KEYS": str(KEYS), "RUN": str(RUN), "BODY": "x" * 1024, **dict(fill)}.items():
        text = text.replace("${%s}" % key, value)
    path = RUN / f"{name}-{config}"
    path.write_text(text)
    return path


def command(name, server):
    config = str(render(name, server.config, server.fill)) if server.config else ""
    filled = [string.Template(word).safe_substitute(CONFIG=config, KEYS=str(KEYS)) for word in server.command]
    return [program(filled[0]) or filled[0], *filled[1:]]


def start(name, words, processors):
    # Emptied at each start: one of them is an access log.
    log = open(RUN / f"{name}.log", "wb")
    return subprocess.Popen(["taskset", "-c", processors] + words, stdout=log, stderr=log, start_new_session=True,
                            env={**os.environ, "KEYS": str(KEYS)})


def start_server(name):
    server = SERVERS[name]
    return start(name, command(name, server), f"0-{min(server.processors, PROCESSORS) - 1}")


def stop(process):
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass


def wait_port(port, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on 127.0.0.1:{port}; its log is in {RUN}")


def refuse_taken(ports):
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                sys.exit(f"127.0.0.1:{port} is taken: is another comparison running?")


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


UNIT_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1, "s": 1e3}


def in_ms(text):
    return float(re.match(r"[\d.]+", text)[0]) * UNIT_MS[re.search(r"[a-zµ]+$", text)[0]]


def generate(words, **environment):
    out = subprocess.run(["taskset", "-c", GENERATOR, *words], capture_output=True, text=True, env={**os.environ, **environment})
    return out.stdout if out.returncode == 0 else sys.exit(f"{shlex.join(words)}: {out.stderr}")


def first_token(row):
    return (KEYS / f"{row.tokens}.tokens").open().readline().strip() if row.tokens else None


def by_h2load(row, options, seconds):
    """h2load over TLS: it reports no percentiles, so the mean stands for p50 and the maximum for p99."""
    token = ["-H", f"authorization: Bearer {first_token(row)}"] if row.tokens else []
    out = generate(["h2load", "-t1", "-c16", "-m32", "-D", str(seconds), *token, f"https://127.0.0.1:{row.port}{row.path}"])
    done = re.search(r"requests: \d+ total, \d+ started, (\d+) done, \d+ succeeded, (\d+) failed", out)
    longest, mean = re.search(r"time for request:\s+\S+\s+([\d.]+(?:us|ms|s))\s+([\d.]+(?:us|ms|s))", out).groups()
    return {"requests": int(done[1]), "refused": int(done[2]), "errors": "", "p50": in_ms(mean), "p99": in_ms(longest),
            "rps": float(re.search(r"finished in [^,]+, ([\d.]+) req/s", out)[1])}


def by_wrk(row, options, seconds):
    environment = {"TOKENS": str(row.distinct or 1), "TARGET": row.path, "TARGETS": str(row.paths), "BODY_BYTES": str(row.body_bytes)}
    if row.tokens:
        environment["TOKEN_FILE"] = str(KEYS / f"{row.tokens}.tokens")
    scheme = "https" if row.by == "tls" else "http"
    out = generate(["wrk", f"-t{GENERATOR_THREADS}", f"-c{options.connections}", f"-d{seconds}s", "--latency", "-s", str(HERE / "bearer.lua"),
                    f"{scheme}://127.0.0.1:{row.port}"], **environment)
    errors = re.search(r"Socket errors: (.*)", out)
    percentile = lambda name: in_ms(re.search(rf"{name}%\s+([\d.]+(?:us|ms|s))", out)[1])
    return {"requests": int(re.search(r"(\d+) requests in", out)[1]), "errors": errors[1] if errors else "",
            "refused": int((re.search(r"Non-2xx or 3xx responses: (\d+)", out) or [0, 0])[1]),
            "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), "p50": percentile(50), "p99": percentile(99)}


def by_open_loop(row, options, seconds, rate):
    tokens = []
    if row.tokens:
        some = RUN / f"{row.tokens}-{row.distinct}.tokens"
        with (KEYS / f"{row.tokens}.tokens").open() as lines:
            some.write_text("".join(line for line, _ in zip(lines, range(row.distinct))))
        tokens = ["--tokens", str(some)]
    report = json.loads(generate([program("scopegate"), "load", "--url", f"http://127.0.0.1:{row.port}{row.path}", *tokens, "--connections",
                                  str(options.connections), "--duration", f"{seconds}s", "--rate", str(max(1, round(rate))), "--json"]))
    refused = sum(count for status, count in report["statuses"].items() if status >= "400")
    unserved = {"failed": report["errors"]["total"], "not begun": report["schedule"]["not_started"]}
    return {"requests": report["answers"], "refused": refused, "rps": report["rps"], "p50": report["latency_ms"]["p50"],
            "p99": report["latency_ms"]["p99"], "errors": ", ".join(f"{count} {what}" for what, count in unserved.items() if count)}


def check_status(name, row):
    """Asks once before anything is measured: a row that measures the wrong answer is worse than none."""
    connection = http.client.HTTPConnection("127.0.0.1", row.port, timeout=10)
    if row.by in ("tls", "h2"):
        connection = http.client.HTTPSConnection("127.0.0.1", row.port, timeout=10, context=ssl._create_unverified_context())
    headers = {"Authorization": f"Bearer {first_token(row)}"} if row.tokens else {}
    body = b"x" * row.body_bytes if row.body_bytes else None
    connection.request("POST" if body else "GET", row.path.replace("{n}", "0"), body, headers)
    answer = connection.getresponse()
    if answer.status != row.status:
        sys.exit(f"{name}: {answer.status} instead of {row.status}: {answer.read(300)}")


def measure(row, process, options, seconds, rate):
    before = cpu_seconds(process.pid)
    if row.by == "open":
        measured = by_open_loop(row, options, seconds, rate)
    else:
        measured = {"h2": by_h2load}.get(row.by, by_wrk)(row, options, seconds)
    measured["cpu_us"] = (cpu_seconds(process.pid) - before) / max(measured["requests"], 1) * 1e6
    measured["rss"] = idle.resident_kib(process.pid) / 1024
    return measured


def prepare():
    """Keys, tokens and certificates, minted once; tokens are good for a day."""
    RUN.mkdir(parents=True, exist_ok=True)
    (RUN / "introspection-secret").write_text("rs")
    jwks = KEYS / "jwks.json"
    if not jwks.exists() or time.time() - jwks.stat().st_mtime > TOKENS_LAST_S:
        subprocess.run([sys.executable, str(HERE / "mint.py"), str(KEYS)], check=True)
    # A character in the middle of the signature is another one.
    with (KEYS / "RS256.tokens").open() as good:
        tokens = [line.strip() for line, _ in zip(good, range(100))]
    broken = lambda token: token[:-100] + ("A" if token[-100] != "A" else "B") + token[-99:]
    (KEYS / "bad.tokens").write_text("".join(broken(token) + "\n" for token in tokens))
    if not (KEYS / "tls.crt").exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", str(KEYS / "tls.key"), "-out", str(KEYS / "tls.crt")], check=True, capture_output=True)
        (KEYS / "tls.pem").write_text((KEYS / "tls.crt").read_text() + (KEYS / "tls.key").read_text())


def has_open_loop():
    binary = program("scopegate")
    return bool(binary) and subprocess.run([binary, "load", "--help"], capture_output=True).returncode == 0


def missing(row):
    """What a row wants and is not there: (what, how to get it), or None."""
    server = SERVERS[row.server]
    if server.program and not program(server.program):
        return server.program, server.remedy
    if row.server == "apache" and not pathlib.Path("/usr/lib/apache2/modules/mod_oauth2.so").exists():
        return "mod_oauth2", server.remedy
    tool, remedy = {"h2": ("h2load", "apt-get install nghttp2-client"), "open": ("scopegate", "cargo build --release"),
                    "idle": ("python3", "")}.get(row.by, ("wrk", "apt-get install wrk"))
    if not program(tool):
        return tool, remedy
    return ("scopegate load", "a scopegate that has this command") if row.by == "open" and not has_open_loop() else None


def choose(names, rows):
    """The rows that can be measured, and the notes about those that cannot."""
    chosen, notes = [], {}
    for name in names:
        # What a row is held against goes with it.
        for one in filter(None, [rows[name].half_of, name]):
            if lack := missing(rows[one]):
                notes.setdefault(f"not measured, {lack[0]} is missing ({lack[1]})", []).append(one)
            elif one not in chosen:
                chosen.append(one)
    return chosen, [f"{note}: {', '.join(dict.fromkeys(about))}" for note, about in notes.items()]


def run_rounds(names, rows, options):
    running, results = {}, {name: [] for name in names}
    try:
        for server in dict.fromkeys(rows[name].server for name in names):
            running[server] = start_server(server)
        for name in names:
            wait_port(rows[name].port)
            check_status(name, rows[name])
        for number in range(options.rounds + 1):
            for name in names:
                row = rows[name]
                rate = results[row.half_of][-1]["rps"] / 2 if row.half_of else 0
                seconds = options.seconds if number else 1
                results[name].append(measure(row, running[row.server], options, seconds, rate))
        return {name: measured[1:] for name, measured in results.items()}  # the first round warms up
    finally:
        for process in running.values():
            stop(process)
        for process in running.values():
            process.wait()


def run_idle(names, rows):
    """Each on a process of its own, which has seen nothing before."""
    results = {}
    for name in names:
        row = rows[name]
        process = start_server(row.server)
        try:
            wait_port(row.port)
            # A worker that is not there yet, and what it has not read yet, would count as connections.
            time.sleep(1)
            results[name] = idle.measure(row.port, process.pid, row.count, first_token(row))
        finally:
            stop(process)
            process.wait()
    return results


def print_rounds(results, rows):
    median = lambda name, key: statistics.median(one[key] for one in results[name])
    notes = []
    print(f"{'row':26} {'cpu_us':>8} {'x nginx':>8} {'req/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'RSS MiB':>8}  refused")
    for name in results:
        row = rows[name]
        ratio = f"{median(name, 'cpu_us') / median(row.floor, 'cpu_us'):8.2f}" if row.floor in results else " " * 8
        refused, requests = (sum(one[key] for one in results[name]) for key in ("refused", "requests"))
        expected, word = (0, "none") if row.status < 400 else (requests, "all")
        mark = word if refused == expected else f"{refused} of {requests}: WRONG, {word} should be"
        print(f"{name:26} {median(name, 'cpu_us'):8.1f} {ratio} {median(name, 'rps'):9.0f} {median(name, 'p50'):8.2f} "
              f"{median(name, 'p99'):8.2f} {median(name, 'rss'):8.1f}  {mark} {results[name][0]['errors']}")
        if row.processors > PROCESSORS:
            notes.append(f"{name}: wants {row.processors} processors and has {PROCESSORS}; its req/s are the generator's, not the proxy's")
    return notes


def print_idle(results):
    print(f"\n{'row':26} {'at start MiB':>13} {'connections':>12} {'KiB for each':>13}")
    for name, (at_start, count, each) in results.items():
        print(f"{name:26} {at_start / 1024:13.1f} {count:12} {each:13.2f}")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=4)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--add", action="append", default=[])
    options.add_argument("--all", action="store_true")
    options.add_argument("names", nargs="*")
    options = options.parse_args()
    if not (options.all or options.names):
        sys.exit(f"name rows, or --all. There are: {' '.join(ROWS)}")
    if options.all and "SCOPEGATE" not in os.environ and shutil.which("cargo"):
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=HERE.parents[1], check=True)
    if lack := [tool for tool in ("nginx", "taskset") if not program(tool)]:
        sys.exit(f"nothing works without {', '.join(lack)}: apt-get install nginx-light util-linux")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rows = dict(ROWS)
    for added in options.add:
        name, ports, words = added.split("=", 2)
        port, _, tls_port = ports.partition(",")
        SERVERS[name] = Server("", "", tuple(shlex.split(words)))
        rows |= {f"{name}-plain": Row(name, int(port))} | judging(name, int(port), int(tls_port) if tls_port else None)
    if unknown := [name for name in options.names if name not in rows]:
        sys.exit(f"no such row: {' '.join(unknown)}. There are: {' '.join(rows)}")
    names, notes = choose(options.names or list(rows), rows)
    if not names:
        sys.exit("\n".join(notes))
    refuse_taken({9100, 9110, *(rows[name].port for name in names)})
    prepare()
    beside = []
    try:
        beside.append(start("upstream", ["nginx", "-c", str(render("upstream", "upstream.nginx.conf", ()))], UPSTREAM))
        beside.append(start("authserver", [sys.executable, str(HERE / "authserver.py")], UPSTREAM))
        wait_port(9100), wait_port(9110)
        timed = [name for name in names if rows[name].by != "idle"]
        if timed:
            notes += print_rounds(run_rounds(timed, rows, options), rows)
        if still := [name for name in names if rows[name].by == "idle"]:
            print_idle(run_idle(still, rows))
    finally:
        for process in beside:
            stop(process)
    print(*notes, sep="\n")


main()
