"""A model's service that writes example tasks: for each agent its own, alone or in a batch.

with serve() as server:
    writer = TaskWriter(server)
    ...
    assert writer.asked == ["gardener"]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from dispatcher.testing import Answer, Recorded, ScriptedServer, fails, says

__all__ = ["BATCH", "TaskWriter", "tasks_for"]

BATCH = "msgbatch_scripted"
_WORDS = ("leaks", "squeaks", "rattles", "smells", "wobbles", "flickers", "sticks", "freezes", "hums", "tilts")
_NAME = re.compile(r'Write (\d+) tasks for "(.+)", and (\d+) near misses')


def tasks_for(name: str, count: int) -> list[str]:
    """Tasks that no other agent has, and that are not like one another."""
    return [f"{name[::-1]} {word} since tuesday {word[::-1]} {number}" for number, word in enumerate(_WORDS[:count])]


class TaskWriter:
    """Scripts a server; `special` are the answers for some agents, in place of the usual one.

    A batch needs so many looks at it before it has ended.
    """

    def __init__(self, server: ScriptedServer, *, looks: int = 1) -> None:
        self.server = server
        self.special: dict[str, Answer | Callable[[Recorded], Answer]] = {}
        self.batch_results: dict[str, Mapping[str, Any]] = {}
        self.asked: list[str] = []
        self.in_batch: dict[str, Any] = {}
        self.looks = looks
        server.script(self.answer)

    def answer(self, request: Recorded) -> Answer:
        """What the service says to a request."""
        if request.path == "/v1/messages":
            return self._message(request.body, request)
        if request.path == "/v1/messages/batches":
            self.in_batch = {each["custom_id"]: each["params"] for each in request.body["requests"]}
            return self._batch("in_progress")
        if request.path == f"/v1/messages/batches/{BATCH}":
            self.looks -= 1
            return self._batch("in_progress" if self.looks >= 0 else "ended")
        if request.path == f"/v1/messages/batches/{BATCH}/results":
            lines = [json.dumps({"custom_id": name, "result": self._result(name)}) for name in reversed(self.in_batch)]
            return Answer(body="\n".join(lines).encode(), headers={"content-type": "application/x-jsonl"})
        return fails(404, "not_found_error")

    def _message(self, body: Any, request: Recorded) -> Answer:
        _, name, _ = _asked(body)
        self.asked.append(name)
        special = self.special.get(name)
        if special is not None:
            return special if isinstance(special, Answer) else special(request)
        return says(_written(body))

    def _result(self, name: str) -> Mapping[str, Any]:
        body = self.in_batch[name]
        agent = _asked(body)[1]
        if agent in self.batch_results:
            return self.batch_results[agent]
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": _written(body)}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1_000_000, "output_tokens": 0},
        }
        return {"type": "succeeded", "message": message}

    def _batch(self, status: str) -> Answer:
        has_ended = status == "ended"
        results = f"{self.server.base_url}/v1/messages/batches/{BATCH}/results"
        counts = dict.fromkeys(("canceled", "errored", "expired", "processing", "succeeded"), 0)
        body = {
            "id": BATCH,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": counts,
            "created_at": "2026-11-20T10:00:00Z",
            "expires_at": "2026-11-21T10:00:00Z",
            "ended_at": "2026-11-20T10:30:00Z" if has_ended else None,
            "results_url": results if has_ended else None,
        }
        return Answer(body=json.dumps(body).encode())


def _asked(body: Any) -> tuple[int, str, int]:
    found = _NAME.search(body["messages"][0]["content"])
    assert found is not None
    return int(found[1]), found[2], int(found[3])


def _written(body: Any) -> str:
    count, name, near = _asked(body)
    listed = body["messages"][0]["content"].partition("<neighbours>")[2]
    neighbours = re.findall(r"^- (.+?): ", listed, re.MULTILINE)
    near_misses = [{"task": f"{name[::-1]} or not {number}?", "agent": neighbours[0]} for number in range(near)]
    return json.dumps({"examples": tasks_for(name, count), "near_misses": near_misses[:1]})
