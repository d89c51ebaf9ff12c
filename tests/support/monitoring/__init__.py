"""What ships for Prometheus: alert rules, written as code. See `__main__.py`."""
