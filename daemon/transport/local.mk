libmigd_la_SOURCES += \
	daemon/transport/address.c daemon/transport/address.h \
	daemon/transport/channel-connect.c \
	daemon/transport/channel-socket.c daemon/transport/channel.h \
	daemon/transport/codec.c daemon/transport/codec.h \
	daemon/transport/frame.c daemon/transport/frame.h
