"""Money, dates, times, units and abbreviations in English text as they are said."""

import re

from . import english_numbers as numbers

_NUMBER = numbers.NUMBER
_CURRENCIES = {  # Sign -> one and several of the currency, one and several of its hundredth.
  '$': ('dollar', 'dollars', 'cent', 'cents'),
  '£': ('pound', 'pounds', 'penny', 'pence'),
  '€': ('euro', 'euros', 'cent', 'cents'),
  '¥': ('yen', 'yen', '', ''),
  '₹': ('rupee', 'rupees', 'paisa', 'paise'),
}
_SCALES = {'k': 'thousand', 'm': 'million', 'bn': 'billion', 'b': 'billion', 'tn': 'trillion'}
_MONEY = re.compile(
  rf'(?:\bUS)?([$£€¥₹])\s?({_NUMBER})(?:\s?(thousand|million|billion|trillion)\b|(k|m|bn|b|tn)\b)?', re.IGNORECASE
)
_CENTS = re.compile(r'(?<![\d.,])(\d+)\s?¢')

_MONTHS = 'January February March April May June July August September October November December'.split()
_SHORT = {**{m[:3]: m for m in _MONTHS if len(m) > 3}, 'Sept': 'September'}
_MONTH = '|'.join([*_MONTHS, *(rf'{short}\.?' for short in _SHORT)])
_ISO_DATE = re.compile(r'(?<![\d-])([12]\d{3})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?![\d-])')
_MONTH_DAY = re.compile(rf'\b({_MONTH})\s+([1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\b(?![:%])(?:,\s*(?=[12]\d{{3}}\b))?')
_DAY_MONTH = re.compile(rf'(?<![\d.,:/$])\b([1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\s+({_MONTH})(?!\w)')

_HALF_DAY = r'\s?([ap])\.?\s?m\b\.?'
_CLOCK = re.compile(rf'(?<![\d:.])([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?(?![\d:])(?:{_HALF_DAY})?', re.IGNORECASE)
_HOUR = re.compile(rf'(?<![\d:.,$])(1[0-2]|[1-9]){_HALF_DAY}', re.IGNORECASE)
_RATIO = re.compile(r'(?<![\d:.])(\d{1,2}):(\d)(?![\d:])')

_UNITS = {  # Unit -> how one of it is said.
  **{'km': 'kilometer', 'cm': 'centimeter', 'mm': 'millimeter', 'm': 'meter', 'mi': 'mile', 'ft': 'foot', 'yd': 'yard'},
  **{'kg': 'kilogram', 'g': 'gram', 'mg': 'milligram', 'lb': 'pound', 'lbs': 'pound', 'oz': 'ounce'},
  **{'ml': 'milliliter', 'l': 'liter', 'L': 'liter', 'sec': 'second', 'min': 'minute', 'hr': 'hour', 'hrs': 'hour'},
  **{'ms': 'millisecond', 'Hz': 'hertz', 'kHz': 'kilohertz', 'MHz': 'megahertz', 'GHz': 'gigahertz'},
  **{'KB': 'kilobyte', 'kB': 'kilobyte', 'MB': 'megabyte', 'GB': 'gigabyte', 'TB': 'terabyte'},
  **{'W': 'watt', 'kW': 'kilowatt', 'MW': 'megawatt', 'V': 'volt', 'kWh': 'kilowatt hour', 'dB': 'decibel'},
  **{'mph': 'mile per hour', 'km/h': 'kilometer per hour', 'kph': 'kilometer per hour', 'm/s': 'meter per second'},
  **{'%': 'percent', '°C': 'degree celsius', '°F': 'degree fahrenheit', '°': 'degree'},
}
_AREAS = {'m': 'meter', 'km': 'kilometer', 'cm': 'centimeter', 'ft': 'foot', 'mi': 'mile'}
_UNITS.update({f'{u}²': f'square {name}' for u, name in _AREAS.items()})
_UNITS.update({f'{u}³': f'cubic {name}' for u, name in _AREAS.items()})
_AMBIGUOUS = ('m', 'g', 'l', 'L', 'V', 'W', 'ms', 'min', 'sec', 'mi')  # Units only directly after the number.
_INVARIABLE = ('hertz', 'percent')  # Ends of names without a plural, such as kilohertz.
_UNIT = re.compile(
  rf'({_NUMBER})(?:(\s?)({"|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))}))(?![\w²³])'
)

_TITLES = {
  **{'Mr': 'mister', 'Mrs': 'missus', 'Messrs': 'messers', 'Dr': 'doctor', 'Prof': 'professor', 'Capt': 'captain'},
  **{'Lt': 'lieutenant', 'Col': 'colonel', 'Gen': 'general', 'Sgt': 'sergeant', 'Rev': 'reverend', 'Hon': 'honorable'},
  **{'Gov': 'governor', 'Sen': 'senator', 'Rep': 'representative', 'Pres': 'president', 'St': 'saint', 'Mt': 'mount'},
  **{'Ft': 'fort'},
}
_OTHERS = {
  **{'Jr': 'junior', 'Sr': 'senior', 'vs': 'versus', 'etc': 'et cetera', 'Inc': 'incorporated', 'Ltd': 'limited'},
  **{'Corp': 'corporation', 'Dept': 'department', 'approx': 'approximately', 'Ave': 'avenue', 'Blvd': 'boulevard'},
  **{'Rd': 'road', 'Ph.D': 'p h d', 'St': 'street', 'Co': 'company'},
}
_TITLE = re.compile(rf'\b({"|".join(_TITLES)})\.\s*(?=[A-Z])')
_BARE_TITLE = re.compile(r'\b(Mr|Mrs|Dr)\b(?=\s+[A-Z])')
_LETTER = r'[^\W\d_²³]'
# Beside a digit or a power, too, since these become words of their own.
_MISTER = re.compile(rf'(?<!{_LETTER})(mrs?)(?!{_LETTER})\.?', re.IGNORECASE)
_OTHER = re.compile(rf'\b({"|".join(map(re.escape, _OTHERS))})\.(?!\w)', re.IGNORECASE)


