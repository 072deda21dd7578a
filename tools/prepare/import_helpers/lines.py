"""Text files with the transcripts of one recording, chapter or talk each: a damaged one rejects what is its own."""

import contextlib

from fm_lingvo import errors
from fm_lingvo.utils import text_lines


@contextlib.contextmanager
def Rejecting(listing, utt_id, source):
  """Context that rejects what is read in it as bad_entry if its file is not UTF-8, damaged or cannot be read.

  Args:
    listing: importers.Listing; gets the reject.
    utt_id: Id of the utterance; '' if the file has several.
    source: Path of the recording, or of the file if that has several utterances.
  """
  try:
    yield
  except (errors.DatasetError, OSError) as e:
    listing.Reject(utt_id, source, 'bad_entry', f'{e}')


def Text(listing, utt_id, source, path):
  """Returns the transcript in a file of its own, with its lines joined; None if the utterance has been rejected."""
  with Rejecting(listing, utt_id, source):
    return ' '.join(filter(None, (line.strip() for _, line in text_lines.Lines(path))))
  return None
