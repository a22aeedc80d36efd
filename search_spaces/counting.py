"""Numbers of networks in words. They are exact integers of any length, and a float would overflow from 1.8e308 up.

Standard library only. Python also refuses to write or read integers of more than a few thousand digits in one go (it guards servers
against slow conversions), so long ones are converted in pieces here instead of raising that limit for the whole process.
"""

_PIECE = 600
"""Digits converted at a time. Python's limit cannot be set below 640."""


def decimal(count: int) -> str:
    """All digits of a whole number of any length."""
    pieces = []
    while count >= 10**_PIECE:
        count, rest = divmod(count, 10**_PIECE)
        pieces.append(f"{rest:0{_PIECE}}")
    return str(count) + "".join(reversed(pieces))


def scientific(count: int | str, digits: int = 3) -> tuple[str, int]:
    """A mantissa of so many digits, without zeros at its end, and the power of ten: ("1.23", 45).

    Args:
        count: a whole number above 0, or its decimal digits.
    """
    text = count if isinstance(count, str) else decimal(count)
    power = len(text) - 1
    mantissa = int(text[:digits].ljust(digits, "0")) + (text[digits : digits + 1] >= "5")
    if mantissa == 10**digits:
        mantissa, power = mantissa // 10, power + 1
    shown = str(mantissa)
    return f"{shown[0]}.{shown[1:]}".rstrip("0").rstrip("."), power


def worded(count: int | str, digits: int = 3) -> str:
    """A count for reading: every digit below a million (1,797), a rounded power of ten from there up (1.23e+45).

    Args:
        count: a whole number from 0 up, or its decimal digits.
        digits: of the rounded number.
    """
    text = count if isinstance(count, str) else decimal(count)
    if len(text) <= 6:
        return f"{int(text):,}"
    mantissa, power = scientific(text, digits)
    return f"{mantissa}e+{power:02}"
