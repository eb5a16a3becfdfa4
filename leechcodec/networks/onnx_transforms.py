"""The transforms computed by ONNX Runtime (runtime.py): the loop of transforms.py over graphs made of its layers.

A graph is made from the model's weights when it is first needed: a decoder never makes those of the analysis. Large
maps are worked on in tiles (tiling.py).
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import cast

import numpy as np
import onnxruntime

from leechcodec.config import MAX_QUALITY, MIN_QUALITY, STRIDES, ModelConfig
from leechcodec.errors import ConfigError
from leechcodec.networks.devices import execution_provider
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.onnx_graph import Graph
from leechcodec.networks.onnx_layers import Layers
from leechcodec.networks.runtime import Transforms
from leechcodec.networks.shapes import RESIDUAL_REACH, shortcut_scales
from leechcodec.networks.tiling import tiled
from leechcodec.quantizers.code import TokenCode
from leechcodec.threads import threads

_DEFAULT_MEMORY = onnxruntime.OrtMemType.DEFAULT
ChooseCodes = Callable[[int, np.ndarray], np.ndarray | None]
"""choose_codes(stage, state): int8 (1, dim, h, w), or None where the stage is not sent."""


class OnnxTransforms(Transforms):
    """The transforms of a model's tensors."""

    def __init__(
        self, config: ModelConfig, code: TokenCode, tensors: Mapping[str, np.ndarray], device: str = "cpu"
    ) -> None:
        self.config, self.code, self.tensors = config, code, tensors
        self._sessions = Sessions(device)

    def encode(self, pixels: np.ndarray, quality: float) -> list[np.ndarray]:
        return self._encode(pixels, quality, picture=False)[0]

    def encode_and_decode(self, pixels: np.ndarray, quality: float) -> tuple[list[np.ndarray], np.ndarray]:
        return self._encode(pixels, quality, picture=True)

    def decode(self, codes: Sequence[np.ndarray], height: int, width: int, quality: float) -> np.ndarray:
        def given(stage: int, _: np.ndarray) -> np.ndarray | None:
            return codes[stage].transpose(2, 0, 1)[None] if stage < len(codes) else None

        return self._synthesis((height, width), self._knots(quality), given)

    def _encode(self, pixels: np.ndarray, quality: float, picture: bool) -> tuple[list[np.ndarray], np.ndarray]:
        size, q, codes = pixels.shape[2:], self._knots(quality), []
        layout = TokenLayout(self.config, quality, (size[0], size[1]))
        features = self._analysis(pixels, q)

        def choose(stage: int, state: np.ndarray) -> np.ndarray | None:
            if stage >= layout.stages:
                return None
            feature = features[self.config.stage_scales[stage]]
            chosen = tiled(partial(self._nearest, stage, q, feature), state)
            if (sent := layout.mask(stage)) is not None:
                chosen = chosen * sent
            codes.append(np.ascontiguousarray(chosen[0].transpose(1, 2, 0)))
            return chosen

        return codes, self._synthesis((size[0], size[1]), q, choose, None if picture else layout.stages)

    def _nearest(self, stage: int, q: np.ndarray, feature: np.ndarray, part: np.ndarray, rows: slice) -> np.ndarray:
        session = self._sessions.get(f"question {stage}", partial(self._question, stage))
        z = session(x=part, feature=feature[:, :, rows], q=q)
        flat = np.ascontiguousarray(z[0].transpose(1, 2, 0)).reshape(-1, self.code.dim)
        return self.code.codes_nearest(flat).reshape(*z.shape[2:], -1).transpose(2, 0, 1)[None]

    def _knots(self, quality: float) -> np.ndarray:
        """As ``knot_weights`` of transforms.py: (1, knots)."""
        knots = self.config.quality_knots
        position = (np.float32(quality) - MIN_QUALITY) / (MAX_QUALITY - MIN_QUALITY) * (knots - 1)
        return np.maximum(1 - np.abs(position - np.arange(knots)), 0).astype(np.float32)[None]

    # --- analysis ---------------------------------------------------------------------------------------------

    def _analysis(self, pixels: np.ndarray, q: np.ndarray) -> dict[int, np.ndarray]:
        """Features of every scale that has token stages, by its index."""
        x, done, features = unshuffled(pixels), len(STRIDES), {}
        for scale in reversed(range(len(STRIDES))):
            if self.config.stages[scale] or scale == 0:
                scales = range(done - 1, scale - 1, -1)
                first = min(scales[0] + 1, len(STRIDES) - 1)  # of the map that this one comes from
                down = STRIDES[scale] // STRIDES[first]
                reach = sum(
                    STRIDES[s] // STRIDES[first] * RESIDUAL_REACH * self.config.analysis_blocks[s] for s in scales
                )
                reach += done == len(STRIDES)  # the stem
                session = self._sessions.get(f"analysis {scale}", partial(self._reduced, scales))
                x = tiled(lambda part, _, run=session: run(x=part, q=q), x, halo=-(-reach // down) * down, down=down)
                if self.config.shortcuts and scale in shortcut_scales(self.config):
                    x = x + self._averaged(pixels, scale)
                features[scale], done = x, scale
        return features

    def _averaged(self, pixels: np.ndarray, scale: int) -> np.ndarray:
        """What a shortcut adds to a scale's feature: the picture, averaged down, projected (shortcuts.py)."""
        run = self._sessions.get(f"shortcut {scale}", partial(self._projection, f"analysis.shortcuts.{scale}", False))
        by = STRIDES[scale] // STRIDES[-1]

        def function(part: np.ndarray, _: slice) -> np.ndarray:
            height, width = part.shape[2:]
            means = part.reshape(1, 3, height // by, by, width // by, by).mean((3, 5), dtype=np.float32)
            return run(x=unshuffled(means / np.float32(127.5) - 1))

        return tiled(function, pixels, down=STRIDES[scale])

    def _reduced(self, scales: range) -> bytes:
        from_image = scales[0] == len(STRIDES) - 1
        graph = Graph({"x": ("uint8" if from_image else "float32", 4), "q": ("float32", 2)})
        layers, x = Layers(graph, self.tensors), "x"
        for scale in scales:
            level = len(STRIDES) - 1 - scale
            if level:
                x = layers.conv(f"analysis.down.{level - 1}", x, stride=2)
            else:
                x = layers.conv("analysis.stem", layers.levels(x))
            for number in range(self.config.analysis_blocks[scale]):
                x = layers.block(f"analysis.blocks.{level}.{number}", x)
        return graph.to_bytes(x)

    # --- synthesis --------------------------------------------------------------------------------------------

    def _synthesis(
        self, size: tuple[int, int], q: np.ndarray, choose_codes: ChooseCodes, stages: int | None = None
    ) -> np.ndarray:
        """The picture; an empty array where it is left after so many stages."""
        state, index, last = self._constant(size, q), 0, max(self.config.stage_scales)
        drawn = None
        for scale in range(last + 1):
            if scale:
                up = self._sessions.get(f"up {scale}", partial(self._up, scale))
                state = tiled(lambda part, _, run=up: run(x=part), state, up=2)
            done, stages_here = 0, self.config.stages[scale]
            for count in self.config.synthesis_blocks[scale]:
                codes = choose_codes(index, state) if stages_here else None
                index += bool(stages_here)
                if index == stages:
                    return np.empty(0, dtype=np.float32)
                state = self._step(scale, index - 1, range(done, done + count), state, codes, q)
                done += count
            if self.config.shortcuts and scale in shortcut_scales(self.config):
                drawn = self._drawn(drawn, state, scale)
        run = self._sessions.get("picture", partial(self._picture, last))
        x_hat = tiled(lambda part, _: run(x=part, q=q), state, halo=self._picture_reach(last), up=STRIDES[last])
        while drawn is not None and drawn.shape != x_hat.shape:
            drawn = self._enlarged(drawn)
        return x_hat if drawn is None else x_hat + drawn

    def _drawn(self, drawn: np.ndarray | None, state: np.ndarray, scale: int) -> np.ndarray:
        """The partial picture of a scale's shortcut, on that of the coarser ones."""
        run = self._sessions.get(f"draw {scale}", partial(self._projection, f"synthesis.shortcuts.{scale}", True))
        own = tiled(lambda part, _: run(x=part), state, up=STRIDES[-1])
        return own if drawn is None else self._enlarged(drawn) + own

    def _enlarged(self, picture: np.ndarray) -> np.ndarray:
        run = self._sessions.get("enlarged", _enlargement)
        return tiled(lambda part, _: run(x=part), picture, halo=1, up=2)

    def _constant(self, size: tuple[int, int], q: np.ndarray) -> np.ndarray:
        bias = q @ self.tensors["synthesis.constant_bias.table"].astype(np.float32)
        row = self.tensors["synthesis.constant"].astype(np.float32) + bias[0]
        return np.ascontiguousarray(
            np.broadcast_to(row[None, :, None, None], (1, len(row), *(s // STRIDES[0] for s in size)))
        )

    def _step(
        self, scale: int, stage: int, blocks: range, state: np.ndarray, codes: np.ndarray | None, q: np.ndarray
    ) -> np.ndarray:
        """A stage's tokens added, and the blocks after it."""
        if codes is None and not blocks:
            return state
        name = f"step {scale} {blocks} {stage if codes is not None else None}"
        run = self._sessions.get(name, partial(self._tokens_and_blocks, scale, stage, blocks, codes is not None))

        def function(part: np.ndarray, rows: slice) -> np.ndarray:
            return run(x=part, q=q) if codes is None else run(x=part, q=q, codes=codes[:, :, rows])

        return tiled(function, state, halo=RESIDUAL_REACH * len(blocks), in_place=True)

    def _up(self, scale: int) -> bytes:
        graph = Graph({"x": ("float32", 4)})
        return graph.to_bytes(Layers(graph, self.tensors).up(f"synthesis.up.{scale - 1}", "x"))

    def _projection(self, name: str, shuffle: bool) -> bytes:
        graph = Graph({"x": ("float32", 4)})
        layers = Layers(graph, self.tensors)
        x = layers.conv(name, "x")
        return graph.to_bytes(layers.shuffle(x, STRIDES[-1]) if shuffle else x)

    def _question(self, stage: int) -> bytes:
        graph = Graph({"x": ("float32", 4), "feature": ("float32", 4), "q": ("float32", 2)})
        return graph.to_bytes(Layers(graph, self.tensors).question(f"synthesis.stages.{stage}", "feature", "x"))

    def _tokens_and_blocks(self, scale: int, stage: int, blocks: range, sent: bool) -> bytes:
        inputs = {"x": ("float32", 4), "q": ("float32", 2)}
        graph = Graph(inputs | {"codes": ("int8", 4)} if sent else inputs)
        layers, x = Layers(graph, self.tensors), "x"
        if sent:
            x = layers.answer(f"synthesis.stages.{stage}", x, "codes", self.code.code_scale)
        for number in blocks:
            x = layers.block(f"synthesis.blocks.{scale}.{number}", x)
        return graph.to_bytes(x)

    def _picture(self, last: int) -> bytes:
        """From the finest scale with tokens to pixels."""
        graph = Graph({"x": ("float32", 4), "q": ("float32", 2)})
        layers, x = Layers(graph, self.tensors), "x"
        for scale in range(last + 1, len(STRIDES)):
            x = layers.up(f"synthesis.up.{scale - 1}", x)
            for number in range(sum(self.config.synthesis_blocks[scale])):
                x = layers.block(f"synthesis.blocks.{scale}.{number}", x)
        return graph.to_bytes(layers.shuffle(layers.conv("synthesis.head", x), STRIDES[-1]))

    def _picture_reach(self, last: int) -> int:
        """Positions of that scale that a pixel looks at on either side."""
        finer = range(last + 1, len(STRIDES))
        reach = sum(RESIDUAL_REACH * sum(self.config.synthesis_blocks[scale]) * STRIDES[scale] for scale in finer)
        return -(-(reach + STRIDES[-1]) // STRIDES[last])


def _enlargement() -> bytes:
    """Twice the size, bilinear."""
    graph = Graph({"x": ("float32", 4)})
    scales = graph.constant(np.array([1, 1, 2, 2], dtype=np.float32))
    return graph.to_bytes(graph.apply("Resize", "x", "", scales, mode="linear"))


class Sessions:
    """ONNX Runtime's sessions by name, made when they are first asked for; any thread may ask.

    One belongs to a process and a number of threads: a forked child has none of its parent's threads.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._made: dict[tuple[str, int, int], onnxruntime.InferenceSession] = {}

    def get(self, name: str, graph: Callable[[], bytes]) -> Callable[..., np.ndarray]:
        """A function of the graph's inputs, by name, that gives its output."""
        key = name, threads(), os.getpid()
        session = self._made.get(key)
        if session is None:
            session = self._made.setdefault(key, _session(graph(), key[1], self._device))

        def run(**inputs: np.ndarray) -> np.ndarray:
            found = session.run(None, {name: np.ascontiguousarray(x) for name, x in inputs.items()})
            return cast(np.ndarray, found[0])

        return run


def _session(graph: bytes, threads: int, device: str) -> onnxruntime.InferenceSession:
    """Raises ConfigError where ONNX Runtime has the device's provider and cannot start it: it would do without."""
    _share_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # it would keep a block of memory for each session
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other sessions' threads want the cores
    wanted = execution_provider(device)
    session = onnxruntime.InferenceSession(graph, options, providers=[wanted])
    if session.get_providers()[0] != wanted[0]:
        raise ConfigError(f"device {device!r}: ONNX Runtime's {wanted[0]} does not start on this machine")
    return session


@cache
def _share_memory() -> None:
    """One pool of memory for all sessions of the process, which grows by what is asked for: each would have its own."""
    pool = onnxruntime.OrtArenaCfg(0, 1, -1, -1)
    kind = onnxruntime.OrtMemoryInfo("Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, _DEFAULT_MEMORY)
    with contextlib.suppress(Exception):  # the program around it has one already, which then serves
        onnxruntime.create_and_register_allocator(kind, pool)


def unshuffled(pixels: np.ndarray) -> np.ndarray:
    """torch's pixel unshuffle by 4: (1, 3, H, W) -> (1, 48, H / 4, W / 4)."""
    channels, height, width = pixels.shape[1:]
    by = STRIDES[-1]
    cut = pixels[0].reshape(channels, height // by, by, width // by, by)
    return cut.transpose(0, 2, 4, 1, 3).reshape(1, channels * by * by, height // by, width // by)
