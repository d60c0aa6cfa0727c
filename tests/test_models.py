"""Model names: which model a name stands for, which layer decides, what changed on the way; and what tokens cost."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from dispatcher import Agent, Usage
from dispatcher.llm import ModelChoice, choose_model, cost_of
from dispatcher.settings import LLMSettings, Price

SONNET, OPUS, HAIKU = "claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5"
TODAY = datetime.date(2026, 11, 20)
MILLION = 1_000_000


def choose(*in_file: str, flag: str | None = None, today: datetime.date = TODAY, **settings: Any) -> ModelChoice:
    """The choice for the names in an agent's file; `settings` are those of the LLM."""
    return choose_model(flag=flag, agent_models=in_file, settings=LLMSettings(**settings), today=today)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("sonnet", SONNET),
        ("opus", OPUS),
        ("haiku", HAIKU),
        (" Opus ", OPUS),
        ("sonnet[1m]", SONNET),
        ("sonnet (fallback)", SONNET),
        (SONNET, SONNET),
        ("Claude-Sonnet-5.5", SONNET),
        ("claude-sonnet-4-6", "claude-sonnet-4-6"),
        ("claude-opus-4-5-20251101", "claude-opus-4-5-20251101"),
        ("Claude Sonnet 4.5 (copilot)", "claude-sonnet-4-5"),
        ("Claude Opus 4.5", "claude-opus-4-5"),
        ("Opus 4.5", "claude-opus-4-5"),
        ("anthropic/claude-opus-4.6", "claude-opus-4-6"),
        ("claude-sonnet-5-5-20260901", "claude-sonnet-5-5-20260901"),
        ("claude-opus-6", "claude-opus-6"),
    ],
)
def test_a_name_that_the_service_has_is_used_without_a_word(written: str, name: str) -> None:
    assert choose(written) == ModelChoice(name=name, layer="agent file", written=written)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("claude-opus-4", OPUS),
        ("claude-sonnet-4-20250514", SONNET),
        ("claude-3-5-sonnet-20241022", SONNET),
        ("claude-3-opus-latest", OPUS),
        ("Claude Haiku 3.5", HAIKU),
        ("claude-sonnet", SONNET),
        ("us.anthropic.claude-3-5-haiku-20241022-v1:0", HAIKU),
        ("sonnet-4", SONNET),
    ],
)
def test_a_retired_or_undated_name_becomes_the_current_one_of_its_family(written: str, name: str) -> None:
    choice = choose(written)
    assert (choice.name, choice.layer, choice.written) == (name, "agent file", written)
    assert choice.notice == (
        f'the model "{written}" is retired or has no version; {name}, its family\'s current one, is used'
    )


@pytest.mark.parametrize("written", ["gpt-4.1", "GPT-5 (copilot)", "gemini-2.5-pro", "{{MODEL}}", "opusplan", "o3"])
def test_another_vendors_name_becomes_the_default(written: str) -> None:
    notice = f'the model "{written}" is not one of this service; {SONNET} is used'
    assert choose(written) == ModelChoice(name=SONNET, layer="default", notice=notice)


@pytest.mark.parametrize("configured", ["opus", "claude-opus-4"])
def test_another_vendors_name_becomes_the_model_of_config(configured: str) -> None:
    choice = choose("gpt-4.1", model=configured)
    assert (choice.name, choice.layer) == (OPUS, "config")
    assert f'"gpt-4.1" is not one of this service; {OPUS} is used' in (choice.notice or "")


def test_of_a_list_the_first_that_the_service_has_is_used() -> None:
    assert choose("gpt-4.1", "opus", "haiku") == ModelChoice(name=OPUS, layer="agent file", written="opus")


def test_alternatives_on_one_line_of_a_file_are_a_list(read: Callable[..., Agent]) -> None:
    agent = read("---\nname: a\ndescription: Reviews code.\nmodel: opus | sonnet (fallback)\n---\nYou review code.\n")
    assert choose(*agent.models).name == OPUS
    assert choose(*agent.models).notice is None


@pytest.mark.parametrize("written", ["inherit", "Inherit", "default", "auto", " "])
def test_inherit_leaves_the_choice_to_the_next_layer(written: str) -> None:
    assert choose(written).layer == "default"
    assert choose(written, model="haiku").layer == "config"
    assert choose("opus", flag=written).layer == "agent file"
    assert choose(model=written) == ModelChoice(name=SONNET, layer="default")


