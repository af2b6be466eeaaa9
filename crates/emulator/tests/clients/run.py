#!/usr/bin/env python3
"""Runs clients that this project did not write against the emulator, and compares what they gave with what was sent.

usage: run.py PROGRAM [--seconds N] [--only NAME]... [--keep DIR]

Every client is pinned and unchanged, and keeps the URLs that are built into it. It runs in a mount and network
namespace of its own, where the venue's host names mean this machine, an emulator serves TLS on the venue's port under
a CA made at its first run, and nothing else can be reached. The emulator is ended first, so that the client has read
all that was sent; its log up to then must be empty of errors.

One line a client: what was compared and what differs. Exit status 1 if a client fails. A client that cannot be had here
says SKIPPED and why.
"""

import argparse
import ctypes
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path

import compare

HERE = Path(__file__).resolve().parent
# How long the start of an emulator, a client's way to its stream and an end may take.
START_S, STREAM_S, END_S = 30, 90, 30
# A client that has read everything may go on for so long.
QUIET_S = 1

KRAKEN = ["ws.kraken.com", "api.kraken.com"]
BINANCE = ["stream.binance.com", "api.binance.com"]
COINBASE = ["advanced-trade-ws.coinbase.com", "api.coinbase.com"]
ALPACA = ["stream.data.alpaca.markets", "data.alpaca.markets", "paper-api.alpaca.markets"]

# name -> package, script, venue, what the script is told, hosts, ports besides 443
CLIENTS = {
    "cryptofeed-kraken": ("cryptofeed", "cryptofeed_client.py", "kraken", "kraken", KRAKEN, []),
    "cryptofeed-binance": ("cryptofeed", "cryptofeed_client.py", "binance", "binance", BINANCE, [9443]),
    "cryptofeed-coinbase": ("cryptofeed", "cryptofeed_client.py", "coinbase", "coinbase", COINBASE, []),
    "coinbase-advanced-py": ("coinbase-advanced-py", "coinbase_client.py", "coinbase", "coinbase", COINBASE, []),
    "binance-sdk-spot": ("binance-sdk-spot", "binance_client.py", "binance", "binance", BINANCE, [9443]),
    "alpaca-py-stocks": ("alpaca-py", "alpaca_client.py", "alpaca", "stocks", ALPACA, []),
    "alpaca-py-crypto": ("alpaca-py", "alpaca_client.py", "alpaca", "crypto", ALPACA, []),
}
PIP = ["--disable-pip-version-check", "--no-deps", "--retries", "1", "--timeout", "20"]
# Venues that are known to compress for clients that offer it.
COMPRESSED = {"coinbase": "deflate = true\n", "alpaca": "deflate = true\n"}
# One installation of a package at a time.
INSTALLING = {package: threading.Lock() for package, *_ in CLIENTS.values()}
# What makes a line of a client's log an error: its level, or a stack trace.
ERROR = re.compile(r"WARNING|ERROR|CRITICAL|Traceback|Exception|Error\b")


def python_of(package):
    """The interpreter of a package's own environment, installed as pinned; raises if it cannot be."""
    pinned = HERE / "requirements" / f"{package}.txt"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alphapulse/clients"
    stamp = hashlib.sha256(pinned.read_bytes()).hexdigest()[:12]
    folder = cache / f"{package}-{stamp}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Made elsewhere in full, then moved: an interpreter finds its packages beside itself.
        draft = Path(tempfile.mkdtemp(prefix=f"{package}-", dir=cache))
        try:
            venv.create(draft, with_pip=True)
            install = [draft / "bin/python", "-m", "pip", "install", "-q", *PIP]
            subprocess.run([*install, "-r", pinned], check=True, capture_output=True, text=True, timeout=600)
            try:
                draft.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder / "bin/python"


def namespaces():
    """The command that gives a process its own mounts and network, or why there is none."""
    if not shutil.which("unshare"):
        return None, "there is no unshare; install util-linux"
    for command in (["unshare", "-mn"], ["unshare", "-rmn"]):
        tried = subprocess.run([*command, "true"], capture_output=True, text=True)
        if tried.returncode == 0:
            return command, None
    return None, f"mount and network namespaces cannot be had: {tried.stderr.strip()}"


def loopback_up():
    """Brings the loopback interface up: the new network has it down."""
    SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        asked = fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack("16sh14x", asked)[1]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def bind(source, target):
    """Lays a file over another, in this namespace alone."""
    MS_BIND = 4096
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(str(source).encode(), target.encode(), None, MS_BIND, None) != 0:
        raise OSError(ctypes.get_errno(), f"{target} cannot be covered")


def forward(port):
    """Hands connections at a port on to 443: some venues serve the same streams at both."""

    def pump(source, sink):
        try:
            while chunk := source.recv(65536):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()

    def serve(listener):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", 443))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    listener = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=serve, args=(listener,), daemon=True).start()


