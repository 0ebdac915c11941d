"""A secret that tests mask."""

from __future__ import annotations

SECRET = 'pa/ss"wörd+123'
