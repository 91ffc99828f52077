# daemon/dirty
libmigd_la_SOURCES += \
	daemon/dirty/granularity.c daemon/dirty/granularity.h \
	daemon/dirty/harvest.c daemon/dirty/harvest.h \
	daemon/dirty/process-maps.c daemon/dirty/process-maps.h \
	daemon/dirty/digest-sweep.c daemon/dirty/digest-sweep.h \
	daemon/dirty/report.c daemon/dirty/report.h \
	daemon/dirty/tracker-all.c \
	daemon/dirty/tracker-container.c daemon/dirty/tracker-container.h \
	daemon/dirty/tracker-cpu-log.c \
	daemon/dirty/tracker-device.c \
	daemon/dirty/tracker-digests.c \
	daemon/dirty/tracker-iommufd.c \
	daemon/dirty/tracker-new-container.c \
	daemon/dirty/tracker-soft-dirty.c \
	daemon/dirty/tracker-type1.c \
	daemon/dirty/tracker-uffd.c daemon/dirty/uffd-uapi.h \
	daemon/dirty/uffd-inject.c daemon/dirty/uffd-inject.h \
	daemon/dirty/tracker.c daemon/dirty/tracker.h
