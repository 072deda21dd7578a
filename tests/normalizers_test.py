"""Each normaliser writes what it promises: tables of examples, and properties over all kinds of characters."""

import itertools
import sys
import unicodedata

import sentencepiece
from absl.testing import absltest
from absl.testing import parameterized

from fm_lingvo import errors
from fm_lingvo.data import normalizers
from fm_lingvo.data.normalizers import characters
from tools import train_tokenizer

_ZWNJ, _ZWJ = '\u200c', '\u200d'
# Scripts that need a joiner: Persian, Malayalam (the end of a word), Bengali (before a virama), Sinhala, Mongolian.
_JOINED = (
  'می\u200cروم',
  'അവന്\u200d',
  'র\u200d্যাম',
  'ක්\u200dරම',
  'ᠭᠠᠯ\u180eᠠ',
)


def _Characters():
  """Every character of Unicode but for most of the many letters without case and without a compatibility form."""
  for code in range(sys.maxunicode + 1):
    c = chr(code)
    kind = unicodedata.category(c)
    if kind in ('Cn', 'Co') or kind == 'Lo' and not unicodedata.decomposition(c) and code % 50:
      continue
    if unicodedata.name(c, '').startswith('HANGUL SYLLABLE') and code % 50:
      continue
    yield c


def _Blocks():
  """Texts of a few thousand words, each with a character between, after and before letters."""
  found = list(_Characters())
  for start in range(0, len(found), 2000):
    yield ' '.join(f'a{c}b x{c} {c}y' for c in found[start : start + 2000])


_BLOCKS = tuple(_Blocks())


class PropertiesTest(parameterized.TestCase):
  @parameterized.parameters(*normalizers.NAMES)
  def test_normalising_twice_changes_nothing(self, name):
    normalize = normalizers.Get(name)
    for block in _BLOCKS:
      once = normalize(block, 'en')
      for word, again in zip(once.split(), normalize(once, 'en').split()):
        self.assertEqual(word, again)
      self.assertEqual(normalize(once, 'en'), once)

  def test_normalising_twice_changes_nothing_where_numbers_and_abbreviations_touch(self):
    pieces = ('Mr', 'Mrs.', 'mr', 'Dr.', 'St.', 'etc.', 'IV', 'é', '5', '3rd', '1,000', '.5', '$', '%', '²', '½', '°C')
    pieces += ('km', 'm', 'pm', 'Jan.', '-', '+', '_', ':', "'s", '10:30', 'U.S.', 'q')
    normalize = normalizers.Get('english')
    for first, second in itertools.product(pieces, repeat=2):
      for text in (first + second, f'{first} {second}', f'+1{first}{second} 7'):
        once = normalize(text, 'en')
        self.assertEqual(normalize(once, 'en'), once, text)

  @parameterized.parameters(*normalizers.NAMES)
  def test_a_text_is_utf8_in_form_nfc_with_single_spaces(self, name):
    normalize = normalizers.Get(name)
    for block in (*_BLOCKS, 'a \ud800 b\udfffc', ' a\t\u2028b\u00a0\u3000c\x85 '):
      text = normalize(block, 'en')
      self.assertEqual(text, text.encode().decode())
      self.assertEqual(text, unicodedata.normalize('NFC', text))
      self.assertEqual(text, ' '.join(text.split()))
      self.assertNotRegex(text, r'[\x00-\x1f\x7f-\x9f]')

  @parameterized.parameters('basic', 'english', 'prompts')
  def test_words_are_lower_case_letters_marks_and_numbers(self, name):
    normalize = normalizers.Get(name)
    for block in _BLOCKS:
      text = normalize(block, 'en')
      self.assertEqual(text, text.lower())
      for c in set(text) - set(" '\u05f3\u05f4\u00b7\u200c\u200d\u180e"):
        self.assertIn(unicodedata.category(c)[0], 'LMN', f'U+{ord(c):04X}')
      for word in text.split():
        self.assertNotEqual(unicodedata.category(word[0])[0], 'M', ascii(word))
        self.assertFalse(word.startswith("'") or word.endswith("'") or "''" in word, ascii(word))

  @parameterized.parameters(*normalizers.NAMES)
  def test_no_letter_is_lost_without_a_word_left(self, name):
    normalize = normalizers.Get(name)
    for c in _Characters():
      letters = any(unicodedata.category(plain)[0] == 'L' for plain in unicodedata.normalize('NFKC', c))
      if (
        unicodedata.category(c)[0] == 'L' and letters and c not in '\u02bc\u115f\u1160\u3164\uffa0'
      ):  # An apostrophe, and fillers.
        self.assertTrue(normalize(f'... {c}!', 'en'), f'U+{ord(c):04X}')

  @parameterized.parameters(*normalizers.NAMES)
  def test_invisible_characters_do_not_split_words(self, name):
    normalize = normalizers.Get(name)
    for c in map(chr, range(sys.maxunicode + 1)):
      if unicodedata.category(c) == 'Cf':
        self.assertEqual(normalize(f'co{c}op', 'en'), 'coop', f'U+{ord(c):04X}')
        self.assertEqual(normalize(f'{c} a {c}{c}b{c}', 'en'), 'a b', f'U+{ord(c):04X}')

  @parameterized.parameters(*normalizers.NAMES)
  def test_joiners_stay_where_a_script_needs_them(self, name):
    normalize = normalizers.Get(name)
    for word in _JOINED:
      self.assertEqual(normalize(f'{word} {word}', None), f'{word} {word}')
    self.assertEqual(normalize('می' + 2 * _ZWNJ + 'روم' + _ZWNJ + ' \u200d', None), 'می\u200cروم')

  def test_letters_only_are_the_same_words_with_all(self):
    text = "Don't you hear THE l'été of ÅNGSTRÖM and Straße"
    self.assertLen({normalizers.Get(name)(text, 'en') for name in ('basic', 'english', 'prompts')}, 1)

  @parameterized.parameters(*normalizers.NAMES)
  def test_an_empty_text_stays_empty(self, name):
    for text in ('', ' \n', '\u200b\ufeff'):
      self.assertEqual(normalizers.Get(name)(text, None), '')


