libmigd_la_SOURCES += \
	daemon/config/config.c daemon/config/config-files.c daemon/config/config.h
