"""The type, limits and default of an input in words, for steps and pipelines alike."""

from typing import Any


def port_limits(port: Any) -> str:
    """Return the type of an input, its limits and its default, as in ``string, default 'auto'``.

    Args:
        port: An azure-ai-ml ``Input``.
    """
    words = [str(port.type)]
    if port.default is not None:
        words.append(f"default {port.default!r}")
    else:
        words.append("optional" if port.optional else "required")
    if port.enum:
        words.append(f"one of {'|'.join(map(str, port.enum))}")
    if port.min is not None:
        words.append(f"at least {port.min}")
    if port.max is not None:
        words.append(f"at most {port.max}")
    return ", ".join(words)
