include tests/unit/bitmap.mk
include tests/unit/parse.mk
include tests/unit/loop.mk
include tests/unit/memory.mk
include tests/unit/config.mk
include tests/unit/device.mk
include tests/unit/vfio-user.mk
include tests/unit/controller.mk
