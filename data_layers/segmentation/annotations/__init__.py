"""Labels drawn from annotations: COCO's JSON, labelme's JSON, CVAT's XML.

Each format's module makes `Picture`s of a file's entries, and `drawing` makes label maps of them.
"""
