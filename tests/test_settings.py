"""Settings: the order of the layers, and what each kind of wrong value says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dispatcher import Cache, ConfigError, Rule, Settings
from dispatcher.settings import (
    BudgetSettings,
    EnrichSettings,
    HandoffSettings,
    JudgeSettings,
    LLMSettings,
    LoadedSettings,
    LogSettings,
    McpServerSettings,
    RoutingSettings,
    SessionSettings,
    ToolSettings,
    load_settings,
)
from dispatcher.settings.schema import settings_schema

Load = Callable[..., LoadedSettings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads settings of texts: `project` and `user` are config files, `env` and `flags` the layers above."""

    def load_texts(
        project: str | bytes | None = None,
        *,
        user: str | None = None,
        env: dict[str, str] | None = None,
        flags: dict[str, Any] | None = None,
        config: Path | None = None,
    ) -> LoadedSettings:
        if isinstance(project, str):
            project = project.encode()
        if project is not None:
            (tmp_path / "config.yaml").write_bytes(project)
        if user is not None:
            folder = tmp_path / "xdg" / "agent-dispatcher"
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text(user, encoding="utf-8")
        environment = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), **(env or {})}
        return load_settings(folder=tmp_path, environment=environment, flags=flags, config=config)

    return load_texts


def error_of(load: Load, *arguments: Any, **layers: Any) -> str:
    """The message of the error that loading raises, with the folders of its paths left out."""
    with pytest.raises(ConfigError) as caught:
        load(*arguments, **layers)
    return re.sub(r"(?m)^/[^:]*/", "", caught.value.message)


def test_without_any_layer_the_defaults_count(load: Load) -> None:
    loaded = load()
    assert loaded == LoadedSettings(settings=Settings(), origins={})


def test_flags_go_before_environment_before_project_before_user(load: Load, tmp_path: Path) -> None:
    user = "dispatcher:\n  llm: {model: from-user, timeout: 1, max_retries: 1, max_tokens: 1}"
    project = "dispatcher:\n  llm:\n    model: from-project\n    timeout: 2\n    max_retries: 2"
    env = {"DISPATCH_LLM_MODEL": "from-env", "DISPATCH_LLM_TIMEOUT": "3"}
    loaded = load(project, user=user, env=env, flags={"llm.model": "from-flag", "llm.offline": None})
    llm = loaded.settings.llm
    assert (llm.model, llm.timeout, llm.max_retries, llm.max_tokens) == ("from-flag", 3, 2, 1)
    assert llm.offline == LLMSettings().offline
    assert loaded.origins == {
        "llm.model": "command line",
        "llm.timeout": "environment DISPATCH_LLM_TIMEOUT",
        "llm.max_retries": f"{tmp_path / 'config.yaml'}:5",
        "llm.max_tokens": f"{tmp_path / 'xdg/agent-dispatcher/config.yaml'}:2",
    }
    assert loaded.files == (tmp_path / "xdg/agent-dispatcher/config.yaml", tmp_path / "config.yaml")


def test_mappings_are_merged_and_lists_replaced(load: Load) -> None:
    user = "dispatcher:\n  variables: {A: user, B: user}\n  disabled: [x, y]\n  llm: {aliases: {fast: haiku}}"
    project = "dispatcher:\n  variables: {B: project, C: project}\n  disabled: [z]\n  llm: {aliases: {smart: opus}}"
    env = {"DISPATCH_VARIABLES": "{C: env, D: env}", "DISPATCH_VAR_D": "var"}
    settings = load(project, user=user, env=env, flags={"variables": {"E": "flag"}}).settings
    assert settings.variables == {"A": "user", "B": "project", "C": "env", "D": "var", "E": "flag"}
    assert settings.disabled == ("z",)
    assert settings.llm.aliases == {"fast": "haiku", "smart": "opus"}


def test_a_value_of_dispatch_var_is_taken_as_it_stands(load: Load) -> None:
    loaded = load(env={"DISPATCH_VAR_PORT": "08", "DISPATCH_VAR_NOTE": "a: [b", "DISPATCH_VAR_EMPTY": ""})
    assert loaded.settings.variables == {"PORT": "08", "NOTE": "a: [b", "EMPTY": ""}
    assert loaded.origins["variables.PORT"] == "environment DISPATCH_VAR_PORT"


