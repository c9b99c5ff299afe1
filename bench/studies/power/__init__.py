"""How often the gate is wrong, and what it detects: its false alarms and its power, simulated and real."""