def wait_until(what, seconds, holds):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not happen in {seconds} s")
        time.sleep(0.1)


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def end(process, what):
    """Asks a process to end and waits for it."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"{what} did not end in {END_S} s"


def inside(name, program, python, seconds, folder):
    """One client and its emulator, in the namespace; says what was compared."""
    _, script, venue, market, hosts, ports = CLIENTS[name]
    loopback_up()
    hosts_file = folder / "hosts"
    hosts_file.write_text("127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {host}\n" for host in hosts))
    bind(hosts_file, "/etc/hosts")
    config = folder / "alphapulse.toml"
    config.write_text(
        f'[paths]\nstate = "{folder}/state"\nrings = "{folder}/rings"\n\n[metrics]\nbase_port = 0\n\n'
        f'[emulator.{venue}]\nlisten = "127.0.0.1:443"\ntls = true\nframes_per_second = 250\n'
        f'levels = 150\njournal = "{folder}/journal"\n{COMPRESSED.get(venue, "")}'
    )
    emulator_log = open(folder / "emulator.log", "w")
    emulator = subprocess.Popen([program, "--config", config, "emulator", venue], stdout=emulator_log, stderr=emulator_log)
    wait_until(f"the emulator's start, see {folder}/emulator.log", START_S, lambda: listens(443) or emulator.poll() is not None)
    for port in ports:
        forward(port)
    authority = str(folder / "state/emulator-tls/ca.pem")
    trust = {"SSL_CERT_FILE": authority, "REQUESTS_CA_BUNDLE": authority, "PYTHONPATH": str(HERE)}
    records, log = folder / "records.jsonl", folder / "client.log"
    records.touch()
    with open(log, "w") as out:
        command = [python, "-W", "ignore::DeprecationWarning", HERE / script, market, records]
        client = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env={**os.environ, **trust})
    journal = folder / "journal"
    alive = lambda: client.poll() is None and emulator.poll() is None
    wait_until(f"the client's stream, see {log}", STREAM_S, lambda: any(journal.glob("[0-9]*.jsonl")) or not alive())
    started = time.monotonic()
    while time.monotonic() < started + seconds and alive():
        time.sleep(0.1)
    ran = time.monotonic() - started
    problems = []
    if client.poll() is not None:
        problems.append(f"the client ended by itself with status {client.returncode}")
    if emulator.poll() is not None:
        problems.append(f"the emulator ended by itself with status {emulator.returncode}")
    errors = [line for line in log.read_text(errors="replace").splitlines() if ERROR.search(line)]
    status = end(emulator, "the emulator")
    problems += [f"the emulator: {status}"] if status != 0 else []
    # All of it was sent; what the client has not read yet it will. What comes then was never sent.
    read_by = time.monotonic() + END_S
    while compare.outstanding(name, venue, folder) > 0 and time.monotonic() < read_by:
        time.sleep(0.5)
    time.sleep(QUIET_S)
    if client.poll() is None:
        end(client, "the client")
    problems += [f"its log: {line}" for line in errors[:3]]
    warned = [line for line in (folder / "emulator.log").read_text().splitlines() if re.search(r"WARN|ERROR", line)]
    problems += [f"the emulator's log: {line}" for line in warned[:3]]
    told = compare.compare(name, venue, market, folder)
    return {"seconds": round(ran, 1), **told, "problems": problems + told["problems"]}


def run(name, namespace, program, seconds, work):
    """Starts a client in its namespace; gives what it said as (verdict, line)."""
    folder = work / name
    folder.mkdir()
    try:
        package = CLIENTS[name][0]
        with INSTALLING[package]:
            python = python_of(package)
    except (OSError, subprocess.SubprocessError) as error:
        why = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return "SKIPPED", f"client {name}: its packages cannot be installed: {why[-1] if why else error}"
    options = ["--inside", name, "--python", python, "--seconds", str(seconds), "--keep", folder]
    command = [*namespace, sys.executable, __file__, program, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        why = (done.stderr or done.stdout).strip().splitlines()
        return "FAIL", f"{name}: {why[-1] if why else 'nothing was said'}"
    counts = ", ".join(f"{told[kind]} {kind}" for kind in ("trades", "books", "quotes", "answers") if told.get(kind))
    known = "".join(f"; known: {line}" for line in told["known"])
    pinned = (HERE / "requirements" / f"{CLIENTS[name][0]}.txt").read_text()
    version = re.search(rf"^{CLIENTS[name][0]}==(.*)$", pinned, re.MULTILINE)[1]
    line = f"{name} {version}, {told['seconds']} s: {counts}, {len(told['problems'])} differences{known}"
    return ("FAIL" if told["problems"] else "ok"), "\n      ".join([line, *told["problems"]])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("program", type=Path, help="the built alphapulse")
    arguments.add_argument("--seconds", type=float, default=300)
    arguments.add_argument("--only", action="append", choices=CLIENTS)
    arguments.add_argument("--keep", type=Path, help="folder for journals, records and logs; kept")
    arguments.add_argument("--inside", choices=CLIENTS, help=argparse.SUPPRESS)
    arguments.add_argument("--python", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    program = options.program.resolve()
    if options.inside:
        told = inside(options.inside, program, options.python, options.seconds, options.keep)
        print(json.dumps(told))
        return 0
    names = options.only or list(CLIENTS)
    namespace, why = namespaces()
    if namespace is None:
        for name in names:
            print(f"SKIPPED client {name}: {why}")
        return 0
    with tempfile.TemporaryDirectory(prefix="alphapulse-clients-") as scratch:
        work = options.keep.resolve() if options.keep else Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        said = {}
        threads = [
            threading.Thread(target=lambda n=name: said.update({n: run(n, namespace, program, options.seconds, work)}))
            for name in names
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    for name in names:
        verdict, line = said.get(name, ("FAIL", f"{name}: its thread broke"))
        print(f"{verdict:<7} {line}" if verdict == "SKIPPED" else f"{verdict:<5} {line}")
    return int(any(said.get(name, ("FAIL",))[0] == "FAIL" for name in names))


if __name__ == "__main__":
    sys.exit(main())
