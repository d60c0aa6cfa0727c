"""The index as it is kept in the cache: its tables as they lie in memory, its words sorted, so that none need be read.

What scores is the same either way: the tables of a kept index are mapped from its file in place of being built, and a
word is looked up there by bisection. So a cold start reads what its task needs, and nothing is decided twice.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dispatcher.agent import Agent
from dispatcher.cache import Cache, Container, digest_of
from dispatcher.cache.agents import packed
from dispatcher.cache.container import Section
from dispatcher.progress import Progress
from dispatcher.routing.dense import DenseIndex
from dispatcher.routing.encoder import Encoder, StemEncoder
from dispatcher.routing.index import Index
from dispatcher.routing.postings import Postings
from dispatcher.routing.regression import ExampleRegression, RegressionBlock
from dispatcher.routing.spelling import Spelling

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["StoredKeywords", "StoredWords", "kept_index"]

T = TypeVar("T")
_KIND = "index"
_SEPARATOR = "\x1f"  # between the words of a keyword
_MOST_CHANGED = 0.1  # of the agents, for an index to be brought up to date; from there on building soon costs less
_MOST_UNUSED = 0.1  # of the terms, which those leave behind that nobody has any more
_MOST_REMEMBERED = 50_000  # words that were looked up


class StoredWords(Mapping[str, int]):
    """Words with their numbers, sorted by their bytes: `text` holds them all, `ends` where each ends."""

    def __init__(self, text: memoryview, ends: memoryview, numbers: memoryview) -> None:
        self._text = text
        self._ends = ends.cast("I")
        self._numbers = numbers.cast("I")
        self._seen: dict[str, int | None] = {}

    def __getitem__(self, word: str) -> int:
        number = self._number(word)
        if number is None:
            raise KeyError(word)
        return number

    def get(self, word: str, default: Any = None) -> Any:
        # As Mapping has it, less an exception for each word that is not there, which are most words of a task.
        number = self._number(word)
        return default if number is None else number

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self._number(word) is not None

    def __iter__(self) -> Iterator[str]:
        by_number = np.argsort(np.frombuffer(self._numbers, np.uint32), kind="stable").tolist()
        return (self._word(place).decode("utf-8", "surrogatepass") for place in by_number)

    def __len__(self) -> int:
        return len(self._numbers)

    def _number(self, word: str) -> int | None:
        try:
            return self._seen[word]
        except KeyError:
            return self._look_up(word)

    def _look_up(self, word: str) -> int | None:
        wanted = word.encode("utf-8", "surrogatepass")
        place = bisect.bisect_left(range(len(self)), wanted, key=self._word)
        is_there = place < len(self) and self._word(place) == wanted
        if len(self._seen) >= _MOST_REMEMBERED:
            self._seen.clear()
        self._seen[word] = number = self._numbers[place] if is_there else None
        return number

    def _word(self, place: int) -> bytes:
        return bytes(self._text[self._ends[place - 1] if place else 0 : self._ends[place]])


class StoredKeywords(Mapping[tuple[str, ...], tuple[int, ...]]):
    """The rows of each keyword."""

    def __init__(self, words: StoredWords, ends: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        self._words = words
        self._ends = ends
        self._rows = rows

    def __getitem__(self, keyword: tuple[str, ...]) -> tuple[int, ...]:
        number = self._words[_SEPARATOR.join(keyword)]
        start = self._ends[number - 1] if number else 0
        return tuple(self._rows[start : self._ends[number]].tolist())

    def __contains__(self, keyword: object) -> bool:
        # As Mapping has it, less an exception for each span of a task that is no keyword.
        return isinstance(keyword, tuple) and _SEPARATOR.join(keyword) in self._words

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return (tuple(written.split(_SEPARATOR)) for written in self._words)

    def __len__(self) -> int:
        return len(self._words)


def kept_index(
    cache: Cache,
    slot: str,
    key: str,
    maker: str,
    encoder: Callable[[], Encoder],
    agents: Sequence[Agent],
    progress: Progress | None = None,
) -> Index:
    """The index of that key from the cache; or else one of the agents, made of what is kept there as far as that is
    still right, and kept for the next time.

    `maker` stands for all besides the agents that decides how an index comes out. `encoder` is asked for where the
    encoder is one that can't be kept, and for building.
    """
    found = cache.get(_KIND, slot)
    if found is not None and found.key == key:
        with contextlib.suppress(KeyError, ValueError, TypeError):
            return _index_from(found, encoder)
    index = _renewed(found, maker, encoder, agents, progress)
    notes, sections = _tables_of(index)
    _put_table("stamps", _stamps(agents), notes, sections)
    use = f"index of {index.agent_count:,} agents"
    cache.put(_KIND, slot, key, {"use": use, "maker": maker, **notes}, sections)
    return index


def _renewed(
    found: Container | None,
    maker: str,
    encoder: Callable[[], Encoder],
    agents: Sequence[Agent],
    progress: Progress | None,
) -> Index:
    """An index of the agents, made of an earlier one where most of its agents are still the same."""
    from dispatcher.routing.indexing import build_index, update_index

    if found is not None and found.meta.get("maker") == maker:
        with contextlib.suppress(KeyError, ValueError, TypeError, IndexError):
            places = {stamp: row for row, stamp in enumerate(_table("stamps", found).tolist())}
            rows = np.array([places.get(stamp, -1) for stamp in _stamps(agents).tolist()], np.int64)
            earlier = _index_from(found, encoder)
            kept = np.count_nonzero(rows >= 0)
            is_little = 0 < max(len(rows), earlier.agent_count) * (1 - _MOST_CHANGED) <= kept
            if is_little and earlier.postings.unused_share <= _MOST_UNUSED:
                return update_index(earlier, rows, agents, encoder(), progress)
    return build_index(agents, encoder(), progress)


def _stamps(agents: Sequence[Agent]) -> NDArray[np.bytes_]:
    """What stands for all that an index takes from each agent."""
    stamps = (
        digest_of(agent.name, agent.category, agent.digest or hashlib.sha256(packed(agent)).hexdigest(), _added(agent))
        for agent in agents
    )
    return np.array([stamp.encode() for stamp in stamps], np.bytes_)


def _added(agent: Agent) -> list[tuple[str, str, float]]:
    """What has been added to an agent besides what its file says."""
    return [(passage.field, passage.text, passage.weight) for passage in agent.enriched]


def _tables_of(index: Index) -> tuple[dict[str, Any], dict[str, Section]]:
    """An index as notes and sections of bytes, for the cache."""
    notes: dict[str, Any] = {"example_share": index.example_share}
    sections: dict[str, Section] = {}
    _put("postings", index.postings, notes, sections)
    _put("spelling", index.spelling, notes, sections)
    blocks = index.regression.blocks if index.regression is not None else ()
    for number, block in enumerate(blocks):
        _put(f"regression.{number}", block, notes, sections)
    _put_table("sizes", index.sizes, notes, sections)
    _put_table("dense", index.dense.vectors, notes, sections)
    if isinstance(index.dense.encoder, StemEncoder):
        _put_encoder(index.dense.encoder, notes, sections)
    written = {_SEPARATOR.join(keyword): number for number, keyword in enumerate(index.keywords)}
    _put_words("keywords.words", written, sections)
    _put_table("keywords.ends", np.cumsum([len(rows) for rows in index.keywords.values()], dtype=int), notes, sections)
    rows = [row for of_keyword in index.keywords.values() for row in of_keyword]
    _put_table("keywords.rows", np.array(rows, int), notes, sections)
    return {"regression_blocks": len(blocks), **notes}, sections


def _index_from(found: Container, encoder: Callable[[], Encoder]) -> Index:
    """The index that was kept. Raises KeyError, ValueError or TypeError if there is none in this content."""
    has_encoder = "encoder" in found.meta
    blocks = tuple(
        _get(f"regression.{number}", RegressionBlock, found) for number in range(found.meta["regression_blocks"])
    )
    return Index(
        postings=_get("postings", Postings, found),
        spelling=_get("spelling", Spelling, found),
        keywords=StoredKeywords(
            _words("keywords.words", found), _table("keywords.ends", found), _table("keywords.rows", found)
        ),
        dense=DenseIndex(_encoder(found) if has_encoder else encoder(), _table("dense", found)),
        regression=ExampleRegression(blocks) if blocks else None,
        sizes=_table("sizes", found),
        example_share=found.meta["example_share"],
    )


def _put_encoder(encoder: StemEncoder, notes: dict[str, Any], sections: dict[str, Section]) -> None:
    path = str(encoder.path) if encoder.path is not None else None
    notes["encoder"] = {"digest": encoder.digest, "parts": encoder.parts, "path": path}
    _put_words("encoder.rows", encoder.rows, sections)
    _put_table("encoder.vectors", encoder.vectors, notes, sections)
    _put_table("encoder.scales", encoder.scales, notes, sections)


def _encoder(found: Container) -> StemEncoder:
    noted = found.meta["encoder"]
    return StemEncoder(
        _words("encoder.rows", found),
        _table("encoder.vectors", found),
        _table("encoder.scales", found),
        tuple(noted["parts"]),
        path=Path(noted["path"]) if noted["path"] is not None else None,
        digest=noted["digest"],
    )


def _put(name: str, record: Any, notes: dict[str, Any], sections: dict[str, Section]) -> None:
    """A record's fields: tables, words with their numbers, and what JSON can hold."""
    for field in _kept_fields(type(record)):
        value, place = getattr(record, field.name), f"{name}.{field.name}"
        if isinstance(value, np.ndarray):
            _put_table(place, value, notes, sections)
        elif isinstance(value, Mapping):
            _put_words(place, value, sections)
        else:
            notes.setdefault("values", {})[place] = value


