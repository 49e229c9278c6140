"""Initial weights of recurrent layers."""

import torch
from torch import nn


@torch.no_grad()
def init_recurrent(recurrence: nn.LSTM | nn.GRU) -> None:
    """Give a recurrence weights with which its states neither fade nor grow from step to step.

    Gate by gate, what reads the input begins as in Glorot & Bengio, "Understanding the difficulty
    of training deep feedforward neural networks", 2010, and what reads the last state orthogonal
    (Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", 2014). Biases are 0, but an LSTM's forget gate begins open, at 1 (Jozefowicz et al.,
    "An empirical exploration of recurrent network architectures", 2015).
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
