"""Model names and prices: what a name in an agent file, an option or config stands for, and what its tokens cost.

Agent files name models as aliases, under names that were retired since, or by another vendor's names. Prices are in
US dollars a million tokens, from the public price list of October 2026; config adds to them.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dispatcher.llm.client import Usage
from dispatcher.settings import LLMSettings, Price

__all__ = ["CURRENT_MODELS", "DEFAULT_MODEL", "ModelChoice", "choose_model", "cost_of", "in_dollars", "price_of"]

CURRENT_MODELS: Mapping[str, str] = {
    "sonnet": "claude-sonnet-5-5",
    "opus": "claude-opus-5-5",
    "haiku": "claude-haiku-5-5",
    "fable": "claude-fable-5-2",
    "mythos": "claude-mythos-5-2",
}
DEFAULT_MODEL = CURRENT_MODELS["sonnet"]

# Older models that the service still has, with the day on which it stops having them, where that is known.
_OLDER_MODELS: Mapping[str, datetime.date | None] = {
    "claude-fable-5": None,
    "claude-fable-5-1": None,
    "claude-mythos-5": None,
    "claude-mythos-5-1": None,
    "claude-opus-5": None,
    "claude-opus-4-8": None,
    "claude-opus-4-7": None,
    "claude-opus-4-6": None,
    "claude-opus-4-5": None,
    "claude-opus-4-5-20251101": None,
    "claude-sonnet-5": None,
    "claude-sonnet-4-6": None,
    "claude-sonnet-4-5": datetime.date(2026, 11, 30),
    "claude-sonnet-4-5-20250929": datetime.date(2026, 11, 30),
    "claude-haiku-4-5": None,
    "claude-haiku-4-5-20251001": None,
}

_LEAST_IN_CENTS = 0.1

_LATER = frozenset({"", "inherit", "default", "auto"})  # names that leave the choice to the next layer
_FAMILY = re.compile(rf"(?:claude-)?(?:\d+-)*({'|'.join(CURRENT_MODELS)})\b")
_VERSION = re.compile(r"-(\d{1,2})(?:-(\d{1,2}))?(?=-|$)")
_REMARK = re.compile(r"\s*(?:\([^)]*\)|\[[^]]*\])")  # "(copilot)", "[1m]"
_VENDOR = re.compile(r"^(?:[a-z]+\.)?anthropic[./]")


def _same_price(names: Sequence[str], price: Price) -> dict[str, Price]:
    return dict.fromkeys(names, price)


_PRICES: Mapping[str, Price] = {
    "claude-fable-5-1": Price(input=10, output=50, cache_write=12.5, cache_read=0.25),
    "claude-fable-5": Price(input=10, output=50, cache_write=12.5, cache_read=1),
    "claude-opus-5-5": Price(input=4, output=20, cache_write=5, cache_read=0.2),
    **_same_price(
        ["claude-opus-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5"],
        Price(input=5, output=25, cache_write=6.25, cache_read=0.5),
    ),
    "claude-sonnet-5-5": Price(input=2, output=10, cache_write=2.5, cache_read=0.1),
    "claude-sonnet-5": Price(input=2, output=10, cache_write=2.5, cache_read=0.2),
    **_same_price(
        ["claude-sonnet-4-6", "claude-sonnet-4-5"], Price(input=3, output=15, cache_write=3.75, cache_read=0.3)
    ),
    "claude-haiku-5-5": Price(
        input=0.1,
        output=0.5,
        cache_write=0.125,
        cache_read=0.01,
        long_prompt_over=100_000,
        long_prompt_factor=5,
    ),
    "claude-haiku-4-5": Price(input=1, output=5, cache_write=1.25, cache_read=0.1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model that is asked, who decided it (command line, agent file, config, default), and what was changed."""

    name: str
    layer: str
    written: str | None = None
    notice: str | None = None


def choose_model(
    *,
    flag: str | None,
    agent_models: Sequence[str],
    settings: LLMSettings,
    today: datetime.date | None = None,
) -> ModelChoice:
    """Picks the model: flag > agent file > config > the built-in default.

    Parameters
    ----------
    flag: the model that the caller asked for; sent as it stands if it is no name that is known here.
    agent_models: the names in the agent's file, best first.
    settings: `model` and `aliases` count.
    today: the day on which models are retired or not; the current one if not given.
    """
    today = today or datetime.date.today()
    otherwise = _from_config(settings, today)
    for layer, names in (("command line", [flag]), ("agent file", agent_models)):
        written = [name for name in names if name is not None and not _is_left_open(name)]
        if not written:
            continue
        choices = [_resolve(name, layer, settings, today) for name in written]
        return next((choice for choice in choices if choice is not None), _another_vendors(written[0], otherwise))
    return otherwise


