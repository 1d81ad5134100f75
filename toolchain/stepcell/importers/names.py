"""Names that become C identifiers."""

import re

from stepcell.errors import StepcellError

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# fmt: off
_RESERVED = frozenset([
    "auto", "bool", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum",
    "extern", "false", "float", "for", "goto", "if", "inline", "int", "long", "main", "register", "restrict",
    "return", "short", "signed", "sizeof", "static", "struct", "switch", "true", "typedef", "union",
    "unsigned", "void", "volatile", "while",
    "and", "asm", "catch", "class", "delete", "explicit", "export", "friend", "mutable", "namespace", "new",
    "not", "operator", "or", "private", "protected", "public", "template", "this", "throw", "try", "typeid",
    "typename", "using", "virtual", "xor",
    "EOF", "NULL",
])
# fmt: on


def is_identifier(name: str) -> bool:
    """Whether C (and C++) would take `name` for a variable."""
    return _IDENTIFIER.fullmatch(name) is not None and name not in _RESERVED


def identifier(name: str, otherwise: str) -> str:
    """`name` if it is an identifier, else `otherwise`."""
    return name if is_identifier(name) else otherwise


def model_name(name: str | None, stem: str) -> str:
    """The name the user chose, or one made from the file's; StepcellError if C cannot use it."""
    if name is None:
        made = re.sub(r"\W+", "_", stem, flags=re.ASCII).strip("_").lower()
        return identifier(made, f"model_{made}".rstrip("_"))
    if not is_identifier(name):
        raise StepcellError(
            f"The model name '{name}' is not a C identifier.",
            "use letters, digits and underscores, and begin with a letter.",
        )
    return name
