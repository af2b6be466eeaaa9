#!/usr/bin/env python3
"""Measures what recording costs: journal, Parquet files and raw capture at full rate.

usage: record.py PROGRAM [--seconds 60] [--rate 100000] [--window-us 1000] [--folder DIR] [--out FILE]

Emulator (50 % quotes, 30 % trades, 20 % book updates) -> plain TCP -> feed with raw capture -> ring -> recorder with
journal and Parquet files, in folders and ports of its own, which are removed afterwards. Beside it, on the same disk and
interleaved, a bare loop of append + fdatasync into a preallocated file. Prints processor time in cores, resident memory,
lags, how long a record takes from receipt to durable, and the bare sync's times. Exit status 0 when nothing was lost.
"""
import argparse, json, os, re, shutil, socket, statistics, subprocess, sys, tempfile, threading, time, urllib.request

TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_s(path):
    fields = open(path).read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def threads(pid):
    """Processor seconds by the name of the thread."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            name = open(f"/proc/{pid}/task/{task}/comm").read().strip()
            found[name] = found.get(name, 0) + cpu_s(f"/proc/{pid}/task/{task}/stat")
        except OSError:
            pass
    return found


def memory_mib(pid):
    text = open(f"/proc/{pid}/status").read()
    read = lambda key: int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M).group(1)) / 1024
    return {"resident": round(read("VmRSS"), 1), "anonymous": round(read("RssAnon"), 1), "peak": round(read("VmHWM"), 1)}


def metrics(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as r:
        found = {}
        for line in r.read().decode().splitlines():
            m = re.match(r"(\w+)(?:\{([^}]*)\})? (\S+)$", line)
            if m:
                key = m.group(1) + ("{" + m.group(2) + "}" if m.group(2) and "quantile" in m.group(2) else "")
                found[key] = float(m.group(3))
        return found


class BareSync(threading.Thread):
    """Appends a group's worth of bytes and syncs, a few times a second so that it takes nothing from what it stands beside."""

    def __init__(self, folder, size):
        super().__init__(daemon=True)
        self.path, self.size, self.times, self.ending = os.path.join(folder, "bare"), size, [], False

    def run(self):
        length = 64 << 20
        with open(self.path, "wb") as f:
            f.write(bytes(length))
            os.fsync(f.fileno())
        fd, at, block = os.open(self.path, os.O_WRONLY), 0, os.urandom(self.size)
        while not self.ending:
            began = time.perf_counter_ns()
            os.pwrite(fd, block, at)
            os.fdatasync(fd)
            self.times.append(time.perf_counter_ns() - began)
            at = (at + self.size) % (length - self.size)
            time.sleep(0.02)
        os.close(fd)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--rate", type=int, default=100_000)
    p.add_argument("--window-us", type=int, default=1000)
    p.add_argument("--folder", help="where to record; a disk, not memory")
    p.add_argument("--without", action="append", default=[], choices=["capture", "parquet"])
    p.add_argument("--out")
    a = p.parse_args()
    folder = tempfile.mkdtemp(prefix="alphapulse-record-", dir=a.folder)
    rings = tempfile.mkdtemp(prefix="alphapulse-record-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    port = free_port()
    config = os.path.join(folder, "alphapulse.toml")
    on = lambda name: str(name not in a.without).lower()
    with open(config, "w") as f:
        f.write(
            f'[paths]\nstate = "{folder}"\nrings = "{rings}"\n[ring]\nslots = 1048576\n[metrics]\nbase_port = 0\n'
            f"[recorder]\nwindow_us = {a.window_us}\n[journal]\nretain_mib = 1024\n"
            f"[parquet]\nenabled = {on('parquet')}\npart_s = 10\n[capture]\nenabled = {on('capture')}\n"
            f'[emulator.binance]\nlisten = "127.0.0.1:{port}"\nframes_per_second = {a.rate}\nload_mix = true\n'
            f'[venues.binance]\nws_url = "ws://127.0.0.1:{port}/stream"\nrest_url = "http://127.0.0.1:{port}"\n'
        )
    processes = {}

    def start(name, *args):
        log = open(os.path.join(folder, f"{name}.log"), "w")
        processes[name] = subprocess.Popen([a.program, "--config", config, *args], stdin=subprocess.DEVNULL, stderr=log)

    def role(name):
        end = time.time() + 30
        while time.time() < end:
            try:
                return json.load(open(os.path.join(folder, "run", f"{name}.json")))
            except (OSError, ValueError):
                time.sleep(0.1)
        sys.exit(f"record: {name} did not start")

    good, report = False, {}
    bare = BareSync(folder, 8192)
    try:
        start("emulator", "emulator", "binance")
        role("emulator-binance")
        start("recorder", "recorder")
        recorder = role("recorder")
        start("feed", "feed", "binance", "--origin", "simulated")
        feed = role("feed-binance")
        bare.start()
        time.sleep(5)
        pids = {name: processes[name].pid for name in ("feed", "recorder")}
        first = {name: metrics(r["metrics"]) for name, r in (("feed", feed), ("recorder", recorder))}
        cpu_first = {name: threads(pid) for name, pid in pids.items()}
        began, lags, spills = time.time(), [], []
        while time.time() - began < a.seconds:
            time.sleep(1)
            now = metrics(recorder["metrics"])
            lags.append(now.get("sink_lag_ns", 0) / 1e9)
            spills.append(now["recorder_spill_bytes"] / 2**20)
        elapsed = time.time() - began
        last = {name: metrics(r["metrics"]) for name, r in (("feed", feed), ("recorder", recorder))}
        cores = {}
        for name, pid in pids.items():
            now = threads(pid)
            cores[name] = {t: round((s - cpu_first[name].get(t, 0)) / elapsed, 3) for t, s in sorted(now.items())}
        frames = last["feed"]["frames_total"] - first["feed"]["frames_total"]
        records = last["recorder"]["recorder_records_total"] - first["recorder"]["recorder_records_total"]
        groups = last["recorder"]["recorder_groups_total"] - first["recorder"]["recorder_groups_total"]
        missed = last["recorder"]["recorder_missed_total"]
        micros = lambda key: round(last["recorder"][key] / 1e3)
        bare.ending = True
        bare.join()
        quantiles = statistics.quantiles(bare.times, n=100)
        size = lambda path: sum(os.path.getsize(os.path.join(d, n)) for d, _, names in os.walk(path) for n in names)
        report = {
            "seconds": round(elapsed), "frames_per_s": round(frames / elapsed), "records_per_s": round(records / elapsed),
            "groups_per_s": round(groups / elapsed), "records_missed": missed,
            "cores": cores, "cores_recorder": round(sum(cores["recorder"].values()), 3),
            "cores_feed": round(sum(cores["feed"].values()), 3),
            "memory_mib": {name: memory_mib(pid) for name, pid in pids.items()},
            "durable_us": {"p50": micros('recorder_durable_ns{quantile="0.5"}'), "p99": micros('recorder_durable_ns{quantile="0.99"}')},
            "group_us": {"p50": micros('recorder_group_ns{quantile="0.5"}'), "p99": micros('recorder_group_ns{quantile="0.99"}')},
            "bare_fdatasync_us": {"p50": round(quantiles[49] / 1e3), "p99": round(quantiles[98] / 1e3), "n": len(bare.times)},
            "sink_lag_s": {"p50": round(statistics.median(lags), 1), "max": round(max(lags), 1)},
            "spill_mib_max": round(max(spills), 1), "rows": last["recorder"].get("sink_rows_total", 0),
            "journal_mib": size(os.path.join(folder, "journal")) >> 20,
            "parquet_mib": size(os.path.join(folder, "parquet")) >> 20,
            "capture_mib": size(os.path.join(folder, "capture")) >> 20,
        }
        good = missed == 0 and frames > 0
    finally:
        for name in ("feed", "recorder", "emulator"):
            if name in processes and processes[name].poll() is None:
                processes[name].terminate()
        for process in processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        for name in processes:
            text = open(os.path.join(folder, f"{name}.log")).read()
            for line in [l for l in text.splitlines() if " WARN " in l or " ERROR " in l][:5]:
                print(f"{name}: {line}")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(rings, ignore_errors=True)
    if a.out:
        json.dump(report, open(a.out, "w"), indent=1)
    print(json.dumps(report, indent=1))
    print("record: good" if good else "record: BAD")
    sys.exit(0 if good else 1)


main()