class ChoiceTest(absltest.TestCase):
  def test_an_unknown_name_is_refused_with_the_nearest(self):
    with self.assertRaises(errors.ConfigError) as raised:
      normalizers.Get('englsh')
    self.assertEqual(
      str(raised.exception),
      '--normalizer=englsh: expected one of none, basic, english, prompts; did you mean english?',
    )

  def test_base(self):
    for language, base in (('en-US', 'en'), ('EN_gb', 'en'), ('de', 'de'), (None, ''), ('', '')):
      self.assertEqual(normalizers.Base(language), base)

  def test_digits_of_all_scripts_are_found(self):
    for text in ('8', '٣', '½', 'm²', '②', 'Ⅷ'):
      self.assertTrue(normalizers.HasDigits(f'a {text}'), text)
    self.assertFalse(normalizers.HasDigits('eight 三'))


class TableCase(parameterized.TestCase):
  def Check(self, name, language, *rows):
    for raw, expected in rows:
      with self.subTest(raw):
        self.assertEqual(normalizers.Get(name)(raw, language), expected)


class NoneTest(TableCase):
  def test_only_invisible_characters_and_spaces_change(self):
    self.Check(
      'none',
      None,
      ('Dr. Müller said: “Hello,  WORLD!” (twice) [laughs]', 'Dr. Müller said: “Hello, WORLD!” (twice) [laughs]'),
      ('Mu\u0308ller', 'Müller'),
      ('$5.20 – ½ ﬁ Ａ ™', '$5.20 – ½ ﬁ Ａ ™'),
      ('one\u2028two\x0bthree\x85', 'one two three'),
      ('soft\u00adhyphen\x07 \u2581here', 'softhyphen here'),
    )

  def test_a_tokenizer_trained_on_such_texts_gives_them_back(self):
    normalize = normalizers.Get('none')
    texts = [
      normalize(text, None)
      for text in (
        'Dr. Müller said: “Hello,\u2028WORLD!” — isn’t it $5.20, ok?',
        'ﬁve \u2581 ½ Ａ\u0301 [laughs] <unk> </s> ⁇ ' + ' '.join(_JOINED),
        *_BLOCKS[:3],
      )
    ]
    for kind, size in (('char', None), ('bpe', 7000)):
      given = texts if kind == 'char' else texts[:2]
      size = size and len(set(''.join(given))) + 8
      model = train_tokenizer.Train(given, kind, size)
      tokens = sentencepiece.SentencePieceProcessor(model_proto=model)
      for text in given:
        back = tokens.decode(tokens.encode(text))
        self.assertEqual([pair for pair in zip(text, back) if pair[0] != pair[1]][:9], [])
        self.assertLen(back, len(text))


