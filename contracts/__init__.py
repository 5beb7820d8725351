"""What everybody agrees on: messages, ports, pure rules, SQL and Lua.

Here belong frozen message types, one small ``Protocol`` per neighbour (``ports``), the rules that must have one definition (verdicts, scoring, the life of
a submission, leases), error types, numbered SQL migrations, who may touch which table (``logins``) and the Lua scripts that Redis runs. Nothing here does
I/O, reads a clock or imports anything of ours; whoever needs the time or an identifier passes it in.
"""
