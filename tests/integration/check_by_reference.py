"""Run with the reference's Python: read lists and items as JSON, write what `validate_plan` says of each item."""

import json
import sys

from bluesky_queueserver.manager.profile_ops import validate_plan


def main() -> None:
    given = json.load(sys.stdin)
    verdicts = [
        validate_plan(item, allowed_plans=given["plans"], allowed_devices=given["devices"]) for item in given["items"]
    ]
    json.dump(verdicts, sys.stdout)


if __name__ == "__main__":
    main()
