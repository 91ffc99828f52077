# daemon/libvirt
libmigd_la_SOURCES += \
	daemon/libvirt/announced.c daemon/libvirt/announced.h \
	daemon/libvirt/arrival.c daemon/libvirt/arrival.h \
	daemon/libvirt/fetch.c daemon/libvirt/fetch.h \
	daemon/libvirt/guests.c daemon/libvirt/guests.h \
	daemon/libvirt/hook.c daemon/libvirt/hook.h \
	daemon/libvirt/hook-filter.c daemon/libvirt/hook-filter.h \
	daemon/libvirt/hook-xml.c daemon/libvirt/hook-xml.h \
	daemon/libvirt/native-peers.c daemon/libvirt/native-peers.h \
	daemon/libvirt/virt-events.c daemon/libvirt/virt-events.h \
	daemon/libvirt/virt-library.c daemon/libvirt/virt-library.h \
	daemon/libvirt/virt-link.c daemon/libvirt/virt-link.h \
	daemon/libvirt/vm-call.c daemon/libvirt/vm-call.h \
	daemon/libvirt/vm-carry.c daemon/libvirt/vm-carry.h \
	daemon/libvirt/vm-check.c daemon/libvirt/vm-check.h \
	daemon/libvirt/vm-check-disks.c daemon/libvirt/vm-check-parts.h daemon/libvirt/vm-check-there.c \
	daemon/libvirt/vm-engine.c daemon/libvirt/vm-engine.h \
	daemon/libvirt/vm-job.c daemon/libvirt/vm-job.h \
	daemon/libvirt/vm-leaving.c daemon/libvirt/vm-leaving.h \
	daemon/libvirt/vm-native.c daemon/libvirt/vm-native.h \
	daemon/libvirt/vm-news.c daemon/libvirt/vm-news.h \
	daemon/libvirt/vm-outcome.c daemon/libvirt/vm-watch.c \
	daemon/libvirt/vm-plan.c daemon/libvirt/vm-plan.h \
	daemon/libvirt/vm-policy.c daemon/libvirt/vm-policy.h \
	daemon/libvirt/vm-process.c daemon/libvirt/vm-process.h \
	daemon/libvirt/vm-record.c daemon/libvirt/vm-record.h \
	daemon/libvirt/vm-sides.c daemon/libvirt/vm-sides.h \
	daemon/libvirt/vm-stats.c daemon/libvirt/vm-stats.h \
	daemon/libvirt/vm-there.c daemon/libvirt/vm-there.h \
	daemon/libvirt/vm-xml.c daemon/libvirt/vm-xml.h \
	daemon/libvirt/xml-library.c daemon/libvirt/xml-library.h \
	daemon/libvirt/xml-walk.c daemon/libvirt/xml-walk.h \
	daemon/libvirt/match.c daemon/libvirt/match.h \
	daemon/libvirt/reservation.c daemon/libvirt/reservation.h
