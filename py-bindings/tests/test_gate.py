"""A gate is refused when it is given, not in the middle of the night when it is asked."""

import functools
import json
from typing import Any

import pytest

from aks_drover.model import Question
from aks_drover.run import checked, checked_probes

ASKED = json.dumps({"id": "gap-shop/web", "text": "go on?"})


async def awaits(question: Question) -> bool:
    return True


class AwaitsWhenCalled:
    async def __call__(self, question: Question) -> bool:
        return True


@pytest.mark.parametrize("gate", [awaits, AwaitsWhenCalled(), functools.partial(awaits)])
def test_an_async_gate_is_refused_with_the_reason(gate: Any) -> None:
    with pytest.raises(TypeError, match="plain function: there is no event loop"):
        checked(gate)


def test_a_gate_that_cannot_be_called_is_refused() -> None:
    gate: Any = True
    with pytest.raises(TypeError, match="must be callable, not bool"):
        checked(gate)


def test_a_gate_is_asked_with_a_question() -> None:
    asked: list[Question] = []

    def gate(question: Question) -> bool:
        asked.append(question)
        return True

    ask = checked(gate)
    assert ask is not None
    assert ask(ASKED) is True
    assert asked == [Question(id="gap-shop/web", text="go on?")]


@pytest.mark.parametrize("answer", [None, "no", 1])
def test_an_answer_that_is_not_a_bool_is_no_answer(answer: Any) -> None:
    ask = checked(lambda question: answer)
    assert ask is not None
    with pytest.raises(TypeError, match="must return True"):
        ask(ASKED)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (True, (True, "all is well")),
        (False, (False, "it returned False")),
        ("cart: 500", (False, "cart: 500")),
    ],
)
def test_a_probe_says_whether_all_is_well_and_else_what_is_not(answer: Any, said: tuple[bool, str]) -> None:
    assert checked_probes({"smoke": lambda: answer})["smoke"]() == said


@pytest.mark.parametrize("answer", [None, 1])
def test_a_probe_that_returns_something_else_has_not_answered(answer: Any) -> None:
    with pytest.raises(TypeError, match="a probe must return True, False or a text"):
        checked_probes({"smoke": lambda: answer})["smoke"]()


def test_what_cannot_be_a_probe_is_refused_with_its_name() -> None:
    awaits_nothing: Any = AwaitsWhenCalled()
    with pytest.raises(TypeError, match="probe 'smoke' must be a plain function"):
        checked_probes({"smoke": awaits_nothing})
    assert checked_probes(None) == {}
