"""Profiles: why a cell costs what it costs, in passes of their own.

``importtime`` reads what ``python -X importtime`` writes, ``memory_timeline`` what the kernel says of a process again
and again, ``allocations`` what memray captures. The first and the last slow the process down, and the other takes
processor time beside it, so each takes one sample a cell after the timed ones, and none of their times or memory
counters enter a table.
"""
