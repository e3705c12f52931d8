"""What explains what, and what a sink therefore hears: rules that hold for every course of events."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from primacy_coordinator.core.monitor.alerts import grouping, sending
from primacy_coordinator.core.monitor.alerts.book import RESOLVED_MAX, RESOLVED_NS_MAX, Book, Moment, step
from primacy_coordinator.core.monitor.alerts.catalog import RANK
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState
from primacy_coordinator.core.monitor.alerts.finding import ANY, Finding, Looked
from primacy_coordinator.core.monitor.alerts.grouping import CAUSES, PROMOTE_NS, SETTLE_NS, Scope
from primacy_coordinator.core.monitor.alerts.rules import rules_of
from primacy_coordinator.core.monitor.model import AlertRule, Slo, SloIndicator, Threshold
from primacy_coordinator.core.severity import Severity
from primacy_wire.instant import SECOND_NS

RULES = rules_of(
    (AlertRule("errors", threshold=Threshold("error_rate", above=0.1), severity=Severity.CRITICAL),),
    (Slo("checkout", SloIndicator.SUCCESS, 0.99, per_region=True),),
)
S = SECOND_NS


class Sink:
    """Steps a book once a second, and keeps what a sink is told."""

    def __init__(self) -> None:
        self.book = Book()
        self.wall_ns = 10**18
        self.told: dict[str, sending.Word] = {}
        self.heard: list[str] = []

    def look(
        self,
        *held: Finding,
        unknown: frozenset[tuple[str, str]] = frozenset(),
        times: int = 1,
        every_ns: int = S,
    ) -> None:
        for _ in range(times):
            self.wall_ns += every_ns
            self.book, _ = step(self.book, RULES, Looked(held, unknown), Moment(every_ns, self.wall_ns, "default"))
            for alert in sending.news(self.book.alerts, self.told):
                self.heard.append(f"{alert.state.name.lower()} {alert.id}")
                self.told[alert.id] = sending.word_of(alert)
            self.told = sending.still_known(self.book.alerts, self.told)

    def cause(self, alert_id: str) -> str:
        found = self.book.find(alert_id)
        assert found is not None
        return found.cause_id


DOWN, LAG, ERRORS = Finding("region-down", "eu"), Finding("lag", "eu"), Finding("errors", "eu")


def test_a_cause_ranks_before_what_it_explains() -> None:
    for rule, causes in CAUSES.items():
        for cause in causes:
            assert cause.rule in RANK and rule in RANK
            assert RANK[cause.rule] < RANK[rule] or (cause.rule == rule and cause.scope is Scope.WHOLE)


def test_a_symptom_before_its_cause_waits_a_moment() -> None:
    sink = Sink()
    sink.look(ERRORS, times=3)
    assert sink.book.find("errors/eu").state is AlertState.FIRING  # type: ignore[union-attr]
    sink.look(ERRORS, DOWN, times=60)
    assert sink.heard == ["firing region-down/eu"]
    assert sink.cause("errors/eu") == "region-down/eu"


def test_a_symptom_that_outlives_its_cause_is_told_later() -> None:
    sink = Sink()
    sink.look(ERRORS, DOWN, times=20)
    sink.look(ERRORS, times=20)
    assert sink.heard == ["firing region-down/eu", "resolved region-down/eu"]
    sink.look(ERRORS, times=PROMOTE_NS // S)
    assert sink.heard[2:] == ["firing errors/eu"]
    assert sink.cause("errors/eu") == ""


def test_a_symptom_that_ends_soon_after_its_cause_is_never_told() -> None:
    sink = Sink()
    sink.look(ERRORS, DOWN, times=20)
    sink.look(ERRORS, times=40)
    sink.look(times=60)
    assert sink.heard == ["firing region-down/eu", "resolved region-down/eu"]


def test_what_was_told_is_not_taken_back_when_a_cause_comes() -> None:
    sink = Sink()
    sink.look(ERRORS, times=30)
    sink.look(ERRORS, DOWN, times=30)
    assert sink.heard == ["firing errors/eu", "firing region-down/eu"]
    sink.look(DOWN, times=30)
    assert sink.heard[2:] == ["resolved errors/eu"]


def test_other_regions_are_not_explained() -> None:
    sink = Sink()
    sink.look(DOWN, Finding("errors", "us"), times=20)
    assert sorted(sink.heard) == ["firing errors/us", "firing region-down/eu"]


def test_nothing_is_explained_by_what_matters_less() -> None:
    sink = Sink()
    sink.look(Finding("region-down", "eu", severity=Severity.WARNING), ERRORS, times=20)
    assert "firing errors/eu" in sink.heard


def test_a_chain_ends_at_its_root() -> None:
    sink = Sink()
    sink.look(Finding("coordinator-alone"), DOWN, LAG, times=60)
    assert sink.heard == ["firing coordinator-alone"]
    assert sink.cause("lag/eu") == sink.cause("region-down/eu") == "coordinator-alone"


def test_one_burning_budget_is_one_message() -> None:
    sink = Sink()
    burning = [
        Finding(rule, region, "checkout")
        for rule in ("budget-burning-fast", "budget-burning", "budget-burning-slowly")
        for region in ("", "eu", "us")
    ]
    sink.look(*burning, times=60)
    assert sink.heard == ["firing budget-burning-fast:checkout"]


def test_a_pending_cause_holds_back_for_a_while_only() -> None:
    rules = dict(RULES) | {"region-down": rules_of((AlertRule("region-down", for_ns=3600 * S),), ())["region-down"]}
    book, wall_ns, announced_at = Book(), 10**18, 0
    for second in range(1, 200):
        wall_ns += S
        book, _ = step(book, rules, Looked((DOWN, ERRORS)), Moment(S, wall_ns, "default"))
        alert = book.find("errors/eu")
        assert alert is not None
        if alert.announced and not announced_at:
            announced_at = second
    assert SETTLE_NS // S < announced_at < 90


NAMES = ("coordinator-alone", "region-down", "lag", "errors", "no-active-region", "metrics-absent", "link-lost")
FINDINGS = st.builds(
    Finding,
    st.sampled_from(NAMES),
    st.sampled_from(["eu", "us"]),
    severity=st.sampled_from([None, Severity.WARNING]),
)
LOOKS = st.tuples(
    st.sampled_from([1, 2, 5, 20, 70]),
    st.lists(FINDINGS, max_size=6, unique_by=lambda one: one.id),
    st.frozensets(st.tuples(st.sampled_from([*NAMES, ANY]), st.sampled_from(["eu", "us", ANY])), max_size=3),
)


@settings(max_examples=60)
@given(st.lists(LOOKS, max_size=6))
@example(
    [
        (20, [Finding("coordinator-alone", "eu"), DOWN], frozenset()),
        # What still fires for a moment was explained by what matters less now.
        (1, [Finding("coordinator-alone", "eu", severity=Severity.WARNING), ERRORS], frozenset()),
    ]
)
@example(
    [
        (20, [Finding("coordinator-alone", "eu"), DOWN], frozenset()),
        # What explained it matters less from now on, and another that would is pending.
        (
            1,
            [Finding("coordinator-alone", "eu", severity=Severity.WARNING), Finding("coordinator-alone", "us")],
            frozenset(),
        ),
    ]
)
def test_what_a_sink_hears_is_true_and_alternates(
    looks: list[tuple[int, list[Finding], frozenset[tuple[str, str]]]],
) -> None:
    sink = Sink()
    for times, held, unknown in looks:
        for _ in range(times):
            before = len(sink.heard)
            sink.look(*held, unknown=unknown)
            by_id = {alert.id: alert for alert in sink.book.alerts}
            for message in sink.heard[before:]:
                state, _, alert_id = message.partition(" ")
                assert by_id[alert_id].state.name.lower() == state, "never resolved while it fires, nor the reverse"
                assert by_id[alert_id].announced
            for alert in sink.book.alerts:
                if alert.cause_id and alert.state is AlertState.FIRING:
                    cause = by_id.get(alert.cause_id)
                    assert cause is None or cause.id != alert.id
                    if cause is not None and cause.state is AlertState.FIRING and not alert.alone_ns:
                        assert cause.severity >= alert.severity
                        order = grouping.order(cause, RULES), grouping.order(alert, RULES)
                        assert order[0] < order[1], "no circles"
    for alert_id in {message.partition(" ")[2] for message in sink.heard}:
        said = [message.partition(" ")[0] for message in sink.heard if message.endswith(f" {alert_id}")]
        # It fires anew without `resolved` in between only by becoming worse.
        changes = [word for number, word in enumerate(said) if number == 0 or word != said[number - 1]]
        assert changes == ["firing", "resolved"] * (len(changes) // 2) + ["firing"] * (len(changes) % 2)
    # Everything ends when nothing holds any more.
    sink.look(times=160, every_ns=5 * S)
    assert all(alert.state is AlertState.RESOLVED for alert in sink.book.alerts)
    firing = {alert_id for alert_id, word in sink.told.items() if not word.resolved}
    assert not firing, "what was told to fire is told to have ended"


def test_the_end_of_much_at_once_is_told_however_much_it_is() -> None:
    """A sink that was told of it is told of its end: also later than it is shown, and by another day's clock."""
    rules = rules_of((AlertRule("errors", threshold=Threshold("error_rate", above=0.1)),), ())
    many = tuple(Finding("errors", f"region-{number}") for number in range(RESOLVED_MAX + 50))
    told: dict[str, sending.Word] = {}
    book, wall_ns = Book(), 10**18
    for number in range(60):
        wall_ns += S if number != 40 else 3 * RESOLVED_NS_MAX
        owed = frozenset(alert_id for alert_id, word in told.items() if not word.resolved)
        held = many if number < 20 else ()
        book, _ = step(book, rules, Looked(held), Moment(S, wall_ns, "default", owed))
        told = sending.still_known(book.alerts, told)
        if number in (15, 50):
            news = sending.news(book.alerts, told)
            assert len(news) == len(many)
            told |= {alert.id: sending.word_of(alert) for alert in news}
    assert book.alerts == (), "once it is told, it is as old as it is"
