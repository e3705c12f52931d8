"""How a command fails: one line that says why, and one with the command to run next."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from primacy_wire.rpc_errors import RpcFailure

REFUSED, USAGE, UNREACHABLE, TIMED_OUT = 1, 2, 3, 4

_NEXT_BY_REASON = {
    "REGION_NOT_FOUND": "primacy regions",
    "REGION_EXISTS": "primacy regions update NAME …",
    "FAILOVER_NOT_FOUND": "primacy history",
    "ETAG_MISMATCH": "look again (`primacy regions` or `primacy policy get`), then decide again",
    "EPOCH_MISMATCH": "primacy status",
    "MOVE_IN_PROGRESS": "primacy history",
    "STATE_DOUBT": "primacy recover",
    "LIVE_SESSIONS": "stop the region's agents, or pass `--override LIVE_SESSIONS`",
    "ACTIVE_REGION": "primacy failover",
    "ALREADY_ACTIVE": "primacy status",
    "RESTART_WAIT": "primacy wait --for active",
    "NO_ACTIVE_REGION": "primacy wait --for active",
    "NO_TARGET": "primacy explain",
    "MIN_UNDRAINED": "primacy overrides",
    "NOT_DRAINED": "primacy overrides",
    "NOT_CORDONED": "primacy overrides",
    "NOT_PAUSED": "primacy overrides",
    "NOT_PINNED": "primacy overrides",
    "PAST_RETURN": "primacy history",
    "FAILOVER_ENDED": "primacy history",
    "NOT_AWAITING_APPROVAL": "primacy history",
    "VERSION_MISMATCH": "look again (`primacy config history KEY`, `primacy model show NAME`), then decide again",
    "CONFLICT": "primacy conflict list",
    "KEY_TAKEN": "primacy config list",
    "CONFLICT_NOT_FOUND": "primacy conflict list",
    "CONFIG_NOT_FOUND": "primacy config list",
    "MODEL_NOT_FOUND": "primacy model list",
    "VERSION_NOT_FOUND": "primacy model show NAME, or `primacy config history KEY`",
    "NOT_PARKED": "primacy replication",
    "PARKED": "primacy replication",
    "AT_RISK": "it is in the log; another region gets it when it is there: `primacy replication`",
    "STALE_EPOCH": "primacy status",
    "FUTURE_EPOCH": "primacy status",
    "IN_DOUBT": "primacy recover",
    "FROZEN": "primacy history",
    "PATH_NOT_FOUND": "name a file or folder of the agent's machine",
    "CHANGED_WHILE_READ": "the same again when nothing writes there",
    "DISK_FULL": "make room where the agent keeps its store, then the same again",
    "NO_HOLDER": "primacy replication",
    "ALERT_NOT_FOUND": "primacy alerts",
    "METRIC_NOT_FOUND": "primacy metrics",
    "SINK_NOT_FOUND": "primacy alerts --all",
}
_NEXT_BY_CODE = {
    "INVALID_ARGUMENT": "the same with --help",
    "FAILED_PRECONDITION": "primacy explain",
    "ABORTED": "primacy status",
    "UNAVAILABLE": "the same again in a moment",
    "RESOURCE_EXHAUSTED": "the same again in a moment",
}


class CommandFailed(click.ClickException):
    """Ends the command with `exit_code`."""

    def __init__(self, message: str, exit_code: int, advice: str = "", lost: bool = False, reason: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]
        self.advice = advice
        self.lost = lost
        """Whether the same may work in a moment: nobody answered, or only for now."""
        self.reason = reason
        """The rule that a server refused it by. Empty: none was named."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"primacy: {self.message}", file=file, err=True)
        if self.advice:
            click.echo(f"next: {self.advice}", file=file, err=True)


_LOST = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})


def failed_call(failure: RpcFailure, address: str, command_path: str, at_agent: bool = False) -> CommandFailed:
    """What to tell about a failed call to `address`."""
    failed = _failed(failure, address, command_path, at_agent)
    failed.lost, failed.reason = failure.code in _LOST, failure.reason
    return failed


def _failed(failure: RpcFailure, address: str, command_path: str, at_agent: bool) -> CommandFailed:
    who = "agent" if at_agent else "coordinator"
    if failure.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED") and not failure.reason:
        what = "did not answer in time" if failure.code == "DEADLINE_EXCEEDED" else "cannot be reached"
        flag = "--agent" if at_agent else "--address"
        advice = f"start one (`primacy up`), or name another with {flag} HOST:PORT"
        return CommandFailed(f"the {who} at {address} {what}", UNREACHABLE, advice)
    if failure.code == "UNIMPLEMENTED":
        return CommandFailed(
            f"{address} is no {who}, or one of another version",
            REFUSED,
            "name the right one with --address (coordinator) or --agent (agent)",
        )
    if failure.code == "INVALID_ARGUMENT":
        message = "; ".join(f"{field.path}: {field.advice}" for field in failure.fields) or failure.message
        return CommandFailed(message, USAGE, f"{command_path} --help")
    rule = f" ({failure.reason})" if failure.code == "FAILED_PRECONDITION" and failure.reason else ""
    if failure.reason == "GROUP_NOT_FOUND":
        advice = f"grpcurl -plaintext {address} primacy.v1.GroupService/ListGroups"
    else:
        advice = _NEXT_BY_REASON.get(failure.reason) or _NEXT_BY_CODE.get(failure.code, "primacy status")
    return CommandFailed(f"{failure.message}{rule}", REFUSED, advice)
