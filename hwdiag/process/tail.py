"""The end of a stream of bytes, of whatever length. Standard library alone: the supervisor uses it."""

from __future__ import annotations

from collections import deque

PIECE = 1 << 16


class Tail:
    """The end of what comes out of a pipe."""

    def __init__(self, most: int) -> None:
        self.most, self.total, self.kept = most, 0, 0
        self.pieces: deque[bytearray] = deque()

    def add(self, piece: bytes) -> None:
        """Keep this piece, and let go of the oldest that are not needed."""
        if self.pieces and len(self.pieces[-1]) + len(piece) <= PIECE:
            self.pieces[-1] += piece
        else:
            self.pieces.append(bytearray(piece))
        self.total += len(piece)
        self.kept += len(piece)
        while self.kept - len(self.pieces[0]) >= self.most:
            self.kept -= len(self.pieces.popleft())

    def text(self) -> str:
        """Return the end of it as text."""
        return b"".join(self.pieces)[-self.most :].decode(errors="replace")
