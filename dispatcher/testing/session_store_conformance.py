"""The numbered contracts of a SessionStore, to be run against any store.

    from dispatcher.testing import check_session_store

    def test_my_store() -> None:
        check_session_store(lambda: MyStore(url))

`open_store` is called for each handle that a contract needs, and must always open the same place: handles stand for
other threads or processes. (For a store that lives in one object, return that object.) Each contract works on sessions
of its own, so they may share a place with each other, and with nobody else. Or run one at a time:

    @pytest.mark.parametrize("contract", SESSION_STORE_CONTRACTS, ids=str)
    def test_my_store(contract: Contract) -> None:
        contract.check(lambda: MyStore(url))

What contracts can't show is up to the tests of a store: that it survives kill -9 and a full disk.
"""

from __future__ import annotations

import dataclasses
import functools
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dispatcher.errors import SessionConflictError, UsageError
from dispatcher.llm import Message, Usage
from dispatcher.sessions import SessionStore, Turn, TurnState
from dispatcher.sessions.turn import new_turn_id

__all__ = ["SESSION_STORE_CONTRACTS", "BrokenContractError", "Contract", "check_session_store"]

OpenStore = Callable[[], SessionStore]

_MORNING = datetime(2026, 5, 1, 9, 30, 0, 123456, tzinfo=UTC)
_LONG_AGO = datetime(1999, 12, 31, tzinfo=UTC)


class BrokenContractError(AssertionError):
    """A store does not keep a contract."""


@dataclass(frozen=True, slots=True)
class Contract:
    """One promise of a store."""

    number: int
    promise: str
    _check: Callable[[OpenStore, str], None]

    def check(self, open_store: OpenStore) -> None:
        """Raises BrokenContractError, with number and promise, if the store does not keep it. Closes what it opens."""
        handles: list[SessionStore] = []

        def opened() -> SessionStore:
            handles.append(open_store())
            return handles[-1]

        try:
            self._check(opened, f"contract {self.number} {secrets.token_hex(4)}")
        except BrokenContractError as broken:
            raise BrokenContractError(f"{self}: {broken}") from None
        except Exception as problem:
            raise BrokenContractError(f"{self}: {type(problem).__name__}: {problem}") from problem
        finally:
            for handle in handles:
                handle.close()

    def __str__(self) -> str:
        return f"{self.number}. {self.promise}"


def check_session_store(open_store: OpenStore) -> None:
    """Runs all contracts. Raises BrokenContractError, with every one that is broken."""
    broken: list[str] = []
    for contract in SESSION_STORE_CONTRACTS:
        try:
            contract.check(open_store)
        except BrokenContractError as problem:
            broken.append(str(problem))
    if broken:
        raise BrokenContractError("\n".join(broken))


def _expect(actual: object, expected: object, what: str) -> None:
    if actual != expected:
        raise BrokenContractError(f"{what}: expected {expected!r}, got {actual!r}")


def _refused(kind: type[Exception], action: Callable[[], object], what: str) -> None:
    try:
        action()
    except kind:
        return
    raise BrokenContractError(f"{what}: {kind.__name__} was not raised")


def _turn(number: int, **fields: object) -> Turn:
    """A turn with something in every field."""
    turn = Turn(
        id=new_turn_id(),
        number=number,
        task=f"task {number}",
        started=_MORNING + timedelta(minutes=number),
        agent="test-engineer",
        how="scored",
        reason="its file fits the task best",
        confidence=0.75,
        messages=(Message(role="user", content=f"task {number}"),),
    )
    return dataclasses.replace(turn, **fields)  # type: ignore[arg-type]


def _ended(turn: Turn, answer: str = "done") -> Turn:
    return dataclasses.replace(
        turn,
        state=TurnState.DONE,
        messages=(*turn.messages, Message(role="assistant", content=answer)),
        stop_reason="end_turn",
        model="claude-sonnet-5-5",
        usage=Usage(input_tokens=3, output_tokens=5, cache_write_tokens=7, cache_read_tokens=11),
        cost=0.25,
        ended=turn.started + timedelta(seconds=20),
    )


def _absent(open_store: OpenStore, session: str) -> None:
    store = open_store()
    _expect(store.turns(session), (), "turns")
    _expect(store.info(session), None, "info")
    _expect(store.delete(session), False, "delete")


def _same_back(open_store: OpenStore, session: str) -> None:
    turn = _ended(_turn(1))
    open_store().put(session, turn)
    _expect(open_store().turns(session), (turn,), "turns")


def _any_content(open_store: OpenStore, session: str) -> None:
    texts = ["", "a\0b", "line\r\nline", "日本語 🎉 é", "'; DROP TABLE turns; --", "x" * 200_000]
    call = {"type": "tool_use", "id": "t1", "name": "look_up", "input": {"key": [1, 2.5, None, True, {"a": "ü"}]}}
    blocks = tuple({"type": "text", "text": text} for text in texts if text)
    messages = (
        Message(role="user", content="\n".join(texts)),
        Message(role="assistant", content=(*blocks, call)),
        Message(role="user", content=({"type": "tool_result", "tool_use_id": "t1", "content": "42"},)),
    )
    turn = _turn(1, messages=messages, task="日本語 '\"\0")
    open_store().put(session, turn)
    _expect(open_store().turns(session), (turn,), "turns")


