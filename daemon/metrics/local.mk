libmigd_la_SOURCES += \
	daemon/metrics/exposition.c daemon/metrics/exposition.h \
	daemon/metrics/families.h \
	daemon/metrics/metrics.c daemon/metrics/metrics.h \
	daemon/metrics/process.c daemon/metrics/process.h \
	daemon/metrics/server.c daemon/metrics/server.h \
	daemon/metrics/totals.c daemon/metrics/totals.h
