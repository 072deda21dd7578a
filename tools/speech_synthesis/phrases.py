"""A grammar of short English phrases such as numbers, dates and requests; gives the same phrases on every machine.

Numbers are spelled out because synthesisers and normalisers may read digits differently. Single letters
are upper case, before a comma or a full stop.
"""

import random
import re

import num2words

_SEED = 20

# {x} is replaced with one of _WORDS['x'] or with a sample of the grammar's function of that name, SPELLED with the
# letters of the name before it. All groups of templates are used equally often.
_TEMPLATES = (
  ('{digits}.', '{digits}.', '{number}.', '{large}.', '{digits}, {digits}.'),
  ('{letters}.', '{letters}.', '{letters}, {digits}.', 'Spell {name}: SPELLED.', '{name}, SPELLED.'),
  (
    '{vp}.',
    'Please {vp}.',
    'Please {vp} {when}.',
    '{vp}, please.',
    "Don't {vp} {when}.",
    'Now {vp}, and then {vp}.',
    'If you {vp}, I will {vp}.',
  ),
  (
    'Could you {vp}?',
    'Would you {vp} {when}, please?',
    'Can we {vp} {when}?',
    'Did {person} {vp} {when}?',
    'Who wants to {vp}?',
    'Shall I {vp} or {vp}?',
  ),
  (
    '{weekday}, {month} {ordinal}.',
    'It is {time}.',
    'We meet on {weekday} at {time}.',
    'On the {ordinal} of {month}.',
    'Not before {time}.',
    '{month} {year}.',
    'From {time} to {time}.',
    'Until {weekday} {daytime}.',
  ),
  (
    '{number} {things}.',
    'I counted {large} {things}.',
    'The {thing} costs {number} dollars and {number} cents.',
    '{number} of the {things} are {adjective}.',
    'Add {number} and {number}.',
    'The {ordinal} {thing} on the {side}.',
    'Page {number}, line {number}.',
    '{digit} point {digits} percent.',
    '{digit} more {things}.',
  ),
  (
    '{reply}.',
    '{reply}, {person}.',
    '{reply}, I can {vp}.',
    'Sorry, the {thing} is {adjective}.',
    'Where is the {thing}?',
    'Is this your {adjective} {thing}?',
    '{person} is not here {when}.',
    'No {things}, only one {thing}.',
  ),
  (
    'The {adjective} {thing}.',
    '{adjective} and {adjective}.',
    'A {thing} for {person}.',
    '{things} and {things}.',
    'My {thing} is on the {side}.',
    'There are no more {things} {when}.',
    'This {thing} has been {adjective} since {weekday}.',
  ),
)
_WORDS = {
  'verb': 'open close find check paint carry count repair bring keep send show hide move wash borrow return draw '
  'lift measure describe photograph sell buy weigh'.split(),
  'thing': 'window door letter ticket basket garden ladder kettle river street picture number pencil station blanket '
  'bottle mirror engine button camera carpet sandwich bridge hammer jacket menu folder message mailbox '
  'list'.split(),
  'things': 'windows doors letters tickets apples stairs pencils stations bottles mirrors buttons carpets sandwiches '
  'bridges hammers jackets folders messages people hours minutes seconds days weeks callers rooms '
  'members'.split(),
  'adjective': 'open closed empty full broken heavy light cheap red blue green yellow available busy quiet loud new '
  'old ready late early invalid correct wrong temporary personal private urgent active'.split(),
  'when': 'today,tomorrow,tonight,now,at once,after lunch,before dinner,next week,this morning,in the evening,again,'
  'at {time},on {weekday}'.split(','),
  'person': 'Anna,Peter,Maria,David,Susan,Michael,Laura,George,Helen,Victor,my sister,the doctor,our neighbour,'
  'the teacher,the driver,somebody'.split(','),
  'name': 'Anna,Peter,Maria,David,Susan,Victor,Helen,Baker,Miller,Quinn,Joyce,Felix,Wright,Zimmer,Hughes,Exeter,'
  'Boston,Geneva,Jakarta,Quebec,Kyoto,Oxford'.split(','),
  'weekday': 'Monday Tuesday Wednesday Thursday Friday Saturday Sunday'.split(),
  'month': 'January February March April May June July August September October November December'.split(),
  'daytime': 'morning afternoon evening night'.split(),
  'side': 'left,right,first floor,top,bottom,other side'.split(','),
  'reply': 'Yes,No,Thank you,Not yet,Of course,Certainly,Never mind,All right,Maybe later,I think so,Hello,'
  'Good evening,Good night,Wait a moment,Excuse me,Welcome back,Well done,See you tomorrow,Not at all,'
  'That is correct'.split(','),
  'vp': [
    '{verb} the {thing}',
    '{verb} the {thing}',
    '{verb} {few} {things}',
    '{verb} the {adjective} {thing}',
    '{verb} it',
    'wait for {person}',
    'turn {turn}',
    'sit down',
    'speak to {person}',
    'say that again',
    'try another {thing}',
    'listen to the {thing}',
    'leave the {thing} with {person}',
    'call {person}',
    'walk to the {thing}',
    'read the {ordinal} page',
  ],
  'turn': 'left,right,around,it off,it on,the key'.split(','),
}
_SLOT = re.compile(r'\{(\w+)\}')
_SPELLED = re.compile(r'(\w+)([:,]) SPELLED')