ENVIRONMENT = {
    "DISPATCH_AGENTS": ("one:two", ("one", "two")),
    "DISPATCH_DISABLED": ("one, two", ("one", "two")),
    "DISPATCH_DUPLICATES": ("last", "last"),
    "DISPATCH_MAX_FILE_BYTES": ("5", 5),
    "DISPATCH_EXECUTOR": ("claude-code", "claude-code"),
    "DISPATCH_CLAUDE_CODE_PATH": ("/opt/claude", "/opt/claude"),
    "DISPATCH_VARIABLES": ("{PORT: 80}", {"PORT": "80"}),
    "DISPATCH_RULES": ("[{any: [a], force: b}]", (Rule(any=("a",), force="b"),)),
    "DISPATCH_ROUTING_MIN_CONFIDENCE": ("0.5", 0.5),
    "DISPATCH_ROUTING_WEIGHTS": ("weights.json", "weights.json"),
    "DISPATCH_ROUTING_PRECISION": ("0.9", 0.9),
    "DISPATCH_ROUTING_OUT_OF_SCOPE_SHARE": ("0.3", 0.3),
    "DISPATCH_ROUTING_FALLBACK": ("assistant", "assistant"),
    "DISPATCH_ROUTING_ESCALATE": ("unsure", "unsure"),
    "DISPATCH_ROUTING_ESCALATE_BELOW": ("0.4", 0.4),
    "DISPATCH_JUDGE_MODEL": ("opus", "opus"),
    "DISPATCH_JUDGE_TOP_K": ("8", 8),
    "DISPATCH_JUDGE_TIMEOUT": ("2.5", 2.5),
    "DISPATCH_JUDGE_BUDGET": ("0.05", 0.05),
    "DISPATCH_CACHE": ("somewhere", "somewhere"),
    "DISPATCH_ENRICHED": ("examples.jsonl", "examples.jsonl"),
    "DISPATCH_LLM_MODEL": ("opus", "opus"),
    "DISPATCH_LLM_ALIASES": ("{sonnet: 'qwen3:8b'}", {"sonnet": "qwen3:8b"}),
    "DISPATCH_LLM_BASE_URL": ("http://localhost:1", "http://localhost:1"),
    "DISPATCH_LLM_API_KEY_ENV": ("MY_KEY", "MY_KEY"),
    "DISPATCH_LLM_TIMEOUT": ("1.5", 1.5),
    "DISPATCH_LLM_MAX_RETRIES": ("0", 0),
    "DISPATCH_LLM_FALLBACKS": ("opus, haiku", ("opus", "haiku")),
    "DISPATCH_LLM_DEADLINE": ("9.5", 9.5),
    "DISPATCH_LLM_BREAKER_FAILURES": ("0", 0),
    "DISPATCH_LLM_BREAKER_SECONDS": ("2", 2),
    "DISPATCH_LLM_MAX_TOKENS": ("7", 7),
    "DISPATCH_LLM_CONTEXT_WINDOW": ("8192", 8192),
    "DISPATCH_LLM_OFFLINE": ("error", "error"),
    "DISPATCH_LLM_PRICES": ("{}", {}),
    "DISPATCH_ENRICH_MODEL": ("haiku", "haiku"),
    "DISPATCH_ENRICH_COUNT": ("7", 7),
    "DISPATCH_ENRICH_CONCURRENCY": ("2", 2),
    "DISPATCH_BUDGET_RUN": ("0.5", 0.5),
    "DISPATCH_BUDGET_SESSION": ("2", 2),
    "DISPATCH_BUDGET_DAY": ("5", 5),
    "DISPATCH_LOG_STORE": ("false", False),
    "DISPATCH_LOG_PATH": ("/var/log/mine", "/var/log/mine"),
    "DISPATCH_LOG_KEEP_DAYS": ("7", 7),
    "DISPATCH_LOG_MAX_BYTES": ("1000", 1000),
    "DISPATCH_LOG_REDACT": ("['a,b', c]", ("a,b", "c")),
    "DISPATCH_SESSIONS_STORE": ("false", False),
    "DISPATCH_SESSIONS_PATH": ("/var/s.db", "/var/s.db"),
    "DISPATCH_SESSIONS_KEEP_DAYS": ("7", 7),
    "DISPATCH_TOOLS_MAX_ITERATIONS": ("3", 3),
    "DISPATCH_TOOLS_MAX_RESULT_CHARS": ("99", 99),
    "DISPATCH_TOOLS_APPROVAL": ("allow", "allow"),
    "DISPATCH_TOOLS_MCP_SERVERS": ("{a: {command: b}}", {"a": McpServerSettings(command="b")}),
    "DISPATCH_HANDOFFS_OFFER": ("found", "found"),
    "DISPATCH_HANDOFFS_TOP_K": ("2", 2),
    "DISPATCH_HANDOFFS_MAX_DEPTH": ("1", 1),
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_every_setting_has_an_environment_variable(load: Load, name: str) -> None:
    text, expected = ENVIRONMENT[name]
    settings = load(env={name: text}).settings
    values = {f"DISPATCH_{key.upper()}": value for key, value in vars_of(settings).items()}
    assert values[name] == expected


def vars_of(settings: Settings) -> dict[str, Any]:
    """Every setting by its path, joined with underscores."""
    top = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    sections = {
        "routing": RoutingSettings,
        "judge": JudgeSettings,
        "llm": LLMSettings,
        "enrich": EnrichSettings,
        "sessions": SessionSettings,
        "tools": ToolSettings,
        "handoffs": HandoffSettings,
        "budget": BudgetSettings,
        "log": LogSettings,
    }
    for section, tree in sections.items():
        values = top.pop(section)
        top |= {f"{section}_{field.name}": getattr(values, field.name) for field in dataclasses.fields(tree)}
    return top


def test_no_setting_is_left_out_above() -> None:
    assert {f"DISPATCH_{key.upper()}" for key in vars_of(Settings())} == set(ENVIRONMENT)


def test_an_empty_environment_variable_does_not_count(load: Load) -> None:
    assert load("dispatcher: {llm: {model: opus}}", env={"DISPATCH_LLM_MODEL": ""}).settings.llm.model == "opus"


def test_a_misspelt_environment_variable_is_noticed(load: Load) -> None:
    loaded = load(env={"DISPATCH_LLM_MODLE": "opus", "DISPATCH_OF_PIZZA": "1"})
    assert loaded.notices == ("the environment variable DISPATCH_LLM_MODLE is no setting; did you mean "
                              "DISPATCH_LLM_MODEL?",)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "dispatcher:\n  llm:\n    modle: x",
            'config.yaml:3: there is no setting "llm.modle"; did you mean "llm.model"?',
        ),
        ("dispatcher:\n  lmm: {}", 'config.yaml:2: there is no setting "lmm"; did you mean "llm"?'),
        ("dispatcher:\n  model: x", 'config.yaml:2: there is no setting "model"; did you mean "llm.model"?'),
        (
            "dispatcher:\n  enrich: {cuont: 3}",
            'config.yaml:2: there is no setting "enrich.cuont"; did you mean "enrich.count"?',
        ),
        ("dispatcher:\n  qqqqqq: x", 'config.yaml:2: there is no setting "qqqqqq"'),
        (
            "dispatcher:\n  rules:\n    - any: [x]\n      forse: a",
            'config.yaml:4: there is no setting "rules.0.forse"; did you mean "rules.0.force"?',
        ),
        (
            "dispatcher:\n  duplicates: maybe",
            "config.yaml:2: duplicates should be 'error', 'first', 'last' or 'namespace'",
        ),
        (
            "dispatcher:\n  llm:\n    max_retries: 99",
            "config.yaml:3: llm.max_retries should be less than or equal to 10",
        ),
        (
            "dispatcher:\n  routing: {min_confidence: high}",
            "config.yaml:2: routing.min_confidence should be a valid number, unable to parse string as a number",
        ),
        ("dispatcher:\n  llm: {timeout: .inf}", "config.yaml:2: llm.timeout should be less than or equal to 86400"),
        ("dispatcher:\n  llm: 5", "config.yaml:2: llm should be a mapping"),
        ("dispatcher:\n  rules: {any: x}", "config.yaml:2: rules should be a list"),
        ("dispatcher:\n  variables:\n    A: [1]", "config.yaml:3: variables.A should be a valid string"),
        ("dispatcher:\n  agents:\n    - x\n    - {a: b}", "config.yaml:4: agents.1 should be a valid string"),
        (
            "dispatcher:\n  llm:\n    prices:\n      m: {input: 1, output: 1, cache_write: 1}",
            "config.yaml:4: llm.prices.m.cache_read is missing",
        ),
        ("dispatcher:\n  agents: [x]\n  agents: [y]", 'config.yaml:3: the key "agents" stands twice'),
        ("dispatcher:\n  agents: [x]\ndispatcher: {}", 'config.yaml:3: the key "dispatcher" stands twice'),
        ("dispatcher: [x]", 'config.yaml:1: "dispatcher:" must hold settings by name'),
        (
            "dispatcher:\n  agents: [x",
            "config.yaml:2: the config file is not valid YAML: expected ',' or ']', but got '<stream end>'",
        ),
        (
            "dispatcher:\n  agents: !!python/name:os.system",
            "config.yaml:2: the config file is not valid YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/name:os.system'",
        ),
        (
            "dispatcher:\n  variables: {A: 2026-99-01}",
            "config.yaml:2: the config file is not valid YAML: month must be in 1..12",
        ),
        ("dispatcher:\n  agents: &a [*a]", "config.yaml:2: agents.0 should be a valid string"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(load: Load, text: str, message: str) -> None:
    assert error_of(load, text) == message


def test_all_wrong_values_are_told_at_once(load: Load) -> None:
    text = "dispatcher:\n  duplicates: 1\n  llm:\n    max_tokens: 0"
    assert {line[:14] for line in error_of(load, text).splitlines()} == {"config.yaml:2:", "config.yaml:4:"}


def test_deep_nesting_is_told(load: Load) -> None:
    message = error_of(load, "dispatcher:\n  agents: " + "[" * 700 + "]" * 700)
    assert message == "config.yaml: the config file is nested too deeply"


def test_aliases_that_multiply_are_not_expanded(load: Load) -> None:
    levels = "".join(f"  x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 30))
    assert 'there is no setting "x1"' in error_of(load, f"dispatcher:\n  x0: &x0 [x]\n{levels}")


def test_a_section_that_is_none_is_told_also_below_another_layer(load: Load) -> None:
    message = error_of(load, "dispatcher:\n  llm: 5", env={"DISPATCH_LLM_MODEL": "opus"})
    assert message == "config.yaml:2: llm should be a mapping"


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"DISPATCH_LLM_MAX_TOKENS": "0"}, "environment DISPATCH_LLM_MAX_TOKENS: llm.max_tokens should be greater "),
        ({"DISPATCH_LLM_PRICES": "{a: "}, "environment DISPATCH_LLM_PRICES: the value is not valid YAML"),
        ({"DISPATCH_RULES": "5"}, "environment DISPATCH_RULES: rules should be a list"),
        (
            {"DISPATCH_VARIABLES": "5", "DISPATCH_VAR_A": "x"},
            "environment DISPATCH_VARIABLES: variables should be a valid mapping",
        ),
        ({"DISPATCH_CONFIG": "absent.yaml"}, "absent.yaml: there is no such config file"),
    ],
)
def test_a_wrong_environment_variable_is_told_by_its_name(load: Load, env: dict[str, str], message: str) -> None:
    assert error_of(load, env=env).startswith(message)


