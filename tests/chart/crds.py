"""Small schemas of the custom resources that the chart renders: the fields it uses, and no others.

Written from the operators' reference pages: Prometheus operator v0.8x, KEDA 2.1x, Gateway API v1.
"""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_METADATA = {"type": "object", "required": ["name"], "properties": {"name": _TEXT, "labels": _TEXTS}}
_INTERVAL = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}
_SELECTOR = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "matchLabels": _TEXTS,
        "matchExpressions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["key", "operator"],
                "additionalProperties": False,
                "properties": {"key": _TEXT, "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]}},
            },
        },
    },
}


def _kind(version: str, spec: dict[str, Any], required: list[str]) -> dict[str, Any]:
    of_spec = {"type": "object", "additionalProperties": False, "required": required, "properties": spec}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"apiVersion": {"const": version}, "kind": _TEXT, "metadata": _METADATA, "spec": of_spec},
    }


def _endpoints() -> dict[str, Any]:
    endpoint = {"port": _TEXT, "path": {"type": "string", "pattern": "^/"}, "interval": _INTERVAL}
    item = {"type": "object", "additionalProperties": False, "required": ["port"], "properties": endpoint}
    return {"type": "array", "minItems": 1, "items": item}


_RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["expr"],
    "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
    "properties": {
        "alert": _TEXT,
        "record": _TEXT,
        "expr": {"type": ["string", "integer"]},
        "for": _INTERVAL,
        "keep_firing_for": _INTERVAL,
        "labels": _TEXTS,
        "annotations": _TEXTS,
    },
}
_GROUP = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "rules"],
    "properties": {
        "name": _TEXT,
        "interval": _INTERVAL,
        "limit": {"type": "integer"},
        "rules": {"type": "array", "minItems": 1, "items": _RULE},
    },
}
_TRIGGER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "metadata"],
    "properties": {
        "type": {"const": "prometheus"},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "required": ["serverAddress", "query", "threshold"],
            "properties": {
                "serverAddress": _TEXT,
                "query": _TEXT,
                "threshold": {"type": "string", "pattern": "^[0-9]+$"},
            },
        },
    },
}
_ROUTE_RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["matches", "backendRefs"],
    "properties": {
        "matches": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "path": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"type": {"enum": ["Exact", "PathPrefix"]}, "value": _TEXT},
                    }
                },
            },
        },
        "backendRefs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "port"],
                "properties": {"name": _TEXT, "port": {"type": "integer"}},
            },
        },
    },
}
_MONITOR = {"selector": _SELECTOR, "podTargetLabels": {"type": "array", "items": _TEXT}}

SCHEMAS: dict[str, dict[str, Any]] = {
    "PodMonitor": _kind(
        "monitoring.coreos.com/v1",
        {**_MONITOR, "podMetricsEndpoints": _endpoints()},
        ["selector", "podMetricsEndpoints"],
    ),
    "ServiceMonitor": _kind(
        "monitoring.coreos.com/v1", {**_MONITOR, "endpoints": _endpoints()}, ["selector", "endpoints"]
    ),
    "PrometheusRule": _kind(
        "monitoring.coreos.com/v1", {"groups": {"type": "array", "minItems": 1, "items": _GROUP}}, ["groups"]
    ),
    "ScaledObject": _kind(
        "keda.sh/v1alpha1",
        {
            "scaleTargetRef": {"type": "object", "additionalProperties": False, "properties": {"name": _TEXT}},
            "minReplicaCount": {"type": "integer", "minimum": 0},
            "maxReplicaCount": {"type": "integer", "minimum": 1},
            "cooldownPeriod": {"type": "integer", "minimum": 0},
            "advanced": {"type": "object"},
            "triggers": {"type": "array", "minItems": 1, "items": _TRIGGER},
        },
        ["scaleTargetRef", "triggers"],
    ),
    "HTTPRoute": _kind(
        "gateway.networking.k8s.io/v1",
        {
            "parentRefs": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["name"]}},
            "hostnames": {"type": "array", "items": {"type": "string", "pattern": r"^(\*\.)?[a-z0-9.-]+$"}},
            "rules": {"type": "array", "minItems": 1, "items": _ROUTE_RULE},
        },
        ["parentRefs", "rules"],
    ),
}
