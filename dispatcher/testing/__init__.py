"""For the tests of those who build on this package. Needs no test framework.

answers                     what a model's service answers in a test: text, calls of tools, errors, streams that are cut
                            or slow
scripted_client             a client that answers so, without sockets
scripted_server             a service on loopback that speaks the Messages API and answers so
session_store_conformance   the numbered contracts of a store of conversations

    from dispatcher.testing import ScriptedClient, calls, rate_limited, says, serve

    client = ScriptedClient(calls(("look_up", {"key": "a"})), says("It is ", "42."))
    dispatcher = Dispatcher.from_config(client=client)

    with serve(rate_limited(), says("Hello ", "world")) as server:
        client = AnthropicClient(LLMSettings(base_url=server.base_url))

Nothing else of the package imports this.
"""

from dispatcher.testing.answers import (
    MODEL,
    REQUEST_ID,
    Answer,
    breaks_off,
    calls,
    drops,
    fails,
    overloaded,
    rate_limited,
    says,
    stalls,
)
from dispatcher.testing.scripted_client import ScriptedClient
from dispatcher.testing.scripted_server import Recorded, ScriptedServer, serve
from dispatcher.testing.session_store_conformance import (
    SESSION_STORE_CONTRACTS,
    BrokenContractError,
    Contract,
    check_session_store,
)

__all__ = [
    "MODEL",
    "REQUEST_ID",
    "SESSION_STORE_CONTRACTS",
    "Answer",
    "BrokenContractError",
    "Contract",
    "Recorded",
    "ScriptedClient",
    "ScriptedServer",
    "breaks_off",
    "calls",
    "check_session_store",
    "drops",
    "fails",
    "overloaded",
    "rate_limited",
    "says",
    "serve",
    "stalls",
]