def test_a_wrong_flag_is_told_as_one(load: Load) -> None:
    message = error_of(load, flags={"llm.modle": "opus"})
    assert message == 'command line: there is no setting "llm.modle"; did you mean "llm.model"?'


def test_a_section_without_settings_counts_for_nothing(load: Load) -> None:
    text = "dispatcher:\n  agents:\n  variables:\n  rules:\n  routing:\n    # none\n  llm:\n    aliases:\n"
    assert load(text).settings == Settings()
    assert load("dispatcher:\n").settings == Settings()


def test_one_entry_of_a_list_needs_no_brackets(load: Load) -> None:
    settings = load("dispatcher: {agents: team, disabled: recruiter}").settings
    assert [Path(path).name for path in settings.agents] == ["team"]
    assert settings.disabled == ("recruiter",)


def test_paths_of_a_config_file_are_beside_it(load: Load, tmp_path: Path) -> None:
    settings = load("dispatcher: {agents: [team, /else/where], enriched: tasks.jsonl}").settings
    assert settings.agents == (str(tmp_path / "team"), "/else/where")
    assert settings.enriched == str(tmp_path / "tasks.jsonl")


def test_numbers_are_fine_where_text_is_meant(load: Load) -> None:
    assert load("dispatcher: {variables: {PORT: 8080}}").settings.variables == {"PORT": "8080"}


