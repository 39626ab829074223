"""The reduced VOC2012 validation list."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from tools import seg12val
from tools.common.cli import UserError


def write(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in ids))


@pytest.fixture
def lists(tmp_path):
    """make(val, train, val of SBD) -> the arguments; the list made is at tmp_path/LIST."""

    def make(val, sbd_train, sbd_val):
        write(tmp_path / "voc/ImageSets/Segmentation/val.txt", val)
        write(tmp_path / "sbd/train.txt", sbd_train)
        write(tmp_path / "sbd/val.txt", sbd_val)
        return ["--voc", str(tmp_path / "voc"), "--sbd", str(tmp_path / "sbd")]

    make.out = tmp_path / "voc/ImageSets/Segmentation/seg12val.txt"
    make.sbd = tmp_path / "sbd"
    return make


def published():
    """Lists with the published counts: (VOC val, SBD train, SBD val)."""
    val = [f"v{i * 11 % 1449:05d}" for i in range(1, 1449)] + ["v00000"]
    other = [f"s{i:05d}" for i in range(11355 - (1449 - 346))]
    held = val[::2][:700] + val[1::2][:403]
    return val, held[:500] + other[:7998], held[500:] + other[7998:]


def test_the_published_counts_leave_346_ids_in_vals_order_without_a_warning(lists, capsys):
    val, sbd_train, sbd_val = published()
    assert seg12val.main(lists(val, sbd_train, sbd_val)) == 0
    left = lists.out.read_text().split()
    held = {*sbd_train, *sbd_val}
    assert len(left) == 346 and left == [name for name in val if name not in held]
    out, err = capsys.readouterr()
    assert err == ""
    counts = [line[11:].split()[0] for line in out.splitlines()]
    assert counts == ["1449", "11355", "1103", "346"] and str(lists.out) in out


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True),
    st.sets(st.sampled_from("abcdefghxyz")),
)
def test_what_is_left_is_val_in_its_order_less_sbd(val, sbd):
    left = seg12val.reduced(val, sbd)
    assert set(left) == set(val) - sbd
    assert [name for name in val if name in left] == left


def test_a_second_run_says_that_the_list_is_there_and_leaves_it(lists, capsys):
    arguments = lists(["a", "b", "c"], ["b"], ["z"])
    assert seg12val.main(arguments) == 0
    lists.out.write_text("a\r\nc")  # the same ids, from elsewhere
    capsys.readouterr()
    assert seg12val.main(arguments) == 0
    assert "was there already" in capsys.readouterr().out
    assert lists.out.read_bytes() == b"a\r\nc"


@pytest.mark.parametrize("there", ["a\nb\nc\n", "c\na\n", "", "\0"])
def test_a_list_that_differs_is_replaced_only_with_force(lists, there):
    arguments = lists(["a", "b", "c"], ["b"], ["z"])
    lists.out.write_text(there)
    with pytest.raises(UserError, match="--force") as caught:
        seg12val.main(arguments)
    assert str(lists.out) in str(caught.value) and lists.out.read_text() == there
    assert seg12val.main([*arguments, "--force"]) == 0
    assert lists.out.read_text() == "a\nc\n"


def test_out_names_another_file(lists, tmp_path):
    out = tmp_path / "new/list.txt"
    assert seg12val.main([*lists(["a", "b"], ["b"], ["z"]), "--out", str(out)]) == 0
    assert out.read_text() == "a\n" and not lists.out.exists()


def test_no_list_that_is_read_is_replaced_even_with_force(lists):
    arguments = lists(["a", "b"], ["b"], ["z"])
    val = lists.out.parent / "val.txt"
    with pytest.raises(UserError, match="lists that are read"):
        seg12val.main([*arguments, "--out", str(val), "--force"])
    assert val.read_text() == "a\nb\n"


def test_other_counts_are_warned_of_by_name(lists, capsys):
    assert seg12val.main(lists(["a", "b", "c"], ["b"], ["z"])) == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert "2 ids are left, not 346" in warning
    assert "val has 3 ids, not 1449" in warning and "have 2, not 11355" in warning


@pytest.mark.parametrize(
    "counts, said, unsaid",
    [
        ((1449, 11000, 400), "11355", "1449"),
        ((1400, 11355, 300), "1449", "11355"),
        ((1449, 11355, 345), "not the same", "11355"),
    ],
)
def test_only_what_is_unusual_is_named(counts, said, unsaid):
    warning = seg12val.unusual(*counts)
    assert said in warning and unsaid not in warning
    assert seg12val.unusual(*counts[:2], 346) == ""


def test_a_trainval_list_of_sbd_counts_alone_or_with_the_others(lists):
    arguments = lists(["a", "b", "c", "d"], ["b"], ["z"])
    write(lists.sbd / "trainval.txt", ["b", "c", "z"])
    assert seg12val.main(arguments) == 0
    assert lists.out.read_text() == "a\nd\n"
    (lists.sbd / "train.txt").unlink()
    (lists.sbd / "val.txt").unlink()
    assert seg12val.main(arguments) == 0


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["voc/ImageSets/Segmentation/val.txt", "sbd/val.txt"])
def test_a_missing_list_is_one_line_and_exit_code_2(lists, tmp_path, gone, root):
    arguments = lists(["a", "b"], ["b"], ["z"])
    (tmp_path / gone).unlink()
    script = str(root / "tools" / "seg12val.py")
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert str(tmp_path / gone) in done.stderr and not lists.out.exists()


def test_nothing_left_is_refused(lists):
    with pytest.raises(UserError, match="holds all its 2 ids"):
        seg12val.main(lists(["a", "b"], ["b"], ["a"]))
    assert not lists.out.exists()
