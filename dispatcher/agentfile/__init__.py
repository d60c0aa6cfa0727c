"""Reading agent files: one file → one Agent (a JSON file: several) and its diagnostics.

envelope        where the front matter begins and ends: strict YAML → lenient → none
prose           Markdown as a person reads it
sections        the body as headings, bullets and paragraphs
examples, triggers, abilities, placeholders, tool_policy
                the extractors, each run over every file
recognition     what is an agent, and its name where the file gives none
fields          the front matter by field
builder         all of it together
reader          the way in
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.on_demand import on_demand

if TYPE_CHECKING:
    from dispatcher.agent import ReadResult
    from dispatcher.agentfile.reader import read_agent_file, read_agent_text
    from dispatcher.settings.tree import MAX_FILE_BYTES

__all__ = ["MAX_FILE_BYTES", "ReadResult", "read_agent_file", "read_agent_text"]


# The reader is not needed where nothing has changed since it last ran.
__getattr__ = on_demand(__name__, {"dispatcher.agentfile.reader": tuple(__all__)})
