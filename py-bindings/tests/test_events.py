"""Events are read from one line of JSON each, and a newer Drover's events do not stop an older script."""

import json
from dataclasses import FrozenInstanceError, asdict
from datetime import datetime, timedelta, timezone

import pytest

from aks_drover import events
from aks_drover._decode import timestamp

COMMON = {"seq": 3, "at": "2026-11-24T01:02:03.123456789Z", "elapsed_ms": 17, "run": "r-1"}


def read(**kind: object) -> events.Event:
    return events.read(json.dumps(COMMON | kind))


def test_an_event_can_be_matched_down_to_its_parts() -> None:
    gap = {
        "service": "shop/web",
        "begin": "2026-11-24T01:02:03Z",
        "end": "2026-11-24T01:02:05.5Z",
        "cause": "stage 4",
        "accepted": False,
    }
    match read(type="gap_closed", gap=gap):
        case events.GapClosed(seq=3, gap=found) if not found.accepted and found.end is not None:
            assert found.end - found.begin == timedelta(seconds=2.5)
        case other:
            pytest.fail(f"read as {other}")


def test_a_kind_of_tomorrow_is_kept_whole() -> None:
    event = read(type="teleported", pods=3)
    assert isinstance(event, events.Unknown)
    assert (event.seq, event.raw["type"], event.raw["pods"]) == (3, "teleported", 3)


def test_a_field_of_tomorrow_is_ignored() -> None:
    event = read(type="warning", message="m", colour="red")
    assert isinstance(event, events.Warning)
    assert event.message == "m"


def test_events_are_frozen_plain_data() -> None:
    event = read(type="progress", stage=2, done=1, total=4, unit="pods", waiting_for=["shop/web: 1 of 3"])
    with pytest.raises(FrozenInstanceError):
        event.seq = 4  # type: ignore[misc]
    assert asdict(event)["waiting_for"] == ("shop/web: 1 of 3",)


@pytest.mark.parametrize(
    ("text", "micros"), [("03Z", 0), ("03.5Z", 500_000), ("03.000001Z", 1), ("03.123456789Z", 123_456)]
)
def test_times_of_any_precision_are_read(text: str, micros: int) -> None:
    expected = datetime(2026, 11, 24, 1, 2, 3, micros, tzinfo=timezone.utc)
    assert timestamp(f"2026-11-24T01:02:{text}") == expected
