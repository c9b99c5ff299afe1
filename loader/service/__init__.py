"""The model service: a process of the user's own that keeps a model loaded, and how others come by its vectors.

::

    caller's process                                            service's process (one per user, model and settings)
    ────────────────                                            ─────────────────────────────────────────────────────
    client      the provider: asks, falls back                  server/      accepts, batches, embeds, stops by itself
      ├─ identity     model and settings -> socket's name  ◀──▶   ├─ listener    connections and frames
      ├─ folder       where sockets are, and whether it is safe   ├─ batcher     bounded queue, micro-batches, one
      thread ├─ connection   a socket with deadlines                     ├─ limits      idle time, memory, a model that
      changed │      ╰───────────── protocol: frames ─────────────╯       ├─ counters    what status shows └─ starting
      lock, socket, process                       └─ http        the same for OpenAI's clients, opt-in
    control     what the commands serve, status, stop and restart do

Everything in the left column imports a few small modules of the standard library, no NumPy, json or logging.
"""
