"""A gate's rules and its verdict, as pure functions; only ``stored``, a gate with an older baseline, measures."""
