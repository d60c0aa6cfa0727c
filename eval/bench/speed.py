#!/usr/bin/env python3
"""How fast everything is, as ratios within one run, with medians and spread, beside what it is measured against.

usage: python eval/bench/speed.py [AGENTS] [--sizes 100,1000,10000] [--only PART ...] [--rounds 9]
                                  [--semantic-router PYTHON] [--plot curve.svg] [--json out.json]

AGENTS is a folder of agent files (the bundled ones if not given); the large registries are made from them. The parts:
start, wire, warm, read, cache, growth. What is compared is run in turns, so that a busy machine slows both alike; the
ratio is that of the medians, and its spread the middle half of the ratios of single rounds. `--semantic-router` names
the Python of an environment with semantic-router and scikit-learn. 100,000 agents take long: add them to --sizes.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from large_registries import BUNDLED, make_tasks, write_registry

from dispatcher import Agent, Registry, Router

TASK = "write unit tests for the login form of my react app"
PARTS = ("start", "wire", "warm", "read", "cache", "growth")
SEED = 20
DISPATCH = str(Path(sys.executable).with_name("dispatch"))
NUMPY = [sys.executable, "-c", "import numpy"]
EMPTY_TYPER = """
import typer
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
@app.command()
def main(name: str = "") -> None:
    pass
app()
"""
BARE_SCRIPT = """
import anthropic
anthropic.Anthropic(max_retries=0).messages.create(
    model="claude-sonnet-5-5", max_tokens=10, system="You are brief.", messages=[{"role": "user", "content": "hello"}]
)
"""
SEMANTIC_ROUTER = """
import json, statistics, sys, time
from semantic_router import Route
from semantic_router.encoders import TfidfEncoder
from semantic_router.routers import SemanticRouter
given = json.load(sys.stdin)
routes = [Route(name=name, utterances=[text or name]) for name, text in given["agents"]]
encoder = TfidfEncoder()
encoder.fit(routes)
router = SemanticRouter(encoder=encoder, routes=routes, auto_sync="local")
seconds = []
for task in given["tasks"]:
    begun = time.perf_counter()
    router(task)
    seconds.append(time.perf_counter() - begun)
