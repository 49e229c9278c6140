"""Capture and replay of functions as CUDA graphs."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_WARM = 3  # calls before the capture, in which libraries select kernels and allocate memory


class CudaGraph:
    """A function of tensors on a GPU that is replayed as one CUDA graph.

    Small kernels take the CPU longer to launch than the GPU to run. The first calls run eagerly, as
    the warm-up that torch requires before a capture. The graph is captured for the shapes of the
    first call; calls with other shapes, such as an epoch's last batch, run eagerly. On the CPU all
    calls do.

    Args:
        function: The function. It may modify tensors that it holds, but must not synchronize with
            the GPU, and must launch the same kernels for all values.
        device: The device of its tensors.
        generators: The random number generators that it uses, except torch's default one.
    """

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        device: torch.device,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self.function = function
        self.generators = generators
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, ...] = ()
        self.outputs: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the result of ``function`` for ``inputs``, all on the device."""
        if self.stream is None:
            return self.function(*inputs)
        if not self.inputs:
            self.inputs = tuple(torch.empty_like(x) for x in inputs)
        if any(x.shape != kept.shape for x, kept in zip(inputs, self.inputs, strict=True)):
            return self.function(*inputs)
        for kept, x in zip(self.inputs, inputs, strict=True):
            kept.copy_(x)
        if self.graph is None:
            self.calls += 1
            if self.calls <= _WARM:
                return self._warm_up()
            self._record()
        assert self.graph is not None
        self.graph.replay()
        # Copies, since the next replay overwrites the outputs.
        return tuple(output.clone() for output in self.outputs)

    def _warm_up(self) -> tuple[Tensor, ...]:
        assert self.stream is not None
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            outputs = self.function(*self.inputs)
        torch.cuda.current_stream().wait_stream(self.stream)
        for output in outputs:
            output.record_stream(torch.cuda.current_stream())
        return outputs

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, stream=self.stream):
            self.outputs = self.function(*self.inputs)
        self.graph = graph
