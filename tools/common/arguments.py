"""A command's arguments: argparse's parser, with errors of one line."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from typing import NoReturn

from prototxt.terminal import visible


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that ends with one line and exit code 2, and names the option that was
    meant: a typo is told before it is told that the option is missing."""

    def parse_known_args(self, args=None, namespace=None):
        for word in sys.argv[1:] if args is None else args:
            if word == "--":
                break
            self._check_option(word)
        return super().parse_known_args(args, namespace)

    def _check_option(self, word: str) -> None:
        """Refuse a word that begins as an option does, and is none nor the beginning of one."""
        name, known = word.partition("=")[0], list(self._option_string_actions)
        if not re.match(r"--?[A-Za-z]", word) or any(one.startswith(name) for one in known):
            return
        bare = {one.lstrip("-"): one for one in known}
        near = difflib.get_close_matches(name.lstrip("-"), bare, 1)
        hint = f"; did you mean {bare[near[0]]}?" if near else ""
        self.error(f"there is no option {name}{hint}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {visible(message)} (--help shows all options)\n")
