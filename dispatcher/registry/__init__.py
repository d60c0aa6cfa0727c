"""Folders → Registry: which agents there are, which were shadowed or left out, and why.

registry    the agents of all scopes put together
remembered  what files were read before, so that only those are read that changed
"""

from dispatcher.registry.registry import PassedOver, Registry, Shadowed

__all__ = ["PassedOver", "Registry", "Shadowed"]
