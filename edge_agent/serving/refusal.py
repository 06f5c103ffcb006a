"""What a neighbour is told when its question is not answered: a status, the cause naming the field, and the cure."""

from http import HTTPStatus

from edge_agent.errors import AgentError


class Refusal(AgentError):
    """A question that gets no answer. `headers` go out with it; after `closes` the connection ends."""

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        hint: str = "",
        *,
        headers: tuple[tuple[str, str], ...] = (),
        closes: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.headers = headers
        self.closes = closes
