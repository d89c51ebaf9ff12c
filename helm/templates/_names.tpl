{{/* What things are called, and the labels that find them. */}}

{{- define "headrace.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* (root, component): the labels that select a component's pods. They never change. */}}
{{- define "headrace.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* (root, component): all labels of an object. */}}
{{- define "headrace.labels" -}}
{{ include "headrace.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* (root, overrides): the image; each override's repository, tag and digest win over those before it. */}}
{{- define "headrace.image" -}}
{{- $image := dict "repository" .root.Values.image.repository "tag" (.root.Values.image.tag | default .root.Chart.AppVersion) "digest" .root.Values.image.digest -}}
{{- range .overrides -}}
{{- with . -}}
{{- if or .tag .digest -}}{{- $_ := set $image "digest" "" -}}{{- end -}}
{{- if .repository -}}{{- $_ := set $image "repository" .repository -}}{{- end -}}
{{- if .tag -}}{{- $_ := set $image "tag" .tag -}}{{- end -}}
{{- if .digest -}}{{- $_ := set $image "digest" .digest -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $image.digest -}}{{ $image.repository }}@{{ $image.digest }}{{- else -}}{{ $image.repository }}:{{ $image.tag }}{{- end -}}
{{- end -}}
