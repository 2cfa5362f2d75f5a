-- Argo CD runs this without the libraries string and math.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not seen the hold" }
end

local health = { status = "Progressing", message = "" }
local stalled = false
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    health.message = condition.reason .. ": " .. condition.message
    if condition.status == "True" then
      health.status = "Healthy"
    end
  elseif condition.type == "Stalled" and condition.status == "True" then
    stalled = true
  end
end
if stalled then
  health.status = "Degraded"
end
return health
