r"""Lines of the text files that importers read: UTF-8, split at \n and \r\n only, see fm_lingvo/utils/text_lines.py."""

from fm_lingvo.utils import text_lines

Lines = text_lines.Lines
