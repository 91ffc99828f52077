libmigd_la_SOURCES += \
	daemon/incoming/apply.c daemon/incoming/apply.h
