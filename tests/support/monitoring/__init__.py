"""What ships for Prometheus and Grafana: alert rules and dashboards, written as code. See `__main__.py`."""
