"""Constants of the product that a run turns to an extreme, so that what is rare at their usual size happens all the time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from chaos.simulation.faults import Fault, Options

# Fault that turns them, module, name, and values to choose from.
KNOBS: tuple[tuple[Fault, str, str, tuple[int, ...]], ...] = (
    (Fault.FULL_MAILBOX, "actors.system", "CORE_MAILBOX", (1, 2, 4)),
    (Fault.FULL_MAILBOX, "actors.system", "PROJECTOR_MAILBOX", (1, 2, 4)),
    (Fault.SLOW_CONSUMER, "actors.gateway.topics", "QUEUE_MAX", (1, 2)),
    (Fault.SLOW_CONSUMER, "actors.gateway.topics", "RING_MAX", (2, 8)),
    (Fault.BUGGIFY, "actors.outbox", "BATCH_MOST", (1, 3)),
    (Fault.BUGGIFY, "actors.outbox", "CROWDED", (2,)),
    (Fault.BUGGIFY, "actors.core.actor", "BATCH_MOST", (1, 3)),
    (Fault.BUGGIFY, "actors.projector", "PREFETCH", (1, 4)),
    (Fault.BUGGIFY, "actors.sweeper", "BATCH_MOST", (1, 4)),
    (Fault.SLOW_CONSUMER, "chaos.simulation.front", "BUFFERED", (0, 1)),
)
ALWAYS = (
    ("actors.system", "GAUGES_EVERY_S", 60.0),
)  # nobody looks at gauges here, and forty looks a second cost as much as the judging
SHARE = 0.6  # of the knobs of a fault that a run turns


@contextmanager
def turned(options: Options) -> Iterator[dict[str, int]]:
    """Turn the knobs that the options' seed chooses for the length of the block; what was turned, by name."""
    rng = random.Random(f"knobs {options.seed}")
    done: list[tuple[object, str, float]] = []
    values: dict[str, int] = {}
    try:
        for module_name, name, extreme in ALWAYS:
            module = import_module(module_name)
            done.append((module, name, getattr(module, name)))
            setattr(module, name, extreme)
        for fault, module_name, name, choices in KNOBS:
            is_turned, value = rng.random() < SHARE, rng.choice(choices)
            if not (options.has(fault) and is_turned):
                continue
            module = import_module(module_name)
            done.append((module, name, getattr(module, name)))
            setattr(module, name, value)
            values[f"{module_name}.{name}"] = value
        yield values
    finally:
        for where, name, usual in done:
            setattr(where, name, usual)
