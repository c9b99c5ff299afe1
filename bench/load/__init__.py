"""``python -m bench.load``: the model service under load from many clients at once.

::

    cli       the command line             client    a process with clients: connects, asks, checks, writes
    options   what is measured               ├─ targets    who answers: the service, or a model in the process
    run       rounds of phases               ├─ checking   whether an answer is the vector of its text
      ├─ drive    client processes           ├─ loops      closed, open, and in batches
      └─ records  one line for each phase    └─ arrivals   when requests of an open loop are due
    report    records -> summary -> page and picture

``bench.measure.service_process`` finds, watches and stops the service's process.
"""
