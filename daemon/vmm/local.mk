libmigd_la_SOURCES += \
	daemon/vmm/controller-dbus.c daemon/vmm/controller-dbus.h \
	daemon/vmm/controller-libvirt.c daemon/vmm/controller-libvirt.h \
	daemon/vmm/controller-none.c \
	daemon/vmm/controller-qmp.c daemon/vmm/controller-qmp.h \
	daemon/vmm/qemu-commands.c daemon/vmm/qemu-commands.h \
	daemon/vmm/qemu-containers.c daemon/vmm/qemu-containers.h \
	daemon/vmm/qemu-layout.c daemon/vmm/qemu-layout.h \
	daemon/vmm/qemu-memory.c daemon/vmm/qemu-memory.h \
	daemon/vmm/qmp.c daemon/vmm/qmp.h \
	daemon/vmm/controller.c daemon/vmm/controller.h
