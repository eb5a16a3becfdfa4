"""The transforms computed by ONNX Runtime (runtime.py): the loop of transforms.py over graphs made of its layers.

    pixels ─▶ Walk.analysis ─▶ features ─▶ question, nearest code ─▶ codes
                                              ▲                        │
                                           state ◀── Walk.synthesis ◀──┘ ──▶ rows of the picture

A graph is made from the model's weights when it is first needed: a decoder never makes those of the analysis. Large
pictures are worked on as streams of rows (onnx_walk.py).
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from leechcodec.config import MAX_QUALITY, MIN_QUALITY, STRIDES, ModelConfig
from leechcodec.networks.layout import TokenLayout
from leechcodec.networks.onnx_graphs import TransformGraphs
from leechcodec.networks.onnx_sessions import Sessions
from leechcodec.networks.onnx_walk import Walk
from leechcodec.networks.row_streams import Reader
from leechcodec.networks.runtime import Show, Transforms
from leechcodec.quantizers.code import LeechCode, SignCode


class OnnxTransforms(Transforms):
    """The transforms of a model's tensors."""

    def __init__(
        self,
        config: ModelConfig,
        code: LeechCode | SignCode,
        tensors: Mapping[str, np.ndarray],
        device: str = "cpu",
    ) -> None:
        self.config, self.code = config, code
        self._graphs, self._sessions = TransformGraphs(config, code, tensors), Sessions(device)

    def encode(self, pixels: np.ndarray, quality: float, show: Show | None = None) -> list[np.ndarray]:
        height, width = pixels.shape[2:]
        layout, q = TokenLayout(self.config, quality, (height, width)), self._knots(quality)
        walk = Walk(self._graphs, self._sessions, (height, width), q)
        scales = self.config.stage_scales[: layout.stages]
        features = walk.analysis(pixels, [scales.count(scale) for scale in range(len(STRIDES))])
        asked = [features[scale].pop() for scale in scales]
        codes = [np.empty((*layout.grid(stage), self.code.dim), np.int8) for stage in range(layout.stages)]
        sent = [layout.mask(stage) for stage in range(layout.stages)]

        def choose(stage: int, state: np.ndarray, rows: slice) -> np.ndarray:
            chosen, mask = self._nearest(stage, q, asked[stage], state), sent[stage]
            if mask is not None:
                chosen = chosen * mask[rows, :, None]
            codes[stage][rows] = chosen
            return chosen.transpose(2, 0, 1)[None]

        for part in walk.synthesis(choose, layout.stages, picture=show is not None):
            if show:
                show(part)
        return codes

    def decode(self, codes: Sequence[np.ndarray], height: int, width: int, quality: float, show: Show) -> None:
        def given(stage: int, _: np.ndarray, rows: slice) -> np.ndarray:
            return codes[stage][rows].transpose(2, 0, 1)[None]

        walk = Walk(self._graphs, self._sessions, (height, width), self._knots(quality))
        for part in walk.synthesis(given, len(codes)):
            show(part)

    def _nearest(self, stage: int, q: np.ndarray, feature: Reader, state: np.ndarray) -> np.ndarray:
        """The codes of some rows, int8 (n, w, dim)."""
        session = self._sessions.get(f"question {stage}", partial(self._graphs.question, stage))
        z = session(x=state, feature=feature.take(state.shape[2]), q=q)
        flat = np.ascontiguousarray(z[0].transpose(1, 2, 0)).reshape(-1, self.code.dim)
        return self.code.codes_nearest(flat).reshape(*z.shape[2:], -1)

    def _knots(self, quality: float) -> np.ndarray:
        """As ``knot_weights`` of transforms.py: (1, knots)."""
        knots = self.config.quality_knots
        position = (np.float32(quality) - MIN_QUALITY) / (MAX_QUALITY - MIN_QUALITY) * (knots - 1)
        return np.maximum(1 - np.abs(position - np.arange(knots)), 0).astype(np.float32)[None]
