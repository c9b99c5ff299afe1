"""The model service: a process that keeps a model loaded for one user, and how other processes get its vectors.

::

    caller's process                                            service's process (one per user, model and settings)
    ────────────────                                            ─────────────────────────────────────────────────────
    client      the provider: asks, falls back                  server/      accepts, batches, embeds, stops by itself
      ├─ identity     model and settings -> socket's name  ◀──▶   ├─ process     descriptors, log, HTTP or not
      ├─ folder       where sockets are, and whether it is safe   ├─ main        sockets, models, reasons to end
      ├─ connection   a socket with deadlines                     ├─ listener    a socket; conversation: a connection
      │      ╰───────────── protocol: frames ─────────────╯       ├─ batcher     queue, micro-batches, one thread
      ├─ claims       lock, socket, turn                          ├─ exit_watch  idle time, memory, a changed model
      └─ starting     the process                                 └─ http*       OpenAI's clients, opt-in
    control     what the commands serve, status, stop and restart do

The modules in the left column import only a few small modules of the standard library: no NumPy, json or logging.
"""
