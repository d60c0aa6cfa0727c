"""Every setting, with its default, its limits and what it means; the schema is made from this.

Plain frozen dataclasses: pydantic validates what comes from outside, and is not needed for the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

__all__ = [
    "BudgetSettings",
    "EnrichSettings",
    "Escalate",
    "HandoffSettings",
    "JudgeSettings",
    "LLMSettings",
    "LogSettings",
    "McpServerSettings",
    "Offer",
    "Price",
    "RoutingSettings",
    "Rule",
    "SessionSettings",
    "Settings",
    "ToolSettings",
]

MAX_FILE_BYTES = 1_000_000

_STRICT: dict[str, Any] = {"extra": "forbid", "coerce_numbers_to_str": True}


class Limits:
    """What holds for a value, in pydantic's words: ge, gt, le, lt, pattern. Loads nothing, as pydantic's own would."""

    def __init__(self, **limits: float | str) -> None:
        self._limits = limits

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return {**handler(source), **self._limits}


ServerName = Annotated[str, Limits(pattern=r"^[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*$", max_length=40)]
Share = Annotated[float, Limits(ge=0, le=1)]
Dollars = Annotated[float, Limits(ge=0)]
DuplicatePolicy = Literal["error", "first", "last", "namespace"]
Executor = Literal["api", "claude-code"]
Offer = Literal["never", "named", "found"]
Approval = Literal["ask", "allow"]
Escalate = Literal["never", "unsure", "always"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A keyword rule: when its conditions hold for a task, it forces, boosts or vetoes agents.

    Words match whole and stemmed ("invoices" meets "invoice"); several words in one entry must stand together.
    A target is an agent's name, or `category:NAME` or `team:NAME`.
    """

    __pydantic_config__ = _STRICT

    any: tuple[str, ...] = ()
    """At least one of these must stand in the task."""
    all: tuple[str, ...] = ()
    """All of these must."""
    none: tuple[str, ...] = ()
    """None of these may."""
    regex: str | None = None
    """A regular expression that must be found in the task, in any case."""
    force: str | None = None
    """The target that is then chosen; of several agents, the one with the best score."""
    boost: str | None = None
    """The target whose score is then raised by `by`."""
    veto: str | None = None
    """The target that is then left out."""
    by: Annotated[float, Limits(gt=0, le=1)] = 0.2
    """How much a boost adds to the score (without boosts, scores lie between 0 and 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingSettings:
    """How an agent is chosen."""

    __pydantic_config__ = _STRICT

    min_confidence: Share = 0.25
    """Below this confidence the router abstains."""
    weights: str | None = None
    """A weights file that `dispatch tune` wrote, in place of the one that comes along."""
    precision: Annotated[float, Limits(gt=0, le=1)] | None = None
    """The share of decisions that should be right; the threshold is then taken from the weights file instead."""
    out_of_scope_share: Annotated[float, Limits(gt=0, lt=1)] = 0.1
    """The share of tasks that fit no agent, which confidence takes into account."""
    fallback: str | None = None
    """The agent that answers when the router abstains; none if not set."""
    escalate: Escalate = "never"
    """Whether a model picks among the best agents: never, only where the router is unsure, or always."""
    escalate_below: Share | None = None
    """Below this confidence the router is unsure; the threshold of the weights file if not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """The model that picks among the best agents, where `routing.escalate` asks for it."""

    __pydantic_config__ = _STRICT

    model: str = "haiku"
    """The model, a small one by default: an alias (sonnet, opus, haiku) or a full name."""
    top_k: Annotated[int, Limits(ge=2, le=100)] = 40
    """How many of the best agents it picks among."""
    timeout: Annotated[float, Limits(gt=0, le=600)] = 10.0
    """Seconds to wait for its answer; then the router's own pick stands."""
    budget: Dollars | None = None
    """US dollars that a process may spend on it; after that the router's own picks stand. No limit if not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs, in US dollars a million tokens."""

    __pydantic_config__ = _STRICT

    input: Dollars
    """Tokens of the prompt."""
    output: Dollars
    """Tokens of the answer."""
    cache_write: Dollars
    """Tokens of the prompt that were written to the cache (kept for five minutes)."""
    cache_read: Dollars
    """Tokens of the prompt that were read from the cache."""
    long_prompt_over: Annotated[int, Limits(gt=0)] | None = None
    """The size of a prompt, in tokens, above which all of it costs `long_prompt_factor` times as much."""
    long_prompt_factor: Annotated[float, Limits(gt=0)] = 1.0
    """See `long_prompt_over`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMSettings:
    """The model's service."""

    __pydantic_config__ = _STRICT

    model: str | None = None
    """The model for agents whose file names none: an alias (sonnet, opus, haiku) or a full name."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """What a model's name in an agent file or an option stands for, for example `sonnet: qwen3:8b`."""
    base_url: str | None = None
    """An Anthropic-compatible endpoint. Not read from a project's config.yaml."""
    api_key_env: str | None = None
    """The environment variable that holds the key, if not ANTHROPIC_API_KEY. Not read from a project's config.yaml."""
    timeout: Annotated[float, Limits(gt=0, le=86_400)] = 600.0
    """Seconds to wait for the service before giving up."""
    max_retries: Annotated[int, Limits(ge=0, le=10)] = 2
    """How often a request is tried again after 429, 5xx, 529 or a lost connection."""
    fallbacks: tuple[str, ...] = ()
    """Models to ask in place of one that has no capacity, fails or does not answer in time, in their order."""
    deadline: Annotated[float, Limits(gt=0, le=86_400)] | None = None
    """Seconds for an answer, with all attempts, waits and fallbacks; no limit if not set."""
    breaker_failures: Annotated[int, Limits(ge=0, le=1_000)] = 5
    """After so many failures in a row a process leaves a model alone for a while; 0 for never."""
    breaker_seconds: Annotated[float, Limits(gt=0, le=86_400)] = 30.0
    """How long it does, at least."""
    max_tokens: Annotated[int, Limits(gt=0)] = 16_000
    """The longest answer, in tokens."""
    context_window: Annotated[int, Limits(gt=0)] = 200_000
    """The model's window, in tokens, prompt and answer together; a longer conversation loses its oldest turns."""
    offline: Literal["preview", "error"] = "preview"
    """Without a credential: show what would be sent, or fail."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Prices by model name, added to the built-in table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrichSettings:
    """How a model writes example tasks for the agents."""

    __pydantic_config__ = _STRICT

    model: str | None = None
    """The model that writes them: an alias or a full name; `llm.model` if not set."""
    count: Annotated[int, Limits(ge=1, le=100)] = 20
    """How many example tasks are asked for each agent."""
    concurrency: Annotated[int, Limits(ge=1, le=64)] = 4
    """How many calls are made at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """The conversations that the command line keeps; a library keeps what its caller gives it a store for.

    None of it is read from a project's config.yaml.
    """

    __pydantic_config__ = _STRICT

    store: bool = True
    """Whether a task's conversation is kept on this machine, so that `--continue` can go on with it."""
    path: str | None = None
    """The file they are kept in, in place of one in the user's state folder."""
    keep_days: Annotated[float, Limits(gt=0, le=36_500)] = 30.0
    """Days after its last turn on which a conversation is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServerSettings:
    """An MCP server: a `command` that is started, or the `url` where one is reached (streamable HTTP)."""

    __pydantic_config__ = _STRICT

    command: str | None = None
    """What is started; it speaks the protocol over its standard input and output."""
    args: tuple[str, ...] = ()
    """Its arguments."""
    env: Mapping[str, str] = field(default_factory=dict)
    """What it finds in its environment, besides PATH, HOME and the like."""
    url: str | None = None
    """Where it is reached instead."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What goes along with each request to it, for example an Authorization."""
    timeout: Annotated[float, Limits(gt=0, le=86_400)] = 60.0
    """Seconds to wait for it to be there, and for the answer to a call."""

    def __post_init__(self) -> None:
        if (self.command is None) == (self.url is None):
            raise ValueError("it needs a command or a url, and not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSettings:
    """The tools that agents have."""

    __pydantic_config__ = _STRICT

    max_iterations: Annotated[int, Limits(gt=0)] = 25
    """How often a model is asked in one turn at most; an agent's file may say less, not more."""
    max_result_chars: Annotated[int, Limits(gt=0)] = 40_000
    """The longest result of a tool that a model is given, in characters; the rest is cut off."""
    approval: Approval = "ask"
    """What the command line does before each call of an MCP server's tool: ask, and refuse it where nobody can be
    asked, or allow it. A library asks where its caller gives it `approve`. Not read from a project's config.yaml."""
    mcp_servers: Mapping[ServerName, McpServerSettings] = field(default_factory=dict)
    """MCP servers by name, whose tools agents get as mcp__NAME__TOOL, as far as their files allow. Not read from a
    project's config.yaml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffSettings:
    """Agents that turn to each other within a turn: to pass the conversation on, or to ask."""

    __pydantic_config__ = _STRICT

    offer: Offer = "never"
    """Whom an agent may turn to: nobody (never), those that its file names (named), or also the best others that the
    router finds for the task (found)."""
    top_k: Annotated[int, Limits(ge=1, le=20)] = 3
    """How many of those that the router finds."""
    max_depth: Annotated[int, Limits(ge=1, le=10)] = 3
    """How often the conversation may be passed on in a turn, and how deep questions may go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """What may be spent on models, in US dollars; no limit where not set."""

    __pydantic_config__ = _STRICT

    run: Dollars | None = None
    """For one run: a task, with all that is asked for it."""
    session: Dollars | None = None
    """For one conversation: all its turns together, those that were kept before included."""
    day: Dollars | None = None
    """For a day, by all processes of a user together. Not read from a project's config.yaml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The decision log of the command line; a library keeps one where its caller gives it one.

    Nothing of this is read from a project's config.yaml.
    """

    __pydantic_config__ = _STRICT

    store: bool = True
    """Whether tasks and what became of them are kept on this machine."""
    path: str | None = None
    """The folder they are kept in, in place of one in the user's state folder."""
    keep_days: Annotated[float, Limits(gt=0, le=36_500)] = 30.0
    """Days after which they are deleted."""
    max_bytes: Annotated[int, Limits(gt=0)] = 50_000_000
    """The size of the log beyond which its oldest files are deleted."""
    redact: tuple[str, ...] = ()
    """Regular expressions; what they match is not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set."""

    __pydantic_config__ = _STRICT

    agents: tuple[str, ...] = ()
    """Folders or files of agents, in place of all the usual ones."""
    enriched: str | None = None
    """A file of example tasks for the agents, in place of the enriched.jsonl in each of their folders."""
    disabled: tuple[str, ...] = ()
    """Agents that are kept out of routing; they can still be named."""
    duplicates: DuplicatePolicy = "error"
    """What to do with two agents of one name in one scope: leave both out, keep one, or name them folder/name."""
    max_file_bytes: Annotated[int, Limits(gt=0)] = MAX_FILE_BYTES
    """The largest agent file that is read, in bytes."""
    cache: str | Literal[False] | None = None
    """The folder of the cache, or `off`; by the platform's convention if not set. Not read from a project's
    config.yaml."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Values for the {{NAME}} placeholders of prompts."""
    rules: tuple[Rule, ...] = ()
    """Keyword rules, tried in order; the first that forces an agent decides."""
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    """How an agent is chosen."""
    llm: LLMSettings = field(default_factory=LLMSettings)
    """The model's service."""
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    """The model that picks among the best agents."""
    enrich: EnrichSettings = field(default_factory=EnrichSettings)
    """How a model writes example tasks for the agents."""
    sessions: SessionSettings = field(default_factory=SessionSettings)
    """The conversations that the command line keeps."""
    tools: ToolSettings = field(default_factory=ToolSettings)
    """The tools that agents have."""
    handoffs: HandoffSettings = field(default_factory=HandoffSettings)
    """Agents that turn to each other within a turn."""
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    """What may be spent on models."""
    log: LogSettings = field(default_factory=LogSettings)
    """The decision log of the command line."""
    executor: Executor = "api"
    """What runs agents: the turn loop of this program (api), or Claude Code with its own tools (claude-code). Not read
    from a project's config.yaml."""
    claude_code_path: str | None = None
    """The `claude` program, in place of the one that comes with the extra. Not read from a project's config.yaml."""
