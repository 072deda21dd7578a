"""Who speaks the lines of Beneath a Steel Sky: from the calls that its scripts make to speak a message.

The scripts name a character by its id in sky.cpt, or by a variable: the one who runs the script, or the other party of
a conversation. The latter is taken to be one character for each script. What cannot be told is left out.
"""

import os
import struct
from collections.abc import Callable
from collections.abc import Iterator

FOSTER = 'foster'  # The player.
MODULES = range(60400, 60407)  # Files with scripts.
_PUSH_VARIABLE, _PUSH_NUMBER, _CALL, _SWITCH = 0, 2, 11, 14
_OPERANDS = {0: 1, 2: 1, 5: 1, 6: 1, 9: 1, 11: 2, 15: 1, 16: 1, 18: 1}  # Words after an opcode.
_SPEAK = (35, 36, 37, 38)  # Functions (who, message, animation).
_SPEAK_TO_PLAYER_SIDE = 36
_OFFER = 70  # (message, animation): one of the player's answers.
_RUNNER, _OTHER_PARTY = ('variable', 12), ('variable', 120)


def Names(data: bytes) -> dict[int, str]:
  """Returns id -> name of the characters and things in sky.cpt."""
  lists = struct.unpack_from('<H', data, 2)[0]
  lengths = struct.unpack_from(f'<{lists}H', data, 4)
  position = 4 + 2 * lists + 4
  count = struct.unpack_from('<I', data, position)[0]
  words = struct.unpack_from(f'<{count}H', data, position + 4)
  start = position + 4 + 2 * count
  names = iter(data[start + 4 : start + 4 + struct.unpack_from('<I', data, start)[0]].split(b'\0'))
  found, at = {}, 0
  for number, length in enumerate(lengths):
    for entry in range(length):
      size = words[at]
      at += 1
      if size:
        at += 1 + size  # Type and content.
        found[number * 4096 + entry] = next(names).decode('ascii', 'replace')
  return found


def Calls(script: tuple) -> Iterator[tuple[int, list]]:
  """Yields (function, arguments) of the calls of a script, in its order; jumps are not followed.

  Args:
    script: Its words.

  Yields:
    The number of the function, and its arguments: ('number', n) or ('variable', n), as far as they are pushed before.
  """
  stack, at = [], 0
  while at < len(script):
    opcode, operands = script[at], script[at + 1 : at + 3]
    at += 1 + _OPERANDS.get(opcode, 0)
    if not operands:
      return
    if opcode == _SWITCH:
      at += 1 + 2 * operands[0] + 1
    elif opcode == _PUSH_VARIABLE:
      stack.append(('variable', operands[0] // 4))
    elif opcode == _PUSH_NUMBER:
      stack.append(('number', operands[0]))
    elif opcode == _CALL and len(operands) == 2:
      count = operands[0]
      yield operands[1] // 4, stack[len(stack) - count :] if 0 < count <= len(stack) else []
      del stack[max(0, len(stack) - count) :]


def _Scripts(module):
  """Yields (index, words) of the scripts of a module: a table of their starts, and the scripts."""
  words = struct.unpack(f'<{len(module) // 2}H', module[: len(module) & ~1])
  first = next((word for word in words if word), 0)
  starts = words[:first]
  for index, start in enumerate(starts):
    if start:
      yield index, words[start : min((s for s in starts if s > start), default=len(words))]


def Speakers(folder: str, read: Callable[[int], bytes]) -> dict[int, str]:
  """Returns message number -> character.

  Args:
    folder: Folder with sky.cpt; without it, characters have numbers for names.
    read: Function file number -> unpacked file.
  """
  path, names = os.path.join(folder, 'sky.cpt'), {}
  if os.path.exists(path):
    with open(path, 'rb') as f:
      names = Names(f.read())
  speakers = {}
  for number, module in enumerate(MODULES):
    for index, script in _Scripts(read(module)):
      calls = list(Calls(script))
      player = any(
        args[:1] == [_OTHER_PARTY] or (function == _SPEAK_TO_PLAYER_SIDE and args[:1] == [_RUNNER])
        for function, args in calls
        if function in _SPEAK
      )
      for function, args in calls:
        if function == _OFFER and len(args) == 2 and args[0][0] == 'number':
          speakers.setdefault(args[0][1], FOSTER)
        elif function in _SPEAK and len(args) == 3 and args[1][0] == 'number':
          who = _Who(args[0], player, f'npc{number << 12 | index:04X}', names)
          if who:
            speakers.setdefault(args[1][1], who)
  return speakers


def _Who(who, player, other, names):
  """Returns the character, None if it is unknown; `player`: the player runs the script."""
  if who == _OTHER_PARTY:
    return other
  if who == _RUNNER:
    return FOSTER if player else None
  return names.get(who[1], f'id{who[1]:04X}') if who[0] == 'number' else None
