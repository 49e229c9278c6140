"""Initialization of recurrent layers."""

import torch
from torch import nn


@torch.no_grad()
def init_recurrent(recurrence: nn.LSTM | nn.GRU) -> None:
    """Initialize weights so that states neither vanish nor explode over time.

    The input weights of each gate are initialized as in Glorot & Bengio, "Understanding the
    difficulty of training deep feedforward neural networks", 2010, the recurrent weights of each
    gate as orthogonal matrices (Saxe et al., "Exact solutions to the nonlinear dynamics of learning
    in deep linear neural networks", 2014). Biases are 0, except that of an LSTM's forget gate,
    which is 1 (Jozefowicz et al., "An empirical exploration of recurrent network architectures",
    2015).
    """
    size = recurrence.hidden_size
    for name, weights in recurrence.named_parameters():
        if name.startswith("bias"):
            weights.zero_()
            if recurrence.mode == "LSTM" and name.startswith("bias_ih"):
                weights[size : 2 * size] = 1.0  # torch's gates: input, forget, cell, output
        else:
            fill = nn.init.xavier_uniform_ if name.startswith("weight_ih") else nn.init.orthogonal_
            for gate in weights.chunk(len(weights) // size):
                fill(gate)
