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


def Wrong(param: str, message: object) -> Problem:
  """A field of the form that cannot be used."""
  return Problem(400, f'{param}: {message}', param=param, code='invalid_value')


def Gone() -> Problem:
  """The client has closed the connection; nobody reads this."""
  return Problem(CLIENT_GONE, 'the client closed the connection', code='client_gone')


def TooLarge(most_bytes: int) -> Problem:
  return Problem(
    413, f'file: the request has more than {most_bytes / 1e6:g} MB, the limit here', param='file', code='too_large'
  )