print(json.dumps(statistics.median(seconds)))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the table: a figure against its target. `low` and `high` are the middle half of the rounds."""

    what: str
    ratio: float
    low: float
    high: float
    target: float | None
    detail: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("agents", nargs="?", type=Path, default=BUNDLED, help="a folder of agent files (%(default)s)")
    parser.add_argument("--sizes", default="100,1000,10000", help="agents of the large registries (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="the parts to measure")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each comparison (%(default)s)")
    parser.add_argument("--semantic-router", metavar="PYTHON", help="the Python of an environment that has it")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the curve of growth as SVG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON, too")
    options = parser.parse_args()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ |= {"HOME": folder, "XDG_CONFIG_HOME": f"{folder}/config", "DISPATCH_CACHE": f"{folder}/cache"}
        # What is installed has its bytecode beside it, and so has what is measured, after its first start.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.chdir(work)
        for line in measured(options, work):
            lines.append(line)
            print(shown(line), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(line) for line in lines], indent=1), encoding="utf-8")
    missed = [line.what for line in lines if line.target is not None and line.ratio > line.target]
    print(f"\n{len(missed)} of {len(lines)} over their target" + "".join(f"\n  {what}" for what in missed))


def measured(options: argparse.Namespace, work: Path) -> Iterator[Line]:
    """All parts that were asked for."""
    folder, rounds = options.agents.absolute(), options.rounds
    sizes = [int(size) for size in options.sizes.split(",")]
    agents = Registry.from_paths(folder).agents
    print(f"{len(agents)} agents of {folder}; medians of {rounds} rounds\n")
    large = Registries(work, agents)
    if "start" in options.only:
        yield from start(folder, rounds, large.folder(max(sizes)), max(sizes))
    if "wire" in options.only:
        yield from wire(folder, rounds)
    if "warm" in options.only:
        yield from warm(folder, rounds, options.semantic_router)
    if "read" in options.only:
        yield reading(folder, rounds)
    if "cache" in options.only:
        yield from cache(folder, large.folder(max(sizes)), max(sizes))
    if "growth" in options.only:
        yield from growth(large, sizes, options.plot)


class Registries:
    """The large registries, each made when it is first asked for."""

    def __init__(self, work: Path, agents: Sequence[Agent]) -> None:
        self._work = work
        self._agents = agents

    def folder(self, count: int) -> Path:
        folder = self._work / f"registry-{count}"
        if not folder.exists():
            write_registry(folder, self._agents, count, seed=SEED)
        return folder


def start(folder: Path, rounds: int, large: Path, size: int) -> Iterator[Line]:
    """Whole processes against `import numpy`."""
    commands = {
        "an empty typer": ([sys.executable, "-c", EMPTY_TYPER], None),
        "import dispatcher": ([sys.executable, "-c", "import dispatcher"], 0.6),
        "dispatch --help": ([DISPATCH, "--help"], 1.5),
        "dispatch route TASK, cold, index cached": (route_command(folder), 2.0),
        f"the same on {size:,} agents": (route_command(large), 3.0),
    }
    for command, _ in commands.values():
        run(command)  # which fills the cache
        run(command)
    for what, (command, target) in commands.items():
        yield compared(f"{what} / import numpy", lambda c=command: run(c), lambda: run(NUMPY), rounds, target)


def wire(folder: Path, rounds: int) -> Iterator[Line]:
    """From Enter to the request on the wire, against a bare script that sends it."""
    with listener() as (address, arrived):
        environment = {"ANTHROPIC_BASE_URL": address, "ANTHROPIC_API_KEY": "none", "DISPATCH_LLM_MAX_RETRIES": "0"}
        environment["DISPATCH_ROUTING_MIN_CONFIDENCE"] = "0"  # somebody is always asked
        task = [DISPATCH, "--agents", str(folder), TASK]

        def seconds_to_request(command: Sequence[str]) -> float:
            arrived.clear()
            begun = time.perf_counter()
            run(command, environment, may_fail=True)
            return arrived[0] - begun

        seconds_to_request(task)
        yield compared(
            "Enter to the request on the wire / a bare script",
            lambda: seconds_to_request(task),
            lambda: seconds_to_request([sys.executable, "-c", BARE_SCRIPT]),
            rounds,
            1.2,
        )


def warm(folder: Path, rounds: int, semantic_router: str | None) -> Iterator[Line]:
    """Routing in a warm process, against one query of scikit-learn over the same descriptions."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    agents = Registry.from_paths(folder).routable
    router, tasks = Router(agents), make_tasks(agents, 200, seed=SEED)
    list(router.route_many(tasks[:2]))
    vectorizer = TfidfVectorizer()
    table = vectorizer.fit_transform([agent.description for agent in agents]).T.tocsr()

    def query(task: str) -> None:
        (vectorizer.transform([task]) @ table).toarray()

    def each(work: Callable[[str], object]) -> Callable[[], float]:
        return lambda: statistics.median(seconds(lambda task=task: work(task)) for task in tasks)

    def together() -> float:
        return seconds(lambda: list(router.route_many(tasks))) / len(tasks)

    each(router.route)()
    yield compared("Router.route, p50 / one query of scikit-learn", each(router.route), each(query), rounds, 2.0)
    yield compared("Router.route_many, a task / one query of scikit-learn", together, each(query), rounds, 0.5)
    if semantic_router is not None:
        given = json.dumps({"agents": [(agent.name, agent.description) for agent in agents], "tasks": tasks})

        def peer() -> float:
            done = subprocess.run(
                [semantic_router, "-c", SEMANTIC_ROUTER], input=given, capture_output=True, text=True, check=True
            )
            return float(done.stdout.splitlines()[-1])

        yield compared("Router.route, p50 / semantic-router", each(router.route), peer, min(rounds, 3), 1.0)


