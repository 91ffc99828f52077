# simdev: a vfio-user device in a process, for tests and rehearsals; simdev-check judges what it wrote.
bin_PROGRAMS += simdev simdev-check
simdev_SOURCES = \
	contrib/simdev/area.c contrib/simdev/area.h \
	contrib/simdev/conn.c contrib/simdev/conn.h \
	contrib/simdev/device.h \
	contrib/simdev/dirty.c contrib/simdev/dirty.h \
	contrib/simdev/dma.c contrib/simdev/dma.h \
	contrib/simdev/engine.c contrib/simdev/engine.h \
	contrib/simdev/irq.c contrib/simdev/irq.h \
	contrib/simdev/journal.c contrib/simdev/journal.h \
	contrib/simdev/main.c \
	contrib/simdev/migration.c contrib/simdev/migration.h \
	contrib/simdev/misbehave.c contrib/simdev/misbehave.h \
	contrib/simdev/options.c contrib/simdev/options.h \
	contrib/simdev/pattern.c contrib/simdev/pattern.h \
	contrib/simdev/pci.c contrib/simdev/pci.h \
	contrib/simdev/record.c contrib/simdev/record.h \
	contrib/simdev/reply.c \
	contrib/simdev/server.c contrib/simdev/server.h \
	contrib/simdev/server-device.c contrib/simdev/server-dma.c contrib/simdev/server-migration.c \
	contrib/simdev/sizes.c contrib/simdev/sizes.h \
	contrib/simdev/state-format.h \
	contrib/simdev/state-load.c contrib/simdev/state-load.h \
	contrib/simdev/state-save.c contrib/simdev/state-save.h \
	contrib/simdev/states.c contrib/simdev/states.h \
	contrib/simdev/version.c
simdev_LDADD = libmigd.la $(JSON_LIBS) $(XXHASH_LIBS) -lm

simdev_check_SOURCES = \
	contrib/simdev/check.c contrib/simdev/check.h \
	contrib/simdev/check-main.c \
	contrib/simdev/journal.h contrib/simdev/journal-view.c \
	contrib/simdev/record.c contrib/simdev/record.h \
	contrib/simdev/sizes.c contrib/simdev/sizes.h
simdev_check_LDADD = libmigd.la $(JSON_LIBS) $(XXHASH_LIBS)

EXTRA_DIST += contrib/simdev/README.md
