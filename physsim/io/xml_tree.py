"""XML that a stranger wrote: read whole, without entities or document types, and bounded in size, depth and number of elements.

A document type is the only way by which a small file grows into a large one or reaches for another file; none of the formats here
needs one.
"""

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from physsim.errors import InputError

MAX_DEPTH = 64
MAX_ELEMENTS = 200_000


def parse_xml(path: Path, content: bytes, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS) -> ElementTree.Element:
    """Root of an XML document.

    Args:
        path: what errors name
        content: the document; blank lines before its declaration are left out
        max_depth: deepest nesting that is read
        max_elements: most elements that are read

    Returns:
        The root element; names keep their prefixes (`xacro:macro`).

    Raises:
        InputError: not well formed, cut off, declaring a document type or entities, too deep or too large.
    """
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    depth = count = 0

    def refuse_declaration(*_):
        raise InputError(f"{path}: declares a document type or entities, which are not read; delete the <!DOCTYPE ...> and write them out")

    def start(tag, attributes):
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > max_depth:
            raise InputError(f"{path}: elements nested more than {max_depth} deep, at line {parser.CurrentLineNumber}; none needs that")
        if count > max_elements:
            raise InputError(f"{path}: more than {max_elements} elements; make it smaller")
        builder.start(tag, attributes)

    def end(tag):
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = parser.ExternalEntityRefHandler = refuse_declaration
    try:
        parser.Parse(re.sub(rb"^\s+", b"", content, count=1), True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is not XML ({error}); is the file cut off or of another kind?") from None
    return builder.close()
