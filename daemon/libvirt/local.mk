# daemon/libvirt
libmigd_la_SOURCES += \
	daemon/libvirt/arrival.c daemon/libvirt/arrival.h \
	daemon/libvirt/guests.c daemon/libvirt/guests.h \
	daemon/libvirt/hook.c daemon/libvirt/hook.h \
	daemon/libvirt/hook-filter.c daemon/libvirt/hook-filter.h \
	daemon/libvirt/hook-xml.c daemon/libvirt/hook-xml.h \
	daemon/libvirt/xml-library.c daemon/libvirt/xml-library.h \
	daemon/libvirt/match.c daemon/libvirt/match.h \
	daemon/libvirt/reservation.c daemon/libvirt/reservation.h
