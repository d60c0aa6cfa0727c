"""Odd tasks, tiny registries, and words in all the ways that they are written: all get a decision, and soon."""

from __future__ import annotations

import time

import pytest

from dispatcher import Agent, Outcome, Router
from tests.workshop import TEAM, craft, ranking


@pytest.fixture(scope="module")
def router() -> Router:
    return Router(TEAM)


ODD_TASKS = {
    "empty": "",
    "blank": " \n\t ",
    "one word": "bread",
    "one letter": "a",
    "100 kB of words": "the oven burnt my bread again, number 12345; " * 2300,
    "100 kB of one word": "x" * 100_000,
    "100 kB of different words": " ".join(f"word{number}" for number in range(10_000)),
    "emoji": "🔥🍞👩‍🍳🏳️‍🌈",
    "code": "for (int i = 0; i < n; ++i) { a[i] = *p++ ? ~b : c->d; }",
    "punctuation": "?!?... -- \\ // \x00",
    "half a surrogate pair": "bread \ud83d rolls",
    "Japanese": "パンが膨らみません。オーブンを直してください",
    "Arabic": "الخبز لا ينتفخ في الفرن، كيف أصلحه؟",
    "Thai": "ขนมปังไม่ฟู",
    "right to left marks": "\u202ebread\u202c",
}


@pytest.mark.parametrize("kind", ODD_TASKS)
def test_every_task_gets_a_decision_soon(router: Router, kind: str) -> None:
    start = time.perf_counter()
    decision = router.route(ODD_TASKS[kind])
    assert time.perf_counter() - start < 2
    assert decision.outcome in (Outcome.ROUTED, Outcome.ABSTAINED)
    assert len(decision.candidates) == len(TEAM)
    assert 0 <= decision.confidence <= 1


@pytest.mark.parametrize("kind", ["one word", "100 kB of words", "half a surrogate pair"])
def test_odd_tasks_with_words_are_ranked_by_them(router: Router, kind: str) -> None:
    assert ranking(router.route(ODD_TASKS[kind]))[0] == "bread-baker"


@pytest.mark.parametrize("agents", [(), (craft("🤖"),), (craft("only", "Bakes bread."),), (craft("a"), craft("b"))])
def test_tiny_registries_get_decisions_too(agents: tuple[Agent, ...]) -> None:
    decision = Router(agents).route("bake bread")
    assert len(decision.candidates) == len(agents)
    assert 0 <= decision.confidence <= 1


@pytest.mark.parametrize(
    ("file", "task"),
    [
        ("Renders the user profile of a page.", "rendrUserProfiles crashes"),
        ("Works on renderUserProfile and its kin.", "render the user profile"),
        ("Works on render_user_profile and its kin.", "render the user profile"),
        ("Writes C++ and nothing else.", "port it to c++17"),
        ("Writes C# and nothing else.", "is C# faster"),
        ("Écrit des résumés.", "un RE\u0301SUME\u0301 ÉCRIT"),
        ("パンを焼きます。", "焼きたてのパンがほしい"),
        ("빵을 굽습니다.", "빵"),
        ("Configures Kubernetes clusters.", "kuberntes is down"),
        ("Reviews the company’s contracts.", "company's contract"),
        ("Reads ｆｕｌｌ width letters.", "full width"),
    ],
)
def test_words_meet_in_whatever_way_they_are_written(file: str, task: str) -> None:
    others = [craft("aaa", "Writes Python, C and letters to banks."), craft("aab", "魚を売ります。 Lists rows.")]
    assert ranking(Router([*others, craft("zzz", file)]).route(task))[0] == "zzz"


def test_variables_of_a_file_are_no_evidence() -> None:
    agents = [craft("a", "Deploys {{PROJECT_TYPE}} things."), craft("b", "Plans the type of project.")]
    assert ranking(Router(agents).route("which project type"))[0] == "b"
