"""How an event leaves this machine.

From whatever is logged to one line (`outgoing`), which is on disk (`spool`, of `lanes`) before the call returns; then
delivered, in order, by one thread a server (`outbox`, `delivery`, `verdicts`). Beside that way: one event sent while
its sender waits (`sender`), lines from a pipe (`piped`), and what is still on disk (`waiting`).
"""
