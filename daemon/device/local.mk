# daemon/device
libmigd_la_SOURCES += \
	daemon/device/device.c daemon/device/device.h \
	daemon/device/state.c daemon/device/state.h
