libmigd_la_SOURCES += \
	daemon/outgoing/check-peer.c daemon/outgoing/check-peer.h \
	daemon/outgoing/convergence.c daemon/outgoing/convergence.h \
	daemon/outgoing/course.c \
	daemon/outgoing/describe-pages.c daemon/outgoing/explain-break.c \
	daemon/outgoing/flight.c daemon/outgoing/flight.h \
	daemon/outgoing/gate.c \
	daemon/outgoing/growth.c daemon/outgoing/growth.h \
	daemon/outgoing/handover.c \
	daemon/outgoing/handshake.c \
	daemon/outgoing/hello.c daemon/outgoing/hello.h \
	daemon/outgoing/job.h \
	daemon/outgoing/more-connections.c \
	daemon/outgoing/link-test.c daemon/outgoing/link-test.h \
	daemon/outgoing/observe.c \
	daemon/outgoing/outcome.c daemon/outgoing/outcome.h \
	daemon/outgoing/outgoing.c daemon/outgoing/outgoing.h \
	daemon/outgoing/codec-choice.c daemon/outgoing/codec-choice.h \
	daemon/outgoing/page-packer.c daemon/outgoing/page-packer.h \
	daemon/outgoing/page-cursor.c daemon/outgoing/page-cursor.h \
	daemon/outgoing/page-sender.c daemon/outgoing/page-sender.h \
	daemon/outgoing/page-stream.c daemon/outgoing/page-stream.h \
	daemon/outgoing/reconnect.c \
	daemon/outgoing/resume-answer.c daemon/outgoing/resume-answer.h \
	daemon/outgoing/rollback.c daemon/outgoing/rollback.h \
	daemon/outgoing/rounds.c \
	daemon/outgoing/sent-digests.c \
	daemon/outgoing/setup.c \
	daemon/outgoing/state-keep.c daemon/outgoing/state-keep.h \
	daemon/outgoing/state-stream.c daemon/outgoing/state-stream.h \
	daemon/outgoing/switch-over.c \
	daemon/outgoing/verify.c \
	daemon/outgoing/write-record.c
