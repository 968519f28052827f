"""What a node counts, for Prometheus and for people; counters live in the queue's file and so outlive a kill.

Labels are states, outcomes and reason codes from fixed lists and the names of the bundle's classes: no patient data.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cxray.pacs.queue import Queue

# Counter in the queue: metric's name, label's name, help.
_COUNTERS = {
    "arrivals": ("cxray_pacs_arrivals", "kind", "Films that arrived, new or repeated."),
    "bytes": ("cxray_pacs_bytes", "kind", "Bytes of the films that arrived."),
    "turned-away": ("cxray_pacs_turned_away", "reason", "Associations and films refused at the door."),
    "assessed": ("cxray_pacs_assessed", "outcome", "Films assessed, by outcome."),
    "refused": ("cxray_pacs_refused", "reason", "Films that were not judged, by reason."),
    "skipped": ("cxray_pacs_skipped", "reason", "Objects passed over without a result."),
    "deliveries": ("cxray_pacs_deliveries", "result", "Attempts to deliver results."),
    "results": ("cxray_pacs_results", "kind", "Result objects delivered, new or already there."),
    "retries": ("cxray_pacs_retries", "reason", "Steps put off, by reason."),
    "dead": ("cxray_pacs_dead", "reason", "Films given up."),
    "seconds": ("cxray_pacs_step_seconds_sum", "step", "Seconds spent, by step."),
    "steps": ("cxray_pacs_step_seconds_count", "step", "Steps done."),
}


class QueueCollector:
    """Reads the counters when Prometheus asks."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def collect(self) -> Iterable[Any]:
        """All metrics, as prometheus_client wants them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counters = self._queue.counters()
        for name, (metric, label, text) in _COUNTERS.items():
            family = CounterMetricFamily(metric, text, labels=[label])
            for (counter, value_label), value in sorted(counters.items()):
                if counter == name:
                    family.add_metric([value_label], value)
            yield family
        yield _scores(counters)
        jobs = GaugeMetricFamily("cxray_pacs_jobs", "Jobs in each state.", labels=["state"])
        for state, number in self._queue.counts().items():
            jobs.add_metric([state], number)
        yield jobs
        age = self._queue.oldest_seconds()
        yield GaugeMetricFamily("cxray_pacs_oldest_job_seconds", "Age of the oldest unfinished job.", value=age)


def serve_metrics(queue: Queue, port: int) -> Any:
    """Answer Prometheus at http://127.0.0.1:port/metrics; the server, with `shutdown`.

    Raises:
        OutputError: the port cannot be opened.
    """
    from prometheus_client import start_http_server

    from cxray.errors import OutputError

    try:
        server, _thread = start_http_server(port, addr="127.0.0.1", registry=_registry(queue))
    except OSError as error:
        raise OutputError(
            f"Port {port} for metrics cannot be opened: {error.strerror}.", "Choose another --metrics-port."
        ) from error
    return server


def metrics_text(queue: Queue) -> str:
    """The same as text."""
    from prometheus_client import generate_latest

    return str(generate_latest(_registry(queue)).decode())


def _registry(queue: Queue) -> Any:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(QueueCollector(queue))
    return registry


def _scores(counters: dict[tuple[str, str], float]) -> Any:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(
        "cxray_pacs_scores", "Probabilities given, by finding and upper edge of a tenth.", labels=["finding", "upto"]
    )
    for (counter, label), value in sorted(counters.items()):
        if counter == "scores":
            finding, _, edge = label.rpartition("|")
            family.add_metric([finding, edge], value)
    return family
