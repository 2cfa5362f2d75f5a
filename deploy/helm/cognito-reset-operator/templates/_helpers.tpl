{{- define "operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "operator.fullname" -}}
{{- $name := include "operator.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "operator.labels" -}}
{{- $labels := include "operator.selectorLabels" . | fromYaml }}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") }}
{{- $_ := set $labels "app.kubernetes.io/part-of" "cognito-reset-operator" }}
{{- $_ := set $labels "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .Release.Service }}
{{- /* The chart's own labels win: selectors and the policies of the API server depend on them. */}}
{{- merge $labels .Values.commonLabels | toYaml }}
{{- end }}

{{- define "operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "operator.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "operator.leaseNamespace" -}}
{{- default .Release.Namespace .Values.config.leaseNamespace }}
{{- end }}

{{/* The number of the port in config.listen, such as 8080 of ":8080". */}}
{{- define "operator.port" -}}
{{- .Values.config.listen | splitList ":" | last }}
{{- end }}

{{/*
Prints the objects of some files with the labels of the release. The files are copies of what
kustomize installs (`make generate-chart`).

Takes a dict: context, files (a glob), labels and annotations (optional dicts).
*/}}
{{- define "operator.files" -}}
{{- $labels := include "operator.labels" .context | fromYaml }}
{{- range $path, $content := .context.Files.Glob .files }}
{{- range $document := regexSplit "(?m)^---$" (toString $content) -1 }}
{{- $object := fromYaml $document }}
{{- $own := default dict $object.metadata.labels }}
{{- $_ := set $object.metadata "labels" (mergeOverwrite (deepCopy $own) $labels (default dict $.labels)) }}
{{- with $.annotations }}
{{- $_ := set $object.metadata "annotations" . }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Not empty if the cluster serves a kind of admission policies. Without a cluster (`helm template`) no
kind is known, and the version of Kubernetes decides.
Takes a dict: context, kind, since (the first version that serves it).
*/}}
{{- define "operator.serves" -}}
{{- $capabilities := .context.Capabilities }}
{{- if $capabilities.APIVersions.Has "apps/v1/Deployment" }}
{{- if $capabilities.APIVersions.Has (printf "admissionregistration.k8s.io/v1/%s" .kind) }}true{{ end }}
{{- else if semverCompare (printf ">=%s-0" .since) $capabilities.KubeVersion.Version }}true{{ end }}
{{- end }}

{{/* Not empty if the admission policies are to be installed. */}}
{{- define "operator.hasPolicies" -}}
{{- $served := include "operator.serves" (dict "context" . "kind" "ValidatingAdmissionPolicy" "since" "1.30.0") }}
{{- $wanted := .Values.policies.admission | toString }}
{{- if and (eq $wanted "true") (not $served) }}
{{- fail "policies.admission is true, but the cluster does not serve ValidatingAdmissionPolicies (admissionregistration.k8s.io/v1). Without them, users with write access to records can forge the ledger, and nobody checks approvals. Set policies.admission to auto or false to install without them" }}
{{- end }}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") $served) }}true{{ end }}
{{- end }}

{{/* Not empty if the policy that stamps requesters is to be installed. */}}
{{- define "operator.hasStamp" -}}
{{- $served := include "operator.serves" (dict "context" . "kind" "MutatingAdmissionPolicy" "since" "1.36.0") }}
{{- $wanted := .Values.policies.stampRequester | toString }}
{{- if and (eq $wanted "true") (not $served) }}
{{- fail "policies.stampRequester is true, but the cluster does not serve MutatingAdmissionPolicies (admissionregistration.k8s.io/v1, Kubernetes 1.36 or newer). Set policies.stampRequester to auto or false, and for approvals set policies.refuseUnverified to true: users then write their own names" }}
{{- end }}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") $served) }}true{{ end }}
{{- end }}

{{/*
Not empty if an object of the Prometheus operator is to be rendered.
Takes a dict: context, kind, value (the name of the value that wants it).
*/}}
{{- define "operator.hasMonitor" -}}
{{- $mode := .context.Values.metrics.renderMode }}
{{- $served := .context.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind) }}
{{- if and (eq $mode "failIfMissing") (not $served) }}
{{- fail (printf "%s is true, but the cluster has no %s (monitoring.coreos.com/v1). Install the CRDs of the Prometheus operator first, or set metrics.renderMode to skipIfMissing, or to alwaysRender if the chart is rendered without a cluster" .value .kind) }}
{{- end }}
{{- if or $served (eq $mode "alwaysRender") }}true{{ end }}
{{- end }}
