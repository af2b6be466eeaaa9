#!/usr/bin/env python3
"""Our decoders beside cryptofeed, ccxt and tardis-dev: interleaved, in one run, on the same frames.

usage: run.py HALF [--shape NAME]... [--pairs N] [--work DIR]

HALF is the built example `half` of the package `benches`. Every side is a process of its own that stays up, so that
warm-up and just-in-time compilers are behind it; it is told "go" in turn and answers with the processor time a frame
took. The ratio is the median of the ratios of neighbours. Packages come from the package registries, by name.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
FRAMES = 20_000
# shape -> venue, and the goal against each peer that knows the shape
SHAPES = {
    "coinbase_match": ("coinbase", {"ccxt": None, "tardis-dev": None}),
    "coinbase_advanced_trade": ("coinbase", {"cryptofeed": 50, "ccxt": None}),
    "alpaca_trade": ("alpaca", {"ccxt": None}),
    "binance_trade": ("binance", {"cryptofeed": 50, "ccxt": None, "tardis-dev": None}),
}


class Half:
    """One side: a process that answers each "go" with ns a frame."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if len(answer) != 3:
            raise SystemExit(f"{self.process.args} ended: {self.process.wait()}")
        return float(answer[0])

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


def install(work):
    """The peers, from their registries, once."""
    python = work / "venv/bin/python"
    if not python.exists():
        venv.create(work / "venv", with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", HERE / "requirements.txt"], check=True)
    node = work / "node"
    node.mkdir(exist_ok=True)
    (node / "package.json").write_text((HERE / "package.json").read_text())
    subprocess.run(["npm", "install", "--silent", "--ignore-scripts", "--no-audit"], cwd=node, check=True)
    return python, node / "node_modules"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("half", type=Path)
    arguments.add_argument("--shape", action="append", choices=SHAPES)
    arguments.add_argument("--pairs", type=int, default=9)
    arguments.add_argument("--work", type=Path, default=Path.home() / ".cache/alphapulse/peers")
    options = arguments.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    python, modules = install(options.work)
    commands = {
        "cryptofeed": [python, HERE / "cryptofeed_half.py"],
        "ccxt": [python, HERE / "ccxt_half.py"],
        "tardis-dev": ["node", HERE / "tardis_half.js"],
    }
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=HERE, capture_output=True, text=True)
    load = " ".join(f"{figure:.2f}" for figure in os.getloadavg())
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load}, commit {commit.stdout.strip()}\n")
    print("| frame | ours | peer | its figure | ratio | goal |\n|---|---|---|---|---|---|")
    missed = False
    for shape in options.shape or SHAPES:
        venue, peers = SHAPES[shape]
        file = options.work / f"{shape}.jsonl"
        with open(file, "w") as out:
            subprocess.run([options.half, "frames", shape, str(FRAMES)], stdout=out, check=True)
        ours = Half([options.half, "run", venue, file])
        for peer, goal in peers.items():
            theirs = Half([*commands[peer], shape, file], env={**os.environ, "NODE_PATH": str(modules)})
            theirs.go(), ours.go()
            pairs = [(theirs.go(), ours.go()) for _ in range(options.pairs)]
            theirs.end()
            ratios = sorted(t / o for t, o in pairs)
            ratio = statistics.median(ratios)
            judged = "" if goal is None else f"≥ {goal}× {'met' if ratio >= goal else 'MISSED'}"
            missed |= goal is not None and ratio < goal
            print(
                f"| {shape} | {statistics.median(o for _, o in pairs):.1f} ns | {peer} "
                f"| {statistics.median(t for t, _ in pairs):.0f} ns | {ratio:.1f}× [{ratios[0]:.1f}..{ratios[-1]:.1f}] | {judged} |",
                flush=True,
            )
        ours.end()
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