def InWords(number, kind='cardinal'):
  """Returns a number in words, without hyphens and "and"; kind: that of num2words."""
  words = num2words.num2words(number, to=kind)
  return words.replace('-', ' ').replace(' and ', ' ').replace(',', '')


class _Grammar:
  """Samples phrases. Uses only random(), whose sequence is the same in every version of Python."""

  def __init__(self):
    self._random = random.Random(_SEED)
    self._functions = {
      'digit': self._Digit,
      'digits': lambda: ' '.join(self._Digit() for _ in range(2 + self._Below(6))),
      'few': lambda: InWords(2 + self._Below(18)),
      'number': lambda: InWords(self._Below(100)),
      'large': lambda: InWords((100, 1000, 10)[self._Below(3)] * (1 + self._Below(99)) + self._Below(100)),
      'ordinal': lambda: InWords(1 + self._Below(31), 'ordinal'),
      'year': self._Year,
      'time': self._Time,
      'letters': lambda: ', '.join(chr(ord('A') + self._Below(26)) for _ in range(2 + self._Below(4))),
    }

  def Sentence(self, templates):
    """Returns a sentence made from one of the templates."""
    text = self._Expand(self._Choose(templates))
    name = _SPELLED.search(text)
    if name:
      text = _SPELLED.sub(f'{name.group(1)}{name.group(2)} {", ".join(name.group(1).upper())}', text)
    return text[0].upper() + text[1:]

  def _Below(self, n):
    return int(self._random.random() * n)

  def _Choose(self, items):
    return items[self._Below(len(items))]

  def _Expand(self, template):
    def Draw(match):
      name = match.group(1)
      return self._functions[name]() if name in self._functions else self._Expand(self._Choose(_WORDS[name]))

    return _SLOT.sub(Draw, template)

  def _Digit(self):
    return InWords(self._Below(10))

  def _Year(self):
    return f'{self._Choose(("eighteen", "nineteen", "twenty"))} {InWords(10 + self._Below(90))}'

  def _Time(self):
    hour, minute = InWords(1 + self._Below(12)), self._Choose(('', '', ' fifteen', ' thirty', ' forty five', None))
    minute = f' {InWords(10 + self._Below(50))}' if minute is None else minute or self._Choose((" o'clock", ''))
    return self._Choose(
      (
        f'{hour}{minute}',
        f'{hour}{minute}',
        f'{hour}{minute} in the {self._Choose(_WORDS["daytime"])}',
        f'half past {hour}',
        f'a quarter to {hour}',
        f'{InWords(2 + self._Below(18))} minutes past {hour}',
      )
    )


def Phrases(count):
  """Returns the first `count` distinct phrases of the grammar."""
  grammar = _Grammar()
  found = {}
  while len(found) < count:
    for templates in _TEMPLATES:
      found[grammar.Sentence(templates)] = None
  return list(found)[:count]
