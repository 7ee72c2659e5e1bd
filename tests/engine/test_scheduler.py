"""Who gets the next token."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from animoe.engine import ClipRequest, Engine, SessionRequest
from animoe.engine.cache import Cohort, Place, Places
from animoe.engine.scheduler import MOST_DRAWS, MOST_POSITIONS, MOST_ROWS, URGENT_S, Pull, Scheduler
from animoe.errors import Unavailable

SHAPE = (1, 1, 2)
LATE = 1000.0  # far from urgent


def pull(deadline_s: float, cohort: Cohort | None = None, *, new: int = 1, draws: int = 1) -> Pull:
    """`cohort` None is a fresh window of `new` positions."""
    inputs: Any = SimpleNamespace(
        slots=np.zeros(new), positions=np.arange(new) + (5 if cohort else 0), uniforms=np.zeros((draws, 1))
    )
    place = Place(cohort or Cohort(SHAPE, 1, 1), 0)
    row: Any = SimpleNamespace(inputs=inputs, place=place)
    nobody: Any = None
    return Pull(nobody, row, deadline_s, 0, None, Future())


def cohort_of(members: int) -> Cohort:
    places = Places(SHAPE, 64, 4)
    return [places.take() for _ in range(members)][0].cohort


def filled(*pulls: Pull) -> Scheduler:
    scheduler = Scheduler()
    for one in pulls:
        scheduler.add(one)
    return scheduler


def is_due(scheduler: Scheduler, now: float = 0.0) -> bool:
    """Whether it would not wait at `now`."""
    return scheduler._delay_s(now) <= 0


class TestOrder:
    def test_the_earliest_deadline_goes_first(self) -> None:
        a, b = cohort_of(9), cohort_of(9)
        later, sooner, with_sooner = pull(3.0, a), pull(1.0, b), pull(2.0, b)
        scheduler = filled(later, with_sooner, sooner)
        assert scheduler.take() == [sooner, with_sooner]
        assert scheduler.take() == [later]
        assert scheduler.take() == []

    def test_equal_deadlines_are_served_in_the_order_of_asking(self) -> None:
        cohort = cohort_of(2)
        first, second = pull(1.0, cohort), pull(1.0, cohort)
        assert filled(first, second).take() == [first, second]

    def test_fresh_windows_of_one_length_share_a_step_and_no_token_joins_them(self) -> None:
        short, long, short_too, token = pull(1.0, new=5), pull(2.0, new=17), pull(3.0, new=5), pull(1.5, cohort_of(9))
        assert filled(short, long, short_too, token).take() == [short, short_too]

    def test_a_complete_cohort_goes_before_one_that_can_wait(self) -> None:
        waiting, complete = pull(LATE, cohort_of(9)), pull(LATE + 0.01, cohort_of(1))
        assert filled(waiting, complete).take() == [complete]

    def test_but_not_before_one_whose_motion_runs_out(self) -> None:
        urgent, complete = pull(1.0, cohort_of(9)), pull(1.0 + 2 * URGENT_S, cohort_of(1))
        assert filled(complete, urgent).take() == [urgent]

    def test_a_step_holds_so_much_and_no_more(self) -> None:
        cohort = cohort_of(64)
        assert len(filled(*(pull(1.0, cohort) for _ in range(100))).take()) == MOST_ROWS
        assert len(filled(*(pull(1.0, new=17) for _ in range(100))).take()) == MOST_POSITIONS // 17
        assert len(filled(*(pull(1.0, new=5, draws=16) for _ in range(100))).take()) == MOST_DRAWS // 16


class TestWaiting:
    def test_a_token_waits_for_company_until_it_is_urgent(self) -> None:
        scheduler = filled(pull(1.0, cohort_of(9)))
        assert not is_due(scheduler)
        assert is_due(scheduler, 1.0 - URGENT_S)

    def test_nobody_waits_once_most_of_the_cohort_has_asked(self) -> None:
        cohort = cohort_of(10)
        assert not is_due(filled(*(pull(LATE, cohort) for _ in range(8))))
        assert is_due(filled(*(pull(LATE, cohort) for _ in range(9))))

    def test_a_step_full_of_fresh_windows_does_not_wait(self) -> None:
        assert not is_due(filled(pull(LATE, new=5, draws=8)))
        assert is_due(filled(*(pull(LATE, new=5, draws=8) for _ in range(MOST_DRAWS // 8))))

    def test_it_says_when_nothing_was_asked_for(self) -> None:
        assert not Scheduler().wait(lambda: 0.0, 0.01)

    def test_closing_wakes_whoever_waits_and_returns_what_was_left(self) -> None:
        left = pull(LATE, cohort_of(9))
        scheduler, answers = filled(left), []
        waiter = threading.Thread(target=lambda: answers.append(scheduler.wait(lambda: 0.0, 10.0)))
        waiter.start()
        assert scheduler.close() == [left]
        waiter.join(5)
        assert answers == [False]


class TestPlaces:
    def test_the_lowest_place_is_given_first_and_again(self) -> None:
        places = Places(SHAPE, 2, 4)
        a, b, c = places.take(), places.take(), places.take()
        assert (a.row, b.row, c.row) == (0, 1, 0) and a.cohort is b.cohort is not c.cohort
        places.give_back(a)
        assert (places.used(a.cohort), places.taken(), a.cohort.members) == (2, 2, 1)
        again = places.take()
        assert (again.cohort, again.row) == (a.cohort, 0)

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
