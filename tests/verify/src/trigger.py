"""A trigger for custom messages that fails as the caller of AdminResetUserPassword asks by ClientMetadata."""
import time


def handler(event, _context):
    behaviour = (event["request"].get("clientMetadata") or {}).get("behaviour")
    if behaviour == "throw":
        raise ValueError("as asked")
    if behaviour == "nonsense":
        return "nonsense"
    if behaviour == "late":  # Cognito waits for 5 s.
        time.sleep(10)
    if behaviour == "slow":
        time.sleep(3)
    return event
