"""Histograms of gradient directions: features that nobody had to learn, and quick, for characters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GradientHistograms(nn.Module):
    """Directions of the gradients in cells of a picture, after Dalal and Triggs (2005), without block normalisation."""

    cell, directions = 4, 8  # the side of a cell in pixels, and bins of the circle

    def forward(self, images: Tensor) -> Tensor:
        """Square roots of frequencies ``[B, directions · H/cell · W/cell]`` of images ``[B, channels, H, W]``."""
        grey = images.float().mean(dim=1, keepdim=True)
        smooth = F.avg_pool2d(grey, 3, stride=1, padding=1)
        along_x = F.pad(smooth[..., 2:] - smooth[..., :-2], (1, 1))
        along_y = F.pad(smooth[..., 2:, :] - smooth[..., :-2, :], (0, 0, 1, 1))
        strength = torch.hypot(along_x, along_y)
        turn = torch.atan2(along_y, along_x) / (2 * torch.pi) * self.directions
        centres = torch.arange(self.directions, device=images.device).view(1, -1, 1, 1)
        away = (turn - centres + self.directions / 2).remainder(self.directions) - self.directions / 2
        votes = (1 - away.abs()).clamp_(min=0) * strength
        histogram = F.avg_pool2d(votes, self.cell).flatten(1)
        # An even picture has no directions at all.
        return (histogram / histogram.sum(dim=1, keepdim=True).clamp_min(1e-12)).sqrt()
