libmigd_la_SOURCES += \
	daemon/incoming/arrival.c daemon/incoming/arrival.h \
	daemon/incoming/accept.c daemon/incoming/admission.c daemon/incoming/admission.h \
	daemon/incoming/check.c daemon/incoming/check.h \
	daemon/incoming/compare-devices.c \
	daemon/incoming/compare-memory.c \
	daemon/incoming/compare-parts.c daemon/incoming/compare-parts.h \
	daemon/incoming/compare-space.c \
	daemon/incoming/compare.c daemon/incoming/compare.h \
	daemon/incoming/course.c \
	daemon/incoming/digests.c \
	daemon/incoming/apply.c daemon/incoming/apply.h \
	daemon/incoming/greeting.c daemon/incoming/greeting.h \
	daemon/incoming/handover.c \
	daemon/incoming/heartbeat.c \
	daemon/incoming/here.c daemon/incoming/here.h \
	daemon/incoming/incoming.c daemon/incoming/incoming.h \
	daemon/incoming/patience.c daemon/incoming/patience.h \
	daemon/incoming/populate.c daemon/incoming/populate.h \
	daemon/incoming/populate-beside.c daemon/incoming/populate-beside.h \
	daemon/incoming/probe.c daemon/incoming/probe.h \
	daemon/incoming/end-receiving.c \
	daemon/incoming/receive.c \
	daemon/incoming/resume.c \
	daemon/incoming/session-close.c daemon/incoming/session.h \
	daemon/incoming/space-ledger.c daemon/incoming/space-ledger.h \
	daemon/incoming/state-apply.c daemon/incoming/state-apply.h
