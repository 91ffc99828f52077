# daemon/memory
libmigd_la_SOURCES += \
	daemon/memory/iova-map.c daemon/memory/iova-map.h \
	daemon/memory/pages.c daemon/memory/pages.h \
	daemon/memory/region.c daemon/memory/region.h
