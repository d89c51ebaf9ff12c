{{/* The settings of a container, as variables. Names are those of docs/settings.md. Secrets are files, never variables. */}}

{{/* A setting's value as text: lists with commas, whole numbers without an exponent. */}}
{{- define "headrace.text" -}}
{{- if kindIs "slice" . -}}{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}
{{- else -}}{{ . }}
{{- end -}}
{{- end -}}

{{- define "headrace.plcUrl" -}}
{{- if .Values.network.plcUrl -}}{{ .Values.network.plcUrl }}
{{- else -}}
{{- $name := include "headrace.named" (dict "root" . "role" "plc") -}}
{{- if not $name -}}{{- fail "network.plcUrl: expected the address of a did:plc directory, found nothing. Set it, or enable roles.plc" -}}{{- end -}}
http://{{ include "headrace.fullname" . }}-{{ $name }}:2582
{{- end -}}
{{- end -}}

{{/* (root, component): the settings as a YAML map. */}}
{{- define "headrace.settings" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
{{- $component := .component -}}
{{- $facts := $component.facts -}}
{{- $set := dict
  "data" "/var/lib/headrace/data"
  "host" (ternary "::" "0.0.0.0" (eq $values.network.family "IPv6"))
  "ops_port" 2580
  "hostname" (required "network.hostname: expected the public name of the server, found nothing. Set it" $values.network.hostname)
  "public_url" (default (printf "https://%s" $values.network.hostname) $values.network.publicUrl)
  "handle_domains" (default (list (printf ".%s" $values.network.hostname)) $values.network.handleDomains)
  "cluster" $values.cluster.name
  "shards" $values.cluster.shards
  "generation" $component.generation
-}}
{{- if $facts.port -}}
{{- $_ := set $set (get (dict "plc" "plc_port" "relay" "relay_port") $component.role | default "port") $facts.port -}}
{{- end -}}
{{- if and $facts.port (or $values.ingress.enabled $values.gateway.enabled) -}}
{{- $_ := set $set "trust_forwarded" true -}}
{{- end -}}
{{- if has "plc" $facts.asks -}}
{{- $_ := set $set "plc_url" (include "headrace.plcUrl" $root) -}}
{{- end -}}
{{- if has "appview" $facts.asks -}}
{{- with include "headrace.named" (dict "root" $root "role" "appview") -}}
{{- $_ := set $set "appview_url" (printf "http://%s-%s:2583" (include "headrace.fullname" $root) .) -}}
{{- end -}}
{{- end -}}
{{- if eq $component.role "canary" -}}
{{- with include "headrace.named" (dict "root" $root "role" "pds") -}}
{{- $_ := set $set "canary_pds" (printf "http://%s-%s:2583" (include "headrace.fullname" $root) .) -}}
{{- end -}}
{{- $_ := set $set "canary_handle" (printf "canary%s" (first (default (list (printf ".%s" $values.network.hostname)) $values.network.handleDomains))) -}}
{{- end -}}
{{- if eq $component.role "pds" -}}
{{- $_ := set $set "pds_name" $component.name -}}
{{- end -}}
{{- if has "kafka" $facts.uses -}}
{{- $set = merge $set (include "headrace.settings.kafka" $values.kafka | fromYaml) -}}
{{- end -}}
{{- if has "cql" $facts.uses -}}
{{- $set = merge $set (include "headrace.settings.cql" $values.cql | fromYaml) -}}
{{- end -}}
{{- $set = include "headrace.merged" (dict "under" $set "over" $values.settings) | fromYaml -}}
{{- include "headrace.merged" (dict "under" $set "over" $component.values.settings) -}}
{{- end -}}

{{- define "headrace.settings.kafka" -}}
kafka_servers: {{ required "kafka.servers: expected brokers as host:port, found nothing. Set it" (join "," .servers) | quote }}
kafka_security: {{ .security }}
kafka_replication: {{ .replication }}
kafka_min_insync: {{ .minInsync }}
{{- if hasPrefix "SASL" .security }}
{{- if not .sasl.existingSecret }}{{ fail (printf "kafka.sasl.existingSecret: expected a Secret with the password of %s, found nothing. Make one and name it, or set kafka.security to PLAINTEXT or SSL" .sasl.username) }}{{ end }}
kafka_sasl_mechanism: {{ .sasl.mechanism }}
kafka_username: {{ .sasl.username | quote }}
kafka_password_file: /etc/headrace/kafka/password
{{- end }}
{{- if hasSuffix "SSL" .security }}
{{- if .tls.existingSecret }}
kafka_ssl_ca: /etc/headrace/kafka-tls/ca.crt
{{- end }}
{{- if .tls.clientSecret }}
kafka_ssl_cert: /etc/headrace/kafka-client/tls.crt
kafka_ssl_key: /etc/headrace/kafka-client/tls.key
{{- end }}
{{- end }}
{{- end -}}

{{- define "headrace.settings.cql" -}}
cql_hosts: {{ required "cql.hosts: expected nodes of the store, found nothing. Set it" (join "," .hosts) | quote }}
cql_port: {{ .port }}
cql_keyspace: {{ .keyspace }}
cql_replication: {{ .replication }}
cql_consistency: {{ .consistency }}
{{- with .datacenter }}
cql_datacenter: {{ . | quote }}
{{- end }}
{{- if .username }}
{{- if not .existingSecret }}{{ fail (printf "cql.existingSecret: expected a Secret with the password of %s, found nothing. Make one and name it" .username) }}{{ end }}
cql_username: {{ .username | quote }}
cql_password_file: /etc/headrace/cql/password
{{- end }}
{{- if .tls.existingSecret }}
cql_ssl_ca: /etc/headrace/cql-tls/ca.crt
{{- end }}
{{- end -}}

{{/* (root, component): the variables of a container. */}}
{{- define "headrace.environment" -}}
{{- range $name, $value := include "headrace.settings" . | fromYaml }}
- name: HEADRACE_{{ upper $name }}
  value: {{ include "headrace.text" $value | quote }}
{{- end }}
{{- end -}}

{{/* (root, component): volumes with the secrets that a component reads, and no others. */}}
{{- define "headrace.secrets" -}}
{{- $values := .root.Values -}}
{{- if has "kafka" .component.facts.uses }}
{{- if hasPrefix "SASL" $values.kafka.security }}
- {name: kafka, secret: {{ $values.kafka.sasl.existingSecret }}, items: {password: {{ $values.kafka.sasl.passwordKey }}}}
{{- end }}
{{- if and (hasSuffix "SSL" $values.kafka.security) $values.kafka.tls.existingSecret }}
- {name: kafka-tls, secret: {{ $values.kafka.tls.existingSecret }}, items: {ca.crt: {{ $values.kafka.tls.caKey }}}}
{{- end }}
{{- if and (hasSuffix "SSL" $values.kafka.security) $values.kafka.tls.clientSecret }}
- {name: kafka-client, secret: {{ $values.kafka.tls.clientSecret }}, items: {tls.crt: {{ $values.kafka.tls.clientCertKey }}, tls.key: {{ $values.kafka.tls.clientKeyKey }}}}
{{- end }}
{{- end }}
{{- if has "cql" .component.facts.uses }}
{{- if $values.cql.username }}
- {name: cql, secret: {{ $values.cql.existingSecret }}, items: {password: {{ $values.cql.passwordKey }}}}
{{- end }}
{{- if $values.cql.tls.existingSecret }}
- {name: cql-tls, secret: {{ $values.cql.tls.existingSecret }}, items: {ca.crt: {{ $values.cql.tls.caKey }}}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "headrace.secretMounts" -}}
{{- range include "headrace.secrets" . | fromYamlArray }}
- name: {{ .name }}
  mountPath: /etc/headrace/{{ .name }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "headrace.secretVolumes" -}}
{{- range include "headrace.secrets" . | fromYamlArray }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
      {{- range $path, $key := .items }}
      - key: {{ $key }}
        path: {{ $path }}
      {{- end }}
{{- end }}
{{- end -}}
