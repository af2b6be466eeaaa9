#!/usr/bin/env python3
"""Runs one venue flat under load for a while and checks that nothing is lost without a word.

usage: soak.py PROGRAM [--minutes 20] [--rate 110000] [--out FILE]

Emulator -> plain TCP -> feed -> ring -> relay, with four consumers that count every sequence: one on the ring, two on
the relay's socket, and one more on the socket that is stopped for a while and goes on. Everything runs on this
machine, in folders and ports of its own, and stops by itself. Exit status 0 when every record was delivered in order
or named in a gap or overrun, the consumers that were not stopped lost none, and anonymous memory grew by at most
1 MiB after minute 5 (or after a quarter of a shorter run).
"""
import argparse, json, os, re, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.request

STOP_AFTER_S, STOPPED_S = 60, 20
MEMORY_GROWTH_KIB_MAX = 1024


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def anonymous_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Anonymous:\s+(\d+) kB", f.read(), re.M).group(1))


def cpu_s(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return tuple(int(fields[i]) / os.sysconf("SC_CLK_TCK") for i in (11, 12))


def metric(address, name):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as r:
        m = re.search(rf"^{name}\{{[^}}]*\}} (\d+)", r.read().decode(), re.M)
        return int(m.group(1)) if m else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("--minutes", type=float, default=20)
    p.add_argument("--rate", type=int, default=110_000)
    p.add_argument("--out")
    a = p.parse_args()
    seconds = a.minutes * 60
    folder = tempfile.mkdtemp(prefix="alphapulse-soak-")
    rings = tempfile.mkdtemp(prefix="alphapulse-soak-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    port = free_port()
    config = os.path.join(folder, "alphapulse.toml")
    with open(config, "w") as f:
        f.write(
            f'[paths]\nstate = "{folder}"\nrings = "{rings}"\n[ring]\nslots = 1048576\n[metrics]\nbase_port = 0\n'
            f'[emulator.binance]\nlisten = "127.0.0.1:{port}"\nframes_per_second = {a.rate}\nload_mix = true\n'
            f'[venues.binance]\nws_url = "ws://127.0.0.1:{port}/stream"\nrest_url = "http://127.0.0.1:{port}"\n'
        )
    processes = {}

    def start(name, *args, **kw):
        processes[name] = subprocess.Popen([a.program, "--config", config, *args], stdin=subprocess.DEVNULL, **kw)
        return processes[name]

    def role(name):
        end = time.time() + 30
        path = os.path.join(folder, "run", f"{name}.json")
        while time.time() < end:
            try:
                return json.load(open(path))
            except (OSError, ValueError):
                time.sleep(0.1)
        sys.exit(f"soak: {name} did not start")

    good, report = True, {}
    try:
        start("emulator", "emulator", "binance")
        role("emulator-binance")
        start("feed", "feed", "binance", "--origin", "simulated")
        feed = role("feed-binance")
        start("relay", "relay")
        role("relay")
        time.sleep(3)
        consume = ["verify", "stream", "--json"]
        readers = {
            "ring": start("ring", *consume, "--for", str(seconds), stdout=subprocess.PIPE),
            "socket 1": start("socket 1", *consume, "--relay", "--for", str(seconds), stdout=subprocess.PIPE),
            "socket 2": start("socket 2", *consume, "--relay", "--for", str(seconds), stdout=subprocess.PIPE),
            "stopped": start("stopped", *consume, "--relay", "--for", str(seconds), stdout=subprocess.PIPE),
        }
        began, samples, stopped = time.time(), [], None
        first = metric(feed["metrics"], "frames_total"), metric(feed["metrics"], "records_total")
        watched = ("feed", "relay", "ring", "socket 1", "socket 2")
        stop_at = min(STOP_AFTER_S, seconds / 4)
        while (now := time.time() - began) < seconds - 1:
            if stopped is None and now >= stop_at:
                readers["stopped"].send_signal(signal.SIGSTOP)
                stopped = now
            elif stopped is not None and stopped >= 0 and now >= stopped + min(STOPPED_S, seconds / 4):
                readers["stopped"].send_signal(signal.SIGCONT)
                stopped = -1.0
            samples.append((now, {n: anonymous_kib(processes[n].pid) for n in watched}))
            if samples and int(now) % 60 < 2:
                print(f"{now:6.0f} s  {samples[-1][1]}", flush=True)
            time.sleep(min(2.0, seconds / 30))
        elapsed = time.time() - began
        frames = metric(feed["metrics"], "frames_total") - first[0]
        records = metric(feed["metrics"], "records_total") - first[1]
        gaps, malformed = metric(feed["metrics"], "gaps_total"), metric(feed["metrics"], "malformed_total")
        feed_cpu = cpu_s(processes["feed"].pid)
        report = {
            "seconds": round(elapsed), "frames": frames, "frames_per_s": round(frames / elapsed),
            "records": records, "records_per_s": round(records / elapsed), "gaps": gaps, "malformed": malformed,
            "feed_user_s": feed_cpu[0], "feed_system_s": feed_cpu[1],
        }
        for name, reader in readers.items():
            out, _ = reader.communicate(timeout=120)
            s = json.loads(out)
            report[name] = s
            ok = reader.returncode == 0 and (name == "stopped" or s["missed"] == 0)
            good &= ok
            print(f"{'ok ' if ok else 'BAD'} {name}: {s['records']} records, {s['missed']} missed and named, "
                  f"{s['unnamed']} without a word, {s['repeated']} repeated")
        settled = [s for t, s in samples if t >= min(300, seconds / 4)]
        for name in watched:
            values = [s[name] for s in settled]
            growth = max(values) - values[0]
            ok = growth <= MEMORY_GROWTH_KIB_MAX
            good &= ok
            report[f"{name} anonymous KiB"] = {"settled": values[0], "max": max(values), "growth": growth}
            print(f"{'ok ' if ok else 'BAD'} {name}: anonymous memory {values[0]} KiB, grew by {growth} KiB")
        good &= gaps == 0 and malformed == 0
        print(f"{frames} frames ({report['frames_per_s']}/s), {records} records ({report['records_per_s']}/s), "
              f"{gaps} gaps, {malformed} malformed; feed: {feed_cpu[0] / max(frames, 1) * 1e9:.0f} ns user and "
              f"{feed_cpu[1] / max(frames, 1) * 1e9:.0f} ns system a frame")
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(rings, ignore_errors=True)
    if a.out:
        json.dump(report, open(a.out, "w"), indent=1)
    print("soak: good" if good else "soak: BAD")
    sys.exit(0 if good else 1)


main()
