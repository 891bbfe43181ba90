{{/* Refuse what cannot work, before anything is written. */}}
{{- define "tenantry.check" -}}
{{- if ne .Release.Namespace "tenantry-system" -}}
{{- fail "the operator and its Secrets live in one namespace of a fixed name: install with --namespace tenantry-system --create-namespace" -}}
{{- end -}}
{{- $registry := lookup "v1" "ConfigMap" .Release.Namespace "tenantry-registry" -}}
{{- if $registry -}}
{{- if or (ne $registry.data.server .Values.registry.server) (ne $registry.data.database .Values.registry.database) -}}
{{- fail (printf "registry cannot be moved: this installation has server %s and database %s; set registry.server and registry.database back to these" $registry.data.server $registry.data.database) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object. Argument: a dict of root and component. */}}
{{- define "tenantry.labels" -}}
app.kubernetes.io/name: tenantry
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component | quote }}
app.kubernetes.io/part-of: tenantry
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* Labels by which an operator's pods are found; they never change. Argument: a dict of root and component. */}}
{{- define "tenantry.operatorSelector" -}}
app.kubernetes.io/name: tenantry
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* An image. Argument: a dict of root and image. */}}
{{- define "tenantry.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{/* What the pod security standard "restricted" asks of a pod. */}}
{{- define "tenantry.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What it asks of a container, and a root file system that cannot be written. */}}
{{- define "tenantry.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The DatabaseServers that services log in to: the registry's, and the further ones. */}}
{{- define "tenantry.databaseServers" -}}
{{- prepend .Values.databaseServers .Values.registry.server | uniq | toJson -}}
{{- end -}}

{{/* How the pods of Jobs run: the operator's image, which holds their program. */}}
{{- define "tenantry.jobPod" -}}
{{- dict
  "image" (include "tenantry.image" (dict "root" . "image" .Values.operator.image))
  "pull_policy" .Values.operator.image.pullPolicy
  "pull_secrets" .Values.imagePullSecrets
  "node_selector" .Values.jobs.nodeSelector
  "tolerations" .Values.jobs.tolerations
  "resources" .Values.jobs.resources
  "deadline_seconds" (int64 .Values.jobs.deadlineSeconds)
  | toJson -}}
{{- end -}}

{{/* A value as it was written: helm reads every number as a float, and would write ten million as 1e+07. */}}
{{- define "tenantry.text" -}}
{{- if and (kindIs "float64" .) (eq . (. | int64 | float64)) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{- define "tenantry.cursorKeySecret" -}}
{{ .Values.cursorKey.existingSecret | default "tenantry-cursor-key" }}
{{- end -}}

{{/* The count of pods: what `kubectl scale` or an autoscaler set stays, and helm would fail over it; else the value.
     Argument: a dict of live (the object that is there, or nothing) and wanted. */}}
{{- define "tenantry.replicas" -}}
{{- $replicas := .wanted -}}
{{- range dig "metadata" "managedFields" list (.live | default dict) -}}
{{- if eq (.subresource | default "") "scale" -}}
{{- $replicas = $.live.spec.replicas -}}
{{- end -}}
{{- end -}}
{{- if not (kindIs "invalid" $replicas) }}{{ $replicas }}{{ end -}}
{{- end -}}
