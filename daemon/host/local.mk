# daemon/host
libmigd_la_SOURCES += \
	daemon/host/facts.h \
	daemon/host/group.c daemon/host/group.h \
	daemon/host/holders.c daemon/host/holders.h \
	daemon/host/inventory.c daemon/host/inventory.h \
	daemon/host/pci-function.c daemon/host/pci-function.h \
	daemon/host/pci-names.c daemon/host/pci-names.h \
	daemon/host/probe.c daemon/host/probe.h \
	daemon/host/tree.c daemon/host/tree.h \
	daemon/host/variants.c daemon/host/variants.h \
	daemon/host/verdict.c daemon/host/verdict.h
