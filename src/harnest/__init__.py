"""harnest: Hydra-configured experiments on recordings of human activity."""
