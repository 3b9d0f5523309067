"""Compiled loops over the bytes of a table: where its fields lie, and what numbers and strands they say."""

from __future__ import annotations

import numba
import numpy as np

GOOD = -1
"""In place of a row: there is no bad one."""

_TAB, _NEWLINE, _RETURN, _SPACE, _HASH = 9, 10, 13, 32, 35
_PLUS, _MINUS, _POINT, _ZERO, _NINE = 43, 45, 46, 48, 57
_TRACK = np.frombuffer(b"track", np.uint8)
_BROWSER = np.frombuffer(b"browser", np.uint8)
_POWERS = np.array([10.0**i for i in range(23)])
_SPLIT = 134217729.0
_EXACT = np.uint64(1 << 53)
LARGEST = float(np.finfo(np.float32).max)
"""Largest ``float32``."""


@numba.njit(nogil=True, cache=True)
def count_lines(text: np.ndarray) -> int:
    """Count the line ends in ``text``, ``(n,) uint8``."""
    found = 0
    for i in range(len(text)):
        found += text[i] == _NEWLINE
    return found


@numba.njit(nogil=True, cache=True)
def _begins(text: np.ndarray, at: int, word: np.ndarray) -> bool:
    """Whether a line at ``at`` is of a keyword of the genome browser's."""
    for i in range(len(word)):
        if text[at + i] != word[i]:
            return False
    return text[at + len(word)] <= _SPACE


@numba.njit(nogil=True, cache=True)
def find_fields(
    text: np.ndarray, by_tab: bool, columns: int, first: np.ndarray, last: np.ndarray
) -> tuple[int, int, int]:
    """Find the fields of every line that is neither blank nor a comment, ``track`` or ``browser`` line.

    Args:
        text: ``(n,) uint8``, whole lines.
        by_tab: fields are what lies between tabs; otherwise, between stretches of spaces and tabs.
        columns: fields that a line must have.
        first, last: ``(kept, lines) int32``; filled with the borders of the first ``kept`` fields of each.

    Returns:
        lines found, the first that has not ``columns`` fields or :data:`GOOD`, and its number of fields.
    """
    kept = first.shape[0]
    found = 0
    at = 0
    while at < len(text):
        if (
            text[at] == _HASH
            or (text[at] == _TRACK[0] and _begins(text, at, _TRACK))
            or (text[at] == _BROWSER[0] and _begins(text, at, _BROWSER))
        ):
            while text[at] != _NEWLINE:
                at += 1
            at += 1
            continue
        begin = at
        while text[at] <= _SPACE and text[at] != _NEWLINE:
            at += 1
        if text[at] == _NEWLINE:
            at += 1
            continue
        column = 0
        if by_tab:
            at = begin
            while True:
                byte = text[at]
                if byte <= _NEWLINE:
                    if byte == _NEWLINE:
                        break
                    if byte == _TAB:
                        if column < kept:
                            first[column, found] = begin
                            last[column, found] = at
                        column += 1
                        begin = at + 1
                at += 1
            end = at
            if end > begin and text[end - 1] == _RETURN:
                end -= 1
            if column < kept:
                first[column, found] = begin
                last[column, found] = end
            column += 1
        else:
            while text[at] != _NEWLINE:
                while text[at] <= _SPACE and text[at] != _NEWLINE:
                    at += 1
                begin = at
                while text[at] > _SPACE:
                    at += 1
                if at > begin:
                    if column < kept:
                        first[column, found] = begin
                        last[column, found] = at
                    column += 1
        if column != columns:
            return found, found, column
        found += 1
        at += 1
    return found, GOOD, 0


@numba.njit(nogil=True, cache=True)
def _skip_sign(text: np.ndarray, at: int, end: int) -> tuple[int, bool]:
    """Where a field goes on after its sign, if it has one, and whether that is a minus."""
    if at < end and (text[at] == _MINUS or text[at] == _PLUS):
        return at + 1, text[at] == _MINUS
    return at, False


