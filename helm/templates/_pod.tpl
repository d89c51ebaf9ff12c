{{/* (root, component): a container's security, image and settings. */}}
{{- define "headrace.container" -}}
image: {{ include "headrace.image" (dict "root" .root "overrides" (list .component.values.image .component.image)) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
workingDir: /tmp
securityContext:
  {{- toYaml .component.values.securityContext | nindent 2 }}
env:
  {{- include "headrace.environment" . | trim | nindent 2 }}
{{- end -}}

{{/* Of every pod. Service links would be variables HEADRACE_..., which Headrace refuses as unknown settings. */}}
{{- define "headrace.podBasics" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- toYaml .component.values.podSecurityContext | nindent 2 }}
{{- end -}}

{{/* (root, component): the pod template of a workload. */}}
{{- define "headrace.pod" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $values := $component.values -}}
{{- $facts := $component.facts -}}
{{- $scope := dict "root" $root "component" $component -}}
metadata:
  labels:
    {{- include "headrace.labels" (dict "root" $root "component" $component.name) | nindent 4 }}
    headrace/role: {{ $component.role }}
    {{- if eq $component.role "process" }}
    headrace/generation: {{ $component.generation }}
    {{- end }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "headrace.podBasics" $scope | nindent 2 }}
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.spreadOver }}
  topologySpreadConstraints:
    {{- range . }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "headrace.selector" (dict "root" $root "component" $component.name) | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- if or (eq $component.role "appview") (and $facts.files $values.existingSecret) }}
  initContainers:
    {{- if eq $component.role "appview" }}
    # The first processor makes the tables; until then there is nothing to read.
    - name: await-tables
      {{- include "headrace.container" $scope | nindent 6 }}
      command: [sh, -c, "until headrace schema check; do sleep 5; done"]
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- with include "headrace.secretMounts" $scope | trim }}
        {{- . | nindent 8 }}
        {{- end }}
    {{- end }}
    {{- if and $facts.files $values.existingSecret }}
    - name: seed-secrets
      {{- include "headrace.container" $scope | nindent 6 }}
      command:
        - sh
        - -euc
        - |
          umask 077
          mkdir -p /var/lib/headrace/data
          for name in admin_token ops_token jwt_secret plc_rotation_key canary_password; do
            if [ -e "/etc/headrace/seed/$name" ] && [ ! -e "/var/lib/headrace/data/$name" ]; then
              cat "/etc/headrace/seed/$name" > "/var/lib/headrace/data/$name.new"
              mv "/var/lib/headrace/data/$name.new" "/var/lib/headrace/data/$name"
            fi
          done
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        - name: data
          mountPath: /var/lib/headrace
        - name: seed
          mountPath: /etc/headrace/seed
          readOnly: true
    {{- end }}
  {{- end }}
  containers:
    - name: {{ $component.role }}
      {{- include "headrace.container" $scope | nindent 6 }}
      command: [headrace, {{ $component.role }}]
      ports:
        {{- if $facts.port }}
        - name: public
          containerPort: {{ $facts.port }}
        {{- end }}
        - name: ops
          containerPort: 2580
      # Nothing answers before the start is done, so this is how long it may take.
      startupProbe:
        httpGet:
          path: /live
          port: ops
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: {{ div (add $values.probes.startupSeconds 4) 5 }}
      livenessProbe:
        httpGet:
          path: /live
          port: ops
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: {{ max 2 (div $values.probes.livenessSeconds 10) }}
      readinessProbe:
        httpGet:
          path: /ready
          port: ops
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: {{ max 1 (div $values.probes.readinessSeconds 5) }}
      {{- if and $facts.port $values.drainSeconds }}
      lifecycle:
        preStop:
          exec:
            command: [sleep, {{ $values.drainSeconds | quote }}]
      {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- if $facts.files }}
        - name: data
          mountPath: /var/lib/headrace
        {{- end }}
        {{- with include "headrace.secretMounts" $scope | trim }}
        {{- . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir:
        sizeLimit: 256Mi
    {{- if and $facts.files (not $values.persistence.enabled) }}
    - name: data
      emptyDir:
        sizeLimit: {{ $values.persistence.size }}
    {{- end }}
    {{- if and $facts.files $values.existingSecret }}
    - name: seed
      secret:
        secretName: {{ $values.existingSecret }}
        defaultMode: 0440
    {{- end }}
    {{- with include "headrace.secretVolumes" $scope | trim }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}
