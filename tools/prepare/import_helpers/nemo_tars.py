"""The tars of NeMo's tarred data sets: which ones belong to a manifest, and the members that its entries mean."""

import collections
import os
import re

from fm_lingvo import audio
from fm_lingvo.data import manifest_keys

from ...common import exit_codes
from . import audio_paths
from . import patterns
from . import tars

_SUB = re.compile(r'-sub\d+$')  # A further entry of a file: NAME-sub1.wav stands for NAME.wav.
_NUMBER = re.compile(r'(\d+)\D*$')


def PathsOf(manifest, pattern):
  """Returns the tars of a manifest: those of a pattern, or of the manifest's folder, or of the one above.

  Raises:
    exit_codes.UsageError: There are none.
  """
  if pattern:
    return [path for part in patterns.Parts(pattern) for path in patterns.Paths(part, 'tar files', 'tars')]
  folder = os.path.dirname(manifest)
  for place in (folder, os.path.join(folder, '..')):
    found = patterns.Glob(os.path.join(place, '*.tar'))
    if found:
      return [os.path.normpath(path) if '://' not in path else path for path in found]
  raise exit_codes.UsageError(f'--input={manifest}: no *.tar beside it or one folder up; name them with --tars')


class Tars:
  """The members of tars, and which of them were asked for."""

  def __init__(self, listing, paths):
    """Lists the members; rejects those that are refused, and says which tars are damaged.

    Args:
      listing: importers.Listing, gets the rejects.
      paths: Paths of the tars.
    """
    self._by_stem, self._damage, self._used = {}, {}, set()
    self._prefixes = patterns.Prefixes(paths)
    for path in paths:
      contents = tars.List(path)
      by_stem = self._by_stem[path] = collections.defaultdict(list)
      for member in contents.members:
        by_stem[_Stem(member.name)].append(member)
      self._damage[path] = contents.damage
      for name, why in contents.refused:
        listing.Reject('', f'{path}:{name}', 'bad_entry', why)
      if contents.damage:
        listing.Reject('', path, 'corrupt', contents.damage)

  def Find(self, row, paths):
    """Returns the member that an entry means, and the name for its id; extensions of names may differ, as in NeMo.

    Args:
      row: dict of a manifest's entry.
      paths: Tars to look in, if the entry has no `shard_id`; else the one with this number.

    Raises:
      audio.Rejected: There is no such member, or several.
    """
    name = next((value for key, value in row.items() if manifest_keys.KeyOf(key) == 'audio_filepath'), None)
    if not isinstance(name, str) or not name:
      raise audio.Rejected('bad_entry', 'no audio_filepath, the name of a member')
    shard = row.get('shard_id')
    if shard is not None:
      paths = [path for path in paths if _Number(path) == str(shard)]
      if not paths:
        raise audio.Rejected('missing', f'{name}: no tar with the number {shard}, its shard_id')
    found = []
    for stem in dict.fromkeys((_Stem(name), _SUB.sub('', _Stem(name)))):
      found = found or [(path, member) for path in paths for member in self._by_stem[path].get(stem, ())]
    exact = [(path, member) for path, member in found if member.name == name]
    found = exact if len(exact) == 1 else found
    if len(found) == 1:
      path, member = found[0]
      self._used.add((path, member.name))
      return member, f'{self._prefixes[path]}/{name}'
    if found:
      raise audio.Rejected('bad_entry', f'{name}: in {found[0][0]} and {found[1][0]}; a shard_id would say which')
    damaged = next((path for path in paths if self._damage[path]), None)
    if damaged:
      raise audio.Rejected('corrupt', f'{name}: {damaged} is {self._damage[damaged]}')
    raise audio.Rejected('missing', f'{name}: not in {paths[0]}{" or another tar" if len(paths) > 1 else ""}')

  def Unused(self):
    """Yields (tar, name) of the members that no entry meant."""
    for path, by_stem in self._by_stem.items():
      for member in (member for members in by_stem.values() for member in members):
        if (path, member.name) not in self._used:
          yield path, member.name


def _Stem(name):
  return audio_paths.Stem(os.path.basename(name))


def _Number(path):
  match = _NUMBER.search(os.path.basename(path))
  return str(int(match[1])) if match else ''
