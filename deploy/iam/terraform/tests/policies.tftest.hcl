# `make terraform` runs these tests. They do not connect to AWS.

variables {
  user_pool_arns    = ["arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Example01"]
  grant_role_arns   = ["arn:aws:iam::444455556666:role/cognito-reset"]
  operator_role_arn = "arn:aws:iam::111122223333:role/cognito-reset-operator"
  external_id       = "shops-7d1f2c"
  list_users        = true
  cluster_arn       = "arn:aws:eks:eu-west-1:111122223333:cluster/example"
  oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"
}

run "the_examples_are_the_json_files" {
  command = plan

  assert {
    condition     = jsondecode(output.reset_policy) == jsondecode(file("../policy.json"))
    error_message = "reset_policy differs from policy.json"
  }
  assert {
    condition     = jsondecode(output.list_users_policy) == jsondecode(file("../list-users.json"))
    error_message = "list_users_policy differs from list-users.json"
  }
  assert {
    condition     = jsondecode(output.assume_roles_policy) == jsondecode(file("../assume-roles.json"))
    error_message = "assume_roles_policy differs from assume-roles.json"
  }
  assert {
    condition     = jsondecode(output.trust_other_account) == jsondecode(file("../trust-other-account.json"))
    error_message = "trust_other_account differs from trust-other-account.json"
  }
  assert {
    condition     = jsondecode(output.trust_pod_identity) == jsondecode(file("../trust-pod-identity.json"))
    error_message = "trust_pod_identity differs from trust-pod-identity.json"
  }
  assert {
    condition     = jsondecode(output.trust_irsa) == jsondecode(file("../trust-irsa.json"))
    error_message = "trust_irsa differs from trust-irsa.json"
  }
}

run "other_names_stand_where_they_belong" {
  command = plan

  variables {
    user_pool_arns = [
      "arn:aws:cognito-idp:us-east-1:111122223333:userpool/us-east-1_A",
      "arn:aws:cognito-idp:us-east-1:111122223333:userpool/us-east-1_B",
    ]
    external_id       = "another"
    cluster_arn       = "arn:aws-us-gov:eks:us-gov-west-1:444455556666:cluster/other"
    oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1"
    service_account   = "identity:resets"
  }
  assert {
    condition     = jsonencode(jsondecode(output.reset_policy).Statement[0].Resource) == jsonencode(var.user_pool_arns)
    error_message = "the pools are not those given"
  }
  assert {
    condition     = jsondecode(output.trust_other_account).Statement[0].Condition.StringEquals["sts:ExternalId"] == "another"
    error_message = "the external id is not the one given"
  }
  assert {
    condition     = jsondecode(output.trust_pod_identity).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "444455556666"
    error_message = "the account is not that of the cluster"
  }
  assert {
    condition     = jsondecode(output.trust_pod_identity).Statement[0].Condition.ArnEquals["aws:SourceArn"] == var.cluster_arn
    error_message = "the cluster is not the one given"
  }
  assert {
    condition = jsonencode(jsondecode(output.trust_irsa).Statement[0].Condition) == jsonencode({
      StringEquals = {
        "issuer.example/id/1:aud" = "sts.amazonaws.com"
        "issuer.example/id/1:sub" = "system:serviceaccount:identity:resets"
      }
    })
    error_message = "the issuer or the service account is not the one given"
  }
}

run "users_are_listed_only_if_asked_for" {
  command = plan

  variables {
    list_users = false
  }
  assert {
    condition     = output.list_users_policy == null
    error_message = "list_users_policy is there without list_users"
  }
}

run "a_wildcard_pool_is_refused" {
  command = plan

  variables {
    user_pool_arns = ["arn:aws:cognito-idp:eu-west-1:111122223333:userpool/*"]
  }
  expect_failures = [var.user_pool_arns]
}

run "a_wildcard_role_is_refused" {
  command = plan

  variables {
    grant_role_arns = ["*"]
  }
  expect_failures = [var.grant_role_arns]
}

run "a_wildcard_cluster_is_refused" {
  command = plan

  variables {
    cluster_arn = "arn:aws:eks:eu-west-1:111122223333:cluster/*"
  }
  expect_failures = [var.cluster_arn]
}

run "a_wildcard_issuer_is_refused" {
  command = plan

  variables {
    oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/*"
  }
  expect_failures = [var.oidc_provider_arn]
}

run "a_wildcard_service_account_is_refused" {
  command = plan

  variables {
    service_account = "cognito-reset-system:*"
  }
  expect_failures = [var.service_account]
}
