"""Who gets the next token."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from animoe.engine import ClipRequest, Engine, SessionRequest
from animoe.engine.places import Place, Places
from animoe.engine.scheduler import MOST_DRAWS, MOST_POSITIONS, MOST_ROWS, MOST_URGENT_S, Pull, Scheduler
from animoe.errors import Unavailable

LATE = 1000.0  # far from urgent


def pull(deadline_s: float, members: int | None = None, *, new: int = 1, draws: int = 1, of: str = "") -> Pull:
    """A token of one of so many who can share its step; None is a fresh window, of which any number may come."""
    inputs: Any = SimpleNamespace(slots=np.zeros(new), uniforms=np.zeros((draws, 1)))
    row: Any = SimpleNamespace(inputs=inputs)
    nobody: Any = None
    return Pull(nobody, row, deadline_s, new if members is None else (members, of), 0, None, Future())


def company(kind: object) -> float:
    return kind[0] if isinstance(kind, tuple) else math.inf


def filled(*pulls: Pull) -> Scheduler:
    scheduler = Scheduler(company)
    for one in pulls:
        scheduler.add(one)
    return scheduler


def is_due(scheduler: Scheduler, now: float = 0.0) -> bool:
    """Whether it would not wait at `now`."""
    return scheduler._delay_s(now) <= 0


class TestOrder:
    def test_the_earliest_deadline_goes_first(self) -> None:
        later, sooner, with_sooner = pull(3.0, 9, of="a"), pull(1.0, 9, of="b"), pull(2.0, 9, of="b")
        scheduler = filled(later, with_sooner, sooner)
        assert scheduler.take() == [sooner, with_sooner]
        assert scheduler.take() == [later]
        assert scheduler.take() == []

    def test_equal_deadlines_are_served_in_the_order_of_asking(self) -> None:
        first, second = pull(1.0, 2), pull(1.0, 2)
        assert filled(first, second).take() == [first, second]

    def test_fresh_windows_of_one_length_share_a_step_and_no_token_joins_them(self) -> None:
        short, long, short_too, token = pull(1.0, new=5), pull(2.0, new=17), pull(3.0, new=5), pull(1.5, 9)
        assert filled(short, long, short_too, token).take() == [short, short_too]

    def test_a_complete_cohort_goes_before_one_that_can_wait(self) -> None:
        waiting, complete = pull(LATE, 9), pull(LATE + 0.01, 1)
        assert filled(waiting, complete).take() == [complete]

    def test_but_not_before_one_whose_motion_runs_out(self) -> None:
        urgent, complete = pull(1.0, 9), pull(1.0 + 2 * MOST_URGENT_S, 1)
        assert filled(complete, urgent).take() == [urgent]

    def test_a_step_holds_so_much_and_no_more(self) -> None:
        assert len(filled(*(pull(1.0, 64) for _ in range(100))).take()) == MOST_ROWS
        assert len(filled(*(pull(1.0, new=17) for _ in range(100))).take()) == MOST_POSITIONS // 17
        assert len(filled(*(pull(1.0, new=5, draws=16) for _ in range(100))).take()) == MOST_DRAWS // 16


class TestWaiting:
    def test_a_token_waits_for_company_until_it_is_urgent(self) -> None:
        scheduler = filled(pull(1.0, 9))
        assert not is_due(scheduler)
        assert is_due(scheduler, 1.0 - MOST_URGENT_S)

    def test_how_late_is_urgent_follows_the_machine(self) -> None:
        scheduler = filled(pull(1.0, 9))
        for _ in range(300):
            scheduler.took(0.02)
        assert scheduler.urgent_s == pytest.approx(0.04)
        assert not is_due(scheduler, 0.95) and is_due(scheduler, 0.97)
        scheduler.took(0.05)
        assert scheduler.urgent_s == pytest.approx(0.1)
        scheduler.took(9.0)
        assert scheduler.urgent_s == MOST_URGENT_S

    def test_nobody_waits_once_most_of_the_cohort_has_asked(self) -> None:
        assert not is_due(filled(*(pull(LATE, 10) for _ in range(8))))
        assert is_due(filled(*(pull(LATE, 10) for _ in range(9))))

    def test_a_step_full_of_fresh_windows_does_not_wait(self) -> None:
        assert not is_due(filled(pull(LATE, new=5, draws=8)))
        assert is_due(filled(*(pull(LATE, new=5, draws=8) for _ in range(MOST_DRAWS // 8))))

    def test_it_says_when_nothing_was_asked_for(self) -> None:
        assert not Scheduler(company).wait(lambda: 0.0, 0.01)

    def test_closing_wakes_whoever_waits_and_returns_what_was_left(self) -> None:
        left = pull(LATE, 9)
        scheduler, answers = filled(left), []
        waiter = threading.Thread(target=lambda: answers.append(scheduler.wait(lambda: 0.0, 10.0)))
        waiter.start()
        assert scheduler.close() == [left]
        waiter.join(5)
        assert answers == [False]


class TestPlaces:
    def test_the_lowest_place_is_given_first_and_again(self) -> None:
        places = Places(object, 2)
        a, b, c = places.take(), places.take(), places.take()
        assert (a.row, b.row, c.row) == (0, 1, 0) and a.cohort is b.cohort is not c.cohort
        places.give_back(a)
        assert (places.used(a.cohort), places.taken(), places.taken(a.cohort)) == (2, 2, 1)
        again = places.take()
        assert (again.cohort, again.row) == (a.cohort, 0)

    def test_garbage_collection_may_give_one_back_at_any_moment(self) -> None:
        """It runs in whatever thread makes an object, also in one that takes a place just then."""
        held: list[Place] = []

        def make() -> object:
            if held:
                places.give_back(held.pop())
            return object()

        places = Places(make, 1)
        held.append(places.take())
        first = held[0]
        taken: list[Place] = []
        thread = threading.Thread(target=lambda: taken.append(places.take()), daemon=True)
        thread.start()
        thread.join(5)
        assert taken and taken[0].cohort is not first.cohort
        assert places.take().cohort is first.cohort

    def test_a_session_that_nobody_holds_gives_its_place_back(self, engine: Engine) -> None:
        before = engine._runtime.places.taken()
        session = engine.open_session(SessionRequest("a person walks"))
        session.next_block()
        assert engine._runtime.places.taken() == before + 1
        del session
        assert engine._runtime.places.taken() == before


class TestEngine:
    def test_an_error_in_a_step_reaches_everybody_who_waits_and_the_engine_goes_on(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(batch: Any) -> Any:
            raise ZeroDivisionError("a bug")

        session = engine.open_session(SessionRequest("a person walks"))
        with monkeypatch.context() as patch:
            patch.setattr(engine._runtime, "step", broken)
            with pytest.raises(ZeroDivisionError):
                session.next_block()
        assert [session.next_block().first_frame for _ in range(3)] == [0, 4, 8]
        assert next(engine.generate(ClipRequest("a person walks", 1.0))).frame_count == 4

    def test_a_closed_engine_makes_nothing_more(self, bundle: Any) -> None:
        engine = Engine.load(bundle)
        session = engine.open_session(SessionRequest("a person walks"))
        asked: Callable[[], Any] = lambda: session.ask_block(session.clock() + LATE)  # noqa: E731
        waiting = asked()
        engine.close()
        engine.close()
        assert waiting.cancelled() or waiting.done()
        with pytest.raises(Unavailable, match="closed"):
            asked()
