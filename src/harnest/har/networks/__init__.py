"""Networks: windows (batch, time, channels) in, logits (batch, classes) out."""
