"""Models: networks, and the classifier that trains them."""

#: What the classifier logs after each validation, and so what a run can be judged by.
METRICS = ("val/loss", "val/accuracy", "val/macro_f1")
