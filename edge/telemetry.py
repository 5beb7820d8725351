"""Telemetry: measurements for Prometheus and structured logs.

Every metric is declared in METRICS, once, with its labels: nothing else can be measured, so the number of series stays bounded and the names stay
one. The state of the supervisor tree is not measured but read, when somebody scrapes, from the same snapshot that ``codewarz status`` shows.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from supervisor.status import TreeStatus
from supervisor.visible import visible

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)


class Metric(NamedTuple):
    """A metric's kind ("counter", "gauge" or a histogram's buckets), help text and labels."""

    kind: str | tuple[float, ...]
    help: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    "judging_seconds": Metric(
        _SLOW, "From a judge taking a submission to its verdict being durable.", ("verdict", "language")
    ),
    "projection_seconds": Metric(_FAST, "Applying one verdict to a board."),
    "http_request_seconds": Metric(_FAST, "Answering a request, by route pattern.", ("method", "route", "status")),
    "sse_clients": Metric("gauge", "Open event streams.", ("stream",)),
    "sse_events": Metric("counter", "Events encoded for streams.", ("stream",)),
    "sse_dropped": Metric("counter", "Slow stream clients that were reset.", ("stream",)),
    "sse_unreadable": Metric("counter", "Events in Redis that are none of ours, passed over.", ("stream",)),
    "outbox_published": Metric("counter", "Outbox rows published and confirmed."),
    "outbox_parked": Metric("counter", "Outbox rows given up after many refusals."),
    "submissions_published_again": Metric("counter", "Submissions whose message was lost and published again."),
    "boards_built": Metric("counter", "Boards folded from the verdict log."),
    "boards_repaired": Metric("counter", "Boards that differed from the verdict log."),
    "queue_ready": Metric("gauge", "Messages that wait in a queue.", ("queue",)),
    "queue_unacked": Metric("gauge", "Messages with consumers, not yet settled.", ("queue",)),
    "sandboxes": Metric("gauge", "Sandboxes alive, by state; peak: the most that ever were at once.", ("state",)),
    "rate_limited": Metric("counter", "Requests refused by a rate limit.", ("rule",)),
}


class PrometheusMeter:
    """The ``Meter`` port; a registry of its own, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}
        self._status: Callable[[], TreeStatus] | None = None
        for name, metric in METRICS.items():
            full = f"codewarz_{name}"
            if metric.kind == "counter":
                self._metrics[name] = Counter(full, metric.help, metric.labels, registry=self.registry)
            elif metric.kind == "gauge":
                self._metrics[name] = Gauge(full, metric.help, metric.labels, registry=self.registry)
            else:
                self._metrics[name] = Histogram(
                    full, metric.help, metric.labels, registry=self.registry, buckets=tuple(metric.kind)
                )

    def count(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Add to a counter; KeyError for an undeclared name."""
        self._of(name, labels).inc(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add an observation to a histogram."""
        self._of(name, labels).observe(value)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._of(name, labels).set(value)

    def _of(self, name: str, labels: dict[str, str]) -> Any:
        metric = self._metrics[name]
        return metric.labels(**labels) if labels else metric

    def watch(self, status: Callable[[], TreeStatus]) -> None:
        """Export a supervisor tree's state with every scrape."""
        self.registry.register(_TreeCollector(status))

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class _TreeCollector(Collector):
    """The supervisor tree as gauges, one series per actor (workers of a pool included: their number is bounded by the pool)."""

    def __init__(self, status: Callable[[], TreeStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families of one snapshot."""
        up = GaugeMetricFamily("codewarz_actor_running", "1 while the actor runs.", labels=["path"])
        restarts = GaugeMetricFamily("codewarz_actor_restarts", "How often it was started again.", labels=["path"])
        depth = GaugeMetricFamily("codewarz_mailbox_depth", "Messages that wait.", labels=["path"])
        peak = GaugeMetricFamily("codewarz_mailbox_peak", "The most that ever waited.", labels=["path"])
        capacity = GaugeMetricFamily("codewarz_mailbox_capacity", "The mailbox's bound.", labels=["path"])
        refused = GaugeMetricFamily(
            "codewarz_mailbox_refused", "Messages refused because it was full.", labels=["path"]
        )
        quarantined = GaugeMetricFamily("codewarz_mailbox_quarantined", "Messages set aside.", labels=["path"])
        for row in self._status().rows:
            up.add_metric([row.path], float(row.state == "running"))
            restarts.add_metric([row.path], row.restarts)
            if row.mailbox is not None:
                depth.add_metric([row.path], row.mailbox.depth)
                peak.add_metric([row.path], row.mailbox.peak)
                capacity.add_metric([row.path], row.mailbox.capacity)
                refused.add_metric([row.path], row.mailbox.refused)
                quarantined.add_metric([row.path], row.mailbox.quarantined)
        yield from (up, restarts, depth, peak, capacity, refused, quarantined)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Say nothing beforehand: asking for a snapshot before there is a tree would fail."""
        return iter(())


def configure_logs(form: str, level: str, *, node: str = "") -> None:
    """Log to standard error: "text" for people, "json" with one object a line; the correlation id travels in the context, and ``node`` says who speaks."""
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        *([partial(_say_node, node)] if node else []),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if form == "json":
        processors.append(structlog.processors.JSONRenderer(sort_keys=True))
    else:
        processors.append(_make_visible)
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=_named_logger,
        cache_logger_on_first_use=False,
    )


def _make_visible(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Keep what others wrote from steering the terminal of who reads the log; JSON escapes by itself."""
    return {name: visible(value, lines=True) if isinstance(value, str) else value for name, value in event.items()}


def _say_node(node: str, _logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    event.setdefault("node", node)
    return event


def _named_logger(*_names: str) -> structlog.PrintLogger:
    return structlog.PrintLogger(sys.stderr)
