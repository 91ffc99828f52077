libmigd_la_SOURCES += \
	daemon/check/check-containers.c \
	daemon/check/check-convergence.c \
	daemon/check/check-devices.c \
	daemon/check/check-domain.c \
	daemon/check/check-host.c \
	daemon/check/check-memory.c \
	daemon/check/check-private.h \
	daemon/check/check-restart.c \
	daemon/check/check-terms.c \
	daemon/check/check-trackers.c \
	daemon/check/check.c daemon/check/check.h
