"""Prometheus metrics of one service, in a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The figures that every service has. Names are stable: alerts and dashboards use them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "tenantry_http_requests",
            "Requests answered, by method, route template and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.duration = Histogram(
            "tenantry_http_request_duration_seconds",
            "Time from the first byte of a request to the last of its response.",
            ("method", "route"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "tenantry_http_requests_in_flight", "Requests that are being served.", registry=self.registry
        )
        self.connections_killed = Counter(
            "tenantry_database_connections_killed",
            "Database connections closed because something of a tenant was left on them.",
            registry=self.registry,
        )
        self.ready = Gauge("tenantry_ready", "1 when the last readiness check passed.", registry=self.registry)
