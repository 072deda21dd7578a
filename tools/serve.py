"""Serves trained runs over HTTP with OpenAI's transcription interface, and live over a WebSocket.

  python -m tools.serve
  python -m tools.serve runs/adapted
  python -m tools.serve english=runs/adapted hydra=runs/hydra --port=8080
  FM_SERVE_TOKEN=... python -m tools.serve runs/adapted --host=0.0.0.0
  curl http://127.0.0.1:8000/v1/audio/transcriptions -F file=@talk.mp3 -F response_format=srt

RUN is the folder of a run with a transducer or CTC head; without it the English model that the project ships is
served. Clients know it by the folder's name, or by NAME. The page / in a browser records from the microphone and takes
files. Requests are recognised together in batches, and give what tools.transcribe gives. docs/serving.md describes the
interface, the limits and the WebSocket.

The server listens on this machine alone, unless --host says otherwise; then it needs a token, in --token_file, a file
with one a line, or in the environment variable FM_SERVE_TOKEN. It speaks no TLS: put a proxy before it that does.
SIGTERM and Ctrl-C end it: it takes no more requests, finishes those that run, for --grace_seconds at most, and exits
with code 143 or 130. 2 is wrong usage, run or checkpoint.
"""

import os
import re
import sys

import numpy as np

from fm_lingvo import errors
from fm_lingvo.config import user_modules
from fm_lingvo.decoding import search_options
from fm_lingvo.utils import audio as audio_format
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import shipped

from .common import command_line
from .common import exit_codes
from .common import interrupts
from .common import run_flags
from .common import run_model
from .serving import limits as limits_lib

_EXTRA = ('multipart', 'prometheus_client', 'python_multipart', 'starlette', 'uvicorn', 'websockets')
_TOKEN_VARIABLE = 'FM_SERVE_TOKEN'
_NAME = re.compile(r'[\w.:-]+')
_ORIGIN = re.compile(r'[\w.+-]+://[^/\s]+|\*|null')  # As browsers send it, without a path; * for all, with a token.


def _Runs(given: list[str]) -> dict[str, str]:
  """Returns name -> folder of the runs that the command line names.

  Raises:
    errors.ConfigError: Two have the same name.
  """
  runs: dict[str, str] = {}
  for text in given:
    name, equals, path = text.partition('=')
    if not equals or not _NAME.fullmatch(name) or os.path.isdir(file_system.ExpandUser(text)):
      path, name = text, os.path.basename(os.path.abspath(file_system.ExpandUser(text)))
    if name in runs:
      raise errors.ConfigError(f'{text}: {name} is the name of {runs[name]} already; expected NAME=RUN')
    runs[name] = file_system.ExpandUser(path)
  return runs


def _Tokens(args):
  """Returns the tokens that let clients in.

  Raises:
    errors.ConfigError: They cannot be used, or there are none and others than this machine's users can connect.
  """
  from .serving import access

  tokens = access.ReadTokens(args.token_file) if args.token_file else ()
  variable = os.environ.get(_TOKEN_VARIABLE)
  if variable is not None:
    access.CheckTokens((variable,), _TOKEN_VARIABLE)
    tokens += (variable,)
  if tokens and args.no_token:
    raise errors.ConfigError(f'--no_token: expected neither --token_file nor {_TOKEN_VARIABLE} with it')
  if not tokens and not args.no_token and args.host not in access.LOOPBACK:
    raise errors.ConfigError(
      f'--host={args.host}: whoever reaches it could use it; expected --token_file or {_TOKEN_VARIABLE}, '
      'or --no_token if that is meant'
    )
  return tokens


def _WarmUp(model):
  """Recognises silence: TensorFlow prepares a graph when it first runs, which would take the first client's time."""
  second = np.zeros([audio_format.SAMPLE_RATE], np.int16)
  model.recognizer.Recognize([second])
  if model.can_stream:
    with model.stream() as stream:
      stream.accept(second, audio_format.SAMPLE_RATE)


def _Run(args):
  """Serves until a signal."""
  try:
    from .serving import access
    from .serving import app
    from .serving import process
  except ModuleNotFoundError as e:
    if e.name and e.name.partition('.')[0] in _EXTRA:
      raise errors.ConfigError(f"no module {e.name}: expected the extra serve, pip install 'fm_lingvo[serve]'") from e
    raise
  for origin in args.allow_origin:
    if not _ORIGIN.fullmatch(origin):
      raise errors.ConfigError(
        f'--allow_origin={origin}: expected an origin without a path, such as https://example.com'
      )
  limits = limits_lib.FromArgs(args)
  runs, tokens = _Runs(args.run), _Tokens(args)
  if '*' in args.allow_origin and not tokens:
    raise errors.ConfigError('--allow_origin=*: expected a token with it, or single origins')
  bound = process.Bind(args.host, args.port)  # A port that is taken is reported before the models are loaded.
  options = {'max_window': args.window_seconds, 'language': args.language}
  models = {name: run_model.Load(args, run, **options) for name, run in runs.items()}
  for model in models.values():
    _WarmUp(model)
  rules = access.Access(tokens, access.LOOPBACK if args.host in access.LOOPBACK else None, args.allow_origin)
  server = app.Server(models, limits, rules, args.allow_origin)
  process.Serve(server, bound, limits, args.access_log)


def _Parser():
  parser = command_line.Parser('serve', __doc__)
  parser.add_argument(
    'run',
    nargs='*',
    default=[shipped.MODEL],
    metavar='RUN',
    help='folder of a run with a transducer or CTC head, or NAME=FOLDER (default: the English model of the project)',
  )
  parser.add_argument('--host', default='127.0.0.1', help='address to listen on (default: 127.0.0.1)')
  parser.add_argument('--port', type=int, default=8000, help='port to listen on, 0: any (default: 8000)')
  parser.add_argument(
    '--token_file', type=file_system.ExpandUser, metavar='FILE', help='tokens that let clients in, one a line'
  )
  parser.add_argument('--no_token', action='store_true', help='let in whoever reaches --host')
  parser.add_argument(
    '--allow_origin',
    action='append',
    default=[],
    metavar='ORIGIN',
    help='pages whose scripts may use the server, such as https://example.com; repeatable (default: its own page)',
  )
  run_flags.AddAdapter(parser)
  run_flags.AddWeights(parser)
  run_flags.AddLanguage(parser)
  search_options.AddFlags(parser)
  user_modules.AddFlag(parser)
  parser.add_argument('--window_seconds', type=float, help="longest window (default: the run's max_seconds)")
  parser.add_argument('--access_log', action='store_true', help='write a line for each request to standard error')
  limits_lib.AddFlags(parser.add_argument_group('limits'))
  return parser


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  args = _Parser().parse_args((argv or sys.argv)[1:])
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  interrupts.Raise()
  return exit_codes.Report('serve', lambda: _Run(args), interrupted=None)


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
