"""For the tests of those who build on this package. Needs no test framework.

session_store_conformance   the numbered contracts of a store of conversations
"""

from dispatcher.testing.session_store_conformance import (
    SESSION_STORE_CONTRACTS,
    BrokenContractError,
    Contract,
    check_session_store,
)

__all__ = ["SESSION_STORE_CONTRACTS", "BrokenContractError", "Contract", "check_session_store"]
