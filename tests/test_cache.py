"""The cache: when it is used, when not, and that it never changes what comes out."""

from __future__ import annotations

import copy
import dataclasses
import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher import Agent, Cache, Decision, Dispatcher, Registry, Router
from tests.cli_calls import TASK, call, write_team
from tests.workshop import TEAM, craft

LONG_AGO = 1_000_000_000
ENRICHED = '{"name": "gardener", "examples": ["my tomatoes are dying", "when do I sow peas"]}\n'


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """Three agents and their example tasks, in files that were not changed just now."""
    folder = write_team(tmp_path / "team")
    (folder / "enriched.jsonl").write_text(ENRICHED, encoding="utf-8")
    age(folder)
    return folder


@pytest.fixture
def opened(team: Path) -> Iterator[list[str]]:
    """The agent files that are opened."""
    found: list[str] = []
    is_on = True

    def hear(event: str, given: tuple[object, ...]) -> None:
        if is_on and event == "open" and str(given[0]).startswith(str(team)) and str(given[0]).endswith(".md"):
            found.append(Path(str(given[0])).name)

    sys.addaudithook(hear)
    yield found
    is_on = False


def age(folder: Path) -> None:
    for number, path in enumerate(sorted(folder.rglob("*.*"))):
        os.utime(path, (LONG_AGO + number, LONG_AGO + number))


def cached_files(cache: Cache) -> list[Path]:
    return [entry.path for entry in cache.entries()]


def answer(decision: Decision) -> tuple[object, ...]:
    """All of a decision that can be compared, evidence and all."""
    return decision, decision.evidence, decision.explanations, decision.smallest_change()


def test_a_registry_from_the_cache_is_the_one_that_was_read(team: Path, cache: Cache) -> None:
    fresh = Registry.from_paths(team)
    assert Registry.from_paths(team, cache=cache) == fresh
    assert Registry.from_paths(team, cache=cache) == fresh


def test_nothing_is_read_where_nothing_has_changed(team: Path, cache: Cache, opened: list[str]) -> None:
    Registry.from_paths(team, cache=cache)
    assert sorted(opened) == ["butler.md", "cook.md", "gardener.md"]
    opened.clear()
    Registry.from_paths(team, cache=cache)
    assert opened == []


def test_only_the_file_that_changed_is_read(team: Path, cache: Cache, opened: list[str]) -> None:
    Registry.from_paths(team, cache=cache)
    opened.clear()
    (team / "cook.md").write_text((team / "cook.md").read_text(encoding="utf-8") + "More.\n", encoding="utf-8")
    os.utime(team / "cook.md", (LONG_AGO, LONG_AGO))
    opened.clear()
    registry = Registry.from_paths(team, cache=cache)
    assert opened == ["cook.md"]
    assert registry.find("Soup Cook").prompt.endswith("More.\n")
    opened.clear()
    assert Registry.from_paths(team, cache=cache) == registry
    assert opened == []


