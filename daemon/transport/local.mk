libmigd_la_SOURCES += \
	daemon/transport/address.c daemon/transport/address.h \
	daemon/transport/channel-connect.c \
	daemon/transport/channel-socket.c daemon/transport/channel.h daemon/transport/channel-private.h \
	daemon/transport/channel-tls.c \
	daemon/transport/codec.c daemon/transport/codec.h \
	daemon/transport/frame.c daemon/transport/frame.h \
	daemon/transport/security.c daemon/transport/security.h \
	daemon/transport/tls-credentials.c daemon/transport/tls-handshake.c daemon/transport/tls-verify.c \
	daemon/transport/tls.h \
	daemon/transport/link-watch.c daemon/transport/link-watch.h
