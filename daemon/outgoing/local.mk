libmigd_la_SOURCES += \
	daemon/outgoing/page-cursor.c daemon/outgoing/page-cursor.h \
	daemon/outgoing/page-sender.c daemon/outgoing/page-sender.h \
	daemon/outgoing/page-stream.c daemon/outgoing/page-stream.h
