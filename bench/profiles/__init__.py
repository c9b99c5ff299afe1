"""Profiles: why a cell costs what it costs, in passes of their own.

``importtime`` reads what ``python -X importtime`` writes, ``allocations`` what memray captures. Both slow the process
down, so each takes one sample a cell after the timed ones, and none of their times or memory counters enter a table.
"""
