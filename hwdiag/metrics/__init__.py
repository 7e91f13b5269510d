"""Metrics: text files for node_exporter, an endpoint for Prometheus, a dashboard for Grafana."""
