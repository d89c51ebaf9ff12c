{{/* What a role is. It must say what headrace/roles.py says; tests/chart holds them equal. */}}
{{- define "headrace.facts" -}}
plc: {port: 2582, uses: [], asks: [], internet: false, files: true}
pds: {port: 2583, uses: [kafka], asks: [plc, appview], internet: true, files: true}
derive: {port: 0, uses: [kafka, cql], asks: [], internet: false, files: true}
process: {port: 0, uses: [kafka, cql], asks: [], internet: false, files: false}
firehose: {port: 2583, uses: [kafka], asks: [], internet: false, files: false}
appview: {port: 2583, uses: [kafka, cql], asks: [plc], internet: true, files: false}
relay: {port: 2584, uses: [kafka], asks: [plc], internet: true, files: true}
canary: {port: 0, uses: [], asks: [pds, appview], internet: false, files: true}
{{- end -}}

{{/* (under, over): two maps as one in YAML; `over` wins key by key, also with false and 0; null takes a key away. */}}
{{- define "headrace.merged" -}}
{{- $out := deepCopy .under -}}
{{- range $key, $value := .over -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $out $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" (get $out $key)) -}}
{{- $_ := set $out $key (include "headrace.merged" (dict "under" (get $out $key) "over" $value) | fromYaml) -}}
{{- else -}}
{{- $_ := set $out $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $out -}}
{{- end -}}

{{/*
The workloads as a YAML list of {name, role, generation, facts, values}: one for each enabled key of `roles`, and for
processors one for each generation.
*/}}
{{- define "headrace.components" -}}
{{- $facts := include "headrace.facts" . | fromYaml -}}
{{- $found := list -}}
{{- $first := (first .Values.generations).name -}}
{{- range $name, $given := .Values.roles -}}
{{- $values := include "headrace.merged" (dict "under" $.Values.defaults "over" (default dict $given)) | fromYaml -}}
{{- $role := default $name $values.role -}}
{{- if $values.enabled -}}
{{- $fact := required (printf "roles.%s: expected a role of Headrace, found %q. Set roles.%s.role to one of %s" $name $role $name (keys $facts | sortAlpha | join ", ")) (get $facts $role) -}}
{{- if and (has $role (list "pds" "plc" "relay" "canary")) (ne (int $values.replicas) 1) -}}
{{- fail (printf "roles.%s.replicas: expected 1, found %v: a %s owns its files. Add a second key to roles, with `role: %s`" $name $values.replicas $role $role) -}}
{{- end -}}
{{- if eq $role "process" -}}
{{- range $generation := $.Values.generations -}}
{{- $found = append $found (dict "name" (printf "%s-%s" $name $generation.name) "role" $role "generation" $generation.name "image" (default dict $generation.image) "facts" $fact "values" $values) -}}
{{- end -}}
{{- else -}}
{{- /* An AppView takes the one that is to be flipped to before it is live, when the live one is of another shape. */ -}}
{{- $reads := ternary (default $first $.Values.flip.to) $first (eq $role "appview") -}}
{{- $found = append $found (dict "name" $name "role" $role "generation" $reads "image" dict "facts" $fact "values" $values) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* (root, role): the name of the first component of a role, or nothing. */}}
{{- define "headrace.named" -}}
{{- $role := .role -}}
{{- $names := list -}}
{{- range include "headrace.components" .root | fromYamlArray -}}
{{- if eq .role $role -}}{{- $names = append $names .name -}}{{- end -}}
{{- end -}}
{{- if has $role $names -}}{{ $role }}{{- else if $names -}}{{ first $names }}{{- end -}}
{{- end -}}
