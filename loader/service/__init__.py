"""The model service: a process of the user's own that keeps a model loaded, and how others come by its vectors.

::

    caller's process                                            service's process (one per user, model and settings)
    ────────────────                                            ─────────────────────────────────────────────────────
    client      the provider: asks, falls back                  server/      accepts, batches, embeds, stops by itself
      ├─ identity     model and settings -> socket's name  ◀──▶   ├─ process     descriptors, log, HTTP or not
      ├─ folder       where sockets are, and whether it is safe   ├─ main        sockets, models, reasons to end
      ├─ connection   a socket with deadlines                     ├─ listener    a socket; conversation: a connection
      │      ╰───────────── protocol: frames ─────────────╯       ├─ batcher     queue, micro-batches, one thread
      └─ starting     lock, socket, process                       ├─ limits      idle time, memory, a changed model
                                                                  └─ http*       OpenAI's clients, opt-in
    control     what the commands serve, status, stop and restart do

Everything in the left column imports a few small modules of the standard library, no NumPy, json or logging.
"""
