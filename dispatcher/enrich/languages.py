"""In which language a text is written: enough to tell that an example is not in the language of the agent's file.

By its script first, and within the Latin script by its most common small words; where that is not clear it says
nothing. Knows of nothing else in the package.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

__all__ = ["is_in_another_language", "language_of", "script_of"]

_WORD = re.compile(r"[^\W\d_]+")
_FEWEST_LETTERS = 4
_LEAST_SHARE = 0.6  # of the letters, for a script
_FEWEST_SMALL_WORDS = 3
_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "HEBREW", "ARABIC", "DEVANAGARI", "THAI", "HANGUL", "CJK", "JAPANESE")
_JAPANESE = ("HIRAGANA", "KATAKANA")

_SMALL_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "English": "the and is of to in that it for on with as this are was but not have from at by be how what why my",
        "German": "der die das und ist nicht ein eine ich wir mit für auf den dem des im zu wie was wird bei auch sich",
        "French": "le la les et est une des du dans pour que qui ne pas sur avec je nous mon notre au ce cette comment",
        "Spanish": "el los las y es una de en que no con para por se mi nuestro como al del está pero más cómo lo",
        "Italian": "il lo gli e è una di che non con per si mio nostro come al del della dei sono ma più nel alla",
        "Portuguese": "o os as e é uma de em que não com para por se meu nosso como ao do da dos são mas mais no na",
        "Dutch": "de het een en is van niet ik wij met voor op dat zijn hoe wat wordt bij ook maar naar onze mijn deze",
    }.items()
}


def is_in_another_language(text: str, reference: str) -> bool:
    """Whether a text is clearly in another script or language than a (longer) reference."""
    own, wanted = script_of(text), script_of(reference)
    if own is None or wanted is None:
        return False
    # Names and code are Latin everywhere, so a Latin text is none of another script only if its language is clear.
    if own != wanted:
        return own != "LATIN" or language_of(text) is not None
    if own != "LATIN":
        return False
    spoken, expected = language_of(text), language_of(reference)
    return spoken is not None and expected is not None and spoken != expected


@functools.lru_cache(maxsize=64)  # the same file is the reference of all its tasks
def script_of(text: str) -> str | None:
    """The script of most letters, by its Unicode name; None where there are few letters, or no script has most."""
    counts = Counter(_script(sign) for sign in text if sign.isalpha())
    if counts.total() < _FEWEST_LETTERS:
        return None
    if counts["JAPANESE"]:  # which is written with Chinese signs between its own
        counts["JAPANESE"] += counts.pop("CJK", 0)
    script, count = counts.most_common(1)[0]
    return script if script and count >= _LEAST_SHARE * counts.total() else None


@functools.lru_cache(maxsize=64)
def language_of(text: str) -> str | None:
    """The language of a text in the Latin script, if its small words leave no doubt; else None."""
    words = _WORD.findall(text.casefold())
    counts = Counter({language: sum(word in small for word in words) for language, small in _SMALL_WORDS.items()})
    (language, most), (_, next_most) = counts.most_common(2)
    return language if most >= _FEWEST_SMALL_WORDS and most >= 2 * next_most else None


@functools.lru_cache(maxsize=4096)
def _script(sign: str) -> str:
    name = unicodedata.name(sign, "")
    if name.startswith(_JAPANESE):
        return "JAPANESE"
    return next((script for script in _SCRIPTS if name.startswith(script)), name.partition(" ")[0])
