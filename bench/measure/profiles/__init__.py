"""Profiles, taken in separate passes: why a cell costs what it costs.

``importtime`` reads the output of ``python -X importtime``, ``memory_timeline`` polls the kernel for a process's
memory, ``allocations`` reads what memray captures. The first and the last slow the process down, and the other one uses
processor time next to it, so each takes one sample per cell after the timed ones, and none of their times or memory
counters enter a table.
"""
