variable "account" {
  description = "The account of the operator's role and of its cluster."
  type        = string
  default     = "111122223333"
}

variable "cluster_arn" {
  description = "The EKS cluster whose Pods may have the operator's role."
  type        = string
  default     = "arn:aws:eks:eu-west-1:111122223333:cluster/example"
}

variable "operator_role_arn" {
  description = "The operator's role, which the other account trusts."
  type        = string
  default     = "arn:aws:iam::111122223333:role/cognito-reset-operator"
}

variable "user_pool_arns" {
  description = "The pools, one by one: what holds if a grant is wrong."
  type        = list(string)
  default     = ["arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Example01"]
}

variable "grant_role_arns" {
  description = "The roles that grants may name."
  type        = list(string)
  default     = ["arn:aws:iam::444455556666:role/cognito-reset"]
}

variable "external_id" {
  description = "The externalID of the grants that name the role in the other account. No secret."
  type        = string
  default     = "shops-7d1f2c"
}
