"""What the method itself costs of a training step: tracker, class weights, detectors, fusion."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch.nn import functional as F

from dqroute.core.long_tail import exponential_counts, shot_groups
from dqroute.methods.base import METHODS, Problem
from dqroute.models.device import keep_freed_memory, precision_context

PIXELS = (120.0, 120.0, 120.0), (60.0, 60.0, 60.0)


def milliseconds(work: Callable[[], object], times: int = 9) -> float:
    """Median time of a piece of work, after one that is not counted."""
    work()
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return 1000 * median(spent)


def method_cost(num_classes: int, batch_size: int = 128, backbone: str = "resnet32") -> dict[str, float]:
    """Times of a whole step and of what only DQRoute does in it, with three experts on 32x32 images.

    Set apart are the joint loss beyond three plain logit-adjusted ones, forward and backward, and the tracker with the
    fusion that it observes; an epoch's end is shared out over 85 steps, as many as CIFAR-100-LT has.
    """
    keep_freed_memory()  # as a training does
    torch.manual_seed(0)
    counts = exponential_counts(500, num_classes, 100)
    problem = Problem(counts, shot_groups(counts, "thirds"), 3, *PIXELS, backbone=backbone)
    model = METHODS["dqroute"](problem).train().to(memory_format=torch.channels_last)
    model.start_epoch(0.9)
    images = torch.randint(256, (batch_size, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(num_classes, (batch_size,))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, fused=True)

    def step() -> None:
        with precision_context("auto", torch.device("cpu")):
            outputs = model(images)
        optimizer.zero_grad()
        model.loss(outputs, labels).backward()
        optimizer.step()
        model.observe(outputs, labels)

    outputs = model(images)
    outputs = outputs._replace(logits=outputs.logits.detach().requires_grad_(), features=outputs.features.detach())

    def joint() -> None:
        model.loss(outputs, labels).backward()

    def plain() -> None:
        losses = [F.cross_entropy(logits + model.log_pi, labels) for logits in outputs.logits]
        torch.stack(losses).sum().backward()

    def epoch() -> None:
        model.end_epoch()
        model.start_epoch(0.9)

    with torch.no_grad():
        tracker = milliseconds(lambda: model.observe(outputs, labels))
    whole = milliseconds(step)
    own = milliseconds(joint) - milliseconds(plain) + tracker + milliseconds(epoch) / 85
    return {"classes": num_classes, "step_ms": whole, "own_ms": own, "share": own / whole}