def test_a_file_changed_just_now_is_compared_until_time_has_passed(
    team: Path, cache: Cache, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    os.utime(team / "cook.md", ns=(now, now))
    Registry.from_paths(team, cache=cache)
    opened.clear()
    Registry.from_paths(team, cache=cache)
    assert opened == ["cook.md"]
    monkeypatch.setattr(time, "time_ns", lambda: now + 10_000_000_000)
    Registry.from_paths(team, cache=cache)
    opened.clear()
    Registry.from_paths(team, cache=cache)
    assert opened == []


def test_a_change_that_leaves_no_trace_in_times_and_size_is_seen(team: Path, cache: Cache) -> None:
    path = team / "cook.md"
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    Registry.from_paths(team, cache=cache)
    path.write_text(path.read_text(encoding="utf-8").replace("You cook", "We cook".ljust(8)), encoding="utf-8")
    os.utime(path, ns=(now, now))
    assert "We cook" in Registry.from_paths(team, cache=cache).find("Soup Cook").prompt


@pytest.mark.parametrize("change", ["new", "gone", "renamed"])
def test_files_that_come_and_go_are_seen(team: Path, cache: Cache, change: str) -> None:
    Registry.from_paths(team, cache=cache)
    if change == "new":
        (team / "miller.md").write_text("---\nname: miller\ndescription: Mills.\n---\nYou mill.\n", encoding="utf-8")
    elif change == "gone":
        (team / "cook.md").unlink()
    else:
        (team / "cook.md").rename(team / "cook2.md")
    assert Registry.from_paths(team, cache=cache) == Registry.from_paths(team)


def write_many(folder: Path, count: int = 12) -> None:
    for number in range(count):
        text = f"---\nname: agent-{number}\ndescription: Does thing {number}.\n---\nYou do thing {number}.\n"
        (folder / f"agent-{number}.md").write_text(text, encoding="utf-8")
    age(folder)


def change(path: Path, number: int) -> None:
    path.write_text(path.read_text(encoding="utf-8") + f"Changed {number} times.\n", encoding="utf-8")
    os.utime(path, (LONG_AGO + 1000 * number, LONG_AGO + 1000 * number))


def test_a_few_changes_are_kept_beside_the_rest(team: Path, cache: Cache, opened: list[str]) -> None:
    write_many(team)
    Registry.from_paths(team, cache=cache)
    [whole] = cached_files(cache)
    before = whole.stat()
    for number, name in enumerate(("agent-3.md", "agent-4.md", "agent-3.md"), start=1):
        change(team / name, number)
        opened.clear()
        registry = Registry.from_paths(team, cache=cache)
        assert opened == [name]
        assert registry == Registry.from_paths(team)
    opened.clear()
    assert Registry.from_paths(team, cache=cache).find("agent-3").prompt.endswith("Changed 3 times.\n")
    assert opened == []
    assert whole.stat() == before
    assert len(cached_files(cache)) == 2


def test_many_changes_are_written_with_all_the_rest(team: Path, cache: Cache, opened: list[str]) -> None:
    write_many(team)
    Registry.from_paths(team, cache=cache)
    [whole] = cached_files(cache)
    before = whole.read_bytes()
    for number in range(12):
        change(team / f"agent-{number}.md", number + 1)
        Registry.from_paths(team, cache=cache)
    assert whole.read_bytes() != before
    opened.clear()
    kept = Registry.from_paths(team, cache=cache)
    assert opened == []
    assert kept == Registry.from_paths(team)


def test_what_has_gone_is_forgotten_once_it_is_much(team: Path, cache: Cache) -> None:
    write_many(team)
    Registry.from_paths(team, cache=cache)
    before = cached_files(cache)[0].stat().st_size
    for number in range(12):
        (team / f"agent-{number}.md").unlink()
    assert Registry.from_paths(team, cache=cache) == Registry.from_paths(team)
    assert cached_files(cache)[0].stat().st_size < before


def test_damaged_changes_are_read_anew(team: Path, cache: Cache, opened: list[str]) -> None:
    write_many(team)
    Registry.from_paths(team, cache=cache)
    change(team / "agent-3.md", 1)
    Registry.from_paths(team, cache=cache)
    [changes] = [path for path in cached_files(cache) if "-changes" in path.name]
    os.truncate(changes, changes.stat().st_size // 2)
    opened.clear()
    registry = Registry.from_paths(team, cache=cache)
    assert opened == ["agent-3.md"]
    assert registry == Registry.from_paths(team)


def test_a_file_that_is_put_back_is_known_again(team: Path, cache: Cache) -> None:
    write_many(team)
    before, status = (team / "agent-3.md").read_text(encoding="utf-8"), (team / "agent-3.md").stat()
    fresh = Registry.from_paths(team, cache=cache)
    change(team / "agent-3.md", 1)
    assert Registry.from_paths(team, cache=cache) != fresh
    (team / "agent-3.md").write_text(before, encoding="utf-8")
    os.utime(team / "agent-3.md", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Registry.from_paths(team, cache=cache) == fresh


def test_changed_example_tasks_are_seen(team: Path, cache: Cache) -> None:
    before = Router(Registry.from_paths(team).agents).route("the roof leaks")
    registry = Registry.from_paths(team, cache=cache)
    Router(registry.agents, cache=cache, digest=registry.digest).route("the roof leaks")
    text = ENRICHED.replace("my tomatoes are dying", "the roof leaks")
    (team / "enriched.jsonl").write_text(text, encoding="utf-8")
    registry = Registry.from_paths(team, cache=cache)
    after = Router(registry.agents, cache=cache, digest=registry.digest).route("the roof leaks")
    assert after == Router(Registry.from_paths(team).agents).route("the roof leaks")
    assert after != before


@pytest.mark.parametrize("duplicates", ["error", "first", "last", "namespace"])
def test_what_is_made_of_duplicates_is_the_same(team: Path, cache: Cache, duplicates: str) -> None:
    (team / "sub").mkdir()
    (team / "sub" / "other.md").write_text("---\nname: gardener\ndescription: Rakes.\n---\nRake.\n", encoding="utf-8")
    for _ in range(2):
        kept = Registry.from_paths(team, cache=cache, duplicates=duplicates)  # type: ignore[arg-type]
        assert kept == Registry.from_paths(team, duplicates=duplicates)  # type: ignore[arg-type]


def test_a_registry_made_of_another_by_hand_has_no_digest(team: Path) -> None:
    registry = Registry.from_paths(team)
    changed = dataclasses.replace(registry, agents=(registry.find("gardener"),))
    assert (bool(registry.digest), changed.digest) == (True, "")


def test_an_agent_from_the_cache_is_like_any_other(team: Path, cache: Cache) -> None:
    fresh = Registry.from_paths(team).find("gardener")
    Registry.from_paths(team, cache=cache)

    def kept() -> Agent:
        return Registry.from_paths(team, cache=cache).find("gardener")

    assert copy.deepcopy(kept()) == fresh
    assert repr(kept()) == repr(fresh)
    assert dataclasses.asdict(kept()) == dataclasses.asdict(fresh)
    assert dataclasses.replace(kept(), name="other") == dataclasses.replace(fresh, name="other")
    assert kept().but(name="other") == dataclasses.replace(fresh, name="other")
    with pytest.raises(AttributeError, match="promt"):
        _ = getattr(kept(), "promt")  # noqa: B009  as a slip would


def test_what_is_shown_of_an_agent_is_the_same(team: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = [call(capsys, ["agents", "show", "gardener", "--json", "--agents", str(team)]).out for _ in range(2)]
    assert shown[0] == shown[1]
    assert '"gardener"' in shown[0]


def test_a_broken_file_is_reported_from_the_cache_too(team: Path, cache: Cache) -> None:
    (team / "empty.md").write_text("", encoding="utf-8")
    (team / "README.md").write_text("# Read me\n", encoding="utf-8")
    fresh = Registry.from_paths(team)
    assert [Registry.from_paths(team, cache=cache) for _ in range(2)] == [fresh, fresh]


@pytest.mark.parametrize("agents", [TEAM, TEAM[:1], ()])
def test_a_decision_by_a_kept_index_is_the_same(agents: tuple[Agent, ...], cache: Cache) -> None:
    tasks = ["my dough will not rise", "weld a gate of steel", "zzz", "@joiner glue it", ""]
    plain, first, second = (Router(agents, cache=each) for each in (None, cache, cache))
    for task in tasks:
        wanted = [answer(router.route(task)) for router in (plain, first, second)] if agents else []
        assert wanted[:1] * 2 == wanted[1:]
    many = [list(router.route_many(tasks)) for router in (plain, first, second)]
    assert many[0] == many[1] == many[2]


WORDS = st.sampled_from(
    [
        "oven",
        "bread",
        "dough",
        "gate",
        "steel",
        "café",
        "naïve",
        "parseJSON",
        "C++",
        "日本語",
        "don't",
        "invoice",
        "seam",
        "the",
        "of",
    ]
)
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)
AGENTS = st.lists(
    st.builds(
        lambda d, p, e: (d, p, e), TEXTS, st.lists(TEXTS, max_size=3).map("\n- ".join), st.lists(TEXTS, max_size=3)
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=AGENTS, tasks=st.lists(TEXTS, min_size=1, max_size=4))
def test_cold_warm_single_and_many_decide_alike(parts: list[tuple[str, str, list[str]]], tasks: list[str]) -> None:
    from dispatcher import Example

    agents = [
        craft(f"agent-{number}", description, prompt, examples=tuple(Example(user=text) for text in examples))
        for number, (description, prompt, examples) in enumerate(parts)
    ]
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        routers = [Router(agents), Router(agents, cache=cache), Router(agents, cache=cache)]
        singles = [[router.route(task) for task in tasks] for router in routers]
        many = [list(router.route_many(tasks)) for router in routers]
    assert singles[0] == singles[1] == singles[2]
    assert [summary(one) for one in singles[0]] == [summary(one) for one in many[0]]
    assert many[0] == many[1] == many[2]


def summary(decision: Decision) -> tuple[object, ...]:
    return decision.outcome, [candidate.name for candidate in decision.candidates], round(decision.confidence, 5)


def test_another_encoder_text_or_choice_of_agents_is_another_index(cache: Cache) -> None:
    for agents in (TEAM, TEAM[1:], (craft("bread-baker", "Paints."), *TEAM[1:])):
        for disabled in ((), ("tailor",)):
            kept, plain = Router(agents, cache=cache, disabled=disabled), Router(agents, disabled=disabled)
            assert kept.route("sew bread") == plain.route("sew bread")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: path.write_bytes(b""),
    "cut to its head": lambda path: os.truncate(path, 20),
    "overwritten in the middle": lambda path: overwrite(path, path.stat().st_size // 2),
    "overwritten at the start": lambda path: overwrite(path, 0),
    "header overwritten": lambda path: overwrite(path, 40),
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "of somebody else": lambda path: path.write_bytes(b"PK\x03\x04 something else entirely" * 100),
}


def overwrite(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff\x00garbage" * 20)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_anew(team: Path, cache: Cache, damage: str) -> None:
    fresh = Registry.from_paths(team)
    wanted = answer(Router(fresh.agents).route(TASK))

    def routed() -> tuple[object, ...]:
        registry = Registry.from_paths(team, cache=cache)
        assert registry == fresh
        return answer(Router(registry.agents, cache=cache, digest=registry.digest).route(TASK))

    assert routed() == wanted
    for path in cached_files(cache):
        DAMAGES[damage](path)
    assert not any(entry.is_whole for entry in cache.entries())
    assert routed() == wanted
    assert all(entry.is_whole for entry in cache.entries())


def test_a_file_of_another_use_in_its_place_is_not_taken(team: Path, tmp_path: Path, cache: Cache) -> None:
    other = write_team(tmp_path / "other")
    (other / "cook.md").unlink()
    Registry.from_paths(team, cache=cache)
    mine = cached_files(cache)[0]
    theirs = Cache(tmp_path / "cache2")
    Registry.from_paths(other, cache=theirs)
    content, status = cached_files(theirs)[0].read_bytes(), cached_files(theirs)[0].stat()
    mine.write_bytes(content)
    os.utime(mine, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Registry.from_paths(team, cache=cache) == Registry.from_paths(team)


@pytest.mark.parametrize("where", ["a file", "below a file"])
def test_a_cache_that_cannot_be_written_is_none(team: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    cache = Cache(tmp_path / "file" / "below" if where == "below a file" else tmp_path / "file")
    registry = Registry.from_paths(team, cache=cache)
    assert Router(registry.agents, cache=cache).route(TASK) == Router(registry.agents).route(TASK)
    assert list(cache.entries()) == []


def test_a_folder_that_may_not_be_written_means_no_cache(
    team: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.folder.mkdir()

    def refused(suffix: str, prefix: str, folder: Path) -> tuple[int, str]:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))  # which the superuser never meets

    monkeypatch.setattr(tempfile, "mkstemp", refused)
    for _ in range(2):
        registry = Registry.from_paths(team, cache=cache)
        assert registry == Registry.from_paths(team)
        kept = Router(registry.agents, cache=cache, digest=registry.digest)
        assert kept.route(TASK) == Router(registry.agents).route(TASK)
    assert list(cache.folder.iterdir()) == []


def test_a_cache_that_was_filled_is_used_where_it_cannot_be_written(
    team: Path, cache: Cache, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Registry.from_paths(team, cache=cache)
    monkeypatch.setattr(Cache, "put", lambda *given: False)
    change(team / "cook.md", 1)
    opened.clear()
    registry = Registry.from_paths(team, cache=cache)
    assert opened == ["cook.md"]
    assert registry == Registry.from_paths(team)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_means_no_cache(team: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_the_full_disk(suffix: str, prefix: str, folder: Path) -> tuple[int, str]:
        name = folder / f"{prefix}x{suffix}"
        name.symlink_to("/dev/full")
        return os.open("/dev/full", os.O_RDWR), str(name)

    monkeypatch.setattr(tempfile, "mkstemp", on_the_full_disk)
    assert Registry.from_paths(team, cache=cache) == Registry.from_paths(team)
    assert list(cache.folder.iterdir()) == []


def test_processes_that_start_at_once_do_not_disturb_each_other(team: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dispatcher", "route", "--agents", str(team), "-q", TASK]
    environment = {**os.environ, "DISPATCH_CACHE": str(tmp_path / "cache")}
    running = [
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    assert [process.communicate()[0] for process in running] == ["gardener\n"] * 4
    cache = Cache(tmp_path / "cache")
    assert sorted((entry.kind, entry.is_whole) for entry in cache.entries()) == [("agents", True), ("index", True)]
    assert not [path for path in cache.folder.iterdir() if path.suffix != ".cache"]


def test_what_a_killed_process_left_is_removed_in_time(team: Path, cache: Cache) -> None:
    cache.folder.mkdir()
    old, new, foreign = (cache.folder / name for name in ("agents-a.unfinished", "index-b.unfinished", "mine.txt"))
    for path in (old, new, foreign):
        path.write_bytes(b"half")
    os.utime(old, (LONG_AGO, LONG_AGO))
    Registry.from_paths(team, cache=cache)
    assert (old.exists(), new.exists(), foreign.exists()) == (False, True, True)


def test_from_config_uses_the_cache_and_a_plain_router_does_not(team: Path, tmp_path: Path) -> None:
    flags = {"agents": [str(team)], "cache": str(tmp_path / "own")}
    Dispatcher.from_config(flags=flags).route(TASK)
    assert sorted(entry.kind for entry in Cache(tmp_path / "own").entries()) == ["agents", "index"]
    Router(Registry.from_paths(team).agents).route(TASK)
    assert not (tmp_path / "home" / ".cache").exists()


def test_the_cache_can_be_off(team: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCH_CACHE", "off")
    Dispatcher.from_config(flags={"agents": [str(team)]}).route(TASK)
    assert not (tmp_path / "home" / ".cache").exists()


def test_the_usual_place_is_that_of_the_platform(team: Path, tmp_path: Path) -> None:
    Dispatcher.from_config(flags={"agents": [str(team)]}).route(TASK)
    folder = Path("Library/Caches" if sys.platform == "darwin" else ".cache") / "agent-dispatcher"
    assert (tmp_path / "home" / folder).is_dir()


def test_a_reload_takes_up_what_changed(team: Path) -> None:
    dispatcher = Dispatcher.from_config(flags={"agents": [str(team)]})
    assert dispatcher.route(TASK).agent is not None
    (team / "gardener.md").unlink()
    dispatcher.reload()
    assert dispatcher.route(TASK).agent is None


def test_cache_show_and_clear(
    team: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPATCH_CACHE", str(tmp_path / "cache"))
    call(capsys, ["route", "--agents", str(team), TASK])
    (tmp_path / "cache" / "keep.txt").write_text("mine", encoding="utf-8")
    shown = call(capsys, ["cache", "show"])
    assert shown.out.splitlines()[0] == str(tmp_path / "cache")
    assert "index of 2 agents" in shown.out
    assert f"agents of {team}" in shown.out
    listed = call(capsys, ["cache", "show", "--json"]).json
    assert {file["kind"] for file in listed["files"]} == {"agents", "index"}
    assert call(capsys, ["cache", "clear"]).code == 0
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["keep.txt"]
    assert call(capsys, ["cache", "show", "--json"]).json["files"] == []


def test_cache_show_says_that_it_is_off(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCH_CACHE", "off")
    assert call(capsys, ["cache", "show"]).out == "the cache is off\n"
    assert call(capsys, ["cache", "clear"]).code == 0


def test_a_project_does_not_say_where_the_cache_is(
    team: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config.yaml").write_text("dispatcher:\n  cache: here\n", encoding="utf-8")
    ended = call(capsys, ["route", "--agents", str(team), TASK])
    assert "cache is ignored in a project's config.yaml" in " ".join(ended.err.split())
    assert not Path("here").exists()


def test_a_cold_route_loads_nothing_heavy(team: Path) -> None:
    code = (
        "import sys\nfrom dispatcher.cli.app import main\n"
        f"try:\n    main(['route', '--agents', {str(team)!r}, {TASK!r}])\nexcept SystemExit:\n    pass\n"
        "print(sorted({*sys.modules} | {name.partition('.')[0] for name in sys.modules}))"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
    of_others = (
        "anthropic",
        "asyncio",
        "email",
        "numpy.ma",
        "pydantic",
        "rapidfuzz",
        "scipy",
        "sklearn",
        "sqlite3",
        "tempfile",
        "yaml",
    )
    of_ours = ("agentfile.reader", "decisionlog.log", "runtime.drivers", "runtime.loop", "runtime.session", "sessions")
    for heavy in (*of_others, "tempfile", *(f"dispatcher.{name}" for name in of_ours)):
        assert f"'{heavy}'" not in done.stdout
