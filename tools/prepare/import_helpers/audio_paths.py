"""Paths of recordings as files name them: where they may lead, and the ids that are made of them."""

import collections
import functools
import os
import re
import unicodedata

from fm_lingvo.utils import audio_extensions
from fm_lingvo.utils import files as file_system

from ...common import files

_TRANSCRIPTS = ('.lab', '.txt')
# Extensions of files beside recordings that are no audio; a file with any other extension may be some.
_OTHER = frozenset(
  '.bib .bz2 .cfg .conf .csv .ctm .db .doc .docx .eaf .gif .gz .htm .html .ini .jpeg .jpg .json .jsonl .log .m3u .md '
  '.npy .npz .ods .odt .pdf .pickle .pkl .png .pt .py .rst .rttm .scp .sh .srt .stm .svg .tar .tex .textgrid '
  '.tfrecord .tgz .toml .tsv .uem .vtt .xls .xlsx .xml .xz .yaml .yml .zip'.split()
)
_OTHER_NAMES = frozenset('authors changelog copying license makefile notice readme sha256sums thumbs.db'.split())
_HERE = re.compile(r'^(\./+)+')


@functools.lru_cache(maxsize=65536)
def _RealFolder(folder):
  return os.path.realpath(folder)


def _IsInside(path, roots):
  """Returns whether a local or remote path is in one of the folders; as files.IsInside, for many paths of a folder."""
  if file_system.IsRemote(path) or '\0' in path or os.path.islink(path):
    return any(files.IsInside(path, root) for root in roots)
  folder, name = os.path.split(path)
  if name in ('', '.', '..'):
    return any(files.IsInside(path, root) for root in roots)
  real = _RealFolder(folder)
  local = [_RealFolder(root) for root in roots if not file_system.IsRemote(root)]
  return any(real == root or real.startswith(root.rstrip('/') + '/') for root in local)


def Resolve(listing, utt_id, where, path, options):
  """Returns the path of a recording that a text file names.

  Args:
    listing: importers.Listing; gets the reject.
    utt_id: Id of the utterance, for the reject.
    where: `FILE:LINE` or FILE with the path; the folder of FILE is where relative paths begin.
    path: As the file has it: relative, absolute or remote.
    options: importers.Options; with symbolic links resolved, the recording must be in the folder of FILE or in one of
      options.audio_roots, because such a file is not trusted.

  Returns:
    The path, or None if it leads elsewhere: then the utterance is rejected as `outside`.
  """
  file, _, line = where.rpartition(':')
  folder = os.path.dirname(file if line.isdigit() else where)
  source = path if file_system.IsRemote(path) else os.path.join(folder, path)
  roots = [folder if file_system.IsRemote(folder) else folder or '.', *options.audio_roots]
  if _IsInside(source, roots):
    return source
  listing.Reject(utt_id, source, 'outside', f'{where}: not in {", ".join(roots)}; --audio_roots allows other folders')
  return None


def Stem(path):
  """Returns a path without the extension of an audio format; `rec.001` has none."""
  stem, extension = os.path.splitext(path)
  return stem if extension.lower() in audio_extensions.ALL else path


def IsTranscript(name):
  """Whether a file in a folder of audio is a transcript."""
  return os.path.splitext(name)[1].lower() in _TRANSCRIPTS


def NameKey(name):
  """Returns what is equal for names that look alike: some systems write an accent as a character of its own (NFD)."""
  return unicodedata.normalize('NFC', name)


def Transcripts(names):
  """Returns {NameKey of a name without .txt or .lab: [names]} of the transcripts among the files of a folder."""
  found = collections.defaultdict(list)
  for name in filter(IsTranscript, names):
    found[NameKey(os.path.splitext(name)[0])].append(name)
  return found


def MayBeAudio(name):
  """Whether a file in a folder of audio may be audio: all are but transcripts and those that are plainly not."""
  extension = os.path.splitext(name)[1].lower()
  return extension not in _OTHER and extension not in _TRANSCRIPTS and name.lower() not in _OTHER_NAMES


class UtteranceIds:
  """Makes ids of the paths of recordings, and different ones for different recordings and parts."""

  def __init__(self):
    self._recordings = {}  # Name -> (folder, path) of the recording that has it.

  def Make(self, path, offset=0.0, seconds=None, channel=None, folder=''):
    """Returns the id of an utterance.

    It is the path without leading `./` and without the extension of an audio format; with the extension, or the name
    of the folder before it, where another recording has that name. `@START-END` in milliseconds follows for a part,
    `#CHANNEL` for one channel.

    Args:
      path: Path of the recording as written.
      offset: Start of the part in seconds.
      seconds: Length of the part, None: up to the end.
      channel: Channel from 0, or None.
      folder: Folder where relative paths begin.
    """
    path = _HERE.sub('', path.replace('\\', '/'))
    inside = os.path.join(os.path.basename(folder.rstrip('/')), path)
    names = (Stem(path), path, Stem(inside), inside, os.path.join(folder, path))
    name = next((n for n in names if self._recordings.setdefault(n, (folder, path)) == (folder, path)), names[-1])
    if offset > 0 or seconds is not None:
      end = '' if seconds is None else f'{round(1000 * (offset + seconds))}'
      name = f'{name}@{round(1000 * offset)}-{end}'
    return name if channel is None else f'{name}#{channel}'
