"""Whom a request for a read may go to, from a row of weights and what is known of the regions. Pure.

Agents, the coordinator and clients that pick by themselves all follow this.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from primacy_wire.picker import Picker

Row = tuple[tuple[str, float], ...]
"""(region, share)."""


def reachable_row(row: Row, endpoints: Mapping[str, str], fallback: Sequence[str]) -> tuple[Row, tuple[str, ...]]:
    """(the row that picks are made from, regions with a share that are passed over).

    A region whose endpoint nobody knows gets no request while another that may have it has one: the others of the row
    in proportion, else the first of `fallback`. Where no endpoint is known, services find each other by other means,
    and the row stays as it is.
    """
    missing = tuple(region for region, share in row if share > 0 and not endpoints.get(region))
    if not missing:
        return row, ()
    if any(share > 0 and endpoints.get(region) for region, share in row):
        return tuple((region, share if endpoints.get(region) else 0.0) for region, share in row), missing
    heir = next((region for region in fallback if endpoints.get(region)), "")
    if not heir:
        return row, ()
    return tuple((region, 1.0 if region == heir else 0.0) for region, _ in row), missing


def alternatives(
    picker: Picker,
    chosen: str,
    fallback: Iterable[str],
    endpoints: Mapping[str, str],
    unfit: Collection[str] = (),
) -> list[str]:
    """Where to try next: the others with a share, the largest first, then `fallback`; none that is unfit.

    None without an endpoint where any of them has one.
    """
    found = [region for region in (*picker.alternatives(chosen), *fallback) if region not in unfit and region != chosen]
    known = [region for region in found if endpoints.get(region)]
    return list(dict.fromkeys(known or found))
