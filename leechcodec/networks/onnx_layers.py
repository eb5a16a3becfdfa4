"""The transforms' layers (transforms.py) in operators of ONNX."""

from collections.abc import Mapping

import numpy as np

from leechcodec.networks.onnx_graph import Graph
from leechcodec.networks.shapes import RESIDUAL_LIMIT

EPSILON = 1e-5
"""That torch's layer norm adds to a variance."""


class Layers:
    """Layers of one graph, by the names of their weights.

    tensors: of a model's file; the transforms' are float16. Values of quality tables come from the input q, (1, knots).
    """

    def __init__(self, graph: Graph, tensors: Mapping[str, np.ndarray]) -> None:
        self.graph, self.tensors = graph, tensors

    def conv(self, name: str, x: str, *, stride: int = 1, centred: bool = False, window: bool = False) -> str:
        """A convolution that keeps the size, or divides it by the stride.

        centred: its output less the mean over the channels, which is a convolution with other weights.
        window: x has the rows above and below that it looks at, which are left away.
        """
        values = [
            self.tensors[key].astype(np.float32) for key in (f"{name}.weight", f"{name}.bias") if key in self.tensors
        ]
        if centred:
            values = [value - value.mean(0) for value in values]
        beside = values[0].shape[2] // 2 if stride == 1 else 0
        above = 0 if window else beside
        constants = [self.graph.constant(value) for value in values]
        return self.graph.apply("Conv", x, *constants, pads=[above, beside] * 2, strides=[stride] * 2)

    def table(self, name: str, plus: float = 0.0) -> str:
        """A quality table's row, (1, channels, 1, 1), plus a number."""
        table = self.graph.constant(self.tensors[f"{name}.table"].astype(np.float32) + np.float32(plus))
        row = self.graph.apply("MatMul", "q", table)  # the weights of q add up to 1, so the number may lie in the table
        return self.graph.apply("Unsqueeze", row, self.graph.constant(np.array([2, 3])))

    def gelu(self, x: str) -> str:
        return self.graph.apply("Gelu", x, approximate="tanh")

    def block(self, name: str, x: str) -> str:
        """A residual block."""
        return self.changed(name, x, self.hidden(name, x))

    def hidden(self, name: str, x: str, *, window: bool = False) -> str:
        """A residual block's hidden units. Layer norm's mean is taken out of the convolution before it."""
        graph = self.graph
        hidden = self.conv(f"{name}.conv1", x, centred=True, window=window)
        squares = graph.apply("ReduceMean", graph.apply("Mul", hidden, hidden), graph.constant(np.array([1])))
        deviation = graph.apply("Sqrt", graph.apply("Add", squares, self.number(EPSILON)))
        scale = graph.apply("Div", self.table(f"{name}.scale", plus=1.0), deviation)
        return self.gelu(graph.apply("Add", graph.apply("Mul", hidden, scale), self.table(f"{name}.bias")))

    def changed(self, name: str, x: str, hidden: str, *, window: bool = False) -> str:
        """A residual block's output, from its input and its hidden units."""
        change = self.conv(f"{name}.conv2", hidden, window=window)
        limits = self.number(-RESIDUAL_LIMIT), self.number(RESIDUAL_LIMIT)
        return self.graph.apply("Add", x, self.graph.apply("Clip", change, *limits))

    def question(self, name: str, feature: str, state: str) -> str:
        """z of a token stage."""
        both = self.graph.apply("Concat", feature, state, axis=1)
        hidden = self.graph.apply("Add", self.conv(f"{name}.hidden", both), self.table(f"{name}.hidden_bias"))
        return self.conv(f"{name}.to_z", self.gelu(hidden))

    def answer(self, name: str, state: str, codes: str, code_scale: float) -> str:
        """The state with a stage's tokens added. codes: int8."""
        gain = self.graph.apply("Add", self.conv(f"{name}.gain", state), self.table(f"{name}.gain_bias"))
        gain = self.softplus(gain)
        values = self.graph.apply("Mul", self.graph.apply("Cast", codes, to=1), self.number(code_scale))
        return self.graph.apply("Add", state, self.graph.apply("Mul", gain, self.conv(f"{name}.embed", values)))

    def softplus(self, x: str) -> str:
        """log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)): ONNX Runtime's own takes seven times as long."""
        graph = self.graph
        small = graph.apply("Exp", graph.apply("Neg", graph.apply("Abs", x)))
        rest = graph.apply("Log", graph.apply("Add", small, self.number(1.0)))
        return graph.apply("Add", graph.apply("Relu", x), rest)

    def up(self, name: str, x: str) -> str:
        return self.shuffle(self.conv(name, x), 2)

    def shuffle(self, x: str, factor: int) -> str:
        """torch's pixel shuffle."""
        return self.graph.apply("DepthToSpace", x, blocksize=factor, mode="CRD")

    def levels(self, x: str) -> str:
        """uint8 as -1..1."""
        values = self.graph.apply("Cast", x, to=1)
        return self.graph.apply("Sub", self.graph.apply("Div", values, self.number(127.5)), self.number(1.0))

    def number(self, value: float) -> str:
        return self.graph.constant(np.array(value, dtype=np.float32))
