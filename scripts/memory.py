#!/usr/bin/env python3
"""Measures the anonymous memory of a whole plant: five feeds with many deep books, and the relay with a subscriber.

usage: memory.py PROGRAM [--instruments 250] [--each] [--levels 1000] [--full] [--feeds LIST] [--seconds 30] [--rate 1000]
                 [--watch MINUTES] [--each-most KIB] [--growth KIB] [--most KIB] [--out FILE]

Emulators (coinbase, kraken, binance, which serves binance_us too, alpaca crypto) -> plain TCP -> feeds -> rings ->
relay -> one consumer. The instruments are shared out among the feeds, or with --each every feed has as many. --full
tells deeper books where the venue has them: coinbase 10 of 20,000 levels a side, binance 5,000 levels, binance_us 10 of
as many; its request budget brings no more in time. --feeds leaves feeds out.
When every book has been taken in and S seconds have passed, prints the anonymous memory (smaps_rollup) of each feed and
the relay; ring files are shared mappings and not in it. Emulators and the consumer are not counted. Runs in folders
and ports of its own and stops by itself.
--watch goes on for so long while frames flow and looks every half minute. It prints what each feed takes an instrument
(its whole anonymous memory shared out, so more than the books alone) and by how much each process grew: the median of
the last tenth of the looks less that of the first. What is taken an instrument is the largest look.
Exit status 0 when no feed told a gap, the sum is at most --most, no feed takes more than --each-most an instrument, and
no process grew by more than --growth.
"""
import argparse, json, os, re, shutil, socket, statistics, subprocess, sys, tempfile, time, urllib.request

FEEDS = ("coinbase", "kraken", "binance", "binance_us", "alpaca")
# The keys that emulators know: they guard nothing.
KEYS = {"ALPACA_API_KEY": "ALPHAPULSE-EMULATOR", "ALPACA_API_SECRET": "YWxwaGFwdWxzZS10ZXN0LXNlY3JldA=="}
REST_OF = {"binance_us": "binance"}
# A venue's request budget may take some minutes for many deep snapshots.
PATIENCE_S = 900
LOOK_S = 30


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def rollup(pid):
    """KiB of anonymous pages, and of all resident ones."""
    text = open(f"/proc/{pid}/smaps_rollup").read()
    return {name: int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M).group(1)) for name in ("Anonymous", "Rss")}


def largest(pid, count=6):
    """The mappings with the most anonymous pages: (KiB, name)."""
    found, name = [], ""
    for line in open(f"/proc/{pid}/smaps"):
        head = re.match(r"[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \S+\s*(.*)", line)
        if head:
            name = f"{os.path.basename(head[2]) or '(mapped)'} {head[1]}"
        elif line.startswith("Anonymous:") and int(line.split()[1]):
            found.append((int(line.split()[1]), name))
    return sorted(found, reverse=True)[:count]


def metric(address, name):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as r:
        return sum(int(v) for v in re.findall(rf"^{name}\{{[^}}]*\}} (\d+)", r.read().decode(), re.M))


def plan(a):
    """Per feed: instruments, levels of the emulated book, depth asked for."""
    share = a.instruments if a.each else a.instruments // len(FEEDS)
    plan = {feed: (share, a.levels, a.levels) for feed in FEEDS}
    if a.full:
        plan["coinbase"] = (10, 20_000, a.levels)
        plan["binance"] = (share, 5000, 5000)
        plan["binance_us"] = (10, 5000, 5000)
    return {feed: what for feed, what in plan.items() if feed in a.feeds.split(",")}


def symbols_of(feed, port, count):
    """The venue's own spelling of so many pairs, from the emulator's list."""
    path, headers = {
        "coinbase": ("/products", {}),
        "kraken": ("/0/public/AssetPairs", {}),
        "binance": ("/api/v3/exchangeInfo", {}),
        "alpaca": ("/v2/assets?asset_class=crypto&status=active",
                   {"APCA-API-KEY-ID": KEYS["ALPACA_API_KEY"], "APCA-API-SECRET-KEY": KEYS["ALPACA_API_SECRET"]}),
    }[REST_OF.get(feed, feed)]
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)) as r:
        body = json.load(r)
    if "result" in body:
        names = [pair["wsname"].replace("XBT", "BTC") for pair in body["result"].values()]
    elif "symbols" in body:
        names = [s["symbol"] for s in body["symbols"]]
    else:
        names = [item.get("symbol") or item["id"] for item in body]
    return sorted(names)[:count]


