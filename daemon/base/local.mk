libmigd_la_SOURCES += \
	daemon/base/clock.c daemon/base/clock.h \
	daemon/base/error.c daemon/base/error.h \
	daemon/base/fault.c daemon/base/fault.h \
	daemon/base/fds.c daemon/base/fds.h \
	daemon/base/json.c daemon/base/json.h \
	daemon/base/log.c daemon/base/log.h \
	daemon/base/util.h