class BasicTest(TableCase):
  def test_case_and_punctuation_in_any_language(self):
    self.Check(
      'basic',
      None,
      ('Hello, World! It’s “fine” – really…', "hello world it's fine really"),
      ("rock 'n' roll; the dogs' tails, don''t", 'rock n roll the dogs tails don t'),
      ('Über-Straße_1', 'über straße 1'),
      ('¿Qué? ¡No! dell`utente', "qué no dell'utente"),
      ('Привет, МИР! Щ.', 'привет мир щ'),
      ('ΟΔΟΣ. ΑΒΓ', 'οδος αβγ'),
      ('你好，世界。ＡＢＣ１２', '你好 世界 abc12'),
      ('नमस्ते। क्या', 'नमस्ते क्या'),
      ('ﬁne oﬃce ǆ', 'fine office dž'),
      ('col·lecció a·b', 'col·lecció a b'),
      ('צה״ל', 'צה״ל'),
      ('brand™ x® 👨\u200d👩 1\ufe0f\u20e3', 'brand x 1'),
      ('100% of $5', '100 of 5'),
      ('1½ m²', '1½ m²'),
      ('yes [laughter] <unk> (you know) [a [b] c] a < b > c', 'yes you know a b c'),
      ('<COMMA> Yes <PERIOD>', 'yes'),
      ('ʼn ŉ', "n 'n".replace("'n", 'n')),
    )

  def test_a_dotless_i_needs_its_language(self):
    for language, expected in (('tr', 'ısırdı istanbul'), ('az-AZ', 'ısırdı istanbul'), ('en', 'isirdi istanbul')):
      self.assertEqual(normalizers.Get('basic')('ISIRDI İstanbul', language), expected)


