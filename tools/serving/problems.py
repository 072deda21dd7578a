"""What the server refuses: a status code, and a body as OpenAI's clients expect it.

{"error": {"message": "file: not_audio: ...", "type": "invalid_request_error", "param": "file", "code": "not_audio"}}
"""

from collections.abc import Mapping
from typing import Any

from starlette import responses

from fm_lingvo import errors

CLIENT_GONE = 499  # Of a request whose client did not wait for the answer, in metrics alone; nginx's number.


class Problem(Exception):
  """Ends a request with an error that the client is told."""

  def __init__(
    self,
    status: int,
    message: object,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
  ) -> None:
    """Makes a problem.

    Args:
      status: HTTP's code.
      message: What, where and what was expected, in a line.
      param: Name of the form's field that is wrong, if one is.
      code: A short name for programs.
      headers: More headers of the answer.
    """
    super().__init__(errors.OneLine(message))
    self.status = status
    self.param = param
    self.code = code
    self.headers = headers

  def Json(self) -> dict[str, Any]:
    """Returns the body."""
    kind = 'server_error' if self.status >= 500 else _KINDS.get(self.status, 'invalid_request_error')
    return {'error': {'message': str(self), 'type': kind, 'param': self.param, 'code': self.code}}

  def Response(self) -> responses.JSONResponse:
    """Returns the answer."""
    return responses.JSONResponse(self.Json(), self.status, headers=self.headers)


_KINDS = {401: 'authentication_error', 403: 'permission_error', 429: 'rate_limit_error'}


class Wrong(Problem):
  """A field of the form, or a key of a message, that cannot be used."""

  def __init__(self, param: str, message: object) -> None:
    super().__init__(400, f'{param}: {message}', param=param, code='invalid_value')


class TooLarge(Problem):
  """A request with too large a body."""

  def __init__(self, most_bytes: int) -> None:
    message = f'file: the request has more than {most_bytes / 1e6:g} MB, the limit here'
    super().__init__(413, message, param='file', code='too_large')


class Ending(Problem):
  """The server is being stopped."""

  def __init__(self) -> None:
    super().__init__(503, 'the server is being stopped', code='ending', headers={'Connection': 'close'})


class Gone(Problem):
  """The client has closed the connection; nobody reads this."""

  def __init__(self) -> None:
    super().__init__(CLIENT_GONE, 'the client closed the connection', code='client_gone')
