"""Pictures: functions that return a matplotlib ``Figure``. They need the extra ``plots``."""