def _order(open_store: OpenStore, session: str) -> None:
    store = open_store()
    turns = tuple(_ended(_turn(number)) for number in range(1, 13))
    for turn in turns:
        store.put(session, turn)
    _expect(store.turns(session), turns, "turns")
    _expect(store.turns(session, last=2), turns[-2:], "the last two turns")
    _expect(store.turns(session, last=0), (), "the last no turns")
    _expect(store.turns(session, last=99), turns, "more turns than there are")


def _replaced_while_open(open_store: OpenStore, session: str) -> None:
    store, turn = open_store(), _turn(1)
    store.put(session, turn)
    store.put(session, _ended(turn))
    _expect(store.turns(session), (_ended(turn),), "turns")


def _put_again(open_store: OpenStore, session: str) -> None:
    store, turn = open_store(), _ended(_turn(1))
    store.put(session, turn)
    store.put(session, turn)
    open_store().put(session, turn)
    _expect(store.turns(session), (turn,), "turns")


def _ended_stays(open_store: OpenStore, session: str) -> None:
    store, turn = open_store(), _turn(1)
    store.put(session, _ended(turn))
    _refused(SessionConflictError, lambda: store.put(session, _ended(turn, "another answer")), "a second ending")
    _refused(SessionConflictError, lambda: store.put(session, turn), "opening it again")
    _expect(store.turns(session), (_ended(turn),), "turns")


def _place_is_taken(open_store: OpenStore, session: str) -> None:
    store, turn = open_store(), _turn(1)
    store.put(session, turn)
    _refused(SessionConflictError, lambda: open_store().put(session, _turn(1)), "another turn of the same number")
    _expect(store.turns(session), (turn,), "turns")


def _no_gaps(open_store: OpenStore, session: str) -> None:
    store = open_store()
    for number in (0, 2, -1):
        action = functools.partial(store.put, session, _turn(number))
        _refused(SessionConflictError, action, f"a first turn {number}")
    _expect(store.info(session), None, "info")


def _apart(open_store: OpenStore, session: str) -> None:
    store = open_store()
    one, other = _ended(_turn(1)), _ended(_turn(1))
    store.put(session, one)
    store.put(f"{session} more", other)
    _expect(store.delete(session), True, "delete")
    _expect(store.turns(session), (), "turns of the one that was deleted")
    _expect(store.turns(f"{session} more"), (other,), "turns of the other")
    store.delete(f"{session} more")


def _begins_anew(open_store: OpenStore, session: str) -> None:
    store, turn = open_store(), _turn(1)
    store.put(session, _ended(_turn(1)))
    store.delete(session)
    store.put(session, turn)
    _expect(store.turns(session), (turn,), "turns")


def _listing(open_store: OpenStore, session: str) -> None:
    store = open_store()
    first, second = _ended(_turn(1)), _ended(_turn(2, agent=None, task="another"))
    store.put(session, first)
    store.put(session, second)
    info = store.info(session)
    if info is None:
        raise BrokenContractError("info: the session is not there")
    found = (info.id, info.turns, info.title, info.agents, info.cost, info.created, info.updated)
    expected = (session, 2, "task 1", ("test-engineer",), 0.5, first.started, second.ended)
    _expect(found, expected, "info")
    _expect(info.usage, first.usage + second.usage, "usage")
    _expect([each for each in store.sessions() if each.id == session], [info], "the session in the list")


def _newest_first(open_store: OpenStore, session: str) -> None:
    store = open_store()
    names = [f"{session} {letter}" for letter in "abc"]
    for name, days in zip(names, (1, 3, 2), strict=True):
        store.put(name, _ended(_turn(1, started=_MORNING + timedelta(days=days))))
    listed = [info.id for info in store.sessions() if info.id in names]
    _expect(listed, [names[1], names[2], names[0]], "the order of the list")


def _retention(open_store: OpenStore, session: str) -> None:
    store = open_store()
    store.put(session, _ended(_turn(1, started=_LONG_AGO)))
    store.put(f"{session} alive", _ended(_turn(1, started=_LONG_AGO)))
    store.put(f"{session} alive", _ended(_turn(2)))
    _expect(store.delete_before(_LONG_AGO + timedelta(days=1)), 1, "the number of sessions deleted")
    _expect(store.info(session), None, "the old session")
    _expect(len(store.turns(f"{session} alive")), 2, "the turns of the one that was gone on with")


def _bad_names(open_store: OpenStore, session: str) -> None:
    store = open_store()
    for name in ("", " ", "a\nb", "a\0b", "x" * 201):
        _refused(UsageError, functools.partial(store.put, name, _turn(1)), f"the name {name[:9]!r}")
    odd = f"{session}/../é ' % _ 日本"
    store.put(odd, _turn(1))
    _expect(len(store.turns(odd)), 1, "the turns of a session with an odd name")
    store.delete(odd)


