"""How often the gate is wrong, and what it sees: its false alarms and its power, simulated and real."""
