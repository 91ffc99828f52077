libmigd_la_SOURCES += \
	daemon/base/bitmap.c daemon/base/bitmap.h \
	daemon/base/clock.c daemon/base/clock.h \
	daemon/base/error.c daemon/base/error.h \
	daemon/base/fault.c daemon/base/fault.h \
	daemon/base/fds.c daemon/base/fds.h \
	daemon/base/finding.c daemon/base/finding.h \
	daemon/base/format.c daemon/base/format.h \
	daemon/base/hex.c daemon/base/hex.h \
	daemon/base/json.c daemon/base/json.h \
	daemon/base/log.c daemon/base/log.h \
	daemon/base/printable.c daemon/base/printable.h \
	daemon/base/progress.c daemon/base/progress.h \
	daemon/base/ratelimit.c daemon/base/ratelimit.h \
	daemon/base/parse.c daemon/base/parse.h \
	daemon/base/util.h \
	daemon/base/words.c daemon/base/words.h