def test_the_flag_goes_before_the_file_before_config_before_the_default() -> None:
    assert (choose("opus", flag="haiku", model="sonnet").name, choose("opus", flag="haiku").layer) == (
        HAIKU,
        "command line",
    )
    assert choose("opus", model="haiku") == ModelChoice(name=OPUS, layer="agent file", written="opus")
    assert choose(model="haiku") == ModelChoice(name=HAIKU, layer="config", written="haiku")
    assert choose() == ModelChoice(name=SONNET, layer="default")


@pytest.mark.parametrize("name", ["qwen3:8b", "gpt-4o", "anthropic/claude-sonnet-4.5", "sonnet-of-our-own"])
def test_an_unknown_name_that_the_user_gives_is_sent_as_it_stands(name: str) -> None:
    for choice, layer in ((choose("opus", flag=name), "command line"), (choose(model=name), "config")):
        assert (choice.name, choice.layer, choice.written) == (name, layer, name)
        assert choice.notice == f'"{name}" is no model that is known here; it is sent as it stands'


def test_a_service_of_the_users_own_has_models_of_its_own() -> None:
    assert choose(flag="qwen3:8b", base_url="http://localhost:11434").notice is None


def test_a_retired_name_that_the_user_gives_is_replaced_too() -> None:
    assert choose(flag="claude-3-opus-20240229").name == OPUS
    assert choose(model="claude-opus-4").notice is not None


@pytest.mark.parametrize(("day", "name"), [(30, "claude-sonnet-4-5"), (31, SONNET)])
def test_a_model_is_used_up_to_its_last_day(day: int, name: str) -> None:
    today = datetime.date(2026, 11, 1) + datetime.timedelta(days=day - 1)
    assert choose("claude-sonnet-4-5", today=today).name == name


@pytest.mark.parametrize("written", ["sonnet", "Sonnet", "gpt-4.1", "claude-opus-4", SONNET])
def test_an_alias_of_config_goes_before_everything(written: str) -> None:
    choice = choose(written, aliases={"sonnet": "qwen3:8b", "GPT-4.1": "qwen3:8b"} | {written: "qwen3:8b"})
    assert choice == ModelChoice(name="qwen3:8b", layer="agent file", written=written)


def test_an_alias_may_stand_for_a_family() -> None:
    aliases = {"gpt-4.1": "opus", "fast": "Haiku"}
    assert choose("gpt-4.1", aliases=aliases).name == OPUS
    assert choose(flag="fast", aliases=aliases).name == HAIKU
    assert choose(model="fast", aliases=aliases).name == HAIKU
    assert choose("gemini-2.5-pro", model="fast", aliases=aliases).name == HAIKU


USAGE = Usage(input_tokens=MILLION, output_tokens=MILLION, cache_write_tokens=MILLION, cache_read_tokens=MILLION)


def test_each_kind_of_token_has_its_price() -> None:
    prices = {"mine": Price(input=1, output=10, cache_write=100, cache_read=1000)}
    assert cost_of(USAGE, "mine", prices) == pytest.approx(1111)
    assert cost_of(Usage(output_tokens=500), "mine", prices) == pytest.approx(0.005)
    assert cost_of(Usage(), "mine", prices) == 0


def test_the_built_in_prices_are_found_with_and_without_a_date() -> None:
    assert cost_of(USAGE, "claude-haiku-4-5-20251001", {}) == cost_of(USAGE, "claude-haiku-4-5", {}) is not None
    assert cost_of(Usage(input_tokens=MILLION, output_tokens=MILLION), SONNET, {}) == pytest.approx(12)


def test_a_price_of_config_goes_before_the_built_in_one() -> None:
    prices = {SONNET: Price(input=0, output=0, cache_write=0, cache_read=0)}
    assert cost_of(USAGE, SONNET, prices) == 0


@pytest.mark.parametrize(("tokens", "factor"), [(100, 1), (101, 3)])
def test_a_long_prompt_makes_all_of_it_cost_more(tokens: int, factor: int) -> None:
    price = Price(input=1, output=2, cache_write=1, cache_read=1, long_prompt_over=100, long_prompt_factor=3)
    usage = Usage(input_tokens=tokens - 60, cache_read_tokens=40, cache_write_tokens=20, output_tokens=50)
    assert cost_of(usage, "m", {"m": price}) == pytest.approx(factor * (tokens + 2 * 50) / MILLION)


def test_an_unknown_price_is_none_and_not_nothing() -> None:
    assert cost_of(USAGE, "qwen3:8b", {}) is None
