"""Files and habits of strangers that BVLC Caffe takes: the engine takes them too, alike."""

from __future__ import annotations

import os

import pytest

from tests.conformance import both
from tests.conformance.nets import conv, data, net
from tests.conformance.small import agree, values

PLAIN = net(data(2, 3, 6, 6), conv("c", "data"))
X = {"data": values(2, 3, 6, 6)}

TEXTS = {
    "a comment in GBK": ("# 卷积层\n" + PLAIN, "gbk"),
    "a comment in Latin-1": ("# d\xe9j\xe0\n" + PLAIN, "latin-1"),
    "a name in Latin-1": ('name: "caf\xe9"\n' + PLAIN, "latin-1"),
    "a name with an octal byte": ('name: "caf\\351"\n' + PLAIN, "utf-8"),
    "layers of UTF-8 names": (PLAIN.replace('"c"', '"层"'), "utf-8"),
    "lines that end in CR LF": (PLAIN.replace("\n", "\r\n"), "utf-8"),
    "angle brackets, commas, single quotes": (
        PLAIN.replace("{", "<").replace("}", ">,").replace('"', "'"),
        "utf-8",
    ),
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_prototxt_as_others_write_it_is_read(what):
    text, encoding = TEXTS[what]
    agree(f"prototxt: {what}", "one_net", {"prototxt": text, "encoding": encoding}, X)


def test_a_picture_and_a_list_whose_names_are_in_latin_1_are_read(tmp_path):
    from tests.helpers import data_files as files

    folder = os.fsencode(tmp_path)
    with open(folder + b"/\xe9.png", "wb") as file:
        file.write(files.encoded(files.pixels(0, 5, 6)))
    with open(folder + b"/\xe8.txt", "wb") as file:
        file.write(folder + b"/\xe9.png 3\n")
    body = f'image_data_param {{ source: "{tmp_path}/\xe8.txt" }}'
    text = f'layer {{ name: "d" type: "ImageData" top: "data" top: "label" {body} }}'
    args = {"prototxt": text, "encoding": "latin-1"}
    both.compare(*both.run_both("batches", args), 0.0)
