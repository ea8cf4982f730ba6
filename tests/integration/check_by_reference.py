"""Run with the reference's Python: read lists and questions as JSON, write what the reference says."""

import json
import sys

from bluesky_queueserver.manager.profile_ops import load_allowed_plans_and_devices, validate_plan


def main() -> None:
    given = json.load(sys.stdin)
    plans, devices = given["plans"], given["devices"]
    verdicts = [validate_plan(item, allowed_plans=plans, allowed_devices=devices) for item in given["items"]]
    allowed = [
        load_allowed_plans_and_devices(
            user_group_permissions=permissions, existing_plans=plans, existing_devices=devices
        )
        for permissions in given["permissions"]
    ]
    json.dump({"verdicts": verdicts, "allowed": allowed}, sys.stdout)


if __name__ == "__main__":
    main()
