# Creates the operator's role on Amazon EKS with the policies of ../../*.json, and gives it to the
# operator's service account: by an EKS Pod Identity association, or, with oidc_provider_arn, by a
# trust policy for IAM roles for service accounts.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.30"
    }
  }
}

variable "role_name" {
  type        = string
  default     = "cognito-reset-operator"
  description = "The name of the role that is created."
}

variable "cluster_name" {
  type        = string
  description = "The EKS cluster that the operator runs in, of the provider's account and Region."
}

variable "namespace" {
  type        = string
  default     = "cognito-reset-system"
  description = "The operator's namespace."
}

variable "service_account" {
  type        = string
  default     = "cognito-reset-operator"
  description = "The operator's service account."
}

variable "oidc_provider_arn" {
  type        = string
  default     = null
  description = "The IAM OIDC provider of the cluster, to use IAM roles for service accounts; null to use EKS Pod Identity."
}

variable "user_pool_arns" {
  type        = list(string)
  description = "The user pools whose users may be reset by this role; one by one, never a wildcard."
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
}

data "aws_eks_cluster" "this" {
  name = var.cluster_name
}

module "policies" {
  source = "../"

  user_pool_arns    = var.user_pool_arns
  list_users        = var.list_users
  grant_role_arns   = var.grant_role_arns
  cluster_arn       = data.aws_eks_cluster.this.arn
  oidc_provider_arn = var.oidc_provider_arn
  service_account   = "${var.namespace}:${var.service_account}"
}

resource "aws_iam_role" "operator" {
  name               = var.role_name
  description        = "Resets passwords of Amazon Cognito users for cognito-reset-operator."
  assume_role_policy = var.oidc_provider_arn == null ? module.policies.trust_pod_identity : module.policies.trust_irsa
}

resource "aws_iam_role_policy" "reset" {
  name   = "reset-passwords"
  role   = aws_iam_role.operator.id
  policy = module.policies.reset_policy
}

resource "aws_iam_role_policy" "list_users" {
  count  = var.list_users ? 1 : 0
  name   = "list-users"
  role   = aws_iam_role.operator.id
  policy = module.policies.list_users_policy
}

resource "aws_iam_role_policy" "assume_roles" {
  count  = length(var.grant_role_arns) == 0 ? 0 : 1
  name   = "assume-roles-of-grants"
  role   = aws_iam_role.operator.id
  policy = module.policies.assume_roles_policy
}

resource "aws_eks_pod_identity_association" "operator" {
  count           = var.oidc_provider_arn == null ? 1 : 0
  cluster_name    = var.cluster_name
  namespace       = var.namespace
  service_account = var.service_account
  role_arn        = aws_iam_role.operator.arn
}

output "role_arn" {
  description = "The role. With IAM roles for service accounts, annotate the service account with it as eks.amazonaws.com/role-arn."
  value       = aws_iam_role.operator.arn
}
