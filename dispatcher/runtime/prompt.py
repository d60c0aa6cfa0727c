"""An agent and a task → the request that is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dispatcher.agent import Agent
from dispatcher.agentfile.placeholders import fill_placeholders, find_placeholders
from dispatcher.errors import AgentFileError, VariableError
from dispatcher.llm import Message, Request
from dispatcher.runtime.attachments import Attachment

__all__ = ["build_request", "system_prompt"]

EFFORTS = ("low", "medium", "high", "xhigh", "max")


def system_prompt(agent: Agent, variables: Mapping[str, str], *, allow_undefined: bool = False) -> str:
    """The agent's prose with its placeholders filled; a value is never expanded again.

    Raises AgentFileError for an agent without a prompt, and VariableError, naming every placeholder that has no value,
    unless `allow_undefined` sends those as they stand.
    """
    if not agent.prompt.strip():
        raise AgentFileError(
            f'{agent.source.path}: the agent "{agent.name}" has no prompt, so it can\'t be run',
            hint="write its instructions below the front matter",
        )
    missing = [
        placeholder
        for placeholder in find_placeholders(agent.prompt, first_line=agent.prompt_line)
        if placeholder.name not in variables
    ]
    if missing and not allow_undefined:
        listed = "\n".join(f"  {agent.source.path}:{each.line}: {{{{{each.name}}}}}" for each in missing)
        names = tuple(dict.fromkeys(each.name for each in missing))
        raise VariableError(
            f'the prompt of "{agent.name}" has placeholders without a value:\n{listed}',
            hint=f"define them: --var {names[0]}=VALUE, DISPATCH_VAR_{names[0]}=VALUE in the environment, or "
            "variables: in config.yaml; --allow-undefined sends them as they stand",
            names=names,
        )
    return fill_placeholders(agent.prompt, variables)


def build_request(
    agent: Agent,
    task: str,
    *,
    model: str,
    max_tokens: int,
    variables: Mapping[str, str],
    attachments: Sequence[Attachment] = (),
    allow_undefined: bool = False,
) -> Request:
    """What is sent to the model's service for a task: files first, then the task's text, if there is any."""
    texts = [{"type": "text", "text": task}] if task.strip() else []
    content = [*(attachment.block for attachment in attachments), *texts]
    return Request(
        model=model,
        system=system_prompt(agent, variables, allow_undefined=allow_undefined),
        messages=(Message(role="user", content=content if attachments else task),),
        max_tokens=max_tokens,
        effort=agent.effort.lower() if agent.effort and agent.effort.lower() in EFFORTS else None,
    )
