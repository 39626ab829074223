"""The page's pictures: worst, best and confused images, and several nets beside the truth."""

from __future__ import annotations

from prototxt.tasks import VOID
from tools.reporting.content import Content, Picture
from tools.reporting.markup import Markup, tag
from tools.reporting.scores import swatch, words_of

PARTS = (
    ("worst", "Worst by mean IU"),
    ("best", "Best by mean IU"),
    ("behind", "Behind the largest confusions"),
)


def section(content: Content) -> list[Markup]:
    """A figure for each image that is shown, under a heading for each part, and the legend."""
    if not content.shown():
        return [tag("p", "None were asked for (--images 0).", class_="note")]
    found, place = [legend(content)], 0
    for key, heading in PARTS:
        pictures = content.pictures.get(key, [])
        if not pictures:
            continue
        figures = [figure(one, place + number) for number, one in enumerate(pictures)]
        place += len(pictures)
        found += [tag("h3", heading), tag("div", figures, class_="gallery")]
    return found


def figure(picture: Picture, place: int) -> Markup:
    """Photograph, truth, prediction and confidence of an image."""
    views = [("photograph", picture.photograph), ("truth", picture.truth)]
    views += [("prediction", picture.guesses[0]), ("confidence", picture.confidence)]
    caption = tag("figcaption", tag("b", picture.name), ": ", words_of(picture))
    return tag(
        "figure",
        caption,
        tag("div", [view(words, uri, picture.name) for words, uri in views], class_="views"),
        id=f"image-{place}",
        class_="image",
        tabindex="-1",
    )


def view(words: str, uri: str, name: str) -> Markup:
    """A picture and what it is."""
    image = tag("img", src=uri, alt=f"{words} of {name}", data_view=words, loading="lazy")
    return tag("div", image, tag("span", words), class_="view")


def legend(content: Content) -> Markup:
    """The classes' colours, and what the grey of confidence says."""
    keys = [swatch(content, place) for place in (*range(len(content.names)), VOID)]
    said = "Confidence is the softmax of the predicted class: white is 1, black is 0."
    return tag("div", tag("p", keys, class_="legend"), tag("p", said, class_="note"))


def beside(content: Content) -> list[Markup]:
    """Rows of images; columns: photograph, truth, and each run's prediction."""
    labels = [
        label for label, one in zip(content.labels, content.scored) if one is not None
    ]  # fmt: skip
    rows = []
    for place, picture in enumerate(content.shown()):
        if sum(map(bool, picture.guesses)) < 2:
            continue
        own = [
            view(label, uri, picture.name)
            for label, uri in zip(content.labels, picture.guesses)
            if uri
        ]
        # The page's script copies them from the image's figure: each is in the page once.
        first = [copied(words, place) for words in ("photograph", "truth")]
        first.append(copied("prediction", place, labels[0]))
        caption = tag("figcaption", tag("b", picture.name))
        views = tag("div", first, own[1:], class_="views")
        rows.append(tag("figure", caption, views, class_="row"))
    return rows


def copied(words: str, place: int, label: str = "") -> Markup:
    """A place for a view of an image's figure."""
    link = tag("a", words, href=f"#image-{place}")
    return tag("div", link, tag("span", label or words), class_="view",
               data_copy=words, data_place=place)  # fmt: skip
