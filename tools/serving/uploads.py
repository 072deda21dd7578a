"""Reads a form with a file from a request: the file goes to disk as it comes, and everything has a bound."""

import asyncio
import contextlib
import dataclasses
import re
import tempfile
from collections.abc import AsyncIterator
from typing import IO

from python_multipart import exceptions as multipart_exceptions
from python_multipart import multipart
from starlette import types
from starlette.datastructures import Headers

from . import problems

_FIELD_BYTES = 65536  # Of the value of a field that is no file.
_MAX_FIELDS = 64
_WRITE_BYTES = 1 << 20  # Sound is written in pieces of this size, in a thread.
_DISCARD_SECONDS = 5.0


@dataclasses.dataclass
class Form:
  """The fields of a form, and its file."""

  fields: list[tuple[str, str]] = dataclasses.field(default_factory=list)
  file: IO[bytes] | None = None  # A temporary file with a name, whose extension is the client's.
  file_name: str = ''  # As the client calls it.
  file_field: str = ''

  def Close(self) -> None:
    """Deletes the file."""
    if self.file is not None:
      with contextlib.suppress(FileNotFoundError):
        self.file.close()


class Body:
  """The body of a request, which is read at most once."""

  def __init__(self, receive: types.Receive, headers: Headers, most_bytes: int) -> None:
    self._receive = receive
    self._headers = headers
    self._most_bytes = most_bytes
    self._is_read = False
    self._is_begun = False

  async def Chunks(self) -> AsyncIterator[bytes]:
    """Yields the body.

    Raises:
      problems.Problem: It is too large, or the client is gone.
    """
    declared = self._headers.get('content-length', '')
    if declared.isascii() and declared.isdigit() and int(declared) > self._most_bytes:
      raise problems.TooLarge(self._most_bytes)
    total = 0
    async for chunk in self._Read():
      total += len(chunk)
      if total > self._most_bytes:
        raise problems.TooLarge(self._most_bytes)
      yield chunk

  async def Discard(self) -> None:
    """Reads what is left, for some seconds, so that a client that still sends can read the answer."""
    if self._headers.get('expect') and not self._is_begun:
      return  # It waits for our word before it sends.
    with contextlib.suppress(asyncio.TimeoutError, problems.Problem):
      await asyncio.wait_for(self._ReadAll(), _DISCARD_SECONDS)

  async def WaitUntilGone(self) -> None:
    """Returns once the client has closed the connection; call it when the body is read."""
    while (await self._receive())['type'] != 'http.disconnect':
      pass

  async def _ReadAll(self) -> None:
    async for _ in self._Read():
      pass

  async def _Read(self) -> AsyncIterator[bytes]:
    while not self._is_read:
      self._is_begun = True
      message = await self._receive()
      if message['type'] == 'http.disconnect':
        self._is_read = True
        raise problems.Gone()
      self._is_read = not message.get('more_body', False)
      yield message.get('body', b'')


async def Read(body: Body, headers: Headers, seconds: float) -> Form:
  """Reads a form.

  Args:
    body: The request's.
    headers: The request's.
    seconds: Most time for it.

  Returns:
    A Form, which the caller closes.

  Raises:
    problems.Problem: It is no form with at most one file, too large or too slow, the client is gone, or the disk is
      full.
  """
  kind, options = multipart.parse_options_header(headers.get('content-type', ''))
  if kind != b'multipart/form-data' or not options.get(b'boundary'):
    raise problems.Problem(
      415, 'expected a form with a file: Content-Type: multipart/form-data; boundary=...', code='no_form'
    )
  try:
    reader = _Reader(options[b'boundary'])
  except multipart_exceptions.FormParserError as e:
    raise problems.Problem(400, f'malformed form: {e}', code='malformed_form') from e
  is_done = False
  try:
    await asyncio.wait_for(_Fill(reader, body), seconds)
    is_done = True
    return reader.form
  except asyncio.TimeoutError as e:
    raise problems.Problem(408, f'the request did not arrive within {seconds:g} s', code='upload_timeout') from e
  except multipart_exceptions.FormParserError as e:
    raise problems.Problem(400, f'malformed form: {e}', code='malformed_form') from e
  except OSError as e:
    raise problems.Problem(507, f'the upload cannot be stored: {e.strerror or e}', code='no_space') from e
  finally:
    if not is_done:
      reader.form.Close()


