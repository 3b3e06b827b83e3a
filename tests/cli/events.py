"""Events as a server answers them, always the same: for what must always look the same."""

from typing import Any

from madsci_event_server.event import Event

NODE = "01M84VMDAZVKM6AYSQEACFYVT0"
WORKFLOW = "01M84VYEZ589K1WX7173XX7GYH"
MINUTE = "2026-11-23T18:51"

HOSTILE = "evil \x1b]0;title\x07 \x9b31m red\r\nnext\ttab \u202eoverride\u202c \u2028 \x7f end"
"""Sets a title, turns red, breaks lines, turns the reading direction."""


def body(number: int = 1, **fields: Any) -> bytes:
    """One event as the server answers it."""
    document = {
        "event_id": f"01M84W00C21SPHKDZ53DPX{number:04d}",
        "event_type": "log_info",
        "event_timestamp": f"{MINUTE}:47.{number:06d}Z",
        "received_at": f"{MINUTE}:48.{number:06d}Z",
        "event_data": {"message": f"message {number}"},
    }
    return Event.model_validate(document | fields).encode()


def some_bodies() -> list[bytes]:
    """One of each: levels, a hidden kind, a name, an alert, text, wide and hostile text, no message, a nameless id."""
    return [
        body(1, log_level="debug", event_type="log_debug", source={"manager_id": "01M84VFHW35SXH6M2XV0RNA0GN"}),
        body(
            2, source={"node_id": NODE}, event_data={"message": "Action done", "component_name": "node.liquidhandler_1"}
        ),
        body(3, event_data={"event_type": "workflow_start", "workflow_id": WORKFLOW, "message": "Workflow started"}),
        body(4, log_level="warning", event_type="log_warning", event_data='"a string with \\"quotes\\""'),
        body(5, log_level="error", event_type="node_error", event_data={"volume": 1.5, "wells": ["A1", "B2"]}),
        body(
            6, log_level="critical", alert=True, source={"name": "hood_2"}, event_data={"message": "=1+1 is a formula"}
        ),
        body(7, event_data={"message": "日本語の長い名前と👩‍🔬絵文字 e\u0301"}),
        body(8, event_type="test", event_data={"message": HOSTILE, "node_name": "\x1b[31mred"}),
        body(9, event_timestamp="2026-11-24T00:00:01Z", event_data={}),
    ]
