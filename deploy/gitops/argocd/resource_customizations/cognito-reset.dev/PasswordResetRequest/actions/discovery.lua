-- There is no action that releases, approves or creates a request: these are decisions of a person
-- whom the API server authenticates, and Argo CD would act under its own account.
local actions = {}
local outcome = (obj.status or {}).outcome or "Pending"
if outcome == "Pending" and not obj.spec.suspend then
  actions["suspend"] = { ["iconClass"] = "fa fa-fw fa-pause" }
end
return actions