async def _Fill(reader: '_Reader', body: Body) -> None:
  """Gives a reader the whole body."""
  async for chunk in body.Chunks():
    reader.Add(chunk)
    if len(reader.unwritten) >= _WRITE_BYTES:
      await asyncio.to_thread(reader.Write)
  await asyncio.to_thread(reader.Finish)


class _Reader:
  """Takes a form apart while it comes."""

  def __init__(self, boundary: bytes) -> None:
    self.form = Form()
    self.unwritten = bytearray()  # The end of the file, which is not on disk yet.
    self._header = [b'', b'']  # Name and value of the one that is being read.
    self._disposition = b''
    self._name = ''
    self._value: bytearray | None = None  # Of a field; None: in a file.
    self._is_complete = False
    callbacks: multipart.MultipartCallbacks = {
      'on_part_begin': self._Begin,
      'on_header_field': lambda data, start, end: self._Header(0, data[start:end]),
      'on_header_value': lambda data, start, end: self._Header(1, data[start:end]),
      'on_header_end': self._HeaderEnd,
      'on_headers_finished': self._HeadersEnd,
      'on_part_data': lambda data, start, end: self._Data(data[start:end]),
      'on_part_end': self._End,
      'on_end': self._Complete,
    }
    self._parser = multipart.MultipartParser(boundary, callbacks)

  def Add(self, chunk: bytes) -> None:
    """Takes the next bytes of the body."""
    self._parser.write(chunk)

  def Write(self) -> None:
    """Writes to disk what is not there yet."""
    if self.form.file is not None:
      self.form.file.write(self.unwritten)
      self.unwritten.clear()

  def Finish(self) -> None:
    """Ends the form.

    Raises:
      problems.Problem: It is not complete.
    """
    if not self._is_complete:
      raise problems.Problem(400, 'malformed form: it ends before its last boundary', code='malformed_form')
    self.Write()
    if self.form.file is not None:
      self.form.file.flush()

  def _Begin(self) -> None:
    self._header, self._disposition = [b'', b''], b''

  def _Header(self, part: int, data: bytes) -> None:
    self._header[part] += data
    if len(self._header[part]) > _FIELD_BYTES:
      raise problems.Problem(400, 'malformed form: a header of a part is too long', code='malformed_form')

  def _HeaderEnd(self) -> None:
    if self._header[0].lower() == b'content-disposition':
      self._disposition = self._header[1]
    self._header = [b'', b'']

  def _HeadersEnd(self) -> None:
    _, options = multipart.parse_options_header(self._disposition)
    if b'name' not in options:
      raise problems.Problem(400, 'malformed form: a part without a name', code='malformed_form')
    self._name = options[b'name'].decode(errors='replace')
    self._value = None if b'filename' in options else bytearray()
    if self._value is not None:
      if self._name == 'file':
        raise problems.Wrong('file', 'a part without filename="..."; expected a file, curl: -F file=@talk.wav')
      return
    if self.form.file is not None:
      raise problems.Wrong(self._name, f'a second file; expected one, {self.form.file_field} is there already')
    self.form.file_name = options[b'filename'].decode(errors='replace')
    self.form.file_field = self._name
    extension = re.search(r'\.[A-Za-z0-9]{1,8}$', self.form.file_name)
    self.form.file = tempfile.NamedTemporaryFile(prefix='fm-serve-', suffix=extension.group() if extension else '')

  def _Data(self, data: bytes) -> None:
    if self._value is None:
      self.unwritten += data
    elif len(self._value) + len(data) > _FIELD_BYTES:
      raise problems.Wrong(self._name, f'more than {_FIELD_BYTES} bytes')
    else:
      self._value += data

  def _End(self) -> None:
    if self._value is None:
      return
    if len(self.form.fields) == _MAX_FIELDS:
      raise problems.Problem(400, f'more than {_MAX_FIELDS} fields', code='malformed_form')
    self.form.fields.append((self._name, self._value.decode(errors='replace')))

  def _Complete(self) -> None:
    self._is_complete = True
