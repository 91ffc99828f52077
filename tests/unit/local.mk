include tests/unit/bitmap.mk
