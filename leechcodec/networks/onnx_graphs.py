"""The graphs that the transforms are computed by, made of their layers (onnx_layers.py).

A map in one piece goes through long graphs, all blocks between two stages in one; a stream of rows goes layer by layer,
through convolutions whose windows bring the rows above and below (row_streams.py).
"""

from collections.abc import Mapping

import numpy as np

from leechcodec.config import STRIDES, ModelConfig
from leechcodec.networks.onnx_graph import Graph
from leechcodec.networks.onnx_layers import Layers
from leechcodec.quantizers.code import TokenCode


class TransformGraphs:
    """Of a model's tensors. Every method gives the bytes of a graph of the inputs x and, where named, q and others."""

    def __init__(self, config: ModelConfig, code: TokenCode, tensors: Mapping[str, np.ndarray]) -> None:
        self.config, self.code, self.tensors = config, code, tensors

    # --- analysis ---------------------------------------------------------------------------------------------

    def reduced(self, scales: range) -> bytes:
        """From the unshuffled picture, uint8, or the scale before to the last of these scales. Input: q."""
        from_image = scales[0] == len(STRIDES) - 1
        graph, layers, x = self._begun("q", kind="uint8" if from_image else "float32")
        for scale in scales:
            level = len(STRIDES) - 1 - scale
            if level:
                x = layers.conv(f"analysis.down.{level - 1}", x, stride=2)
            else:
                x = layers.conv("analysis.stem", layers.levels(x))
            for number in range(self.config.analysis_blocks[scale]):
                x = layers.block(f"analysis.blocks.{level}.{number}", x)
        return graph.to_bytes(x)

    def levels(self) -> bytes:
        graph, layers, x = self._begun(kind="uint8")
        return graph.to_bytes(layers.levels(x))

    def conv(self, name: str, stride: int = 1) -> bytes:
        """A convolution of a window's rows, or one that reduces."""
        graph, layers, x = self._begun()
        return graph.to_bytes(layers.conv(name, x, stride=stride, window=stride == 1))

    # --- synthesis --------------------------------------------------------------------------------------------

    def question(self, stage: int) -> bytes:
        """z of a stage. Inputs: feature, q."""
        graph, layers, x = self._begun("q", feature="float32")
        return graph.to_bytes(layers.question(f"synthesis.stages.{stage}", "feature", x))

    def tokens_and_blocks(self, scale: int, stage: int | None, blocks: range) -> bytes:
        """The tokens of a stage, if any, added to the state, and the blocks after it. Inputs: q, codes."""
        graph, layers, x = self._begun("q", **({} if stage is None else {"codes": "int8"}))
        if stage is not None:
            x = layers.answer(f"synthesis.stages.{stage}", x, "codes", self.code.code_scale)
        for number in blocks:
            x = layers.block(f"synthesis.blocks.{scale}.{number}", x)
        return graph.to_bytes(x)

    def up(self, scale: int) -> bytes:
        """To this scale from the one before."""
        graph, layers, x = self._begun()
        return graph.to_bytes(layers.up(f"synthesis.up.{scale - 1}", x))

    def picture(self, last: int) -> bytes:
        """From the finest scale with tokens to pixels. Input: q."""
        graph, layers, x = self._begun("q")
        for scale in range(last + 1, len(STRIDES)):
            x = layers.up(f"synthesis.up.{scale - 1}", x)
            for number in range(sum(self.config.synthesis_blocks[scale])):
                x = layers.block(f"synthesis.blocks.{scale}.{number}", x)
        return graph.to_bytes(layers.shuffle(layers.conv("synthesis.head", x), STRIDES[-1]))

    def head(self) -> bytes:
        """From a window at stride 4 to pixels."""
        graph, layers, x = self._begun()
        return graph.to_bytes(layers.shuffle(layers.conv("synthesis.head", x, window=True), STRIDES[-1]))

    # --- a residual block, in two halves ----------------------------------------------------------------------

    def hidden(self, name: str) -> bytes:
        """Its hidden units from a window of its input. Input: q."""
        graph, layers, x = self._begun("q")
        return graph.to_bytes(layers.hidden(name, x, window=True))

    def changed(self, name: str) -> bytes:
        """Its output, from a window of hidden units. Input: before, its own input's rows."""
        graph, layers, x = self._begun(before="float32")
        return graph.to_bytes(layers.changed(name, "before", x, window=True))

    # --- shortcuts --------------------------------------------------------------------------------------------

    def projection(self, name: str, shuffle: bool) -> bytes:
        graph, layers, x = self._begun()
        x = layers.conv(name, x)
        return graph.to_bytes(layers.shuffle(x, STRIDES[-1]) if shuffle else x)

    def enlargement(self) -> bytes:
        """Twice the size, bilinear."""
        graph, _, x = self._begun()
        scales = graph.constant(np.array([1, 1, 2, 2], dtype=np.float32))
        return graph.to_bytes(graph.apply("Resize", x, "", scales, mode="linear"))

    def _begun(self, *rows: str, kind: str = "float32", **maps: str) -> tuple[Graph, Layers, str]:
        """A graph of x, of rows of numbers and of further maps, its layers, and x."""
        inputs = {"x": (kind, 4)} | {name: ("float32", 2) for name in rows}
        graph = Graph(inputs | {name: (other, 4) for name, other in maps.items()})
        return graph, Layers(graph, self.tensors), "x"
