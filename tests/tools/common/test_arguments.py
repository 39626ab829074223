"""What is said of a command line that does not fit."""

from __future__ import annotations

import pytest

from tools.common.arguments import Parser


@pytest.fixture
def refusal(capsys):
    def refusal(*words):
        parser = Parser(prog="x.py")
        parser.add_argument("files", nargs="*")
        parser.add_argument("--net", required=True)
        parser.add_argument("--gpu", type=int)
        parser.add_argument("--mean")
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(words)
        assert ended.value.code == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1
        return err

    return refusal


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nte", "a"], "error: there is no option --nte; did you mean --net? (--help shows all"),
        (["--nte=a"], "there is no option --nte; did you mean --net?"),
        (["-gpu", "0", "--net", "a"], "there is no option -gpu; did you mean --gpu?"),
        (["--net", "a", "--weights", "b"], "there is no option --weights (--help"),
        (["--net", "a", "--gpu", "first"], "argument --gpu: invalid int value: 'first'"),
        ([], "the following arguments are required: --net"),
        (["--net"], "argument --net: expected one argument"),
    ],
)
def test_a_wrong_call_is_one_line_with_the_option_that_was_meant(refusal, words, said):
    assert said in refusal(*words)


@pytest.mark.parametrize(
    "words", [["--net", "a"], ["--ne", "a"], ["--net=a", "--mean", "-3"], ["--net", "a", "-1"],
              ["--net", "a", "--", "--file"], ["--net", "a", "-"]]
)  # fmt: skip
def test_what_fits_is_left_alone(words):
    parser = Parser()
    parser.add_argument("files", nargs="*")
    parser.add_argument("--net", required=True)
    parser.add_argument("--mean", type=lambda text: text)
    assert parser.parse_args(words).net == "a"
