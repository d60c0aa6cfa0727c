"""The command line: one module a command, no logic of its own.

app       the commands and what is an error
group     "dispatch TASK" without a command's name
options   the options that commands share
console   what goes to stdout, what to stderr, and how it looks
chat      a conversation at a terminal, in a room of its own
inputs    the task: words, files, standard input
outputs   what --json prints, and its schemas
"""
