libmigd_la_SOURCES += \
	daemon/loop/bus.c daemon/loop/bus.h \
	daemon/loop/fdstore.c daemon/loop/fdstore.h \
	daemon/loop/loop.c daemon/loop/loop.h \
	daemon/loop/notify.c daemon/loop/notify.h \
	daemon/loop/watchdog.c daemon/loop/watchdog.h \
	daemon/loop/worker.c daemon/loop/worker.h