def price_of(model: str, prices: Mapping[str, Price]) -> Price | None:
    """What a model's tokens cost, by its name with or without a date; None where that is not known."""
    undated = re.sub(r"-\d{8}$", "", model)
    return prices.get(model) or prices.get(undated) or _PRICES.get(undated)


def cost_of(usage: Usage, model: str, prices: Mapping[str, Price]) -> float | None:
    """What a request cost, in US dollars; None where the model's price is not known."""
    price = price_of(model, prices)
    if price is None:
        return None
    is_long = price.long_prompt_over is not None and usage.prompt_tokens > price.long_prompt_over
    total = (
        usage.input_tokens * price.input
        + usage.output_tokens * price.output
        + usage.cache_write_tokens * price.cache_write
        + usage.cache_read_tokens * price.cache_read
    )
    return total * (price.long_prompt_factor if is_long else 1.0) / 1_000_000


def in_dollars(amount: float) -> str:
    """An amount as people write it, with as many digits as tell something of it."""
    return f"${amount:.2f}" if amount >= _LEAST_IN_CENTS or amount == 0 else f"${amount:.4f}"


def _is_left_open(name: str) -> bool:
    return name.strip().lower() in _LATER


def _resolve(written: str, layer: str, settings: LLMSettings, today: datetime.date) -> ModelChoice | None:
    """The model that a name stands for; None for another vendor's in an agent file."""
    if (alias := _alias(written, settings)) is not None:
        return ModelChoice(name=alias, layer=layer, written=written)
    name = _REMARK.sub("", written).strip().lower()
    if name in CURRENT_MODELS:
        return ModelChoice(name=CURRENT_MODELS[name], layer=layer, written=written)
    is_from_file = layer == "agent file"
    slug = re.sub(r"[\s._]+", "-", _VENDOR.sub("", name) if is_from_file else name)
    family = _FAMILY.match(slug)
    if family is None or not (is_from_file or slug.startswith("claude-")):
        if is_from_file:
            return None
        # A service of the user's own has models of its own names; the usual one hardly has this one.
        notice = None if settings.base_url else f'"{written}" is no model that is known here; it is sent as it stands'
        return ModelChoice(name=written.strip(), layer=layer, written=written, notice=notice)
    slug = "claude-" + slug.removeprefix("claude-")
    current = CURRENT_MODELS[family[1]]
    last_day = _OLDER_MODELS.get(slug)
    is_served = slug in _OLDER_MODELS and (last_day is None or today <= last_day)
    if is_served or _is_current(slug, current, family[1]):
        return ModelChoice(name=slug, layer=layer, written=written)
    notice = f'the model "{written}" is retired or has no version; {current}, its family\'s current one, is used'
    return ModelChoice(name=current, layer=layer, written=written, notice=notice)


def _alias(written: str, settings: LLMSettings) -> str | None:
    """What config says that a name stands for: a full name, or one of the families' names."""
    aliases = {name.strip().lower(): model.strip() for name, model in settings.aliases.items()}
    model = aliases.get(written.strip().lower())
    return CURRENT_MODELS.get(model.lower(), model) if model is not None else None


def _another_vendors(written: str, otherwise: ModelChoice) -> ModelChoice:
    notice = f'the model "{written}" is not one of this service; {otherwise.name} is used'
    return dataclasses.replace(otherwise, notice="; ".join(filter(None, (notice, otherwise.notice))))


def _from_config(settings: LLMSettings, today: datetime.date) -> ModelChoice:
    """The model where neither the caller nor the file names one that is known: config's, or the built-in one."""
    written = settings.model or ""
    choice = None if _is_left_open(written) else _resolve(written, "config", settings, today)
    return choice or ModelChoice(name=DEFAULT_MODEL, layer="default")


def _is_current(slug: str, current: str, family: str) -> bool:
    """Whether a name is its family's current model, or a higher version that this release does not know yet."""
    return slug.startswith(f"claude-{family}-") and _version(slug) >= _version(current)


def _version(slug: str) -> tuple[int, ...]:
    found = _VERSION.search(slug)
    return tuple(int(part) for part in found.groups() if part) if found else ()