def test_a_byte_order_mark_and_windows_line_ends_are_fine(load: Load) -> None:
    assert load(b"\xef\xbb\xbfdispatcher:\r\n  llm:\r\n    model: opus\r\n").settings.llm.model == "opus"


@pytest.mark.parametrize(
    "content",
    [b"", b"server: {port: 1}", b"a: [", b"tool:\n  dispatcher: {llm: 5}", b"caf\xe9: 1", b"\xff\xfea\0:\0", b"\0"],
)
def test_the_config_of_another_project_is_not_ours(load: Load, content: bytes) -> None:
    assert load(content) == LoadedSettings(settings=Settings(), origins={})


def test_a_config_that_the_user_names_must_be_ours(load: Load, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("server: {port: 1}", encoding="utf-8")
    assert error_of(load, config=other) == 'other.yaml: the config file has no top-level key "dispatcher:"'


def test_the_users_own_config_must_be_ours(load: Load) -> None:
    message = error_of(load, user="llm: {model: opus}")
    assert message == 'config.yaml: the config file has no top-level key "dispatcher:"'


def test_a_config_in_another_encoding_is_told(load: Load) -> None:
    assert "can't be read" in error_of(load, "dispatcher: {variables: {A: caf\xe9}}".encode("latin-1"))


SECRET_PLACES = "dispatcher:\n  llm:\n    model: opus\n    base_url: http://elsewhere\n    api_key_env: AWS_SECRET"


def test_a_project_can_not_say_where_the_key_is_sent(load: Load) -> None:
    loaded = load(SECRET_PLACES)
    llm = loaded.settings.llm
    assert (llm.model, llm.base_url, llm.api_key_env) == ("opus", None, None)
    assert [notice.rpartition("/")[2].partition(" in a ")[0] for notice in loaded.notices] == [
        "config.yaml:4: llm.base_url is ignored",
        "config.yaml:5: llm.api_key_env is ignored",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "dispatcher: {tools: {mcp_servers: {a: {command: evil}}, max_iterations: 3}}",
        "dispatcher: {tools: {mcp_servers: {a: {command: [not, right]}}, max_iterations: 3}}",
    ],
)
def test_a_project_can_not_say_which_commands_are_run(load: Load, text: str) -> None:
    loaded = load(text, user="dispatcher: {tools: {mcp_servers: {mine: {command: good}}}}")
    assert loaded.settings.tools.mcp_servers == {"mine": McpServerSettings(command="good")}
    assert loaded.settings.tools.max_iterations == 3
    assert "it decides which commands are run on your machine" in loaded.notices[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {}", "it needs a command or a url, and not both"),
        ("a: {command: b, url: http://localhost}", "it needs a command or a url, and not both"),
        ("a__b: {command: b}", "should match pattern"),
        ("a: {comand: b}", 'there is no setting "tools.mcp_servers.a.comand"; did you mean'),
    ],
)
def test_a_server_of_tools_that_can_not_be_is_told(load: Load, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(user=f"dispatcher: {{tools: {{mcp_servers: {{{text}}}}}}}")


def test_a_project_can_not_raise_what_a_user_spends_in_a_day(load: Load) -> None:
    loaded = load("dispatcher: {budget: {day: 1000, run: 2}}", user="dispatcher: {budget: {day: 1}}")
    assert (loaded.settings.budget.day, loaded.settings.budget.run) == (1, 2)
    assert "it decides what you spend in all projects together" in loaded.notices[0]


@pytest.mark.parametrize("text", ["store: false", "path: ./l", "keep_days: 3", "max_bytes: 1", "redact: [x]"])
def test_a_project_can_not_say_what_is_kept_of_tasks(load: Load, text: str) -> None:
    loaded = load(f"dispatcher: {{log: {{{text}}}}}")
    assert loaded.settings == Settings()
    assert "of your tasks" in loaded.notices[0] or "your tasks are kept" in loaded.notices[0]


def test_a_project_can_not_say_what_is_kept_of_conversations(load: Load) -> None:
    user = "dispatcher: {sessions: {store: false}}"
    loaded = load("dispatcher: {sessions: {store: true, path: ./s.db, keep_days: 3}}", user=user)
    assert loaded.settings.sessions == SessionSettings(store=False)
    assert [notice.partition("it decides ")[2].partition(";")[0] for notice in loaded.notices] == [
        "whether your conversations are kept",
        "where your conversations are kept",
        "how long your conversations are kept",
    ]


def test_a_project_does_not_hide_where_the_user_sends_the_key(load: Load) -> None:
    user = "dispatcher: {llm: {base_url: 'http://mine', api_key_env: MINE}}"
    llm = load(SECRET_PLACES, user=user).settings.llm
    assert (llm.base_url, llm.api_key_env) == ("http://mine", "MINE")


@pytest.mark.parametrize("by_flag", [True, False])
def test_a_config_that_the_user_names_is_trusted(load: Load, tmp_path: Path, by_flag: bool) -> None:
    named = tmp_path / "named.yaml"
    named.write_text(SECRET_PLACES, encoding="utf-8")
    loaded = load(config=named) if by_flag else load(env={"DISPATCH_CONFIG": str(named)})
    assert loaded.settings.llm.base_url == "http://elsewhere"
    assert loaded.notices == ()


def test_a_named_config_stands_in_for_the_projects(load: Load, tmp_path: Path) -> None:
    named = tmp_path / "named.yaml"
    named.write_text("dispatcher: {disabled: [x]}", encoding="utf-8")
    settings = load("dispatcher: {llm: {model: opus}}", config=named).settings
    assert (settings.disabled, settings.llm.model) == (("x",), None)


def test_the_config_that_comes_with_the_package_holds_the_defaults(load: Load) -> None:
    text = (Path(__file__).parents[1] / "config.yaml").read_text(encoding="utf-8")
    assert load(text).settings == Settings()


def test_the_examples_of_that_config_are_valid(load: Load) -> None:
    text = (Path(__file__).parents[1] / "config.yaml").read_text(encoding="utf-8")
    head, _, settings = text.partition("dispatcher:\n")
    lines = [line.replace("# ", "", 1) if "# " in line and is_setting(line) else line for line in settings.split("\n")]
    loaded = load(f"{head}dispatcher:\n" + "\n".join(lines), config=None)
    assert {
        "agents",
        "rules",
        "routing.fallback",
        "llm.prices.my-model",
        "llm.offline",
        "llm.fallbacks",
        "enrich.count",
    } <= set(loaded.origins)


def is_setting(line: str) -> bool:
    """Whether a comment of the default config holds YAML, not prose."""
    text = line.strip().removeprefix("#")
    return text.startswith(("  ", " - ")) or (text.split(":")[0].strip().isidentifier() and ":" in text)


def test_the_schema_takes_what_the_loader_takes_and_describes_it() -> None:
    schema = settings_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = yaml.safe_load("dispatcher: {agents: [a], llm: {model: opus}, rules: [{any: [x], force: y}]}")
    assert validator.is_valid(good)
    assert all(validator.is_valid(yaml.safe_load(text)) for text in ("dispatcher:", "dispatcher: {llm: , rules: }"))
    assert validator.is_valid({"dispatcher": {"agents": "one"}})
    assert not validator.is_valid({"dispatcher": {"llm": {"modle": "opus"}}})
    assert not validator.is_valid({"dispatcher": {"routing": {"min_confidence": 2}}})
    definitions = [schema["properties"]["dispatcher"], *schema["$defs"].values()]
    undescribed = [
        name
        for one in definitions
        for name, setting in one["properties"].items()
        if setting.keys().isdisjoint({"description", "anyOf"})
    ]
    assert undescribed == []


@pytest.mark.parametrize(
    ("written", "folder"), [("off", None), ("no", None), ("false", None), ("/where/x", "/where/x"), ("~/x", "~/x")]
)
def test_the_cache_is_a_folder_or_off(load: Load, written: str, folder: str | None) -> None:
    in_file = load(user=f"dispatcher:\n  cache: {written}\n").settings.cache
    in_environment = load(env={"DISPATCH_CACHE": written}).settings.cache
    for setting in (in_file, in_environment):
        cache = Cache.of(setting, {})
        assert (str(cache.folder) if cache else None) == (str(Path(folder).expanduser()) if folder else None)


def test_names_and_paths_alone_are_taken_as_they_are(load: Load) -> None:
    loaded = load("dispatcher:\n  agents: [a, b]\n  disabled: x\n", flags={"agents": ["/c"]})
    assert (loaded.settings.agents, loaded.settings.disabled) == (("/c",), ("x",))


def test_a_wrong_value_beside_them_is_still_told(load: Load) -> None:
    with pytest.raises(ConfigError, match="max_file_bytes"):
        load("dispatcher:\n  max_file_bytes: many\n", flags={"agents": ["/c"]})
    with pytest.raises(ConfigError, match="agents"):
        load("dispatcher:\n  agents: [[a]]\n")
