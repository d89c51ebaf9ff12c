{{/* Keys that are not read, though charts before or beside this one have them, and what takes their place. */}}
{{- define "headrace.removed" -}}
replicaCount: "set roles.NAME.replicas"
resources: "set defaults.resources, or roles.NAME.resources"
env: "set `settings`, by the names of docs/settings.md, for every role or for one"
scylla: "rename it to cql"
kafka.bootstrapServers: "write a list under kafka.servers"
kafka.sasl.password: "put it into a Secret and name that in kafka.sasl.existingSecret"
cql.password: "put it into a Secret and name that in cql.existingSecret"
{{- end -}}

{{- define "headrace.refuseRemoved" -}}
{{- range $path, $cure := include "headrace.removed" . | fromYaml -}}
{{- $at := $.Values -}}
{{- range $key := splitList "." $path -}}
{{- if kindIs "map" $at -}}{{- $at = get $at $key -}}{{- else -}}{{- $at = "" -}}{{- end -}}
{{- end -}}
{{- if $at -}}{{- fail (printf "%s: not read: %s" $path $cure) -}}{{- end -}}
{{- end -}}
{{- end -}}
