include tests/unit/bitmap.mk
include tests/unit/parse.mk
