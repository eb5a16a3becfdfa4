"""One picture's way through the layers, in ONNX Runtime: the loops of transforms.py over streams of rows.

A small picture is a stream of one part and goes through long graphs. A large one comes in bands, layer by layer
(row_streams.py). So that features need not wait for the whole picture, all scales advance together: the deepest layer
lags some 700 rows of pixels behind the first.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from leechcodec.config import STRIDES
from leechcodec.networks.onnx_graphs import TransformGraphs
from leechcodec.networks.onnx_sessions import Sessions
from leechcodec.networks.row_streams import Parts, Reader, branches, cut, each, in_multiples, in_pieces, windows
from leechcodec.networks.shapes import shortcut_scales

WHOLE_PIXELS = 1 << 21
"""Of a picture that is worked on in one piece, at most."""
BAND_PIXELS = 1 << 19
"""Of a larger one in a band, about."""
ChooseCodes = Callable[[int, np.ndarray, slice], np.ndarray]
"""choose_codes(stage, state, rows): the codes of some rows of a stage, int8 (1, dim, n, w), given their state."""


class Walk:
    """A picture's size and quality, with a model's layers.

    size: (height, width) in pixels, multiples of 64. q: knot weights, (1, knots).
    """

    def __init__(self, graphs: TransformGraphs, sessions: Sessions, size: tuple[int, int], q: np.ndarray) -> None:
        self.graphs, self.sessions, self.config = graphs, sessions, graphs.config
        self.size, self.q = size, q
        self.in_bands = size[0] * size[1] > WHOLE_PIXELS
        self._band = max(1, BAND_PIXELS // (8 * size[1])) * 8 if self.in_bands else size[0]

    # --- analysis ---------------------------------------------------------------------------------------------

    def analysis(self, pixels: np.ndarray, readers: Sequence[int]) -> list[list[Reader]]:
        """Features of every scale, for so many readers each: (1, channels, n, w).

        pixels: uint8 (1, 3, H, W).
        """
        x, done = map(unshuffled, self._bands(pixels)), len(STRIDES)
        features: list[list[Reader]] = [[] for _ in STRIDES]
        for scale in reversed(range(len(STRIDES))):
            if self.config.stages[scale] or scale == 0:
                x = self._reduced(x, range(done - 1, scale - 1, -1))
                if self.config.shortcuts and scale in shortcut_scales(self.config):
                    x = _sum(x, self._averaged(pixels, scale))
                if self.in_bands:
                    x = map(np.copy, x)  # what waits long does not lie in the runtime's memory
                *features[scale], x = branches(x, readers[scale] + 1)
                done = scale
        return features

    def _bands(self, pixels: np.ndarray) -> Parts:
        return (pixels[:, :, rows] for rows in cut(self._band, self.size[0]))

    def _reduced(self, x: Parts, scales: range) -> Parts:
        if not self.in_bands:
            return self._run(f"analysis {scales[-1]}", partial(self.graphs.reduced, scales), x, q=self.q)
        for scale in scales:
            level = len(STRIDES) - 1 - scale
            if level:
                name = f"analysis.down.{level - 1}"
                x = self._run(name, partial(self.graphs.conv, name, 2), in_multiples(x, 2))
            else:
                x = windows(self._run("levels", self.graphs.levels, x), self._height(scale))
                x = self._run("analysis.stem", partial(self.graphs.conv, "analysis.stem"), x)
            for number in range(self.config.analysis_blocks[scale]):
                x = self._block(f"analysis.blocks.{level}.{number}", x, scale)
        return x

    def _averaged(self, pixels: np.ndarray, scale: int) -> Parts:
        """What a shortcut adds to a scale's feature: the picture, averaged down, projected (shortcuts.py)."""
        by = STRIDES[scale] // STRIDES[-1]

        def means(part: np.ndarray) -> np.ndarray:
            height, width = part.shape[2:]
            found = part.reshape(1, 3, height // by, by, width // by, by).mean((3, 5), dtype=np.float32)
            return unshuffled(found / np.float32(127.5) - 1)

        graph = partial(self.graphs.projection, f"analysis.shortcuts.{scale}", False)
        return self._run(f"shortcut {scale}", graph, map(means, in_multiples(self._bands(pixels), STRIDES[scale])))

    # --- synthesis --------------------------------------------------------------------------------------------

    def synthesis(self, choose_codes: ChooseCodes, sent: int, picture: bool = True) -> Parts:
        """The picture, float32 (1, 3, n, W), about -1..1, from its first so many stages.

        picture: else the codes of the last stage sent. They are chosen as the rows are asked for.
        """
        state, index, last = self._constant(), 0, max(self.config.stage_scales)
        drawn = None
        for scale in range(last + 1):
            if scale:
                state = self._up(state, scale)
            done, stages_here = 0, self.config.stages[scale]
            for count in self.config.synthesis_blocks[scale]:
                stage = index if stages_here and index < sent else None
                index += bool(stages_here)
                if index == sent and not picture:
                    return each(partial(choose_codes, index - 1), state)
                state = self._step(scale, stage, range(done, done + count), state, choose_codes)
                done += count
            if self.config.shortcuts and scale in shortcut_scales(self.config):
                state, beside = branches(state, 2)
                drawn = self._drawn(drawn, beside, scale)
        x_hat = self._picture(state, last)
        if drawn is None:
            return x_hat
        for scale in range(shortcut_scales(self.config)[-1], len(STRIDES) - 1):
            drawn = self._enlarged(drawn, scale)
        return _sum(x_hat, drawn)

    def _constant(self) -> Parts:
        tensors = self.graphs.tensors
        bias = self.q @ tensors["synthesis.constant_bias.table"].astype(np.float32)
        row = tensors["synthesis.constant"].astype(np.float32) + bias[0]
        height, width = (side // STRIDES[0] for side in self.size)
        whole = np.broadcast_to(row[None, :, None, None], (1, len(row), height, width))
        return (np.ascontiguousarray(whole[:, :, rows]) for rows in cut(max(1, self._band // STRIDES[0]), height))

    def _step(self, scale: int, stage: int | None, blocks: range, state: Parts, choose_codes: ChooseCodes) -> Parts:
        """A stage's tokens added, if it is sent, and the blocks after it."""
        later, at_once = (blocks, blocks[:0]) if self.in_bands else (blocks[:0], blocks)
        name, graph = f"step {scale} {at_once} {stage}", partial(self.graphs.tokens_and_blocks, scale, stage, at_once)
        if stage is not None:
            run = self.sessions.get(name, graph)
            state = each(lambda part, rows: run(x=part, q=self.q, codes=choose_codes(stage, part, rows)), state)
        elif at_once:
            state = self._run(name, graph, state, q=self.q)
        for number in later:
            state = self._block(f"synthesis.blocks.{scale}.{number}", state, scale)
        return state

    def _up(self, x: Parts, scale: int) -> Parts:
        x = self._run(f"up {scale}", partial(self.graphs.up, scale), x)
        return in_pieces(x, max(1, self._band // STRIDES[scale])) if self.in_bands else x

    def _picture(self, x: Parts, last: int) -> Parts:
        """From the finest scale with tokens to pixels."""
        if not self.in_bands:
            return self._run("picture", partial(self.graphs.picture, last), x, q=self.q)
        for scale in range(last + 1, len(STRIDES)):
            x = self._up(x, scale)
            for number in range(sum(self.config.synthesis_blocks[scale])):
                x = self._block(f"synthesis.blocks.{scale}.{number}", x, scale)
        return self._run("head", self.graphs.head, windows(x, self._height(len(STRIDES) - 1)))

    def _drawn(self, drawn: Parts | None, state: Parts, scale: int) -> Parts:
        """The partial picture of a scale's shortcut, on that of the coarser ones."""
        own = self._run(f"draw {scale}", partial(self.graphs.projection, f"synthesis.shortcuts.{scale}", True), state)
        return own if drawn is None else _sum(self._enlarged(drawn, scale - 1), own)

    def _enlarged(self, drawn: Parts, scale: int) -> Parts:
        """Twice the size, of the partial picture of a scale. A row more above and below is what it looks at."""
        height = self._height(scale) * STRIDES[-1]
        x = self._run("enlarged", self.graphs.enlargement, windows(drawn, height, repeat=True))
        return (part[:, :, 2:-2] for part in x)

    # --- layers -----------------------------------------------------------------------------------------------

    def _block(self, name: str, x: Parts, scale: int) -> Parts:
        """A residual block in bands."""
        height = self._height(scale)
        x, before = branches(x, 2)
        hidden = self._run(f"{name} hidden", partial(self.graphs.hidden, name), windows(x, height), q=self.q)
        run = self.sessions.get(f"{name} changed", partial(self.graphs.changed, name))
        return map(lambda window: run(x=window, before=before.take(window.shape[2] - 2)), windows(hidden, height))

    def _run(self, name: str, graph: Callable[[], bytes], x: Parts, **inputs: np.ndarray) -> Parts:
        run = self.sessions.get(name, graph)
        return map(lambda part: run(x=part, **inputs), x)

    def _height(self, scale: int) -> int:
        return self.size[0] // STRIDES[scale]


def _sum(x: Parts, other: Parts) -> Parts:
    others = Reader(other)
    return map(lambda part: part + others.take(part.shape[2]), x)


def unshuffled(pixels: np.ndarray) -> np.ndarray:
    """torch's pixel unshuffle by 4: (1, 3, H, W) -> (1, 48, H / 4, W / 4)."""
    channels, height, width = pixels.shape[1:]
    by = STRIDES[-1]
    patches = pixels[0].reshape(channels, height // by, by, width // by, by)
    return patches.transpose(0, 2, 4, 1, 3).reshape(1, channels * by * by, height // by, width // by)
