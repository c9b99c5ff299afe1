"""The service's side: one process with one or more models, each with its own socket. May import what it needs."""
