"""The session's words as `primacy.v1` messages, and back.

What comes off the wire is checked here, once: a message that cannot be raises `InvalidRequest` naming every bad field
as its JSON does (`report.load.requestRate`). A report's `detail` is not looked at: it stays the message it came as.
"""

from __future__ import annotations

from primacy_wire.codec_from_agent import from_agent_from_proto, from_agent_to_proto
from primacy_wire.codec_report import load_to_proto, route_count_to_proto
from primacy_wire.codec_to_agent import to_agent_from_proto, to_agent_to_proto

__all__ = [
    "from_agent_from_proto",
    "from_agent_to_proto",
    "load_to_proto",
    "route_count_to_proto",
    "to_agent_from_proto",
    "to_agent_to_proto",
]