def watch(minutes, pids):
    """Anonymous KiB of each process, every half minute."""
    began, looks = time.time(), {name: [] for name in pids}
    while True:
        for name, pid in pids.items():
            looks[name].append(rollup(pid)["Anonymous"])
        if minutes and len(next(iter(looks.values()))) % 10 == 1:
            print(f"after {(time.time() - began) / 60:5.1f} min: "
                  + ", ".join(f"{name} {kib[-1]}" for name, kib in looks.items()), flush=True)
        if time.time() - began >= minutes * 60:
            return looks
        time.sleep(LOOK_S)


def growth(looks):
    """KiB: the median of the last tenth less that of the first."""
    tenth = max(1, len(looks) // 10)
    return statistics.median(looks[-tenth:]) - statistics.median(looks[:tenth])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("--instruments", type=int, default=250)
    p.add_argument("--each", action="store_true")
    p.add_argument("--levels", type=int, default=1000)
    p.add_argument("--full", action="store_true")
    p.add_argument("--feeds", default=",".join(FEEDS))
    p.add_argument("--seconds", type=float, default=30)
    p.add_argument("--rate", type=int, default=1000, help="frames a second of each emulator")
    p.add_argument("--maps", action="store_true", help="also print each process's largest mappings")
    p.add_argument("--most", type=int, help="KiB that the sum may have")
    p.add_argument("--watch", type=float, default=0, help="minutes to go on and look")
    p.add_argument("--each-most", type=float, help="KiB an instrument that a feed may take")
    p.add_argument("--growth", type=float, help="KiB by which a process may grow while it is watched")
    p.add_argument("--out")
    a = p.parse_args()
    feeds = plan(a)
    folder = tempfile.mkdtemp(prefix="alphapulse-memory-")
    rings = tempfile.mkdtemp(prefix="alphapulse-memory-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    ports = {venue: free_port() for venue in {REST_OF.get(feed, feed) for feed in feeds}}
    config, processes = os.path.join(folder, "alphapulse.toml"), {}

    def start(name, *args):
        log = open(os.path.join(folder, f"{name}.log"), "w")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ALPACA_", "COINBASE_"))}
        processes[name] = subprocess.Popen([a.program, "--config", config, *args], stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log, env=environment)

    def role(name):
        path, end = os.path.join(folder, "run", f"{name}.json"), time.time() + 30
        while time.time() < end:
            try:
                return json.load(open(path))
            except (OSError, ValueError):
                time.sleep(0.1)
        sys.exit(f"memory: {name} did not start: " + open(os.path.join(folder, f"{name}.log")).read()[-2000:])

    common = (f'[paths]\nstate = "{folder}"\nrings = "{rings}"\n[metrics]\nbase_port = 0\n')
    for venue, port in ports.items():
        count, levels, _ = max(what for feed, what in feeds.items() if REST_OF.get(feed, feed) == venue)
        common += (f'[emulator.{venue}]\nlisten = "127.0.0.1:{port}"\nframes_per_second = {a.rate}\n'
                   f'instruments = {count}\nlevels = {levels}\n')
    try:
        with open(config, "w") as f:
            f.write(common)
        for venue in ports:
            start(f"emulator-{venue}", "emulator", venue)
        for venue in ports:
            role(f"emulator-{venue}")
        path = {"kraken": "/v2", "binance": "/stream"}
        for feed, (count, _, depth) in feeds.items():
            venue = REST_OF.get(feed, feed)
            names = json.dumps(symbols_of(feed, ports[venue], count))
            # Alpaca's stocks have no books.
            streams = '["trade", "book", "quote"]'
            common += (f'[venues.{feed}]\nws_url = "ws://127.0.0.1:{ports[venue]}{path.get(venue, "")}"\n'
                       f'rest_url = "http://127.0.0.1:{ports[venue]}"\nsymbols = {names}\nstreams = {streams}\n'
                       f'book_depth = {depth}\n')
        with open(config, "w") as f:
            f.write(common)
        for feed in feeds:
            start(f"feed-{feed}", "feed", feed, "--origin", "simulated")
        metrics = {feed: role(f"feed-{feed}")["metrics"] for feed in feeds}
        start("relay", "relay")
        role("relay")
        start("consumer", "verify", "stream", "--json", "--relay", "--for", str(PATIENCE_S + a.seconds + a.watch * 60 + 60))
        began = time.time()
        while True:
            taken = {feed: metric(metrics[feed], "book_snapshots_total") for feed in feeds}
            if all(taken[feed] >= feeds[feed][0] for feed in feeds):
                break
            for name, process in processes.items():
                if process.poll() is not None:
                    sys.exit(f"memory: {name} ended: " + open(os.path.join(folder, f"{name}.log")).read()[-2000:])
            if time.time() - began > PATIENCE_S:
                sys.exit(f"memory: books are missing after {PATIENCE_S} s: {taken}")
            time.sleep(0.5)
        live_s = time.time() - began
        time.sleep(a.seconds)
        watched = [f"feed-{feed}" for feed in feeds] + ["relay"]
        looks = watch(a.watch, {name: processes[name].pid for name in watched})
        rows = []
        for name in watched:
            feed = name.removeprefix("feed-")
            count, levels, depth = feeds.get(feed, (sum(f[0] for f in feeds.values()), 0, 0))
            rows.append({"process": name, "instruments": count, "levels": min(levels, depth) if feed not in
                         ("coinbase", "alpaca") else levels, **rollup(processes[name].pid),
                         "each": max(looks[name]) / count if feed in feeds else None, "growth": growth(looks[name])})
        # A gap means books that began again, so that fewer may have been live than were taken in.
        gaps = {feed: n for feed in feeds if (n := metric(metrics[feed], "gaps_total"))}
        total = sum(row["Anonymous"] for row in rows)
        print(f"{'process':<18}{'instruments':>12}{'levels':>8}{'anonymous KiB':>15}{'an instrument':>15}{'grew by':>9}"
              f"{'resident KiB':>14}")
        for row in rows:
            each = "" if row["each"] is None else f"{row['each']:.0f}"
            print(f"{row['process']:<18}{row['instruments']:>12}{row['levels'] or '':>8}{row['Anonymous']:>15}{each:>15}"
                  f"{row['growth']:>9.0f}{row['Rss']:>14}")
            if a.maps:
                print("    " + ", ".join(f"{kib} {name}" for kib, name in largest(processes[row["process"]].pid)))
        print(f"{'sum':<38}{total:>15}   ({total / 1024:.1f} MiB; all books after {live_s:.0f} s, gaps: {gaps or 'none'})")
        if a.out:
            json.dump({"rows": rows, "anonymous_kib": total, "live_s": round(live_s), "gaps": gaps, "looks": looks},
                      open(a.out, "w"), indent=1)
        bad = [f"gaps {gaps}"] if gaps else []
        if a.most is not None and total > a.most:
            bad.append(f"{total} KiB in all, {a.most} may be")
        for row in rows:
            if a.each_most is not None and row["each"] is not None and row["each"] > a.each_most:
                bad.append(f"{row['process']} takes {row['each']:.0f} KiB an instrument, {a.each_most:.0f} may be")
            if a.growth is not None and row["growth"] > a.growth:
                bad.append(f"{row['process']} grew by {row['growth']:.0f} KiB, {a.growth:.0f} may be")
        print("memory: BAD: " + "; ".join(bad) if bad else "memory: good")
        sys.exit(1 if bad else 0)
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.terminate()
        for process in processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(rings, ignore_errors=True)


main()
