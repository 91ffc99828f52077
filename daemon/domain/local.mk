libmigd_la_SOURCES += \
	daemon/domain/client.c daemon/domain/client.h \
	daemon/domain/containers.c \
	daemon/domain/domain.c daemon/domain/domain.h \
	daemon/domain/find.c \
	daemon/domain/kernel-devices.c daemon/domain/kernel-devices.h \
	daemon/domain/opened.c daemon/domain/opened.h \
	daemon/domain/qemu-guest.c daemon/domain/qemu-guest.h \
	daemon/domain/registry.c daemon/domain/registry.h \
	daemon/domain/restore-all.c \
	daemon/domain/restore-kernel.c \
	daemon/domain/restore-opened.c \
	daemon/domain/restore-parts.c daemon/domain/restore-parts.h \
	daemon/domain/restore.c daemon/domain/restore.h \
	daemon/domain/saved.c daemon/domain/saved.h \
	daemon/domain/state.c \
	daemon/domain/structure-devices.c \
	daemon/domain/structure-memory.c \
	daemon/domain/structure-trackers.c \
	daemon/domain/structure.c daemon/domain/structure.h \
	daemon/domain/uffd-again.c daemon/domain/uffd-again.h \
	daemon/domain/vmm-log.c daemon/domain/vmm-log.h \
	daemon/domain/words.c