def _one_holder(open_store: OpenStore, session: str) -> None:
    store, other = open_store(), open_store()
    _expect(store.try_hold(session), True, "the first hold")
    _expect(other.try_hold(session), False, "a second hold")
    _expect(store.try_hold(session), False, "a second hold of the same handle")
    _expect(other.try_hold(f"{session} other"), True, "a hold of another session")
    other.release(f"{session} other")
    store.release(session)
    _expect(other.try_hold(session), True, "a hold after the release")
    other.release(session)
    store.release(session)


def _many_threads(open_store: OpenStore, session: str) -> None:
    inside, most, wins = [0], [0], []

    def contend() -> None:
        store = open_store()
        for _ in range(20):
            if store.try_hold(session):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                wins.append(1)
                inside[0] -= 1
                store.release(session)

    _in_threads(contend, 4)
    _expect((most[0], bool(wins)), (1, True), "the most holders at a time, and whether anybody got it")


def _many_writers(open_store: OpenStore, session: str) -> None:
    refused: list[str] = []

    def write() -> None:
        store = open_store()
        for _ in range(5):
            try:
                store.put(session, _ended(_turn(len(store.turns(session)) + 1)))
            except SessionConflictError as problem:
                refused.append(str(problem))

    _in_threads(write, 4)
    numbers = [turn.number for turn in open_store().turns(session)]
    _expect(numbers, list(range(1, 21 - len(refused))), "the numbers of the turns that were not refused")


def _after_closing(open_store: OpenStore, session: str) -> None:
    store, turn = open_store(), _ended(_turn(1))
    store.put(session, turn)
    store.try_hold(session)
    store.close()
    _expect(open_store().turns(session), (turn,), "turns")
    _expect(open_store().try_hold(session), True, "a hold after the holder was closed")
    store.close()


def _last_removed(open_store: OpenStore, session: str) -> None:
    store = open_store()
    first, second, other = _ended(_turn(1)), _ended(_turn(2)), _ended(_turn(2))
    store.put(session, first)
    store.put(session, second)
    _expect(store.remove_last(session, first.id), False, "removing a turn that is not the last")
    _expect(store.turns(session), (first, second), "turns after that")
    _expect(store.remove_last(session, second.id), True, "removing the last turn")
    _expect(open_store().turns(session), (first,), "turns without the last")
    _expect(store.remove_last(session, second.id), False, "removing it again")
    store.put(session, other)
    _expect(store.turns(session), (first, other), "turns with another in its place")


def _only_removed(open_store: OpenStore, session: str) -> None:
    store, turn = open_store(), _turn(1)
    _expect(store.remove_last(session, turn.id), False, "removing from a session that is not there")
    store.put(session, turn)
    _expect(store.remove_last(session, turn.id), True, "removing the only turn")
    _expect(store.info(session), None, "info")
    _expect([info for info in store.sessions() if info.id == session], [], "the session in the list")
    store.put(session, _ended(_turn(1)))
    _expect(len(store.turns(session)), 1, "the turns of the session that began anew")


def _removal_keeps_place(open_store: OpenStore, session: str) -> None:
    store = open_store()
    second = _ended(_turn(2))
    store.put(session, _ended(_turn(1)))
    store.put(session, second)
    store.remove_last(session, second.id)
    info = store.info(session)
    if info is None:
        raise BrokenContractError("info: the session is not there")
    _expect((info.turns, info.cost, info.updated), (1, 0.25, second.ended), "turns, cost and when it was written to")


def _in_threads(work: Callable[[], None], count: int) -> None:
    problems: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as problem:  # noqa: BLE001  told by the thread that waits
            problems.append(problem)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


SESSION_STORE_CONTRACTS: tuple[Contract, ...] = tuple(
    Contract(number, promise, check)
    for number, (promise, check) in enumerate(
        (
            ("a session that is not there has no turns and can be asked for", _absent),
            ("a turn comes back as it was put, in every field", _same_back),
            ("any text and any content blocks come back as they were", _any_content),
            ("turns come in their order, all or the last ones", _order),
            ("an open turn is replaced by what it becomes", _replaced_while_open),
            ("the same put again changes nothing", _put_again),
            ("a turn that has ended stays as it is", _ended_stays),
            ("two turns never have one number", _place_is_taken),
            ("turns have no gaps, and a refused put leaves nothing", _no_gaps),
            ("sessions don't touch each other", _apart),
            ("a deleted session can begin anew", _begins_anew),
            ("a session is listed with its title, agents, usage and cost", _listing),
            ("the session that was written to last comes first", _newest_first),
            ("sessions not written to since a moment can be deleted", _retention),
            ("odd names are fine, impossible ones are refused", _bad_names),
            ("one holder at a time", _one_holder),
            ("one holder at a time, also among threads", _many_threads),
            ("of many writers at once, each turn is whole or refused", _many_writers),
            ("closing keeps what was put and lets go of what was held", _after_closing),
            ("the last turn can be removed, and no other", _last_removed),
            ("a session without any turn left is gone", _only_removed),
            ("a session that lost its last turn keeps its place in the list", _removal_keeps_place),
        ),
        start=1,
    )
)
