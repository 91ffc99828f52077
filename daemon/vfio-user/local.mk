# daemon/vfio-user
libmigd_la_SOURCES += \
	daemon/vfio-user/connect.c daemon/vfio-user/connection-private.h \
	daemon/vfio-user/connection.c daemon/vfio-user/connection.h \
	daemon/vfio-user/device.c daemon/vfio-user/device.h \
	daemon/vfio-user/device-private.h \
	daemon/vfio-user/dirty-log.c \
	daemon/vfio-user/dma.c daemon/vfio-user/dma.h \
	daemon/vfio-user/facts.c \
	daemon/vfio-user/feature.c \
	daemon/vfio-user/known-state.c \
	daemon/vfio-user/mapping.c \
	daemon/vfio-user/message.c daemon/vfio-user/message.h \
	daemon/vfio-user/negotiate.c daemon/vfio-user/negotiate.h \
	daemon/vfio-user/passthrough.c daemon/vfio-user/passthrough.h \
	daemon/vfio-user/passthrough-commands.c \
	daemon/vfio-user/passthrough-dma.c daemon/vfio-user/passthrough-private.h \
	daemon/vfio-user/passthrough-send.c \
	daemon/vfio-user/state.c \
	daemon/vfio-user/thread.c daemon/vfio-user/thread.h
