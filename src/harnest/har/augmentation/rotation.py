"""Rotation: simulates a device worn in another orientation."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from harnest.core.errors import ConfigError
from harnest.har.augmentation.base import Layout, check


@dataclass(frozen=True, slots=True)
class Rotation:
    """Rotates all sensors of a window about a random axis.

    The angle is at most ``strength`` degrees in either direction; 180 allows every orientation.
    Accelerometer and gyroscope get the same rotation, since they are in the same device. Um et al.
    2017; the matrix is Rodrigues' formula.
    """

    strength: float = 20.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Validate the options."""
        check(self.strength, self.probability)

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """Return rotated windows; raises `ConfigError` if no sensor has three axes."""
        if not layout.triads:
            raise ConfigError(
                "augmentation.rotation needs a sensor with three axes, but no channels are named "
                "NAME_x, NAME_y and NAME_z; disable it with augmentation.rotation=null"
            )
        columns = [channel for triad in layout.triads for channel in triad]
        sensors = x[:, :, columns].reshape(*x.shape[:2], -1, 3)  # (batch, time, triads, 3)
        turned = x.clone()
        sensors = torch.einsum("bij,btsj->btsi", self._matrices(x), sensors)
        turned[:, :, columns] = sensors.flatten(2)
        return turned

    def _matrices(self, x: Tensor) -> Tensor:
        """Return a random rotation matrix per window, (batch, 3, 3)."""
        axis = torch.nn.functional.normalize(torch.randn_like(x[:, :1, :1].expand(-1, 1, 3)), dim=2)
        angle = math.radians(self.strength) * (2 * torch.rand_like(x[:, :1, :1]) - 1)
        skew = torch.linalg.cross(torch.eye(3).to(x).expand(len(x), 3, 3), axis.expand(-1, 3, 3))
        turn: Tensor = torch.eye(3).to(x) + angle.sin() * skew + (1 - angle.cos()) * skew @ skew
        return turn
