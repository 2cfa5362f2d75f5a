# Returns the policies of ../*.json with your own names in them, as JSON to attach. The module has no
# provider, so it works with any version of yours. ../README.md shows how to attach the outputs.

terraform {
  required_version = ">= 1.5"
}

variable "user_pool_arns" {
  type        = list(string)
  description = "The user pools whose users may be reset by this role; one by one, never a wildcard."

  validation {
    condition = length(var.user_pool_arns) > 0 && alltrue([
      for arn in var.user_pool_arns : can(regex("^arn:[a-z0-9-]+:cognito-idp:[a-z0-9-]+:[0-9]{12}:userpool/[\\w-]+_[0-9a-zA-Z]+$", arn))
    ])
    error_message = "user_pool_arns: give the whole ARN of each pool, such as arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Example01, without wildcards."
  }
}

variable "list_users" {
  type        = bool
  default     = false
  description = "True where grants have userStateSource ListUsers, or the operator has --user-state-source=ListUsers."
}

variable "grant_role_arns" {
  type        = list(string)
  default     = []
  description = "The roles that grants may name as roleARN; empty where none does."

  validation {
    condition     = alltrue([for arn in var.grant_role_arns : can(regex("^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[\\w+=,.@/-]+$", arn))])
    error_message = "grant_role_arns: give the whole ARN of each role, such as arn:aws:iam::444455556666:role/cognito-reset, without wildcards."
  }
}

variable "operator_role_arn" {
  type        = string
  default     = null
  description = "The operator's own role, whom the role of another account trusts; needed for the output trust_other_account."
}

variable "external_id" {
  type        = string
  default     = null
  description = "The externalID of the grant, which the role of another account compares; needed for the output trust_other_account."
}

variable "cluster_arn" {
  type        = string
  default     = null
  description = "The EKS cluster whose Pods get the operator's role by EKS Pod Identity; needed for the output trust_pod_identity."

  validation {
    condition     = var.cluster_arn == null || can(regex("^arn:[a-z0-9-]+:eks:[a-z0-9-]+:[0-9]{12}:cluster/[0-9A-Za-z][\\w-]*$", var.cluster_arn))
    error_message = "cluster_arn: give the whole ARN of the cluster, such as arn:aws:eks:eu-west-1:111122223333:cluster/example, without wildcards."
  }
}

variable "oidc_provider_arn" {
  type        = string
  default     = null
  description = "The IAM OIDC provider of the cluster, with IAM roles for service accounts; needed for the output trust_irsa."

  validation {
    condition     = var.oidc_provider_arn == null || can(regex("^arn:[a-z0-9-]+:iam::[0-9]{12}:oidc-provider/[\\w./-]+$", var.oidc_provider_arn))
    error_message = "oidc_provider_arn: give the whole ARN of the provider, such as arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE, without wildcards."
  }
}

variable "service_account" {
  type        = string
  default     = "cognito-reset-system:cognito-reset-operator"
  description = "The operator's namespace and service account, as NAMESPACE:NAME; the only ones that trust_irsa trusts."

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?:[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", var.service_account))
    error_message = "service_account: give NAMESPACE:NAME, such as cognito-reset-system:cognito-reset-operator, without wildcards."
  }
}

locals {
  reset  = jsondecode(file("${path.module}/../policy.json"))
  list   = jsondecode(file("${path.module}/../list-users.json"))
  assume = jsondecode(file("${path.module}/../assume-roles.json"))
  trust  = jsondecode(file("${path.module}/../trust-other-account.json"))
  pod    = jsondecode(file("${path.module}/../trust-pod-identity.json"))
  irsa   = jsondecode(file("${path.module}/../trust-irsa.json"))
  # The issuer without its scheme, which the keys of the condition begin with.
  issuer = var.oidc_provider_arn == null ? null : split(":oidc-provider/", var.oidc_provider_arn)[1]
}

output "reset_policy" {
  description = "For the role that makes the calls: resets users of the pools, and reads their state."
  value = jsonencode(merge(local.reset, {
    Statement = [for statement in local.reset.Statement : merge(statement, { Resource = var.user_pool_arns })]
  }))
}

output "list_users_policy" {
  description = "For the role that makes the calls: finds users of the pools by ListUsers; null without list_users."
  value = var.list_users ? jsonencode(merge(local.list, {
    Statement = [for statement in local.list.Statement : merge(statement, { Resource = var.user_pool_arns })]
  })) : null
}

output "assume_roles_policy" {
  description = "For the operator's role: takes on the roles that grants name, and no other; null where there are none."
  value = length(var.grant_role_arns) == 0 ? null : jsonencode(merge(local.assume, {
    Statement = [for statement in local.assume.Statement : merge(statement, { Resource = var.grant_role_arns })]
  }))
}

output "trust_other_account" {
  description = "The trust policy of a role that a grant names; null without operator_role_arn and external_id."
  value = var.operator_role_arn == null || var.external_id == null ? null : jsonencode(merge(local.trust, {
    Statement = [for statement in local.trust.Statement : merge(
      statement,
      { Principal = { AWS = var.operator_role_arn } },
      can(statement.Condition) ? { Condition = { StringEquals = { "sts:ExternalId" = var.external_id } } } : {},
    )]
  }))
}

output "trust_pod_identity" {
  description = "The trust policy of the operator's role with EKS Pod Identity; null without cluster_arn."
  value = var.cluster_arn == null ? null : jsonencode(merge(local.pod, {
    Statement = [for statement in local.pod.Statement : merge(statement, {
      Condition = {
        StringEquals = { "aws:SourceAccount" = split(":", var.cluster_arn)[4] }
        ArnEquals    = { "aws:SourceArn" = var.cluster_arn }
      }
    })]
  }))
}

output "trust_irsa" {
  description = "The trust policy of the operator's role with IAM roles for service accounts; null without oidc_provider_arn."
  value = var.oidc_provider_arn == null ? null : jsonencode(merge(local.irsa, {
    Statement = [for statement in local.irsa.Statement : merge(statement, {
      Principal = { Federated = var.oidc_provider_arn }
      Condition = {
        StringEquals = {
          "${local.issuer}:aud" = "sts.amazonaws.com"
          "${local.issuer}:sub" = "system:serviceaccount:${var.service_account}"
        }
      }
    })]
  }))
}
