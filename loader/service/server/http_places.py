"""The limited places for HTTP connections, and who must leave when all are taken.

Anybody on the machine can connect, and a client without a token can stay silent for as long as we let it. So a
connection that has not shown the token never keeps out a new one: the oldest of them leaves, from the peer that has the
most. A client that fills all places pushes out its own connections, and a request, which follows its connection at
once, has been read long before its connection could be pushed out.
"""

import logging
from collections import defaultdict
from typing import Final, Protocol

_log = logging.getLogger("loader.service")

MAX_CONNECTIONS: Final = 256
"""Concurrent connections, so that nobody can use up the service's file descriptors."""

Peer = tuple[str, int | None]
"""Address and user, see ``credentials.tcp_peer``."""


class Guest(Protocol):
    """A connection, as far as this module needs it."""

    @property
    def peer(self) -> Peer:
        """Who connected."""

    @property
    def may_be_displaced(self) -> bool:
        """Whether it has not shown the token, and waits for no answer."""

    def drop(self) -> None:
        """End it at once."""


class Places:
    """The open connections, in order of arrival."""

    def __init__(self) -> None:
        self._guests: dict[Guest, None] = {}

    def enter(self, guest: Guest) -> None:
        """Take a place."""
        self._guests[guest] = None

    def leave(self, guest: Guest) -> None:
        """Give it back; idempotent."""
        self._guests.pop(guest, None)

    def make_room(self, *, short: bool) -> bool:
        """Return whether there is a place for one more; another connection may be dropped for it.

        Args:
            short: whether descriptors are short, so that one must leave in any case.
        """
        if not short and len(self._guests) < MAX_CONNECTIONS:
            return True
        _log.warning("too many HTTP connections: closing those without the token")
        waiting: dict[Peer, list[Guest]] = defaultdict(list)
        for guest in self._guests:
            if guest.may_be_displaced:
                waiting[guest.peer].append(guest)
        if not waiting:
            return False
        oldest = max(waiting.values(), key=len)[0]
        self.leave(oldest)
        oldest.drop()
        return True
