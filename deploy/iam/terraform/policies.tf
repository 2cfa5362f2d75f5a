# The same four policies as the JSON files one folder up: a test compares them. What is yours stands in variables.tf.
locals {
  policy = jsonencode({
    "Version" : "2012-10-17",
    "Statement" : [
      {
        "Sid" : "ResetPasswords",
        "Effect" : "Allow",
        "Action" : [
          "cognito-idp:AdminResetUserPassword",
          "cognito-idp:AdminGetUser"
        ],
        "Resource" : var.user_pool_arns
      }
    ]
  })

  assume_roles = jsonencode({
    "Version" : "2012-10-17",
    "Statement" : [
      {
        "Sid" : "AssumeRolesNamedInGrants",
        "Effect" : "Allow",
        "Action" : [
          "sts:AssumeRole",
          "sts:TagSession"
        ],
        "Resource" : var.grant_role_arns
      }
    ]
  })

  trust_other_account = jsonencode({
    "Version" : "2012-10-17",
    "Statement" : [
      {
        "Sid" : "OperatorMayAssume",
        "Effect" : "Allow",
        "Principal" : {
          "AWS" : var.operator_role_arn
        },
        "Action" : "sts:AssumeRole",
        "Condition" : {
          "StringEquals" : {
            "sts:ExternalId" : var.external_id
          }
        }
      },
      {
        "Sid" : "OperatorMayTagItsSessions",
        "Effect" : "Allow",
        "Principal" : {
          "AWS" : var.operator_role_arn
        },
        "Action" : "sts:TagSession"
      }
    ]
  })

  trust_pod_identity = jsonencode({
    "Version" : "2012-10-17",
    "Statement" : [
      {
        "Sid" : "PodIdentity",
        "Effect" : "Allow",
        "Principal" : {
          "Service" : "pods.eks.amazonaws.com"
        },
        "Action" : [
          "sts:AssumeRole",
          "sts:TagSession"
        ],
        "Condition" : {
          "StringEquals" : {
            "aws:SourceAccount" : var.account
          },
          "ArnEquals" : {
            "aws:SourceArn" : var.cluster_arn
          }
        }
      }
    ]
  })
}
