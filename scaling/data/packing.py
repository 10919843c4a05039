"""Documents packed into windows by best fit, so that few are cut and little is filled.

Ding et al. 2024 (arXiv:2404.10830), section 3: a document longer than a window
is cut into whole windows and a rest; the rests and the short documents, the
longest first, each go into the fullest window that still holds them.
"""

# D documents, P pieces, R windows, W tokens of a window: one more than the model reads

from dataclasses import dataclass

import numpy as np

from scaling.data.store import ask_for


@dataclass(frozen=True, eq=False)
class Packed:
    """Which stretches of a stream stand in which window."""

    starts_P: np.ndarray  # int64: where each piece begins in the stream
    lengths_P: np.ndarray  # int64: its tokens, 2 to W
    bears_P: np.ndarray  # int64: which of its tokens is the first that is a target; the rest are too
    firsts_R: np.ndarray  # (R + 1,) int64: the first piece of each window, and P
    width: int  # W

    @property
    def windows(self) -> int:
        return len(self.firsts_R) - 1

    @property
    def predicted(self) -> int:
        """Targets in all windows: of every piece, all tokens but the first, or but its prompt."""
        return int((self.lengths_P - self.bears_P).sum())

    def read(self, stream: np.ndarray, chosen_B: np.ndarray, filler: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The windows `chosen_B`, the piece of every token, both (B, W) int32, and whether it is a target, (B, W) bool.

        Pieces count from 0 in each row; what fills the rest of a row is `filler`, piece -1 and no target.
        """
        window_BW = np.full((len(chosen_B), self.width), filler, np.int32)
        piece_BW = np.full((len(chosen_B), self.width), -1, np.int32)
        target_BW = np.zeros((len(chosen_B), self.width), bool)
        pieces_B = [np.arange(self.firsts_R[chosen], self.firsts_R[chosen + 1]) for chosen in chosen_B]
        all_P = np.concatenate([*pieces_B, np.zeros(0, np.int64)])
        ask_for(stream, self.starts_P[all_P], self.lengths_P[all_P])
        for row, pieces in enumerate(pieces_B):
            place = 0
            for piece, index in enumerate(pieces):
                start, length = self.starts_P[index], self.lengths_P[index]
                window_BW[row, place : place + length] = stream[start : start + length]
                piece_BW[row, place : place + length] = piece
                target_BW[row, place + self.bears_P[index] : place + length] = True
                place += length
        return window_BW, piece_BW, target_BW


def pack(ends_D: np.ndarray, width: int, first: int = 0, completions_D: np.ndarray | None = None) -> Packed:
    """The windows of `width` tokens that hold documents ending before `ends_D` in their stream, from token `first` on.

    Of a long document each window begins with the last token of the one
    before, so that every token but a document's first is predicted once. With
    `completions_D`, where each document's completion begins, tokens before are
    not predicted, and a stretch of nothing else is left out. The same
    documents give the same windows.
    """
    ends_D = np.asarray(ends_D, np.int64)
    starts_P, lengths_P, document_P = _pieces(np.concatenate([[first], ends_D[:-1]]), ends_D, width)
    bears_P = np.ones_like(starts_P)
    if completions_D is not None:
        bears_P = np.maximum(completions_D[document_P] - starts_P, 1)
        kept_P = bears_P < lengths_P
        starts_P, lengths_P, bears_P = starts_P[kept_P], lengths_P[kept_P], bears_P[kept_P]
    window_P = _best_fit(lengths_P, width)
    order_P = np.argsort(window_P, kind="stable")
    firsts_R = np.concatenate([[0], np.cumsum(np.bincount(window_P))]) if len(window_P) else np.zeros(1, np.int64)
    return Packed(starts_P[order_P], lengths_P[order_P], bears_P[order_P], firsts_R, width)


def _pieces(begins_D: np.ndarray, ends_D: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every document cut into stretches of at most `width` tokens, each sharing one token with the next.

    Where each begins, its length and its document.
    """
    targets_D = ends_D - begins_D - 1
    counts_D = -(-targets_D // (width - 1))  # a single token predicts nothing
    document_P = np.repeat(np.arange(len(begins_D)), counts_D)
    inner_P = np.arange(counts_D.sum()) - np.repeat(np.cumsum(counts_D) - counts_D, counts_D)
    done_P = inner_P * (width - 1)
    lengths_P = np.minimum(targets_D[document_P] - done_P, width - 1) + 1
    return begins_D[document_P] + done_P, lengths_P, document_P


def _best_fit(lengths_P: np.ndarray, width: int) -> np.ndarray:
    """The window of each piece: the longest first, each into the fullest window with room for it."""
    order_P = np.argsort(-lengths_P, kind="stable")
    window_P = np.empty(len(lengths_P), np.int64)
    whole = int((lengths_P == width).sum())
    window_P[order_P[:whole]] = np.arange(whole)
    opened, with_room = whole, 0  # bit r of `with_room`: some window has room for r tokens
    windows_of: list[list[int]] = [[] for _ in range(width + 1)]
    for piece, length in zip(order_P[whole:].tolist(), lengths_P[order_P[whole:]].tolist(), strict=True):
        fitting = with_room >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            window = windows_of[room].pop()
            if not windows_of[room]:
                with_room &= ~(1 << room)
        else:
            room, window, opened = width, opened, opened + 1
        window_P[piece] = window
        left = room - length
        if left >= 2:  # a piece has at least two tokens
            windows_of[left].append(window)
            with_room |= 1 << left
    return window_P
