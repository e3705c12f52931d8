"""`primacy policy`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, TextIO

import click

from primacy_cli.failures import USAGE, CommandFailed
from primacy_cli.session import Session, owner, with_session

if TYPE_CHECKING:
    from primacy.v1.policy_pb2 import Policy
    from primacy.v1.policy_service_pb2 import SetPolicyResponse, WorstCase

    from primacy_cli.tables import Renderable


@click.group("policy")
def command() -> None:
    """Show, check and change the policy of the group.

    A policy file is YAML with the names that `primacy policy get` prints. It stands for the whole policy: what it does
    not name has its default.

    \b
    Examples:
        primacy policy get > policy.yaml
        primacy policy check policy.yaml
        primacy policy diff policy.yaml
        primacy policy set policy.yaml
    """


@command.command("get")
@with_session
def get(session: Session) -> None:
    """Print the policy in force, as a file that `policy set` takes.

    \b
    Examples:
        primacy policy get > policy.yaml
        primacy policy get -o json
    """
    from primacy.v1.policy_service_pb2 import GetPolicyRequest
    from primacy.v1.policy_service_pb2_grpc import PolicyServiceStub

    request = GetPolicyRequest(group=session.group)
    response = session.ask(PolicyServiceStub(session.channel).GetPolicy, request)
    if session.for_people:
        click.echo(_text(response.policy), nl=False)
    else:
        session.print_message(response)


@command.command("diff")
@click.argument("file", type=click.File(encoding="utf-8"))
@with_session
def diff(session: Session, file: TextIO) -> None:
    """Show what `policy set FILE` would change; nothing when it would change nothing. `-` reads standard input.

    \b
    Example:
        primacy policy diff policy.yaml
    """
    wanted = _read(file)
    current = _current(session)
    planned = _set(session, wanted, dry_run=True)
    if session.for_people:
        click.echo(_difference(current, planned.policy), nl=False)
    else:
        session.print_message(planned)


@command.command("check")
@click.argument("file", type=click.File(encoding="utf-8"), required=False)
@click.option(
    "--offline", is_flag=True, help="Ask nobody: only FILE is read, and not whether its settings fit together."
)
@with_session
def check(session: Session, file: TextIO | None, offline: bool) -> None:
    """Say how long a failover may take at worst under FILE, or under the policy in force, and what takes the time.

    Settings that contradict each other are refused by name. `-` reads standard input.

    \b
    Examples:
        primacy policy check
        primacy policy check policy.yaml
        primacy policy check policy.yaml --offline
    """
    from primacy.v1.policy_service_pb2 import GetPolicyRequest, SetPolicyResponse
    from primacy.v1.policy_service_pb2_grpc import PolicyServiceStub

    if offline:
        if file is None:
            raise CommandFailed("--offline needs a FILE", USAGE, "primacy policy check policy.yaml --offline")
        from primacy_cli.failover_time import worst_case

        policy = _read(file)
        response = SetPolicyResponse(policy=policy, worst_case=worst_case(policy))
    elif file is not None:
        response = _set(session, _read(file), dry_run=True)
    else:
        stub = PolicyServiceStub(session.channel)
        found = session.ask(stub.GetPolicy, GetPolicyRequest(group=session.group))
        response = SetPolicyResponse(policy=found.policy, worst_case=found.worst_case)
    session.show(response, lambda: _worst_case(response.worst_case))


def _worst_case(worst: WorstCase) -> Renderable:
    from primacy_cli.tables import lines, stack, table
    from primacy_cli.words import length

    rows = [(term.name, length(term.duration)) for term in worst.terms]
    return stack(
        "From the loss of the active region to a new lease, at worst, besides round trips:",
        table(("TERM", "AT MOST"), [*rows, ("together", length(worst.total))]),
        lines(["What may come on top of it:", *(f"  - {text}" for text in worst.unbounded)])
        if worst.unbounded
        else None,
    )


@command.command("set")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--etag", default="", help="Only if this is still the policy's etag.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_session
def set_policy(session: Session, file: TextIO, etag: str, dry_run: bool, yes: bool) -> None:
    """Set the policy to what FILE says, as a whole. Shows the difference and asks. `-` reads standard input.

    \b
    Examples:
        primacy policy set policy.yaml
        primacy policy set policy.yaml --yes --etag 3
    """
    wanted = _read(file)
    wanted.etag = etag or wanted.etag
    current = _current(session)
    planned = _set(session, wanted, dry_run=True)
    difference = _difference(current, planned.policy)
    if session.for_people or not yes:
        session.note(difference.rstrip() or "The policy is this already.")
    if dry_run:
        if not session.for_people:
            session.print_message(planned)
        return
    if difference and not yes:
        session.confirm("Set this policy? It acts at once.")
        # Only what was shown is replaced.
        wanted.etag = wanted.etag or current.etag
    response = _set(session, wanted)
    if session.for_people:
        click.echo(f"The policy is set; its etag is {response.policy.etag}.")
    else:
        session.print_message(response)


def _read(file: TextIO) -> Policy:
    """The policy in a file. Raises CommandFailed that names each fault with its line."""
    from primacy_wire.policy_file import policy_from_text
    from primacy_wire.yaml_text import ConfigError

    try:
        return policy_from_text(file.read(), file.name)
    except ConfigError as error:
        raise CommandFailed("; ".join(error.problems), USAGE, f"mend {file.name}, then the same again") from error
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{file.name}: is not UTF-8 text", USAGE) from error


def _current(session: Session) -> Policy:
    from primacy.v1.policy_service_pb2 import GetPolicyRequest
    from primacy.v1.policy_service_pb2_grpc import PolicyServiceStub

    return session.ask(PolicyServiceStub(session.channel).GetPolicy, GetPolicyRequest(group=session.group)).policy


def _set(session: Session, policy: Policy, dry_run: bool = False) -> SetPolicyResponse:
    from primacy.v1.policy_service_pb2 import SetPolicyRequest
    from primacy.v1.policy_service_pb2_grpc import PolicyServiceStub

    request = SetPolicyRequest(group=session.group, policy=policy, validate_only=dry_run, owner=owner())
    return session.ask(PolicyServiceStub(session.channel).SetPolicy, request)


def _text(policy: Policy) -> str:
    from primacy_wire.policy_file import policy_to_yaml

    return policy_to_yaml(policy)


def _difference(before: Policy, after: Policy) -> str:
    lines = difflib.unified_diff(
        _text(before).splitlines(keepends=True),
        _text(after).splitlines(keepends=True),
        "in force",
        "wanted",
        n=0,
    )
    return "".join(line for line in lines if not line.startswith("@@"))