def Abbreviations(text: str) -> str:
  """Returns a text with titles and other abbreviations in full; most need their dot, as St. and Co. do."""
  text = _TITLE.sub(lambda m: f'{_TITLES[m.group(1)]} ', text)
  text = _BARE_TITLE.sub(lambda m: _TITLES[m.group(1)], text)
  text = _MISTER.sub(lambda m: _TITLES[m.group(1).capitalize()], text)
  full = {name.lower(): said for name, said in _OTHERS.items()}
  return _OTHER.sub(lambda m: f'{full[m.group(1).lower()]} ', text)


def _Money(m: re.Match) -> str:
  one, several, cent, cents = _CURRENCIES[m.group(1)]
  amount, scale = m.group(2), m.group(3) or m.group(4)
  if scale:
    return f' {numbers.Cardinal(amount)} {_SCALES.get(scale.lower(), scale)} {several} '
  whole, point, hundredths = amount.partition('.')
  if point and (len(hundredths) != 2 or not cent):
    return f' {numbers.Cardinal(amount)} {several} '
  whole = whole or '0'  # $.50
  parts = []
  if int(whole.replace(',', '')) or not int(hundredths or 0):
    parts.append(f'{numbers.Cardinal(whole)} {one if whole == "1" else several}')
  if int(hundredths or 0):
    parts.append(f'{numbers.Cardinal(str(int(hundredths)))} {cent if hundredths == "01" else cents}')
  return f' {" and ".join(parts)} '


def Money(text: str) -> str:
  """$5.20 -> five dollars and twenty cents; $1.5 million -> one point five million dollars."""
  text = _MONEY.sub(_Money, text)
  return _CENTS.sub(lambda m: f' {numbers.Cardinal(m.group(1))} {"cent" if m.group(1) == "1" else "cents"} ', text)


def _FullMonth(name: str) -> str:
  return _SHORT.get(name.rstrip('.'), name)


def Dates(text: str) -> str:
  """2026-11-29 -> november twenty ninth twenty twenty six; Jan. 5, 1990 -> january fifth nineteen ninety."""
  text = _ISO_DATE.sub(
    lambda m: f' {_MONTHS[int(m.group(2)) - 1]} {numbers.Ordinal(str(int(m.group(3))))} {numbers.Year(m.group(1))} ',
    text,
  )
  text = _MONTH_DAY.sub(lambda m: f'{_FullMonth(m.group(1))} {numbers.Ordinal(m.group(2))} ', text)
  return _DAY_MONTH.sub(lambda m: f'{numbers.Ordinal(m.group(1))} {_FullMonth(m.group(2))}', text)


def _Clock(m: re.Match) -> str:
  hour, minute, second, half = m.groups()
  said = [numbers.Cardinal(str(int(hour)))]
  if int(minute):
    said += ['oh'] * (minute[0] == '0') + [numbers.Cardinal(str(int(minute)))]
  elif second is None and not half:
    said.append("o'clock" if 0 < int(hour) <= 12 else 'hundred')
  if second is not None:
    said += ['oh'] * (second[0] == '0' and second != '00') + [numbers.Cardinal(str(int(second)))]
  return f' {" ".join(said)}{f" {half} m" if half else ""} '


def Times(text: str) -> str:
  """3:30 -> three thirty; 7 p.m. -> seven p m; 3:1 -> three to one."""
  text = _CLOCK.sub(_Clock, text)
  text = _HOUR.sub(lambda m: f' {numbers.Cardinal(m.group(1))} {m.group(2)} m ', text)
  return _RATIO.sub(lambda m: f' {numbers.Cardinal(m.group(1))} to {numbers.Cardinal(m.group(2))} ', text)


def _Unit(m: re.Match) -> str:
  number, space, unit = m.groups()
  if space and unit in _AMBIGUOUS:
    return m.group()
  said = _UNITS[unit]
  if number != '1' and not said.endswith(_INVARIABLE):
    head, joint, rest = said.partition(' per ')
    noun, _, scale = head.partition(' ') if head.startswith('degree') else (head, '', '')
    noun = noun[: -len('foot')] + 'feet' if noun.endswith('foot') else noun + 's'
    said = f'{noun} {scale}'.strip() + joint + rest
  return f' {numbers.Cardinal(number)} {said} '


def Units(text: str) -> str:
  """5km -> five kilometers; 10% -> ten percent; 1 mph -> one mile per hour."""
  return _UNIT.sub(_Unit, text)
