"""The trace: one short line for each event, so that the way to a failure can be read."""

from __future__ import annotations

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import (
    Accept,
    Answer,
    Directory,
    Freeze,
    Frozen,
    Hello,
    Offer,
    Refuse,
    Release,
    Released,
    ReleaseRefused,
    Report,
    Thaw,
    WeightsUpdate,
    Welcome,
)


def brief(message: object) -> str:
    """What the lease protocol reads in a message, and nothing else."""
    match message:
        case Hello():
            told = f"store {message.lineage.store_id or '-'} run {message.lineage.run_id or '-'}"
            return f"hello {message.incarnation}, heard {message.heard_epoch}, {told}"
        case Report():
            held = f"holds {message.epoch}{' valid' if message.valid else ' lapsed'}" if message.epoch else "holds none"
            gone = f", gave up {message.released_epoch}" if message.released_epoch else ""
            frozen = f", frozen by {message.freeze_id}" if message.freeze_id else ""
            health = message.health.state.name.lower()
            return (
                f"report {message.incarnation}#{message.number}, {held}, heard {message.heard_epoch}{gone}"
                f"{frozen}, service {health}, answered {message.answered}"
            )
        case Answer():
            grants = f"renews for {message.ttl_ns / SECOND_NS:g} s" if message.renews else "renews nothing"
            return f"answer {message.incarnation}#{message.report}, epoch {message.epoch}, {grants}"
        case Offer():
            return (
                f"offer {message.incarnation}#{message.report}, epoch {message.epoch} "
                f"for {message.ttl_ns / SECOND_NS:g} s"
            )
        case Welcome():
            adopt = ", adopt" if message.adopt else ""
            return (
                f"welcome, store {message.lineage.store_id} run {message.lineage.run_id}, epoch {message.epoch}{adopt}"
            )
        case Accept() | Refuse() | Released() | Frozen() | ReleaseRefused() | Release() | Freeze():
            freeze = getattr(message, "freeze_id", "")
            word = type(message).__name__.lower()
            return f"{word} {message.incarnation}, epoch {message.epoch}{f', freeze {freeze}' if freeze else ''}"
        case Thaw():
            return f"thaw {message.freeze_id}"
        case WeightsUpdate():
            return f"weights, active {message.active_region or '-'} epoch {message.active_epoch}"
        case Directory():
            return f"directory, members {', '.join(message.membership.agents)}"
        case _:
            return str(message)
