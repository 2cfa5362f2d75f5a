# In the operator's account. For a role in another account, put trust_other_account and policy on a role there.
terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

resource "aws_iam_role" "operator" {
  name               = "cognito-reset-operator"
  assume_role_policy = local.trust_pod_identity
}

resource "aws_iam_role_policy" "reset_passwords" {
  name   = "reset-passwords"
  role   = aws_iam_role.operator.id
  policy = local.policy
}

resource "aws_iam_role_policy" "assume_roles" {
  name   = "assume-roles-named-in-grants"
  role   = aws_iam_role.operator.id
  policy = local.assume_roles
}

# For the other account's role, whose Terraform is elsewhere.
output "trust_other_account" {
  value = local.trust_other_account
}
