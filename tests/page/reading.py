"""Reads the page as a person does: headings, texts, buttons."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder

__all__ = ["Page", "page_of"]

_EMPTY = {"meta", "link", "input", "br", "img", "hr"}


class _Tree(HTMLParser):
    """The elements of a page; it must be well-formed, which is a test too."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._builder, self._open = TreeBuilder(), list[str]()
        self.feed(text)
        assert self._open == [], f"not closed: {self._open}"
        self.root = self._builder.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in _EMPTY:
            self._builder.end(tag)
        else:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._builder.start(tag, {name: value or "" for name, value in attrs})
        self._builder.end(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _EMPTY:
            assert self._open.pop() == tag, f"</{tag}> closes another element"
            self._builder.end(tag)

    def handle_data(self, data: str) -> None:
        if self._open:
            self._builder.data(data)


def _text(element: Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())


class Page:
    """A page, by what it shows."""

    def __init__(self, text: str) -> None:
        self.source, self.root = text, _Tree(text).root

    @property
    def text(self) -> str:
        return _text(self.root)

    def all(self, path: str) -> list[str]:
        """The texts of the elements of a path, as ElementTree has them."""
        return [_text(element) for element in self.root.iterfind(path)]

    def needs(self) -> list[tuple[str, str, list[str]]]:
        """What is under "Needs you": its title, the reason, and the buttons in order."""
        return [
            (
                _text(card.find("h3")),
                _text(card.find("p[@class='why']")),
                [_text(button) for button in card.iterfind("div[@class='actions']/*")],
            )
            for card in self.root.iterfind(".//section[@class='needs']/article")
        ]

    def ways(self) -> list[tuple[str, str]]:
        """What to do about a night: each button ("" without one) and its command."""
        return [
            ("" if item[0].tag == "div" else _text(item[0]), _text(item.find(".//code")))
            for item in self.root.iterfind(".//ul[@class='ways']/li")
        ]


def page_of(client: Any, path: str, code: int = 200) -> Page:
    """The page at a path. Raises: AssertionError if the answer has another code."""
    answer = client.get(path)
    assert answer.status_code == code, answer.text
    return Page(answer.text)
