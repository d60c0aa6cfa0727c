"""Reading agent files: one file → one Agent (a JSON file: several) and its diagnostics.

envelope        where the front matter begins and ends: strict YAML → lenient → none
sections        the body as headings, bullets and paragraphs
examples, triggers, abilities, placeholders, tool_policy
                the extractors, each run over every file
recognition     what is an agent, and its name where the file gives none
fields          the front matter by field
builder         all of it together
reader          the way in
"""

from dispatcher.agentfile.reader import MAX_FILE_BYTES, ReadResult, read_agent_file, read_agent_text

__all__ = ["MAX_FILE_BYTES", "ReadResult", "read_agent_file", "read_agent_text"]