class EnglishTest(TableCase):
  def test_numbers(self):
    self.Check(
      'english',
      'en',
      ('21st, 3rd, 1,000th; 100th', 'twenty first third one thousandth one hundredth'),
      (
        '1,000 and 1,234,567',
        'one thousand and one million two hundred and thirty four thousand five hundred and sixty seven',
      ),
      ('0 7 42 365 007', 'zero seven forty two three hundred and sixty five zero zero seven'),
      ('3.14, .5, -5, 0.05', 'three point one four point five minus five zero point zero five'),
      (
        '1/2, 3/4, 2/3, 1½, 1 1/2, 9/11, 24/7',
        'one half three quarters two thirds one and a half one and a half nine eleven twenty four seven',
      ),
      ('5–10 or 5-10%', 'five to ten or five to ten percent'),
      ('-5%, -$5, −1/2, -10°C', 'minus five percent minus five dollars minus one half minus ten degrees celsius'),
      ('5 − 3 = 2, 6 ÷ 2, 10-5', 'five minus three equals two six divided by two ten five'),
      ('.5%, .25 km, .50, ...5', 'point five percent point two five kilometers point five zero five'),
      (
        'call 555-1234 or 212-555-1234',
        'call five five five one two three four or two one two five five five one two three four',
      ),
      ('card 1234567890123', 'card one two three four five six seven eight nine zero one two three'),
      ('No. 5, #6, № 7; no 8', 'number five number six number seven no eight'),
      ('MP3, B2B, 4x4, v1.2.3', 'mp three b two b four by four v one point two point three'),
      ('9' * 50 + ' and ' + ',999' * 30, ' '.join(['nine'] * 50 + ['and'] + ['nine'] * 90)),
    )

  def test_years_dates_and_times(self):
    self.Check(
      'english',
      'en-US',
      (
        '1990 1905 1900 2000 2005 2010',
        'nineteen ninety nineteen oh five nineteen hundred two thousand two thousand and five twenty ten',
      ),
      ("1990s, the '80s, 60's, 2000s, 1800s", 'nineteen nineties the eighties sixties two thousands eighteen hundreds'),
      ('1990-1995', 'nineteen ninety to nineteen ninety five'),
      ('2026-11-29', 'november twenty ninth twenty twenty six'),
      ('Jan. 5, 1990 and 5 March; May 5th', 'january fifth nineteen ninety and fifth march may fifth'),
      ('May 2005', 'may two thousand and five'),
      (
        '3:30 p.m., 3:05, 3:00, 15:45, 7pm, 10 a.m.',
        "three thirty p m three oh five three o'clock fifteen forty five seven p m ten a m",
      ),
      ('won 3:1', 'won three to one'),
      ('1:02:03, 1:15:20', 'one oh two oh three one fifteen twenty'),
    )

  def test_money_and_units(self):
    self.Check(
      'english',
      'en',
      ('$5.20', 'five dollars and twenty cents'),
      ('$1, $1.01, $0.50, $0', 'one dollar one dollar and one cent fifty cents zero dollars'),
      (
        '$1.5 million, £3bn, €1,000, ¥500, 5¢',
        'one point five million dollars three billion pounds one thousand euros five hundred yen five cents',
      ),
      ('$5-$10', 'five dollars to ten dollars'),
      ('$.50, $.5, $.00, $.5 million', 'fifty cents point five dollars zero dollars point five million dollars'),
      ('60 Hz, 1 kHz, 2.4 GHz', 'sixty hertz one kilohertz two point four gigahertz'),
      (
        '10%, 5km, 5 mph, 6ft, 1kg, 20 m², x²',
        'ten percent five kilometers five miles per hour six feet one kilogram twenty square meters x squared',
      ),
      ('20°C, 1°F, 5 m', 'twenty degrees celsius one degree fahrenheit five m'),
    )

  def test_abbreviations_and_symbols(self):
    self.Check(
      'english',
      'en',
      ('Mr. Smith, mrs jones vs. Dr. No', 'mister smith missus jones versus doctor no'),
      ('St. John on Main St. near Mt. Fuji', 'saint john on main street near mount fuji'),
      ("the U.S.A.'s AT&T", "the u s a's at and t"),
      ("he said 'yes' to 'em at 5 a.m. 'sharp'", 'he said yes to em at five a m sharp'),
      ('me@x.org or www.example.com. The end.Then', 'me at x dot org or www dot example dot com the end then'),
      ('What? No. Etc.', 'what no et cetera'),
    )

  def test_roman_numerals_where_the_word_beside_them_says_so(self):
    self.Check(
      'english',
      'en',
      (
        'Chapter IV, CHAPTER XII; vol. III; Psalm CXIX',
        'chapter four chapter twelve vol three psalm one hundred and nineteen',
      ),
      ("Henry VIII's wives and LOUIS XIV", "henry the eighth's wives and louis the fourteenth"),
      ('Pope John Paul II, King George V. Chapter I', 'pope john paul the second king george v chapter one'),
      ('Queen Elizabeth I, and Part I of it', 'queen elizabeth the first and part one of it'),
      (
        'World War II in the XXth century, the XIX century',
        'world war two in the twentieth century the nineteenth century',
      ),
    )
    for text in (
      'The Part I played, the part I play; in Chapter I said',
      'I mix civic CDs: the group CD, a book MIX, page DC; MILD VIM DID, VI',
      'An IV drip for Malcolm X, Henry V. Smith and Rocky II',
      "to Queen Elizabeth I was nobody; Part I'll do, Act I-II",
      'DID I MIX THE PART I PLAYED IN CHAPTER IIII',
    ):
      self.assertEqual(normalizers.Get('english')(text, 'en'), normalizers.Get('basic')(text, 'en'))

  def test_other_languages_are_as_basic(self):
    for text in ('Am 21. kostet es 5,20 €, Dr. Müller.', '10% [Lachen]'):
      self.assertEqual(normalizers.Get('english')(text, 'de'), normalizers.Get('basic')(text, 'de'))
    self.assertEqual(normalizers.Get('english')('10%', None), 'ten percent')

  def test_what_is_said_already_is_as_basic(self):
    for text in ("HE COULDN'T SEE THE ID OF MISTER JONES, NO", 'may i march on, no? ok (laughs) it is a m'):
      self.assertEqual(normalizers.Get('english')(text, 'en'), normalizers.Get('basic')(text, 'en'))

  def test_no_number_is_left(self):
    for block in _BLOCKS:
      text = normalizers.Get('english')(block, 'en')
      self.assertFalse(any(c.isdecimal() or unicodedata.normalize('NFKC', c)[0].isdecimal() for c in text))


class PromptsTest(TableCase):
  def test_ligatures_and_invisible_characters(self):
    self.Check(
      'prompts',
      'en',
      ('press\u00ad\u200b 1, oﬃce＃２', 'press one office pound two'),
      ('Ｄｉａｌ 500', 'dial five hundred'),
      ('(beep) hello', 'hello'),
    )


class CharactersTest(absltest.TestCase):
  def test_ascii_takes_the_same_way(self):
    text = ''.join(map(chr, range(128))) + " a'b 'c' d''e f'' 4'5 x_y"
    self.assertEqual(characters.Words(text) + ' é', characters.Words(text + ' é'), 'a text of other characters, too')


if __name__ == '__main__':
  absltest.main()
