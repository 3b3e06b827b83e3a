"""MADSci's EventClient at arm's length: it runs in its own environment, its methods are called from here."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.processes import Process, ProcessEnded
from tests.server.madsci_clients.environments import Generation, environment_of

DRIVER = Path(__file__).with_name("driver.py")


class MadsciError(Exception):
    """What MADSci's client raised. `status` is that of the HTTP answer, None where there was none."""

    def __init__(self, kind: str, status: int | None, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.status = status
        self.text = text


@dataclass(frozen=True)
class Named:
    """An Event of MADSci's, alive in its process: the same object each time it is passed."""

    name: str
    fields: dict[str, Any] = field(compare=False)

    @property
    def event_id(self) -> str:
        found: str = self.fields["event_id"]
        return found


class MadsciClient:
    """An EventClient of one generation. Each call returns when all it sends has been answered.

    A call raises MadsciError for what the client raises, and AssertionError when it lost an event.
    """

    def __init__(self, generation: Generation, folder: Path, **keywords: Any) -> None:
        self.generation = generation
        self._folder = folder
        self._keywords = {"name": "tests", "log_dir": str(folder / "logs"), **keywords}

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = Process([environment_of(self.generation), DRIVER], cwd=self._folder)
        self._answered = 0
        self._order(client=self._keywords)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._process:
            pass

    def event(self, **fields: Any) -> Named:
        """A new Event there, as MADSci fills it in."""
        name = f"event{self._answered}"
        return Named(name, self._order(event=name, fields=fields))

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """What the client's method of that name returns, its models as JSON."""
        passed = [{"$event": argument.name} if isinstance(argument, Named) else argument for argument in args]
        return self._order(call=method, args=passed, kwargs=kwargs)

    def run(self, program: str) -> None:
        """Run a program there."""
        self._order(run=program)

    def _order(self, **order: Any) -> Any:
        self._process.send_line(json.dumps(order))
        answer = self._next_answer()
        assert answer["lost"] == [], f"MADSci's client lost an event in {order}: {answer['lost']}"
        if "error" in answer:
            raise MadsciError(answer["error"], answer["status"], answer["text"])
        return answer["answer"]

    def _next_answer(self) -> dict[str, Any]:
        try:
            line = self._process.stdout.line(self._answered)
        except ProcessEnded as ended:
            raise ProcessEnded(self._process.said) from ended
        self._answered += 1
        answer: dict[str, Any] = json.loads(line)
        return answer
