libmigd_la_SOURCES += \
	daemon/api/api-audit.c daemon/api/api-audit.h \
	daemon/api/api-check.c \
	daemon/api/api-context.c daemon/api/api-context.h \
	daemon/api/api-devices.c daemon/api/api-devices.h \
	daemon/api/api-domain-device.c \
	daemon/api/api-domain-kernel.c \
	daemon/api/api-domain-memory.c \
	daemon/api/api-domain-open.c daemon/api/api-domain-qemu.c \
	daemon/api/api-domain-tracker.c \
	daemon/api/api-domain-view.c \
	daemon/api/api-domain.c daemon/api/api-domain.h \
	daemon/api/api-error.c daemon/api/api-error.h \
	daemon/api/api-fetch.c daemon/api/api-fetch.h daemon/api/api-fetches.c \
	daemon/api/api-findings.c daemon/api/api-findings.h \
	daemon/api/api-guests.c daemon/api/api-guests.h \
	daemon/api/api-hook.c daemon/api/api-hook.h daemon/api/api-job.c daemon/api/api-job.h \
	daemon/api/api-link-test.c daemon/api/api-link-test.h \
	daemon/api/api-log-control.c \
	daemon/api/api-manager.c \
	daemon/api/api-migration-options.c daemon/api/api-migration-options.h \
	daemon/api/api-migration.c \
	daemon/api/api-news.c \
	daemon/api/api-options.c daemon/api/api-options.h \
	daemon/api/api-policy.c daemon/api/api-policy.h \
	daemon/api/api-summary.c \
	daemon/api/api-status.c daemon/api/api-status.h \
	daemon/api/api-vm.c daemon/api/api-vm.h daemon/api/api-vm-native.c daemon/api/api-vm-native.h daemon/api/api-vm-plan.c daemon/api/api-vm-plan.h \
	daemon/api/api.c daemon/api/api.h