def reading(folder: Path, rounds: int) -> Line:
    """Reading all files without a cache, against a YAML parser over their front matter plus reading the bytes."""
    import yaml

    paths = sorted(path for path in folder.rglob("*.md"))

    def front_matter_alone() -> None:
        for path in paths:
            text = path.read_bytes().decode("utf-8-sig", "replace")
            end = text.find("\n---", 3)
            with contextlib.suppress(yaml.YAMLError):
                yaml.load(text[4:end] if text.startswith("---") else "", Loader=yaml.CSafeLoader)

    return compared(
        f"reading {len(paths)} files / CSafeLoader over their front matter",
        lambda: seconds(lambda: Registry.from_paths(folder)),
        lambda: seconds(front_matter_alone),
        rounds,
        6.0,
    )


def cache(folder: Path, large: Path, size: int) -> Iterator[Line]:
    """What starting with the cache reads, and what one changed file costs."""
    opened = files_opened(folder)
    yield Line(what="files read at a start with nothing changed", ratio=opened, low=opened, high=opened, target=0)
    first = next(large.rglob("*.md"))
    times: dict[str, list[float]] = {"anew": [], "changed": []}
    for number in range(2):
        with tempfile.TemporaryDirectory() as elsewhere:
            environment = {"DISPATCH_CACHE": elsewhere}
            times["anew"].append(run(route_command(large), environment))
            for _ in range(2):
                with first.open("a", encoding="utf-8") as file:
                    file.write(f"\nChanged for the {number}th time.\n")
                times["changed"].append(run(route_command(large), environment))
    shares = [one / statistics.median(times["anew"]) for one in times["changed"]]
    yield Line(
        what=f"one file changed among {size:,} / building anew",
        ratio=statistics.median(shares),
        low=min(shares),
        high=max(shares),
        target=0.05,
        detail=f"{statistics.median(times['changed']):.2f} s / {statistics.median(times['anew']):.2f} s",
    )


def growth(large: Registries, sizes: Sequence[int], plot: Path | None) -> Iterator[Line]:
    """How a route, memory, the index's file and its building grow, each size in a process of its own."""
    found = {size: grown(large.folder(size)) for size in sizes}
    smallest, largest = min(sizes), max(sizes)
    for size, figures in found.items():
        base = found[smallest]["p50"]
        yield _figure(
            f"p50 of a route at {size:,} agents / at {smallest:,}",
            figures["p50"] / base,
            10.0 if size == 10_000 else None,
            f"{figures['p50'] * 1e6:.0f} µs",
        )
    figures = found[largest]
    yield _figure(
        f"memory at {largest:,} agents, warm, MB", figures["memory"], 300.0 if largest == 10_000 else None, ""
    )
    yield _figure(f"index file at {largest:,} agents / the agents' text", figures["file"] / figures["text"], 3.0, "")
    yield _figure(
        f"building the index of {largest:,} agents / TfidfVectorizer",
        figures["build"] / figures["sklearn"],
        4.0,
        f"{figures['build']:.1f} s / {figures['sklearn']:.1f} s",
    )
    yield _figure("memory while that is built, MB", figures["build_memory"], None, "")
    if plot is not None:
        plot.write_text(curve({size: figures["p50"] * 1e6 for size, figures in found.items()}), encoding="utf-8")


def grown(folder: Path) -> dict[str, float]:
    """The figures of one registry, from a process of its own."""
    figures: dict[str, float] = {}
    for what in ("build", "keep", "warm", "sklearn"):
        done = subprocess.run(
            [sys.executable, __file__, "--inside", what, str(folder)], capture_output=True, text=True, check=True
        )
        figures |= json.loads(done.stdout)
    return figures


def inside(what: str, folder: Path) -> dict[str, float]:
    """What a process of its own measures."""
    flags = {"agents": [str(folder)]}
    if what == "sklearn":
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*.md")]
        taken = seconds(lambda: TfidfVectorizer(ngram_range=(1, 2)).fit_transform(texts))
        return {"sklearn": taken, "text": float(sum(len(text.encode()) for text in texts))}
    from dispatcher import Dispatcher

    if what == "build":
        router = Router(Registry.from_paths(folder).agents)
        return {"build": seconds(lambda: router.index), "build_memory": _memory()}
    dispatcher = Dispatcher.from_config(flags=flags)
    dispatcher.route(TASK)  # which puts the index into the cache, for a process that has not built it
    if what == "keep":
        return {}
    tasks = make_tasks(dispatcher.registry.agents[:200], 100, seed=SEED)
    for task in tasks:
        dispatcher.route(task)
    p50 = statistics.median(seconds(lambda task=task: dispatcher.route(task)) for task in tasks)
    stored = sum(path.stat().st_size for path in Path(os.environ["DISPATCH_CACHE"]).rglob("*index*"))
    return {"p50": p50, "memory": _memory(), "file": float(stored)}


