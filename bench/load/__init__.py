"""``python -m bench.load``: many clients at once, and what the model service makes of them.

::

    cli       what is asked for            client    a process that loads: opens clients, asks, checks, writes
    run       rounds of phases               ├─ targets    what is asked: the service, or a model in the process
      ├─ drive    client processes           ├─ checking   is an answer the vector of its own text
      ├─ server   the service's process      ├─ loops      closed, open, and in batches
      └─ records  one line for each phase    └─ arrivals   when requests of an open loop are due
    report    records -> summary -> page and pictures
"""