@numba.njit(nogil=True, cache=True)
def whole_numbers(text: np.ndarray, first: np.ndarray, last: np.ndarray, values: np.ndarray, failed: np.ndarray) -> int:
    """Read fields of digits, with or without a sign; returns how many are something else.

    Args:
        text: ``(n,) uint8``.
        first, last: ``(rows,)`` borders of the fields.
        values: ``(rows,) int64``, filled.
        failed: ``(rows,) int64``; filled with the rows of the fields that are something else.
    """
    failures = 0
    for i in range(len(first)):
        end = last[i]
        at, negative = _skip_sign(text, first[i], end)
        value = np.int64(0)
        good = 0 < end - at <= 18
        if good:
            for j in range(at, end):
                digit = text[j] - _ZERO
                if digit < 0 or digit > 9:
                    good = False
                    break
                value = value * 10 + digit
        values[i] = -value if negative else value
        if not good:
            failed[failures] = i
            failures += 1
    return failures


@numba.njit(nogil=True, cache=True)
def _two_product(a: float, b: float) -> tuple[float, float]:
    """``a * b`` without error, as the sum of two numbers (Dekker 1971, Numer. Math. 18:224)."""
    product = a * b
    c = _SPLIT * a
    a_high = c - (c - a)
    a_low = a - a_high
    c = _SPLIT * b
    b_high = c - (c - b)
    b_low = b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@numba.njit(nogil=True, cache=True)
def _scaled(mantissa: np.uint64, power: int) -> tuple[float, bool]:
    """``mantissa * 10 ** power`` rounded once, and whether that is sure."""
    if mantissa == 0:
        return 0.0, True
    if power < -22 or power > 22:
        return 0.0, False
    if mantissa < _EXACT:
        return (np.float64(mantissa) / _POWERS[-power] if power < 0 else np.float64(mantissa) * _POWERS[power]), True
    # In twice the precision, with a bound on what is still missing: it is sure where both ends of that round alike.
    high = np.float64(mantissa)
    low = np.float64(np.int64(mantissa - np.uint64(high)))
    if power < 0:
        scale = _POWERS[-power]
        near = float(high / scale)
        product, error = _two_product(near, scale)
        rest = float((high - product) - error)
        far = (rest + low) / scale
        bound = (abs(rest) + abs(low)) / scale * 2.0**-50
    else:
        near, rest = _two_product(high, _POWERS[power])
        far = rest + low * _POWERS[power]
        bound = (abs(rest) + abs(low * _POWERS[power])) * 2.0**-50
    return near + far, bool(near + (far - bound) == near + (far + bound))


@numba.njit(nogil=True, cache=True)
def numbers(text: np.ndarray, first: np.ndarray, last: np.ndarray, values: np.ndarray, failed: np.ndarray) -> int:
    """Read fields of decimal numbers to the nearest ``float64``; returns how many need another way.

    Those are what is no number, is infinite or NaN, does not fit ``float32``, has more than 19 digits or an exponent
    far from 0. Arguments as of :func:`whole_numbers`, ``values`` being ``float64``.
    """
    failures = 0
    for i in range(len(first)):
        end = last[i]
        at, negative = _skip_sign(text, first[i], end)
        mantissa = np.uint64(0)
        digits = 0
        significant = 0
        power = 0
        point = False
        while at < end:
            byte = text[at]
            if _ZERO <= byte <= _NINE:
                mantissa = mantissa * np.uint64(10) + np.uint64(byte - _ZERO)
                digits += 1
                significant += significant > 0 or byte != _ZERO
                power -= point
            elif byte == _POINT and not point:
                point = True
            else:
                break
            at += 1
        good = digits > 0 and significant <= 19
        if good and at < end:
            # What is left must be an exponent.
            good = text[at] | 32 == 101
            at, down = _skip_sign(text, at + 1, end)
            good &= 0 < end - at <= 4
            exponent = 0
            if good:
                for j in range(at, end):
                    good &= _ZERO <= text[j] <= _NINE
                    exponent = exponent * 10 + text[j] - _ZERO
            power += -exponent if down else exponent
        if good:
            value, good = _scaled(mantissa, power)
            values[i] = -value if negative else value
            good = good and value <= LARGEST
        if not good:
            failed[failures] = i
            failures += 1
    return failures


@numba.njit(nogil=True, cache=True)
def strands(text: np.ndarray, first: np.ndarray, last: np.ndarray, values: np.ndarray) -> int:
    """Read fields of ``+`` (0) and ``-`` (1) into ``(rows,) int8``; returns the first row of another, or GOOD."""
    for i in range(len(first)):
        byte = text[first[i]] if last[i] - first[i] == 1 else 0
        if byte != _PLUS and byte != _MINUS:
            return i
        values[i] = byte == _MINUS
    return GOOD
