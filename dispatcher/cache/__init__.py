"""The cache on disk: what was read and worked out once, kept where it is quicker to have than to make again.

container  one file: named sections of bytes, sealed, so that a torn or foreign one is known for what it is
folder     the files of a cache: written in one step, looked up by what decided their content, shown and cleared
agents     agents as bytes, and back, each filled in when it is looked at

A cache that can't be written or read is as good as none: nothing here raises for the state of a disk.
"""

from dispatcher.cache.container import Container
from dispatcher.cache.folder import Cache, Entry, code_stamp, digest_of

__all__ = ["Cache", "Container", "Entry", "code_stamp", "digest_of"]
