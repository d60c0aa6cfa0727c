"""A stand-in for the `claude` program: speaks its protocol over standard input and output, as a script tells it.

STAND_IN_SCRIPT is a JSON list of steps; what it was called with and told is written to STAND_IN_RECORD, a line each.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["main", "say"]


def main() -> None:
    if "-v" in sys.argv:
        say("2.5.0 (Claude Code)")
        return
    record({"arguments": sys.argv[1:], "limit": os.environ.get("CLAUDE_CODE_MAX_OUTPUT_TOKENS")})
    hook = ""
    for line in sys.stdin:
        told = json.loads(line)
        if told["type"] == "control_request":
            hook = told["request"]["hooks"]["PreToolUse"][0]["hookCallbackIds"][0]
            tell_back(told["request_id"])
        elif told["type"] == "user":
            record({"user": told["message"]["content"]})
            for number, step in enumerate(json.loads(os.environ["STAND_IN_SCRIPT"])):
                take(step, number, hook)


def take(step: dict[str, Any], number: int, hook: str) -> None:
    if "say" in step:
        for piece in step["say"]:
            delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            tell({"type": "stream_event", "uuid": "u", "session_id": "s", "event": delta})
        assistant([{"type": "text", "text": "".join(step["say"])}])
    elif "call" in step:
        call = f"call_{number}"
        assistant([{"type": "tool_use", "id": call, "name": step["call"], "input": step["input"]}])
        decided = asked(hook, step, call)
        text = "done" if decided.get("permissionDecision", "allow") == "allow" else decided["permissionDecisionReason"]
        block = {"type": "tool_result", "tool_use_id": call, "content": text, "is_error": text != "done"}
        tell({"type": "user", "message": {"role": "user", "content": [block]}, "parent_tool_use_id": None})
    elif "result" in step:
        usage = {"input_tokens": 10, "output_tokens": 2, "cache_read_input_tokens": 5}
        told = {"subtype": "success", "duration_ms": 1, "duration_api_ms": 1, "is_error": False, "num_turns": 1}
        tell({"type": "result", "session_id": "s", "usage": usage, **told, **step["result"]})
    elif "exit" in step:
        sys.stderr.write("out of luck\n")
        sys.exit(step["exit"])


def asked(hook: str, step: dict[str, Any], call: str) -> dict[str, Any]:
    """What the other side says to a call."""
    told = {"hook_event_name": "PreToolUse", "tool_name": step["call"], "tool_input": step["input"]}
    request = {"subtype": "hook_callback", "callback_id": hook, "input": told, "tool_use_id": call}
    tell({"type": "control_request", "request_id": call, "request": request})
    answer = json.loads(sys.stdin.readline())["response"]
    decided: dict[str, Any] = answer["response"].get("hookSpecificOutput", {})
    return decided


def assistant(content: list[dict[str, Any]]) -> None:
    message = {"role": "assistant", "model": "claude-sonnet-5-5", "content": content}
    tell({"type": "assistant", "message": message, "parent_tool_use_id": None})


def tell_back(request: str) -> None:
    tell({"type": "control_response", "response": {"subtype": "success", "request_id": request, "response": {}}})


def tell(message: dict[str, Any]) -> None:
    say(json.dumps(message))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def record(what: dict[str, Any]) -> None:
    with Path(os.environ["STAND_IN_RECORD"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"pid": os.getpid(), **what}) + "\n")


if __name__ == "__main__":
    main()
