libmigd_la_SOURCES += \
	daemon/vmm/controller-dbus.c daemon/vmm/controller-dbus.h \
	daemon/vmm/controller-none.c \
	daemon/vmm/controller.c daemon/vmm/controller.h
