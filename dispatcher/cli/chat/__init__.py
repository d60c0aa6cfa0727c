"""`dispatch chat`: a conversation with the agents at a terminal. Needs the extra `chat`.

command       the options, and what the chat begins with
loop          lines of the user, one after the other: a task, or a command of the chat
conversation  what a line does: turns of the session, taken back, asked again
commands      /agents, /why and the like
completion    what may follow what has been typed
view          how decisions and answers look; the only one that knows rich
keys          what keys do while an answer comes
terminal      how lines are typed; the only one that knows prompt_toolkit
"""
