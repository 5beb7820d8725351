"""The smallest options that still fail: delta debugging over the faults, then everything else as small as it goes.

After Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002), with one addition. Every change of the options gives the run another
course, so that a failure may vanish by chance although its cause is still there. Therefore each candidate is tried with some more seeds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

from msgspec.structs import replace

from chaos.simulation.faults import Fault, Options

FirstFailing = Callable[[Iterable[Options]], Awaitable[Options | None]]
OnStep = Callable[[Options], None]

OTHER_SEEDS = (1, 2, 3, 4, 5)
ROUNDS_MOST = 4  # over everything; each ends earlier when nothing can be made smaller
LEAST: tuple[tuple[str, int], ...] = (
    ("submissions", 0), ("users", 1), ("watchers", 0), ("judges", 1), ("gateways", 1), ("leaderboards", 1), ("cores", 1), ("workers", 1),
)  # fmt: skip
HURT_S_LEAST = 1.0


async def shrink(options: Options, first_failing: FirstFailing, on_step: OnStep = lambda _: None) -> Options:
    """Return the smallest options that ``first_failing`` still finds failing; it gets candidates, the boldest first, and returns the first that fails."""
    for _ in range(ROUNDS_MOST):
        before = options
        for smaller in (_fewer_faults, _plainer, *(_less(name, least) for name, least in LEAST), _shorter):
            while True:
                found = await first_failing(_with_other_seeds(smaller(options), options.seed))
                if found is None:
                    break
                options = found
                on_step(options)
        if options == before:
            return options
    return options


def _with_other_seeds(candidates: Iterable[Options], seed: int) -> Iterator[Options]:
    for each in candidates:
        yield each
        for other in OTHER_SEEDS:
            if other != seed:
                yield replace(each, seed=other)


def _fewer_faults(options: Options) -> Iterator[Options]:
    """None, then without halves, quarters … and at last without single ones."""
    faults = options.faults
    if not faults:
        return
    yield replace(options, faults=())
    size = len(faults)
    while size > 1:
        size = (size + 1) // 2
        for start in range(0, len(faults), size):
            kept: tuple[Fault, ...] = faults[:start] + faults[start + size :]
            if kept:
                yield replace(options, faults=kept)


def _plainer(options: Options) -> Iterator[Options]:
    if options.is_frozen:
        yield replace(options, is_frozen=False)
    if options.rules != "icpc":
        yield replace(options, rules="icpc")
    if options.intensity > 1.0:
        yield replace(options, intensity=1.0)


def _less(name: str, least: int) -> Callable[[Options], Iterator[Options]]:
    """The least, then the middle, then one less."""

    def smaller(options: Options) -> Iterator[Options]:
        now = getattr(options, name)
        for value in sorted({least, (least + now) // 2, now - 1}):
            if least <= value < now:
                yield replace(options, **{name: value})

    return smaller


def _shorter(options: Options) -> Iterator[Options]:
    for share in (0.25, 0.5, 0.75):
        hurt_s = max(HURT_S_LEAST, round(options.hurt_s * share, 1))
        if hurt_s < options.hurt_s:
            yield replace(options, hurt_s=hurt_s)