def _get(name: str, kind: type[T], found: Container) -> T:
    values: dict[str, Any] = {}
    for field in _kept_fields(kind):
        place = f"{name}.{field.name}"
        if place in found.meta["tables"]:
            values[field.name] = _table(place, found)
        elif f"{place}.text" in found.sections:
            values[field.name] = _words(place, found)
        else:
            values[field.name] = found.meta["values"][place]
    return kind(**values)


def _kept_fields(kind: type[Any]) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(kind) if field.init]


def _put_table(name: str, table: NDArray[Any], notes: dict[str, Any], sections: dict[str, Section]) -> None:
    notes.setdefault("tables", {})[name] = (table.dtype.str, table.shape)
    sections[name] = np.ascontiguousarray(table).reshape(-1).view(np.uint8).data


def _table(name: str, found: Container) -> NDArray[Any]:
    kind, shape = found.meta["tables"][name]
    return np.frombuffer(found.sections[name], np.dtype(kind)).reshape(shape)


def _put_words(name: str, words: Mapping[str, int], sections: dict[str, Section]) -> None:
    # Text sorts as its bytes do; words that are nearly in order already, as most are, take no time.
    in_order = sorted(words)
    written = [word.encode("utf-8", "surrogatepass") for word in in_order]
    sections[f"{name}.text"] = b"".join(written)
    sections[f"{name}.ends"] = np.cumsum(
        np.fromiter(map(len, written), np.uint32, len(written)), dtype=np.uint32
    ).tobytes()
    sections[f"{name}.numbers"] = np.fromiter(map(dict(words).__getitem__, in_order), np.uint32, len(written)).tobytes()


def _words(name: str, found: Container) -> StoredWords:
    return StoredWords(*(found.sections[f"{name}.{part}"] for part in ("text", "ends", "numbers")))
