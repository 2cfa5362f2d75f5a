-- Argo CD runs this without the libraries string and math.
local status = obj.status or {}
local message = "the operator has not seen the request"
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    message = condition.reason .. ": " .. condition.message
  end
end

if status.outcome == "Succeeded" then
  return { status = "Healthy", message = message }
end
if status.outcome == "Failed" or status.outcome == "Unknown" then
  return { status = "Degraded", message = message }
end
if obj.spec.suspend then
  return { status = "Suspended", message = message }
end
return { status = "Progressing", message = message }
