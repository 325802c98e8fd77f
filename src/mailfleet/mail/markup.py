"""HTML of letters: plain text out of it, and a harmless copy of it."""

import nh3
from inscriptis import get_text  # type: ignore[import-untyped]
from inscriptis.model.config import ParserConfig  # type: ignore[import-untyped]

_WITH_LINKS = ParserConfig(display_links=True)
_BOX = {"align", "bgcolor", "border", "cellpadding", "cellspacing", "height", "valign", "width"}
_TAGS = {
    *("a", "b", "blockquote", "br", "center", "code", "col", "colgroup", "dd", "div", "dl", "dt", "em", "font"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "s", "small", "span", "strong"),
    *("sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul"),
}
_ATTRIBUTES = {
    "*": {"class", "dir", "id", "lang", "role", "style", "title"},
    "a": {"href", "name", "target"},
    "col": {"span", "width"},
    "font": {"color", "face", "size"},
    "img": {"align", "alt", "border", "height", "src", "width"},
    "ol": {"start", "type"},
    "table": _BOX,
    "td": {*_BOX, "colspan", "rowspan"},
    "th": {*_BOX, "colspan", "rowspan"},
    "tr": _BOX,
}


def text_from_html(html: str) -> str:
    """The plain text beside an HTML letter that came alone; links keep their address, for one is the opt-out."""
    text: str = get_text(html, _WITH_LINKS) if html.strip() else ""
    return text.strip() + "\n" if text.strip() else ""


def clean_html(html: str) -> str:
    """HTML without scripts, forms, frames, handlers and comments; layout, styles, links and images stay."""
    return nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags={"script", "style", "title"},
        attributes=_ATTRIBUTES,
        url_schemes={"cid", "http", "https", "mailto", "tel"},
        link_rel=None,
    )
