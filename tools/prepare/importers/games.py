"""Imports acted English speech out of three adventure games: Debian packages, fetched by apt, or from --input=DIR."""

import os
import re

from fm_lingvo.utils import suggest

from ...common import exit_codes
from .. import importers
from ..import_helpers import packages
from ..import_helpers.games import drascula
from ..import_helpers.games import queen
from ..import_helpers.games import sky

GAMES = {'sky': sky, 'drascula': drascula, 'queen': queen}
OPTIONS = ('input', importers.Option('games', ','.join(GAMES), 'Which games, some of these, comma-separated.'))
# Of the lines with text: at least 1.2 h and 10,000 words of all three games for the test, 0.3 h for dev.
TEST_SHARE, DEV_SHARE = 0.185, 0.045
NOTICE = 'Modified version: sounds and texts extracted from the game {0}, (C) {1}, for training speech recognition.'


def Import(options):
  """Lists the lines of the games, with the texts of their scripts.

  The id is GAME/NAME, the speaker GAME/CHARACTER. Lines with text are in the domain games/GAME; a hash of their words
  decides about the split, so that no transcript stands on both sides. Voices whose words the game does not have are in
  games_unlabeled/GAME, for training. Effects, noises, mumbled and wrongly cut lines are rejected with their reason.

  Raises:
    exit_codes.UsageError: A game is unknown, apt cannot fetch it, --input lacks it, or its files are not as expected.
  """
  chosen = [name.strip() for name in options.own.get('games', ','.join(GAMES)).split(',')]
  for name in chosen:
    if name not in GAMES:
      raise exit_codes.UsageError(f'--games={name}: expected some of {", ".join(GAMES)}{suggest.Hint(name, GAMES)}')
  root = packages.Root('games', options.input, [GAMES[name].PACKAGE for name in chosen])
  folders = packages.FoldersWith(root, {GAMES[name].KEY_FILE for name in chosen})
  listing = importers.Listing()
  for name in chosen:
    game = GAMES[name]
    if game.KEY_FILE not in folders:
      raise exit_codes.UsageError(f'{root}: no {game.KEY_FILE} below it, of the game {name} ({game.PACKAGE})')
    try:
      lines = list(game.Lines(folders[game.KEY_FILE]))
    except (ValueError, OSError) as e:
      raise exit_codes.UsageError(f'game {name}: {e}') from e
    _Add(listing, name, lines)
    listing.notes[f'games/{name}'] = {
      'license': packages.Licenses(root, game.PACKAGE),
      'notice': NOTICE.format(game.PACKAGE, game.HOLDER),
    }
  return listing


def _Add(listing, game, lines):
  for line in lines:
    utt_id = f'{game}/{os.path.splitext(line.member)[0]}'
    if line.reason:
      listing.Reject(utt_id, line.source, line.reason, line.detail)
      continue
    kind, split = ('games', SplitOf(line.text)) if line.text else ('games_unlabeled', 'train')
    listing.utterances.append(
      importers.Utterance(
        utt_id,
        line.text,
        f'{game}/{line.speaker}',
        f'{kind}/{game}',
        line.source,
        split=split,
        language='en',
        container=line.container,
        member=line.member,
      )
    )


def SplitOf(text):
  """Returns the split of a text; it depends only on the letters and digits."""
  share = importers.Uniform('games', re.sub(r'[\W_]', '', text.lower()))
  return 'test' if share < TEST_SHARE else 'dev' if share < TEST_SHARE + DEV_SHARE else 'train'
