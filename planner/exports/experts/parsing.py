"""JSON text with the errors of a placement file."""

import json

from planner.exports.experts.served import PlacementFormatError


def parse_json(raw: bytes) -> object:
    """Raises ``PlacementFormatError``."""
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise PlacementFormatError("is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise PlacementFormatError(f"is not JSON: {error}") from None
