# `make terraform` runs these tests. They do not connect to AWS.

variables {
  user_pool_arns    = ["arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Example01"]
  grant_role_arns   = ["arn:aws:iam::444455556666:role/cognito-reset"]
  operator_role_arn = "arn:aws:iam::111122223333:role/cognito-reset-operator"
  external_id       = "shops-7d1f2c"
  list_users        = true
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
}

run "other_names_stand_where_they_belong" {
  command = plan

  variables {
    user_pool_arns = [
      "arn:aws:cognito-idp:us-east-1:111122223333:userpool/us-east-1_A",
      "arn:aws:cognito-idp:us-east-1:111122223333:userpool/us-east-1_B",
    ]
    external_id = "another"
  }
  assert {
    condition     = tolist(jsondecode(output.reset_policy).Statement[0].Resource) == var.user_pool_arns
    error_message = "the pools are not those given"
  }
  assert {
    condition     = jsondecode(output.trust_other_account).Statement[0].Condition.StringEquals["sts:ExternalId"] == "another"
    error_message = "the external id is not the one given"
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
