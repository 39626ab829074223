"""Text for a terminal, which a name from a stranger's file could steer."""

import re

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text):
    """`text` with escapes for the characters that steer a terminal, cannot be seen, turn the
    direction of what follows or break the line."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
