# daemon/dirty
libmigd_la_SOURCES += \
	daemon/dirty/harvest.c daemon/dirty/harvest.h \
	daemon/dirty/process-maps.c daemon/dirty/process-maps.h \
	daemon/dirty/tracker-all.c \
	daemon/dirty/tracker-cpu-log.c \
	daemon/dirty/tracker-device.c \
	daemon/dirty/tracker-uffd.c daemon/dirty/uffd-uapi.h \
	daemon/dirty/tracker.c daemon/dirty/tracker.h