def curve(points: Mapping[int, float]) -> str:
    """An SVG of µs by agents, both on logarithmic axes."""
    import math

    def place(agents: int, micros: float) -> tuple[float, float]:
        return 60 + 90 * (math.log10(agents) - 1), 260 - 45 * math.log10(micros)

    dots = [place(*point) for point in sorted(points.items())]
    labels = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4"/><text x="{x:.0f}" y="{y - 10:.0f}" text-anchor="middle">'
        f"{points[agents]:,.0f} µs</text>"
        f'<text x="{x:.0f}" y="280" text-anchor="middle">{agents:,}</text>'
        for agents, (x, y) in zip(sorted(points), dots, strict=True)
    )
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y in dots)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 300" font-family="sans-serif" font-size="12">'
        f'<polyline points="{line}" fill="none" stroke="black"/>{labels}<text x="8" y="16">p50 of a route by agents'
        "</text></svg>\n"
    )


def route_command(folder: Path) -> list[str]:
    return [DISPATCH, "route", "--agents", str(folder), TASK]


def files_opened(folder: Path) -> int:
    """How many agent files a start with the cache opens; what it wrote just before may be looked at again."""
    code = (
        "import sys\nopened = []\n"
        f"sys.addaudithook(lambda event, given: event == 'open' and str(given[0]).startswith({str(folder)!r})"
        " and opened.append(given[0]))\n"
        f"from dispatcher.cli.app import main\ntry:\n    main(['route', '--agents', {str(folder)!r}, 'a task'])\n"
        "except SystemExit:\n    print(len(opened), file=sys.stderr)\n"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
    return int(done.stderr.splitlines()[-1])


@contextlib.contextmanager
def listener() -> Iterator[tuple[str, list[float]]]:
    """A service on this machine that notes when requests come, and refuses them."""
    arrived: list[float] = []

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.append(time.perf_counter())
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(400)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *given: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", arrived
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(command: Sequence[str], environment: Mapping[str, str] | None = None, *, may_fail: bool = False) -> float:
    """Seconds that a whole process takes."""
    begun = time.perf_counter()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False, env={**os.environ, **(environment or {})}
    )
    taken = time.perf_counter() - begun
    if done.returncode not in (0, 4) and not may_fail:
        raise SystemExit(f"{command} ended with {done.returncode}: {done.stderr.decode()}")
    return taken


def compared(
    what: str, ours: Callable[[], float], base: Callable[[], float], rounds: int, target: float | None
) -> Line:
    """Both in turns."""
    pairs = [(ours(), base()) for _ in range(rounds)]
    ratios = sorted(one / other for one, other in pairs)
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Line(
        what=what, ratio=mine / theirs, low=low, high=high, target=target, detail=f"{_time(mine)} / {_time(theirs)}"
    )


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def shown(line: Line) -> str:
    target = f"{line.target:g}" if line.target is not None else "-"
    return f"{line.what:62}{line.ratio:8.2f}  ({line.low:.2f} - {line.high:.2f})  target {target:5} {line.detail}"


def _figure(what: str, value: float, target: float | None, detail: str) -> Line:
    return Line(what=what, ratio=value, low=value, high=value, target=target, detail=detail)


def _memory() -> float:
    """MB that this process has used at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def _time(value: float) -> str:
    return f"{value * 1e3:.0f} ms" if value >= 0.01 else f"{value * 1e6:.0f} µs"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        print(json.dumps(inside(sys.argv[2], Path(sys.argv[3]))))
    else:
        main()
